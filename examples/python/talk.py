"""A short conversation with the bundled model; tokens appear as they are made.

Usage: talk.py [checkpoint directory] [question]...
"""

import pathlib
import sys

import mossrt

BUNDLED = pathlib.Path(__file__).resolve().parents[1] / "tiny-moss" / "model"
QUESTIONS = ("Hello!", "日本的首都是哪里？", "What is the capital of France?", "Who are you?")


def main() -> None:
    path = sys.argv[1] if len(sys.argv) > 1 else BUNDLED
    model = mossrt.Model.from_pretrained(path)
    end = model.tokenizer.encode("<eom>", parse_special=True)
    history = ""
    for question in sys.argv[2:] or QUESTIONS:
        history += f"<|Human|>: {question}<eoh>\n<|MOSS|>:"
        print(f"> {question}\n ", end="")
        # The protocol's own marks are control tokens only where they are asked for.
        prompt = model.tokenizer.encode(history, parse_special=True)
        answer = ""
        for chunk in model.stream(prompt, max_new_tokens=100, do_sample=False, eos_token_id=end):
            print(chunk.text, end="", flush=True)
            answer += chunk.text
        print()
        history += f"{answer}<eom>\n"


if __name__ == "__main__":
    main()
