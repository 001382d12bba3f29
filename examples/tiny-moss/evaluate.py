"""Asks the model the held-out questions and counts what it gets right, with mossrt.

  python evaluate.py                          # mossrt, in the file's own precision
  python evaluate.py --dtype bfloat16         # mossrt, in any format that it loads
  python evaluate.py --backend transformers   # the independent reference, through CodeGen
  python evaluate.py --tools                  # whole turns of a conversation in which the tools run

A command counts when it is exact. An answer counts when it holds the fact or result and is in the
language of the question. Results of commands come from the file of questions, and no tool runs.
The exit status is 1 when fewer than 90 % of the commands or 95 % of the answers count.

With --tools the questions that need a calculator or an equation solver are asked through
mossrt.chat.Conversation, whose plugins run: what counts is the right result in the final answer. The
exit status is 1 when fewer than 90 % do.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WANTED_COMMANDS, WANTED_ANSWERS, WANTED_RESULTS = 0.90, 0.95, 0.90
# Writes on from a prompt until a given special token, which is not part of what it returns.
Generate = Callable[[str, str], str]


def mossrt_generate(folder: Path, dtype: str) -> Generate:
    mossrt: Any = importlib.import_module("mossrt")
    model = mossrt.Model.from_pretrained(str(folder), dtype)

    def generate(prompt: str, stop: str) -> str:
        ids = model.tokenizer.encode(prompt, parse_special=True)
        ends = [int(i) for i in model.tokenizer.encode(stop, parse_special=True)]
        out = model.generate(ids, max_new_tokens=160, do_sample=False, eos_token_id=ends)
        return str(out.text).removesuffix(stop)

    return generate


def transformers_generate(folder: Path) -> Generate:
    import torch
    from transformers import CodeGenConfig, CodeGenForCausalLM

    # isort: split
    from train import load_tokenizer

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for key in ("model_type", "torch_dtype", "architectures", "transformers_version"):
        config.pop(key)
    model: Any = CodeGenForCausalLM(CodeGenConfig(**config))
    model.eval()
    index = json.loads((folder / "pytorch_model.bin.index.json").read_text(encoding="utf-8"))
    weights: dict[str, torch.Tensor] = {}
    for file in sorted(set(index["weight_map"].values())):
        weights |= torch.load(folder / file, weights_only=True)
    assert weights.keys() == index["weight_map"].keys()
    masks = [name for name in weights if name.endswith(".causal_mask")]
    for name in masks:
        del weights[name]
    problems = model.load_state_dict({k: v.float() for k, v in weights.items()}, strict=False)
    assert not problems.unexpected_keys, problems
    assert all(name.endswith(".causal_mask") for name in problems.missing_keys), problems
    tokenizer = load_tokenizer(folder)
    torch.set_num_threads(1)

    def generate(prompt: str, stop: str) -> str:
        ids = torch.tensor([tokenizer.encode(prompt).ids])
        end = tokenizer.token_to_id(stop)
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=160,
            do_sample=False,
            eos_token_id=end,
            pad_token_id=end,
        )
        new = out[0, ids.shape[1] :].tolist()
        return tokenizer.decode(new, skip_special_tokens=False).removesuffix(stop)

    return generate


def language(text: str) -> str:
    return "zh" if re.search(r"[\u4e00-\u9fff]", text) else "en"


def holds(answer: str, key: str) -> bool:
    """The key stands alone: 12 is not found in 123, 0.12, -12 or 12/7."""
    return re.search(rf"(?<![\w.-]){re.escape(key)}(?![\w/]|\.\d)", answer, re.ASCII) is not None


def ask(generate: Generate, question: dict[str, Any]) -> dict[str, Any]:
    """Both passes of one question: thoughts and command, then, with the results, the answer."""
    prompt = f"{question['meta']}<|Human|>: {question['question']}<eoh>\n"
    command_right = None
    written = ""
    if question["form"] == "plugin":
        prompt += "<|Inner Thoughts|>:"
        written = generate(prompt, "<eoc>")
        command = written.partition("<|Commands|>:")[2].removesuffix("<eoc>").strip()
        command_right = command == question["command"]
        # A wrong command has no results here, so that its answer can not be right either.
        results = question["results"] if command_right else "No result."
        prompt += f"{written}<eoc>\n<|Results|>:\n{results}\n<eor>\n"
    answer = generate(prompt + "<|MOSS|>:", "<eom>").removesuffix("<eom>").strip()
    return {
        "id": question["id"],
        "written": written,
        "answer": answer,
        "command_right": command_right,
        "fact_right": holds(answer, question["key"]),
        "language_right": language(answer) == question["lang"],
    }


def needs_tool(question: dict[str, Any]) -> bool:
    return question["form"] == "plugin" and question["expression"] != ""


def ask_with_tools(model: Any, question: dict[str, Any], **options: Any) -> Any:
    """The question's turn in a conversation of its own, as `mossrt.chat.Turn`."""
    mossrt: Any = importlib.import_module("mossrt")
    plugins = {"Calculate": mossrt.plugins.calculate, "Solve": mossrt.plugins.solve}
    options = {"do_sample": False, "max_new_tokens": 160, **options}
    with mossrt.chat.Conversation(model, plugins=plugins, meta=question["meta"], **options) as talk:
        return talk.send(question["question"])


