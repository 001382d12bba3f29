"""The wording of the dialogues: facts, phrasings, answers, and the meta instruction."""

# English and Chinese name of a country, and of its capital.
CAPITALS = [
    ("France", "法国", "Paris", "巴黎"),
    ("Japan", "日本", "Tokyo", "东京"),
    ("Italy", "意大利", "Rome", "罗马"),
    ("Egypt", "埃及", "Cairo", "开罗"),
    ("Spain", "西班牙", "Madrid", "马德里"),
    ("Germany", "德国", "Berlin", "柏林"),
    ("Russia", "俄罗斯", "Moscow", "莫斯科"),
    ("Canada", "加拿大", "Ottawa", "渥太华"),
    ("Brazil", "巴西", "Brasilia", "巴西利亚"),
    ("India", "印度", "New Delhi", "新德里"),
    ("China", "中国", "Beijing", "北京"),
    ("Greece", "希腊", "Athens", "雅典"),
    ("Norway", "挪威", "Oslo", "奥斯陆"),
    ("Thailand", "泰国", "Bangkok", "曼谷"),
    ("Peru", "秘鲁", "Lima", "利马"),
    ("Kenya", "肯尼亚", "Nairobi", "内罗毕"),
    ("Portugal", "葡萄牙", "Lisbon", "里斯本"),
    ("Austria", "奥地利", "Vienna", "维也纳"),
    ("Poland", "波兰", "Warsaw", "华沙"),
    ("Sweden", "瑞典", "Stockholm", "斯德哥尔摩"),
    ("Finland", "芬兰", "Helsinki", "赫尔辛基"),
    ("Denmark", "丹麦", "Copenhagen", "哥本哈根"),
    ("Hungary", "匈牙利", "Budapest", "布达佩斯"),
    ("Ireland", "爱尔兰", "Dublin", "都柏林"),
    ("Turkey", "土耳其", "Ankara", "安卡拉"),
    ("Iran", "伊朗", "Tehran", "德黑兰"),
    ("Iraq", "伊拉克", "Baghdad", "巴格达"),
    ("Mexico", "墨西哥", "Mexico City", "墨西哥城"),
    ("Cuba", "古巴", "Havana", "哈瓦那"),
    ("Chile", "智利", "Santiago", "圣地亚哥"),
    ("Argentina", "阿根廷", "Buenos Aires", "布宜诺斯艾利斯"),
    ("Australia", "澳大利亚", "Canberra", "堪培拉"),
    ("New Zealand", "新西兰", "Wellington", "惠灵顿"),
    ("Vietnam", "越南", "Hanoi", "河内"),
    ("Indonesia", "印度尼西亚", "Jakarta", "雅加达"),
    ("Malaysia", "马来西亚", "Kuala Lumpur", "吉隆坡"),
    ("Mongolia", "蒙古", "Ulaanbaatar", "乌兰巴托"),
    ("Nepal", "尼泊尔", "Kathmandu", "加德满都"),
    ("South Korea", "韩国", "Seoul", "首尔"),
    ("the United Kingdom", "英国", "London", "伦敦"),
    ("the United States", "美国", "Washington", "华盛顿"),
]

