"""Texts of our own for training small vocabularies and for comparing tokenizers with references."""

import random

ENGLISH = """The lighthouse keeper counted the boats each morning and wrote the number in a blue book.
It's not that he didn't trust the harbour; he'd simply seen too many storms, and they'll come again.
We've measured 128 samples at 3.5 volts, I'm told, and you're welcome to repeat it in 2024.
A runtime reads weights, packs them, and multiplies; nothing else takes as long. What's left is text.
Don't merge what doesn't belong together: "quoted words", (brackets), [lists], {sets} and e-mail@signs."""

CHINESE = """灯塔看守人每天早晨数船，把数目写在一本蓝色的本子里。
模型读取权重，然后做矩阵乘法；没有别的步骤需要这么长的时间。
今天的天气很好，我们去公园散步吧！你想喝茶还是咖啡？
三百二十五加上四十二等于三百六十七。请用中文回答下面的问题。
字符编码必须准确，每一个字都要能够还原。"""

CODE = '''def tokenize(text: str, limit=100) -> list[int]:
    """Cuts text."""
    ids = []
    for index, piece in enumerate(text.split()):
        if piece in table and index < limit:
            ids.append(table[piece])
        else:
            for byte in piece.encode("utf-8"):
                ids.append(256 + byte)
\treturn ids

#include <vector>
int main(int argc, char** argv) {
\tstd::vector<int> numbers = {1, 2, 3};
\tfor (int i = 0; i < 10; ++i) {
\t\tnumbers.push_back(i * i);  // squares
\t}
\treturn numbers.size() == 13 ? 0 : 1;
}
'''


def training_lines(count=4000, seed=7):
    """Lines of shuffled words, sentences and code, so that merges of many kinds are learnt."""
    rng = random.Random(seed)
    words = (ENGLISH + " " + CODE).split()
    sentences = [s for s in (ENGLISH + "\n" + CHINESE).split("\n") if s]
    code = CODE.split("\n")
    lines = []
    for _ in range(count):
        kind = rng.random()
        if kind < 0.4:
            lines.append(" ".join(rng.choice(words) for _ in range(rng.randrange(3, 14))))
        elif kind < 0.8:
            lines.append(rng.choice(sentences))
        else:
            lines.append(rng.choice(code))
    return lines


def comparison_texts(seed=11):
    """Prose, code, random strings and unpleasant white space."""
    rng = random.Random(seed)
    spaces = list(" \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u2003\u2028\u3000")
    mixed = (
        list("abcdefgstremvld'' 0123456789.,!?-_<>|")
        + spaces
        + list("中文字符，。éßİǅʰ²٣Ⅷ½\u0301\u200b\u200d\ufeff😀👍🏽한국어ไทยहिन्दी\ue000\U000f0000")
    )
    tags = [
        "<eoh>",
        "<eom>",
        "<eot>",
        "<eoc>",
        "<eor>",
        "<|endoftext|>",
        "<|Human|>:",
        "<eo",
        "<e",
        "oh>",
    ]
    texts = [
        "",
        " ",
        "\n",
        "a",
        "'",
        "'s",
        " 's",
        "''s",
        "it's IT'S we'll we'LL 'tis",
        ENGLISH,
        CHINESE,
        CODE,
    ]
    for n in range(1, 13):
        texts += [
            " " * n + "x",
            "x" + " " * n,
            "x" + " " * n + "\n" + " " * n + "y",
            "\t" * n + "z",
        ]
    texts += [" " * n for n in (31, 32, 62, 63, 100)] + ["\t" * n for n in (9, 10, 19)]
    texts += [" \t" * 8, "\n    x\n    y", "\n\n   \n  z", "a  \n\t\tb   <eoh>   c <eom> \n d"]
    texts += ["x" + tag + "y" for tag in tags] + [f"  {tag}  " for tag in tags]
    texts += [
        "<|Human|>: hello<eoh>\n<|Inner Thoughts|>: None<eot>\n<|Commands|>: None<eoc>\n"
        "<|Results|>: None<eor>\n<|MOSS|>: hi  there<eom>\n"
    ]
    texts += ["a" * 200, "ab" * 100, "=" * 150, "中" * 80, "the" * 60, "aAaA" * 40, "numbers" * 20]
    for _ in range(120):
        texts.append("".join(rng.choice(mixed) for _ in range(rng.randrange(1, 60))))
    for _ in range(60):
        texts.append(
            "".join(
                rng.choice(["  ", "   ", " ", "\n", "\t", "\t\t", "x", "é", "中", *tags])
                for _ in range(rng.randrange(1, 14))
            )
        )
    for _ in range(30):
        points = (rng.randrange(0x110000) for _ in range(rng.randrange(1, 12)))
        texts.append("".join(chr(c) for c in points if not 0xD800 <= c < 0xE000))
    texts += ["<s>", "</s> <unk>", "▁x ▁", "ﬁn Ａ１", "[tool]x [tool]"]
    return texts
