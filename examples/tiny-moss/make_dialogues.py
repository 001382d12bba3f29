"""Writes the synthetic Chinese and English dialogues that the tiny MOSS model is trained on.

The dialogues have the five tagged fields of MOSS's conversation data: the human's words, inner
thoughts, commands, results and the answer. Everything follows from a seed. Expressions and
phrasings are divided by a checksum into those for training and those for the held-out questions,
so the two can never meet; `--check` asserts it on a sample and on the stored file.

  python make_dialogues.py --count 1000 --out dialogues.jsonl   # dialogues, one JSON object a line
  python make_dialogues.py --heldout heldout.jsonl              # the 500 held-out questions
  python make_dialogues.py --check heldout.jsonl                # that nothing of them is trained on
  python make_dialogues.py --heldout-text heldout.txt           # them and their answers as plain text
"""

from __future__ import annotations

import argparse
import json
import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

# isort: split
from phrases import (
    CALC_FRAMES,
    CAPITALS,
    CLOSERS,
    FACT_FRAMES,
    FACTS,
    META_HEAD,
    META_MIDDLE,
    NO_RESULT,
    NO_TOOL,
    OPENERS,
    OPERATOR_WORDS,
    SOLVE_FRAMES,
    SWITCHES,
    TALK,
    THOUGHTS,
)

HELDOUT_ONE_IN = 16  # expressions whose checksum is 0 modulo this are never trained on
HELDOUT_PHRASING_ONE_IN = 10  # the same for phrasings


@dataclass
class Turn:
    """One exchange. `commands` and `results` are without their tags; empty means none."""

    kind: str
    lang: str
    human: str
    answer: str
    phrasing: str
    expression: str = ""
    commands: str = ""
    results: str = ""
    key: str = ""  # what a right answer holds


@dataclass
class Dialogue:
    """Turns in one of three forms: "plugin", "full" (all five fields, no tools) or "plain"."""

    form: str
    meta: str
    turns: list[Turn] = field(default_factory=list)
    dropped_results: int = 0  # results of so many first turns are replaced by None


def _reserved(text: str, one_in: int) -> bool:
    return zlib.crc32(text.encode()) % one_in == 0


def expression_reserved(expression: str) -> bool:
    return _reserved(expression, HELDOUT_ONE_IN)


def phrasing_reserved(phrasing: str) -> bool:
    return _reserved(phrasing, HELDOUT_PHRASING_ONE_IN)


def meta_instruction(enabled: set[str], head: list[str]) -> str:
    lines = [
        f"- {name}: enabled.{api}\n" if name in enabled else f"- {name}: disabled.\n"
        for name, api in SWITCHES
    ]
    return "".join(head) + META_MIDDLE + "".join(lines)


