"""A short conversation with the bundled model, which calculates with a plugin; text appears as it is made.

Usage: talk.py [checkpoint directory] [question]...
"""

import pathlib
import sys

import mossrt
from mossrt.plugins import calculate, solve

BUNDLED = pathlib.Path(__file__).resolve().parents[1] / "tiny-moss" / "model"
QUESTIONS = ("Hello!", "日本的首都是哪里？", "What is 127 * 38?", "Who are you?")
# What stands before and after each kind of text. A result names its command.
MARKS = {"thought": ("(", ")"), "result": ("", ""), "answer": ("", "")}


def main() -> None:
    path = sys.argv[1] if len(sys.argv) > 1 else BUNDLED
    model = mossrt.Model.from_pretrained(path)
    plugins = {"Calculate": calculate, "Solve": solve}
    with mossrt.chat.Conversation(model, plugins=plugins, do_sample=False) as talk:
        for question in sys.argv[2:] or QUESTIONS:
            print(f"> {question}", end="")
            kind = end = ""
            for event in talk.stream(question):
                if event.type in MARKS:
                    if event.type != kind:
                        begin, next_end = MARKS[event.type]
                        print(f"{end}\n  {begin}", end="")
                        kind, end = event.type, next_end
                    print(event.text, end="", flush=True)
            print(end)


if __name__ == "__main__":
    main()
