"""Contract 1: the bits of the logits depend on the checkpoint, the tokens and the dtype only.

Not on threads, on how the sequence was cut, on rewinds and forks, nor on the instruction set.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference_data
from reference_data import NAMES

LENGTH = 530  # beyond two KV blocks of 256 tokens
DTYPES = ("float32", "float16")  # bfloat16's level may follow the instruction set

Bits = bytes


@functools.cache
def model(name: str, dtype: str, threads: int) -> Any:
    return reference_data.open_model(name, dtype=dtype, threads=threads)


@functools.cache
def tokens(name: str) -> tuple[int, ...]:
    return tuple(reference_data.load(name).ids[:LENGTH])


def bits(logits: np.ndarray) -> Bits:
    assert logits.dtype == np.float32
    return np.ascontiguousarray(logits).tobytes()


def eval_in_chunks(session: Any, ids: tuple[int, ...], chunk: int) -> list[Bits]:
    """One entry per token."""
    rows: list[Bits] = []
    for start in range(0, len(ids), chunk):
        session.eval(list(ids[start : start + chunk]), logits="all")
        rows += [bits(row) for row in session.logits]
    return rows


@functools.cache
def expected(name: str, dtype: str) -> list[Bits]:
    """Logits of every position: one thread, one chunk."""
    with model(name, dtype, 1).session() as session:
        return eval_in_chunks(session, tokens(name), LENGTH)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("chunk", [LENGTH, 256, 100, 17, 1])
def test_threads_and_chunks(name: str, dtype: str, threads: int, chunk: int) -> None:
    with model(name, dtype, threads).session() as session:
        assert eval_in_chunks(session, tokens(name), chunk) == expected(name, dtype)


@pytest.mark.parametrize("name", NAMES)
def test_rows_wanted_do_not_matter(name: str) -> None:
    for dtype in DTYPES:
        with model(name, dtype, 2).session() as session:
            session.eval(list(tokens(name)[:300]), logits="none")
            session.eval(list(tokens(name)[300:]), logits="last", hidden=(0, 1))
            assert bits(session.logits[-1]) == expected(name, dtype)[-1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kept", [0, 1, 255, 256, 257, 529])
def test_rewind_over_other_tokens(name: str, kept: int) -> None:
    ids = tokens(name)
    other = tuple(reversed(ids))
    with model(name, "float32", 2).session() as session:
        session.eval(list(ids[:kept] + other[kept:]), logits="none")
        session.rewind(kept)
        assert [int(token) for token in session.tokens] == list(ids[:kept])
        assert eval_in_chunks(session, ids[kept:], 97) == expected(name, "float32")[kept:]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kept", [1, 255, 256, 300])
def test_forks_do_not_touch_each_other(name: str, kept: int) -> None:
    ids = tokens(name)
    other = tuple(reversed(ids))
    with model(name, "float32", 2).session() as first:
        first.eval(list(ids[:kept]), logits="none")
        with first.fork() as second:
            second.eval(list(other[kept:]), logits="last")
            diverged = bits(second.logits[-1])
            assert eval_in_chunks(first, ids[kept:], 64) == expected(name, "float32")[kept:]
            second.rewind(kept)
            assert eval_in_chunks(second, ids[kept:], 33) == expected(name, "float32")[kept:]
        assert diverged != expected(name, "float32")[-1]


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, int]]:
    """Steps of a session: evaluate n tokens, go back to position n, continue in a fork."""
    step = st.one_of(
        st.tuples(st.just("eval"), st.integers(1, 200)),
        st.tuples(st.just("rewind"), st.integers(0, LENGTH)),
        st.tuples(st.just("fork"), st.just(0)),
    )
    return draw(st.lists(step, min_size=1, max_size=10))


@settings(max_examples=40)
@given(
    name=st.sampled_from(NAMES),
    dtype=st.sampled_from(DTYPES),
    threads=st.integers(1, 3),
    history=histories(),
)
def test_any_history(name: str, dtype: str, threads: int, history: list[tuple[str, int]]) -> None:
    ids, truth = tokens(name), expected(name, dtype)
    session = model(name, dtype, threads).session()
    sessions = [session]
    position = 0
    for action, amount in history:
        if action == "eval":
            part = ids[position : position + amount]
            if part:
                session.eval(list(part), logits="all")
                rows = [bits(row) for row in session.logits]
                assert rows == truth[position : position + len(part)]
                position += len(part)
        elif action == "rewind":
            position = min(position, amount)
            session.rewind(position)
        else:
            session = session.fork()
            sessions.append(session)
        assert len(session.tokens) == position
    for one in sessions:
        with one:
            pass


def isa_levels() -> list[str]:
    """What MOSSRT_ISA can be forced to on this machine, as the kernel describes the processor."""
    if platform.machine() in ("aarch64", "arm64"):
        return ["scalar", "neon"]
    flags: set[str] = set()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        flags = set(next((line for line in lines if line.startswith("flags")), "").split())
    levels = ["scalar"]
    if {"avx2", "fma", "f16c"} <= flags:
        levels.append("avx2")
        if {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= flags:
            levels.append("avx512")
    return levels


def digest(name: str, dtype: str) -> str:
    return hashlib.sha256(b"".join(expected(name, dtype))).hexdigest()


@pytest.mark.parametrize("level", isa_levels())
def test_instruction_sets(level: str) -> None:
    """A process of its own per level, since the kernels are chosen once."""
    program = (
        "import test_properties as t\n"
        "for name in t.NAMES:\n"
        "    for dtype in t.DTYPES:\n"
        "        print(name, dtype, t.digest(name, dtype))\n"
    )
    paths = [str(Path(__file__).resolve().parent), *filter(None, sys.path)]
    environment = os.environ | {"MOSSRT_ISA": level, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = done.stdout.split("\n")[:-1]
    assert found == [f"{n} {d} {digest(n, d)}" for n in NAMES for d in DTYPES]