class Generator:
    """Draws turns and dialogues. With `heldout` only reserved expressions are drawn."""

    def __init__(self, seed: int, heldout: bool = False) -> None:
        self.random = random.Random(seed)
        self.heldout = heldout

    def phrase(self, kind: str, lang: str, frames: list[str], unseen: bool) -> tuple[str, str]:
        """A question with its placeholders, and the name of the phrasing."""
        while True:
            opener = self.random.choice(OPENERS[lang])
            frame = self.random.choice(frames)
            closer = self.random.choice(CLOSERS[lang])
            phrasing = f"{kind}|{lang}|{opener}|{frame}|{closer}"
            # A bare frame stays in training: without it a frame could lose its commonest form.
            reserved = bool(opener or closer) and phrasing_reserved(phrasing)
            if reserved != unseen:
                continue
            if lang == "en" and opener and frame[:2] != "I ":
                frame = frame[0].lower() + frame[1:]
            if closer and frame[-1] not in "?.!？。！":
                frame += "." if lang == "en" else "。"
            return opener + frame + closer, phrasing

    def _number(self) -> str:
        return str(self.random.randrange(10 ** self.random.randint(1, 4)))

    def _calculation(self) -> tuple[str, str]:
        """An expression, and its value as the calculator prints it."""
        count = self.random.choice([2, 2, 2, 3])
        text = self._number()
        for _ in range(count - 1):
            text += self.random.choice("+++---***//") + self._number()
        if count == 3 and self.random.random() < 0.15:
            first = min(i for i, c in enumerate(text) if c in "+-*/")
            last = max(i for i, c in enumerate(text) if c in "+-*/")
            left = self.random.random() < 0.5
            text = (
                "(" + text[:last] + ")" + text[last:]
                if left
                else text[: first + 1] + "(" + text[first + 1 :] + ")"
            )
        try:
            return text, repr(eval(text))  # digits and operators written above
        except ZeroDivisionError:
            return text, ""

    def calc(self, lang: str, unseen: bool) -> Turn:
        while True:
            text, value = self._calculation()
            if expression_reserved(text) != self.heldout:
                continue
            if value == "" and (self.heldout or self.random.random() < 0.5):
                continue
            break
        style = self.random.random()
        spoken = text
        if style < 0.3 and "(" not in text:
            for symbol, (english, chinese) in OPERATOR_WORDS.items():
                spoken = spoken.replace(symbol, f" {english} " if lang == "en" else chinese)
        elif style < 0.55:
            for symbol in "+-*/":
                spoken = spoken.replace(symbol, f" {symbol} ")
        if style > 0.85 or 0.5 < style < 0.55:
            spoken = spoken.replace("*", "×").replace("/", "÷")
        question, phrasing = self.phrase("calc", lang, CALC_FRAMES[lang], unseen)
        command = f'Calculate("{text}")'
        answer = f"The result is {value}." if lang == "en" else f"结果是{value}。"
        return Turn(
            kind="calc",
            lang=lang,
            human=question.format(n=spoken),
            answer=answer if value else NO_RESULT[lang],
            phrasing=phrasing,
            expression=text,
            commands=command,
            results=f"{command} => '{value}'" if value else f"{command} => No result.",
            key=value,
        )

    def solve(self, lang: str, unseen: bool) -> Turn:
        r = self.random
        while True:
            v = r.choice("xxxxyyz")
            a = r.randrange(2, 10 ** r.randint(1, 2))
            b = r.randrange(1, 10 ** r.randint(1, 3))
            c = r.randrange(0, 10 ** r.randint(1, 3))
            shape = r.randrange(6)
            if shape == 0:
                text, root = f"{v}+{b}={c}", Fraction(c - b)
            elif shape == 1:
                text, root = f"{a}{v}={c}", Fraction(c, a)
            elif shape == 2:
                text, root = f"{a}{v}-{b}={c}", Fraction(c + b, a)
            elif shape == 3:
                d = r.randrange(1, 10)
                if d == a:
                    continue
                text, root = f"{a}{v}+{b}={d}{v}+{c}", Fraction(c - b, a - d)
                text = text.replace(f"=1{v}", f"={v}")
            else:
                text, root = f"{a}{v}+{b}={c}", Fraction(c - b, a)
            if expression_reserved(text) == self.heldout:
                break
        spoken = text
        if r.random() < 0.4:
            for symbol in "+-=":
                spoken = spoken.replace(symbol, f" {symbol} ")
        question, phrasing = self.phrase("solve", lang, SOLVE_FRAMES[lang], unseen)
        command = f'Solve("{text}")'
        return Turn(
            kind="solve",
            lang=lang,
            human=question.format(n=spoken, v=v),
            answer=f"The solution is {v} = {root}."
            if lang == "en"
            else f"方程的解是{v} = {root}。",
            phrasing=phrasing,
            expression=text,
            commands=command,
            results=f"{command} =>\n{v} = {root}",
            key=f"{v} = {root}",
        )

    def fact(self, lang: str, unseen: bool) -> Turn:
        r = self.random
        if r.random() < 0.6:
            country, country_zh, city, city_zh = r.choice(CAPITALS)
            noun = f"the capital of {country}" if lang == "en" else f"{country_zh}的首都"
            key = city if lang == "en" else city_zh
        else:
            english, chinese, key_en, key_zh = r.choice(FACTS)
            noun = english if lang == "en" else chinese
            key = key_en if lang == "en" else key_zh
        question, phrasing = self.phrase("fact", lang, FACT_FRAMES[lang], unseen)
        question = question.format(n=noun)
        noun = noun[0].upper() + noun[1:]
        answer = f"{noun} is {key}." if lang == "en" else f"{noun}是{key}。"
        return Turn("fact", lang, question[0].upper() + question[1:], answer, phrasing, key=key)

    def talk(self, kind: str, lang: str, unseen: bool) -> Turn:
        _, ways, answer = self.random.choice(TALK[kind][lang])
        question, phrasing = self.phrase(kind, lang, ways, unseen)
        return Turn(kind, lang, question, answer, phrasing, key=answer)

    def turn(self, kind: str, lang: str, unseen: bool = False) -> Turn:
        if kind == "calc":
            return self.calc(lang, unseen)
        if kind == "solve":
            return self.solve(lang, unseen)
        if kind == "fact":
            return self.fact(lang, unseen)
        return self.talk(kind, lang, unseen)

    def meta(self, form: str, needed: set[str]) -> str:
        r = self.random
        enabled: set[str] = set()
        if form == "plugin":
            enabled = {"Inner thoughts", *needed}
            for name, api in SWITCHES:
                if api and r.random() < (
                    0.5 if name in ("Calculator", "Equation solver") else 0.15
                ):
                    enabled.add(name)
        head = META_HEAD
        if r.random() < 0.25:
            head = [line for line in META_HEAD if r.random() < 0.7]
        return meta_instruction(enabled, head)

    def noise(self, text: str) -> str:
        """Slips of the keyboard that leave the meaning."""
        x = self.random.random()
        if x < 0.06:
            return text.lower()
        if x < 0.12:
            return text.rstrip("?.!？。！")
        if x < 0.14:
            return text.replace(" ", "  ", 1)
        if x < 0.15:
            return text + " "
        return text

    def dialogue(self) -> Dialogue:
        r = self.random
        x = r.random()
        form = "plain" if x < 0.25 else "full" if x < 0.35 else "plugin"
        dialogue = Dialogue(form, "")
        mixed = r.random() < 0.3
        lang = r.choice(["en", "zh"])
        needed: set[str] = set()
        for _ in range(r.choice([1, 1, 1, 1, 1, 2, 2, 2, 3, 4])):
            if mixed:
                lang = r.choice(["en", "zh"])
            if form == "plugin":
                kinds = ["calc"] * 11 + ["solve"] * 5 + ["fact"] * 4
            else:
                kinds = ["calc", "solve"] + ["fact"] * 10
            kind = r.choice([*kinds, "small", "identity", "refusal"])
            turn = self.turn(kind, lang)
            turn.human = self.noise(turn.human)
            if form != "plugin" and kind in ("calc", "solve"):
                turn.answer, turn.commands, turn.results = NO_TOOL[lang], "", ""
            needed |= {{"calc": "Calculator", "solve": "Equation solver"}.get(kind, "")} - {""}
            dialogue.turns.append(turn)
            assert not expression_reserved(turn.expression or "-")
        if r.random() < 0.2:
            dialogue.meta = self.meta(form, needed)
        if r.random() < 0.2:
            dialogue.dropped_results = r.randrange(len(dialogue.turns))
        return dialogue


