"""The tokens of a turn, and turns that are written anew."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import mossrt
from mossrt.chat import Conversation
from test_chat import trained


def talk(**options: Any) -> Conversation:
    options = {"do_sample": False, "top_logprobs": 4, "meta": ""} | options
    return Conversation(trained(), **options)


def text_of(ids: list[int]) -> str:
    return trained().tokenizer.decode(np.array(ids, np.int32))


def test_tokens_are_what_the_model_wrote() -> None:
    with talk(plugins={"Calculate": mossrt.plugins.calculate}) as one:
        turn = one.send("What is 12 * 34?")
        written = {
            field: text_of([token.token for token in one.tokens if token.field == field])
            for field in ("thought", "command", "answer")
        }
        assert written == {
            "thought": f" {turn.thoughts}<eot>",
            "command": ' Calculate("12*34")<eoc>',
            "answer": " The result is 408.<eom>",
        }
        assert [t.finish_reason for t in one.tokens].count("stop_token") == 3
        assert one.stats.new_tokens == len(one.tokens)
        # Against the logits of a session that is given the same ids.
        ids = one.ids.tolist()
        first = next(i for i, token in enumerate(one.tokens) if token.field == "answer")
        last = len(ids) - 1 - ids[::-1].index(one.tokens[-1].token)
        count = len(one.tokens) - first
        with trained().session() as session:
            session.eval(ids[: last + 1], logits="all")
            rows = session.logits.astype(np.float64)[last - count : last]
        rows -= np.log(np.exp(rows - rows.max(1, keepdims=True)).sum(1, keepdims=True))
        rows -= rows.max(1, keepdims=True)
        for token, row in zip(one.tokens[first:], rows, strict=True):
            assert token.top[0].token == row.argmax() == token.token
            assert token.logprob == token.top[0].logprob
            ratio = token.top[1].logprob - token.top[0].logprob
            assert ratio == pytest.approx(row[token.top[1].token], abs=1e-3)


def test_a_branch_keeps_what_came_before() -> None:
    runs: list[str] = []

    def count(expression: str) -> str:
        runs.append(expression)
        return "408"

    with talk(plugins={"Calculate": count}) as one:
        one.send("Hello!")
        before = one.ids
        turn = one.send("What is 12 * 34?")
        tokens = one.tokens
        at = next(i for i, token in enumerate(tokens) if token.field == "answer")
        other = int(trained().tokenizer.encode(" solution")[0])
        events = list(one.branch(at + 1, other))
        new = one.turn
        assert new is not None
        assert new.answer.startswith("The solution")
        assert (new.thoughts, new.commands) == (turn.thoughts, turn.commands)
        assert runs == ["12*34"]  # its result was kept
        assert one.tokens[: at + 1] == tokens[: at + 1]
        assert one.tokens[at + 1].token == other
        assert np.array_equal(one.ids[: len(before)], before)
        assert len(one.info["turns"]) == 2
        assert "".join(e.text for e in events if e.type == "answer") == new.answer
        # The same as a model says after exactly these ids.
        ids = one.ids.tolist()
        answer = [token.token for token in one.tokens[at:]]
        start = next(i for i in range(len(before), len(ids)) if ids[i : i + len(answer)] == answer)
        end = trained().tokenizer.token_id("<eom>")
        rest = trained().generate(ids[: start + 2], do_sample=False, eos_token_id=[end])
        assert rest.ids.tolist() == answer[2:]
        # Before the commands: then they run once more.
        list(one.branch(0, tokens[0].token))
        assert runs == ["12*34", "12*34"]
        assert one.turn == turn


def test_a_branch_may_end_a_field() -> None:
    with talk(plugins={"Calculate": mossrt.plugins.calculate}) as one:
        one.send("What is 12 * 34?")
        end = next(t.token for t in one.tokens if t.finish_reason == "stop_token")
        list(one.branch(3, end))
        assert one.turn is not None
        assert one.turn.thoughts == "This is arithmetic"
        assert one.turn.answer


def test_the_limit_of_new_tokens_is_repeated() -> None:
    with talk(plugins={"Calculate": mossrt.plugins.calculate}, max_new_tokens=4) as one:
        one.send("What is 12 * 34?")
        tokens = one.tokens
        list(one.branch(len(tokens) - 1, tokens[-1].token))
        assert [t.token for t in one.tokens][: len(tokens)] == [t.token for t in tokens]
        assert one.turn is not None
        assert [field for field, _ in one.turn.repairs][:2] == ["thoughts", "commands"]


def test_again_draws_others() -> None:
    with talk(do_sample=True, temperature=1.8, top_p=1.0, seed=5) as one:
        first = one.send("Who are you?")
        said = [first.answer]
        for _ in range(3):
            list(one.again())
            assert one.turn is not None
            said.append(one.turn.answer)
        assert len(set(said)) > 1
        assert len(one.info["turns"]) == 1
        one.undo()
        assert one.send("Who are you?").answer == first.answer


def test_nothing_to_write_anew() -> None:
    with talk() as one:
        assert one.tokens == ()
        with pytest.raises(ValueError, match="no turn"):
            one.branch(0, 1)
        with pytest.raises(ValueError, match="no turn"):
            one.again()
        one.send("Hello!")
        with pytest.raises(IndexError, match="found index 999"):
            one.branch(999, 1)
        with pytest.raises(ValueError, match="token 99999999 is not one"):
            one.branch(0, 99999999)
        assert math.isfinite(sum(token.logprob or 0.0 for token in one.tokens))
        one.undo()
        assert one.tokens == ()


def test_a_turn_that_was_taken_back_takes_no_other_along() -> None:
    with talk(plugins={"Calculate": mossrt.plugins.calculate}) as one:
        one.send("Hello!")
        events = one.stream("What is 3 + 4?")
        for _ in range(3):
            next(events)
        events.close()  # type: ignore[attr-defined]
        assert one.turn is not None
        assert one.turn.taken_back
        list(one.again())
        assert [turn["human"] for turn in one.info["turns"]] == ["Hello!", "What is 3 + 4?"]


def state(one: Conversation) -> tuple[Any, ...]:
    return one.turn, one.tokens, one.stats, one.ids.tolist(), one.info["turns"]


def stopped() -> mossrt.Monitor:
    monitor = mossrt.Monitor()
    monitor.cancel()
    return monitor


@pytest.mark.parametrize("how", ["cancelled", "left", "never begun", "does not fit"])
def test_what_ends_before_anything_new_leaves_the_old_turn(how: str) -> None:
    with talk(plugins={"Calculate": mossrt.plugins.calculate}) as one:
        one.send("Hello!")
        one.send("What is 12 * 34?")
        before = state(one)
        answer = next(i for i, token in enumerate(one.tokens) if token.field == "answer")
        other = one.tokens[answer + 2].top[1].token
        monitor = stopped() if how == "cancelled" else None
        for begin in (
            lambda: one.again(monitor=monitor),
            lambda: one.again("What is 3 + 4?", monitor=monitor),
            lambda: one.branch(answer + 2, other, monitor=monitor),
        ):
            if how == "cancelled":
                list(begin())
            elif how == "left":
                events = begin()
                next(events)
                events.close()  # type: ignore[attr-defined]
            elif how == "never begun":
                begin()
                list(one.again(monitor=stopped()))
            else:
                with pytest.raises(mossrt.ContextFull):
                    one.again("so many words " * 3000)
            assert state(one) == before
        # And it goes on as if nothing had happened.
        new = one.send("What is 3 + 4?")
        assert "7" in new.answer
        assert [turn["human"] for turn in one.info["turns"]] == [
            "Hello!", "What is 12 * 34?", "What is 3 + 4?",
        ]  # fmt: skip
    with talk(plugins={"Calculate": mossrt.plugins.calculate}) as two:
        for text in ("Hello!", "What is 12 * 34?", "What is 3 + 4?"):
            two.send(text)
        assert two.turn == new


def test_another_text_in_the_place_of_the_last_one() -> None:
    with talk() as one:
        one.send("Hello!")
        one.send("What is 12 * 34?")
        list(one.again("Who are you?"))
        assert [turn["human"] for turn in one.info["turns"]] == ["Hello!", "Who are you?"]
        # A question that was taken back is no turn: nothing else goes away.
        list(one.stream("What is 3 + 4?", monitor=stopped()))
        list(one.again("Hello!"))
        assert [turn["human"] for turn in one.info["turns"]] == ["Hello!", "Who are you?", "Hello!"]


def test_what_came_of_a_new_answer_stays() -> None:
    with talk() as one:
        one.send("Hello!")
        old = one.turn
        events = one.again()
        while next(events).type != "answer":
            pass
        events.close()  # type: ignore[attr-defined]
        assert one.turn is not None
        assert one.turn != old
        assert (one.turn.ended, one.turn.taken_back) == ("cancelled", False)


def test_undo_takes_back_one_turn_though_nobody_took_its_events() -> None:
    with talk() as one:
        one.send("Hello!")
        one.stream("Who are you?")
        one.undo()
        one.send("What is 3 + 4?")
        assert [turn["human"] for turn in one.info["turns"]] == ["Hello!", "What is 3 + 4?"]
