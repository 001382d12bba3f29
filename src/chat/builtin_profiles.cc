// The ways in which MOSS was trained, served and measured. Where they contradict each other, the
// training data is right: "moss-plugin" and "moss" are what its 1,120 published conversations hold.
#include "chat/profile.h"

namespace mossrt::runtime {

const char kBuiltinProfiles[] = R"json({
"moss-plugin": {
  "name": "moss-plugin",
  "meta": {
    "capabilities": "Capabilities and tools that MOSS can possess.\n",
    "switches": [
      {"label": "Inner thoughts", "with_thoughts": true, "on": "enabled.", "off": "disabled."},
      {"label": "Web search", "command": "Search", "on": "enabled. API: Search(query)", "off": "disabled."},
      {"label": "Calculator", "command": "Calculate", "on": "enabled. API: Calculate(expression)", "off": "disabled."},
      {"label": "Equation solver", "command": "Solve", "on": "enabled. API: Solve(equation)", "off": "disabled."},
      {"label": "Text-to-image", "command": "Text2Image", "on": "enabled. API: Text2Image(description)", "off": "disabled."},
      {"label": "Image edition", "off": "disabled."},
      {"label": "Text-to-speech", "off": "disabled."}
    ]
  },
  "fields": {
    "human": {"tag": "<|Human|>:", "lead": " ", "end": "<eoh>", "after": "\n"},
    "thoughts": {"tag": "<|Inner Thoughts|>:", "lead": " ", "none": " None", "end": "<eot>", "after": "\n", "by_model": true},
    "commands": {"tag": "<|Commands|>:", "lead": " ", "none": " None", "end": "<eoc>", "after": "\n", "by_model": true},
    "results": {"tag": "<|Results|>:", "lead": "\n", "tail": "\n", "none": "\nNone\n", "dropped": " None", "end": "<eor>", "after": "\n"},
    "answer": {"tag": "<|MOSS|>:", "lead": " ", "end": "<eom>", "after": "\n", "by_model": true}
  }
},
"moss": {
  "base": "moss-plugin",
  "name": "moss",
  "fields": {
    "thoughts": {"by_model": false},
    "commands": {"by_model": false},
    "results": {"none": " None"}
  }
},
"readme": {
  "base": "moss-plugin",
  "name": "readme",
  "meta": {
    "switches": [
      {"label": "Web search", "off": "disabled. "},
      {"label": "Calculator", "off": "disabled."},
      {"label": "Equation solver", "off": "disabled."},
      {"label": "Text-to-image", "off": "disabled."},
      {"label": "Image edition", "off": "disabled."},
      {"label": "Text-to-speech", "off": "disabled."}
    ]
  },
  "fields": {"thoughts": null, "commands": null, "results": null}
},
"demo": {
  "base": "moss-plugin",
  "name": "demo",
  "meta": {"switches": [], "indent": 4},
  "fields": {
    "human": {"after": ""},
    "thoughts": null, "commands": null, "results": null,
    "answer": {"tag": "\n<|MOSS|>:", "after": "", "keep_end": false}
  }
},
"vortex": {
  "base": "moss-plugin",
  "name": "vortex",
  "meta": {
    "switches": [
      {"label": "Web search", "command": "Search", "on": "enabled. API: Search(query)", "off": "disabled. "},
      {"label": "Calculator", "command": "Calculate", "on": "enabled. API: Calculate(expression)", "off": "disabled."},
      {"label": "Equation solver", "command": "Solve", "on": "enabled. API: Solve(equation)", "off": "disabled."},
      {"label": "Text-to-image", "command": "Text2Image", "on": "enabled. API: Text2Image(description)", "off": "disabled."},
      {"label": "Image edition", "off": "disabled."},
      {"label": "Text-to-speech", "off": "disabled."}
    ],
    "closing": "- Current date: {date}.\n"
  }
},
"opencompass": {
  "base": "moss-plugin",
  "name": "opencompass",
  "meta": null,
  "fields": {"thoughts": null, "commands": null, "results": null}
}
})json";

}  // namespace mossrt::runtime