def turn_fields(dialogue: Dialogue, index: int) -> list[tuple[str, str]]:
    """The tagged fields of a turn, in order, under the names MOSS's data has for them."""
    turn = dialogue.turns[index]
    human = ("Human", f"<|Human|>: {turn.human}<eoh>\n")
    answer = ("MOSS", f"<|MOSS|>: {turn.answer}<eom>\n")
    if dialogue.form == "plain":
        return [human, answer]
    if dialogue.form == "full":
        thoughts, commands, results = " None", " None", " None"
    else:
        thoughts = " " + THOUGHTS[turn.lang][turn.kind]
        commands = " " + (turn.commands or "None")
        results = f"\n{turn.results or 'None'}\n"
        if index < dialogue.dropped_results:
            results = " None"
    return [
        human,
        ("Inner Thoughts", f"<|Inner Thoughts|>:{thoughts}<eot>\n"),
        ("Commands", f"<|Commands|>:{commands}<eoc>\n"),
        ("Tool Responses", f"<|Results|>:{results}<eor>\n"),
        answer,
    ]


def dialogue_json(dialogue: Dialogue, number: int) -> dict[str, Any]:
    return {
        "conversation_id": number,
        "meta_instruction": dialogue.meta,
        "num_turns": len(dialogue.turns),
        "category": [dialogue.form],
        "chat": {
            f"turn_{i + 1}": dict(turn_fields(dialogue, i)) for i in range(len(dialogue.turns))
        },
    }