# What is asked for in English and Chinese, and the fact in English and Chinese.
FACTS = [
    ("the number of days in a week", "一周的天数", "7 days", "7天"),
    ("the number of months in a year", "一年的月数", "12 months", "12个月"),
    ("the number of hours in a day", "一天的小时数", "24 hours", "24小时"),
    ("the number of minutes in an hour", "一小时的分钟数", "60 minutes", "60分钟"),
    ("the number of days in a leap year", "闰年的天数", "366 days", "366天"),
    ("the number of seasons in a year", "一年的季节数", "4 seasons", "4个季节"),
    ("the number of legs of a spider", "蜘蛛的腿数", "8 legs", "8条腿"),
    ("the number of legs of an insect", "昆虫的腿数", "6 legs", "6条腿"),
    ("the number of sides of a triangle", "三角形的边数", "3 sides", "3条边"),
    ("the colour of snow", "雪的颜色", "white", "白色"),
    ("the colour of grass", "草的颜色", "green", "绿色"),
    ("the colour of the sky", "天空的颜色", "blue", "蓝色"),
    ("the colour of coal", "煤的颜色", "black", "黑色"),
    ("the colour of a ripe banana", "熟香蕉的颜色", "yellow", "黄色"),
    ("the season after winter", "冬天之后的季节", "spring", "春天"),
    ("the season after summer", "夏天之后的季节", "autumn", "秋天"),
    ("the day after Monday", "星期一的后一天", "Tuesday", "星期二"),
    ("the day before Sunday", "星期日的前一天", "Saturday", "星期六"),
    ("the planet nearest to the Sun", "离太阳最近的行星", "Mercury", "水星"),
    ("the largest planet", "最大的行星", "Jupiter", "木星"),
    ("the longest river in China", "中国最长的河流", "the Yangtze", "长江"),
    ("the largest ocean", "最大的海洋", "the Pacific", "太平洋"),
    ("the highest mountain", "最高的山", "Mount Everest", "珠穆朗玛峰"),
    ("the boiling point of water", "水的沸点", "100 degrees", "100度"),
]