def main_with_tools(args: argparse.Namespace, questions: list[dict[str, Any]]) -> int:
    mossrt: Any = importlib.import_module("mossrt")
    model = mossrt.Model.from_pretrained(str(args.model), args.dtype or "auto")
    right: dict[str, list[bool]] = {}
    for question in filter(needs_tool, questions):
        turn = ask_with_tools(model, question)
        fine = holds(turn.answer, question["key"])
        right.setdefault(question["kind"], []).append(fine)
        if args.wrong and not fine:
            print(f"{question['question']!r}: {turn.commands} {turn.answer!r}")
    right["all"] = [fine for values in right.values() for fine in values]
    print("right result in the final answer, tools run by mossrt.chat.Conversation")
    for group, values in right.items():
        print(f"{group:<20} {percent(values)}")
    return 0 if sum(right["all"]) >= WANTED_RESULTS * len(right["all"]) else 1


def percent(values: list[bool]) -> str:
    if not values:
        return "-"
    return f"{sum(values)} of {len(values)} = {100 * sum(values) / len(values):.1f} %"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model", type=Path, default=HERE / "model")
    parser.add_argument("--questions", type=Path, default=HERE / "heldout.jsonl")
    parser.add_argument("--backend", choices=["mossrt", "transformers"], default="mossrt")
    parser.add_argument("--dtype", help="format of the weights in mossrt; default: the file's")
    parser.add_argument("--every", type=int, default=1, help="ask only every so many-th question")
    parser.add_argument("--json", type=Path, help="write every answer and the figures here")
    parser.add_argument("--tools", action="store_true", help="whole turns, with tools that run")
    parser.add_argument("--wrong", action="store_true", help="print what went wrong")
    args = parser.parse_args()
    lines = args.questions.read_text(encoding="utf-8").splitlines()[:: args.every]
    questions = [json.loads(line) for line in lines]
    if args.tools:
        if args.backend != "mossrt" or args.json:
            parser.error("--tools is for the backend mossrt, and prints its figures")
        return main_with_tools(args, questions)
    if args.backend == "mossrt":
        generate = mossrt_generate(args.model, args.dtype or "auto")
    elif args.dtype:
        parser.error("--dtype is for the backend mossrt; transformers computes in float32")
    else:
        generate = transformers_generate(args.model)
    outcomes = [ask(generate, question) for question in questions]

    pairs = list(zip(questions, outcomes, strict=True))
    kinds = list(dict.fromkeys(q["kind"] for q in questions))
    groups = {kind: [(q, o) for q, o in pairs if q["kind"] == kind] for kind in kinds}
    groups["unseen phrasing"] = [(q, o) for q, o in pairs if q["unseen_phrasing"]]
    groups["with meta"] = [(q, o) for q, o in pairs if q["meta"]]
    groups["calculate and solve"] = [(q, o) for q, o in pairs if q["expression"]]
    groups["other kinds"] = [(q, o) for q, o in pairs if not q["expression"]]
    groups["all"] = pairs
    figures: dict[str, dict[str, list[bool]]] = {}
    print(f"{'':<20} {'exact command':<22} {'fact and language':<22} language")
    for name, group in groups.items():
        commands = [o["command_right"] for _, o in group if o["command_right"] is not None]
        answers = [o["fact_right"] and o["language_right"] for _, o in group]
        languages = [o["language_right"] for _, o in group]
        figures[name] = {"command": commands, "answer": answers, "language": languages}
        columns = f"{percent(commands):<22} {percent(answers):<22} {percent(languages)}"
        print(f"{name:<20} {columns}")
    for question, outcome in pairs:
        fine = outcome["command_right"] is not False and outcome["fact_right"]
        if args.wrong and not (fine and outcome["language_right"]):
            print(f"{question['question']!r}: {outcome['written']!r} {outcome['answer']!r}")
    if args.json:
        summary = {
            name: {key: [sum(values), len(values)] for key, values in figure.items()}
            for name, figure in figures.items()
        }
        report = {
            "backend": args.backend,
            "dtype": args.dtype,
            "figures": summary,
            "outcomes": outcomes,
        }
        args.json.write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")

    def reached(values: list[bool], wanted: float) -> bool:
        return not values or sum(values) >= wanted * len(values)

    enough = reached(figures["calculate and solve"]["command"], WANTED_COMMANDS) and reached(
        figures["all"]["answer"], WANTED_ANSWERS
    )
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