# How many held-out questions of each kind; half of each in each language.
HELDOUT_COUNTS = {
    "calc": 240,
    "solve": 100,
    "fact": 100,
    "small": 24,
    "identity": 24,
    "refusal": 12,
}


def heldout_questions(seed: int = 2023) -> Iterator[dict[str, Any]]:
    """The held-out questions: every fifth has a phrasing that training never draws."""
    generator = Generator(seed, heldout=True)
    r = generator.random
    number = 0
    for kind, count in HELDOUT_COUNTS.items():
        seen: set[str] = set()
        while len(seen) < count:
            lang = ("en", "zh")[len(seen) % 2]
            unseen = len(seen) // 2 % 5 == 0
            turn = generator.turn(kind, lang, unseen)
            name = turn.expression or turn.human
            if name in seen:
                continue
            seen.add(name)
            tool = kind in ("calc", "solve")
            form = "plugin" if tool or r.random() < 0.5 else "plain"
            needed = {"Calculator", "Equation solver"}
            has_meta = form == "plugin" and r.random() < 0.2
            enabled = {"Inner thoughts", *needed}
            yield {
                "id": number,
                "kind": kind,
                "lang": lang,
                "form": form,
                "meta": meta_instruction(enabled, META_HEAD) if has_meta else "",
                "question": turn.human,
                "unseen_phrasing": unseen,
                "phrasing": turn.phrasing,
                "expression": turn.expression,
                "command": turn.commands or "None",
                "results": turn.results or "None",
                "answer": turn.answer,
                "key": turn.key,
            }
            number += 1


# Stands between the dialogues of a text; no dialogue holds it.
SEPARATOR = "<|endoftext|>"


def heldout_text() -> str:
    """The held-out questions with their answers, as dialogues of one turn in MOSS's protocol.

    Those with a meta instruction are left out: it bears no loss, so that no model predicts it.
    """
    dialogues = []
    for q in heldout_questions():
        if q["meta"]:
            continue
        turn = Turn(
            kind=q["kind"],
            lang=q["lang"],
            human=q["question"],
            answer=q["answer"],
            phrasing=q["phrasing"],
            commands="" if q["command"] == "None" else q["command"],
            results="" if q["results"] == "None" else q["results"],
        )
        fields = turn_fields(Dialogue(q["form"], "", [turn]), 0)
        dialogues.append("".join(text for _, text in fields))
    return SEPARATOR.join(dialogues)


def check(path: Path, seed: int, count: int) -> None:
    """Asserts that no expression and no unseen phrasing of the file is among `count` dialogues."""
    questions = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert questions == list(heldout_questions()), f"{path} is not what this program writes"
    expressions = {q["expression"] for q in questions if q["expression"]}
    phrasings = {q["phrasing"] for q in questions if q["unseen_phrasing"]}
    assert len(questions) == sum(HELDOUT_COUNTS.values())
    assert sum(q["unseen_phrasing"] for q in questions) * 5 >= len(questions)
    generator = Generator(seed)
    for _ in range(count):
        for turn in generator.dialogue().turns:
            assert turn.expression not in expressions, turn
            assert turn.phrasing not in phrasings, turn
    print(
        f"{len(questions)} questions, {len(expressions)} expressions and {len(phrasings)} phrasings:"
        f" none of them in {count} training dialogues"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=1000, help="dialogues to write or to check")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write dialogues here")
    parser.add_argument("--heldout", type=Path, help="write the held-out questions here")
    parser.add_argument("--heldout-text", type=Path, help="write them as dialogues here")
    parser.add_argument("--check", type=Path, help="check these held-out questions")
    args = parser.parse_args()
    if args.out:
        generator = Generator(args.seed)
        with args.out.open("w", encoding="utf-8") as out:
            for i in range(args.count):
                record = dialogue_json(generator.dialogue(), i + 1)
                out.write(json.dumps(record, ensure_ascii=False) + "\n")
    if args.heldout:
        with args.heldout.open("w", encoding="utf-8") as out:
            for question in heldout_questions():
                out.write(json.dumps(question, ensure_ascii=False) + "\n")
    if args.heldout_text:
        args.heldout_text.write_text(heldout_text(), encoding="utf-8")
    if args.check:
        check(args.check, args.seed, args.count)


if __name__ == "__main__":
    main()