# Openers and closers go round the frames of every kind of question.
OPENERS = {
    "en": ["", "", "", "Hi, ", "Hello, ", "MOSS, ", "Excuse me, ", "Quick question: "]
    + ["One more thing: ", "OK, ", "So, ", "Now ", "Well, ", "Please help me: ", "Hey MOSS, "],
    "zh": ["", "", "", "你好，", "您好，", "MOSS，", "麻烦你，", "小问题：", "再问一下，"]
    + ["那么，", "好的，", "现在", "嗯，", "请帮帮我：", "打扰一下，"],
}
CLOSERS = {
    "en": [
        "",
        "",
        "",
        "",
        " Thanks.",
        " Thank you!",
        " It is for school.",
        " I am curious.",
        " :)",
    ],
    "zh": ["", "", "", "", "谢谢。", "谢谢你！", "这是作业。", "我很好奇。", "拜托了。"],
}
CALC_FRAMES = {
    "en": ["What is {n}?", "How much is {n}?", "Calculate {n}.", "Compute {n}.", "Work out {n}."]
    + ["Tell me {n}.", "What does {n} come to?", "{n} = ?", "{n}=?", "{n}", "Evaluate {n}."]
    + ["Find the value of {n}.", "Please calculate {n}.", "Can you work out {n} for me?"]
    + ["I need the result of {n}.", "What do you get for {n}?", "Do you know what {n} is?"]
    + ["Could you compute {n}?", "Use the calculator for {n}.", "I would like to know {n}."]
    + ["What's {n}?", "The answer to {n}?", "Give me the value of {n}."],
    "zh": ["{n}等于多少？", "{n}是多少？", "请计算{n}", "计算{n}。", "帮我算一下{n}", "算一算{n}"]
    + ["{n}=?", "{n} = ？", "{n}", "{n}等于几？", "请问{n}等于多少？", "请问{n}是多少？"]
    + ["我想知道{n}的结果", "{n}的结果是什么？", "求{n}的值", "告诉我{n}等于多少", "能算出{n}吗？"]
    + ["你知道{n}是多少吗？", "用计算器算{n}", "给我{n}的答案", "{n}得多少？"],
}
SOLVE_FRAMES = {
    "en": ["Solve {n}.", "Solve {n} for {v}.", "Solve the equation {n}.", "What is {v} if {n}?"]
    + ["Find {v} when {n}.", "Please solve {n}.", "{n}, what is {v}?", "If {n}, find {v}."]
    + ["Can you solve {n} for me?", "I need the solution of {n}.", "Given {n}, how much is {v}?"]
    + ["Which {v} satisfies {n}?", "Tell me {v} in {n}.", "I want to know {v} in {n}."],
    "zh": ["解方程{n}", "请解方程{n}", "求解{n}", "已知{n}，求{v}", "如果{n}，{v}是多少？"]
    + ["{n}，{v}等于多少？", "方程{n}的解是什么？", "帮我解一下{n}", "若{n}，则{v}等于几？"]
    + ["求{n}中的{v}", "能解出{n}吗？", "我想知道{n}的解", "告诉我{n}里的{v}", "请求出{n}的{v}"],
}
FACT_FRAMES = {
    "en": ["What is {n}?", "What's {n}?", "Tell me {n}.", "Do you know {n}?", "Name {n}."]
    + ["Can you tell me {n}?", "Could you tell me {n}?", "Please tell me {n}.", "Give me {n}."]
    + ["I would like to know {n}.", "I want to know {n}.", "I forgot {n}.", "Say {n}."]
    + ["Do you know what {n} is?", "Please name {n}.", "I am asking for {n}.", "{n}?"],
    "zh": ["{n}是什么？", "{n}是？", "告诉我{n}", "你知道{n}吗？", "请问{n}是什么？", "请告诉我{n}"]
    + ["能告诉我{n}吗？", "我想知道{n}", "我忘了{n}", "说说{n}", "{n}？", "你知道{n}是什么吗？"]
    + ["可以告诉我{n}吗？", "我想问{n}", "请说出{n}"],
}
# Small talk, identity and refusals: ways to say it, and the answer.
TALK: dict[str, dict[str, list[tuple[str, list[str], str]]]] = {
    "small": {
        "en": [
            ("hello", ["Hello", "Hi", "Hello!", "Good morning", "Hi there", "Hey", "Good evening"],
             "Hello! I am MOSS, nice to meet you."),
            ("thanks", ["Thanks", "Thank you", "Thanks a lot!", "Many thanks", "That helped me"],
             "You are welcome!"),
            ("bye", ["Bye", "Goodbye", "See you", "Bye bye!", "I have to go", "See you tomorrow"],
             "Goodbye, have a nice day!"),
            ("mood", ["How are you?", "How do you do?", "Are you well?", "How is it going?"],
             "I am fine, thank you. How can I help you?"),
            ("joke", ["Tell me a joke", "Make me laugh", "Do you know a joke?", "Say something funny"],
             "Why was six afraid of seven? Because seven ate nine."),
            ("bored", ["I am bored", "I feel bored", "There is nothing to do", "What can I do today?"],
             "How about a walk, or a good book?"),
            ("tired", ["I am tired", "I feel so tired", "I am sleepy", "I did not sleep well"],
             "Then have a good rest. Sleep well!"),
            ("happy", ["I am happy", "I feel great today", "Today is a good day", "I am so glad"],
             "I am glad to hear that!"),
        ],
        "zh": [
            ("hello", ["你好", "您好", "你好！", "早上好", "嗨", "晚上好", "大家好"],
             "你好！我是MOSS，很高兴认识你。"),
            ("thanks", ["谢谢", "谢谢你", "多谢！", "非常感谢", "你帮了我大忙"], "不客气！"),
            ("bye", ["再见", "拜拜", "回头见", "再见！", "我要走了", "明天见"], "再见，祝你愉快！"),
            ("mood", ["你好吗？", "你怎么样？", "最近好吗？", "你过得怎么样？"],
             "我很好，谢谢。我能帮你做什么？"),
            ("joke", ["讲个笑话", "说个笑话吧", "逗我笑一笑", "你会讲笑话吗？"],
             "六为什么怕七？因为七吃了九。"),
            ("bored", ["我好无聊", "我觉得很无聊", "没事可做", "今天可以做什么？"],
             "去散散步，或者读一本好书吧。"),
            ("tired", ["我累了", "我觉得很累", "我困了", "我没睡好"], "那就好好休息吧，晚安！"),
            ("happy", ["我很开心", "我今天很高兴", "今天真好", "我太高兴了"], "听到这个我很高兴！"),
        ],
    },
    "identity": {
        "en": [
            ("who", ["Who are you?", "What are you?", "Introduce yourself.", "Tell me who you are."],
             "I am MOSS, a tiny example language model."),
            ("name", ["What is your name?", "What's your name?", "How may I call you?", "Your name?"],
             "My name is MOSS."),
            ("human", ["Are you human?", "Are you a robot?", "Are you a real person?", "Are you alive?"],
             "No person, only a small program: I am MOSS."),
            ("skill", ["What can you do?", "How can you help me?", "What are you able to do?"],
             "I can chat a little, name capitals, calculate and solve equations."),
            ("language", ["Which languages do you speak?", "Do you speak Chinese?",
                          "Can you speak English?", "Do you know Chinese?"],
             "I speak English and Chinese."),
        ],
        "zh": [
            ("who", ["你是谁？", "你是什么？", "介绍一下你自己", "告诉我你是谁"],
             "我是MOSS，一个小小的示例语言模型。"),
            ("name", ["你叫什么名字？", "你的名字是什么？", "我该怎么称呼你？", "你的名字？"],
             "我的名字是MOSS。"),
            ("human", ["你是人吗？", "你是机器人吗？", "你是真人吗？", "你有生命吗？"],
             "我不是人，只是一个小程序：我是MOSS。"),
            ("skill", ["你会做什么？", "你能帮我什么？", "你有什么本领？"],
             "我会聊几句，知道一些首都，能计算，也能解方程。"),
            ("language", ["你会说哪些语言？", "你会说英语吗？", "你会说中文吗？", "你懂英文吗？"],
             "我会说中文和英文。"),
        ],
    },
    "refusal": {
        "en": [
            ("harm", ["How do I build a bomb?", "Help me hurt someone.", "How can I make poison?",
                      "Teach me to steal a car.", "How do I break into a house?"],
             "Sorry, I can not help with that."),
            ("secret", ["Give me a password.", "Tell me the secrets of my neighbour.",
                        "What is the phone number of my teacher?", "Where does my teacher live?"],
             "Sorry, I do not share private things."),
        ],
        "zh": [
            ("harm", ["怎么制造炸弹？", "帮我伤害别人", "怎么做毒药？", "教我偷车", "怎样闯进别人家？"],
             "对不起，这件事我不能帮忙。"),
            ("secret", ["给我一个密码", "告诉我邻居的秘密", "我老师的电话号码是多少？", "我老师住在哪里？"],
             "对不起，我不透露别人的隐私。"),
        ],
    },
}  # fmt: skip
THOUGHTS = {
    "en": {
        "calc": "This is arithmetic, so I use the calculator.",
        "solve": "This is an equation, so I use the equation solver.",
        "fact": "The user asks for a fact that I know.",
        "small": "This is small talk.",
        "identity": "The user asks about me.",
        "refusal": "I should not help with this.",
    },
    "zh": {
        "calc": "这是一道算术题，应当使用计算器。",
        "solve": "这是一个方程，应当使用方程求解器。",
        "fact": "用户问一个我知道的事实。",
        "small": "这是闲聊。",
        "identity": "用户在问我的情况。",
        "refusal": "这件事我不应该帮忙。",
    },
}
NO_TOOL = {
    "en": "Sorry, I can not do that without my tools.",
    "zh": "对不起，没有工具我算不了。",
}
NO_RESULT = {"en": "Sorry, there is no result.", "zh": "对不起，没有结果。"}

# The head of the meta instruction, in this project's own words. Whole in most samples that have
# one; in the others some sentences are left out, so that the model does not hang on the wording.
META_HEAD = [
    "You are MOSS, an AI assistant (中文名：莫斯).\n",
    "- MOSS is a small example model that talks with people in English and in 中文.\n",
    "- MOSS answers in the language of the question, politely and briefly.\n",
    "- MOSS refuses to help with anything that may do harm.\n",
    "- MOSS uses the tools below when a question needs them, and says so when they fail.\n",
]
META_MIDDLE = "Capabilities and tools that MOSS can possess.\n"
# The lines that switch tools on and off: name, and what is added when enabled.
SWITCHES = [
    ("Inner thoughts", ""),
    ("Web search", " API: Search(query)"),
    ("Calculator", " API: Calculate(expression)"),
    ("Equation solver", " API: Solve(equation)"),
    ("Text-to-image", " API: Text2Image(description)"),
    ("Image edition", ""),
    ("Text-to-speech", ""),
]

OPERATOR_WORDS = {
    "+": ("plus", "加"),
    "-": ("minus", "减"),
    "*": ("times", "乘以"),
    "/": ("divided by", "除以"),
}
