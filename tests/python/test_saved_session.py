"""Session.save and Model.restore_session: bits, other processes, the format as its page has it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mossrt
from conftest import LLAMA, MOSS

IDS = [14, 15, 16, 200, 351]
KV = ["float32", "bfloat16", "int8"]


def same(a: Any, b: Any) -> bool:
    return bool(a.tobytes() == b.tobytes())


@pytest.mark.parametrize("kv_dtype", KV)
@pytest.mark.parametrize("as_file", [True, False])
def test_goes_on_to_the_bit(
    model: mossrt.Model, kv_dtype: str, as_file: bool, tmp_path: Path
) -> None:
    with model.session(kv_dtype=kv_dtype, context=300) as session:
        session.eval(IDS)
        session.generate(None, 270, True, 3, eos_token_id=[])  # its last token is not evaluated
        if as_file:
            session.save(tmp_path / "s")
            restored = model.restore_session(tmp_path / "s")
        else:
            restored = model.restore_session(session.save_bytes())
        assert same(restored.tokens, session.tokens)
        assert restored.info["context"] == 300
        assert restored.info["numerics"] == session.info["numerics"]
        for one in (session, restored):
            one.eval([7, 8], logits="all")
        assert same(restored.logits, session.logits)
        for one in (session, restored):
            one.rewind(100)
        answers = [one.generate("a", 20, True, 5).ids for one in (session, restored)]
        assert same(*answers)
        assert restored.save_bytes() == session.save_bytes()


def test_bytes_of_any_kind(model: mossrt.Model) -> None:
    with model.session() as session:
        session.eval(IDS)
        saved = session.save_bytes()
        for kind in (bytes, bytearray, memoryview):
            assert same(model.restore_session(kind(saved)).logits, session.logits)
        with pytest.raises(TypeError, match="must be a string or a path, found int"):
            model.restore_session(5)  # type: ignore[arg-type]


def test_what_does_not_come_along(model: mossrt.Model) -> None:
    seen = []
    with model.session() as session:
        session.eval(IDS, logits="all", hidden=(0,))
        session.hook("resid", lambda call: seen.append(call.layer), layer=0)
        restored = model.restore_session(session.save_bytes())
        assert same(restored.logits, session.logits[-1:])
        with pytest.raises(mossrt.Error, match="hidden"):
            restored.hidden(0)
        restored.eval([1])
        assert seen == []
        session.save_bytes()
        session.eval([1])
        assert seen == [0]


def test_errors_are_pythons(model: mossrt.Model, tmp_path: Path) -> None:
    with model.session() as session:
        session.eval(IDS)
        saved = session.save_bytes()
        with pytest.raises(FileNotFoundError):
            session.save(tmp_path / "none" / "s")
        (tmp_path / "notes").write_text("mine")
        with pytest.raises(ValueError, match="not replaced"):
            session.save(tmp_path / "notes")
    with pytest.raises(ValueError, match="closed"):
        session.save(tmp_path / "s")
    with pytest.raises(FileNotFoundError):
        model.restore_session(tmp_path / "s")
    with pytest.raises(mossrt.Error, match="checksum") as caught:
        model.restore_session(saved[:-1] + bytes([saved[-1] ^ 1]))
    assert caught.value.code == mossrt.Code.FORMAT
    with pytest.raises(ValueError, match=r"another model.*architecture=moss.*architecture=llama"):
        mossrt.Model.from_pretrained(LLAMA).restore_session(saved)
    with pytest.raises(ValueError, match=r"dtype=float16.*dtype=int8"):
        mossrt.Model.from_pretrained(MOSS, dtype="int8").restore_session(saved)


def test_progress_and_cancel(model: mossrt.Model, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []

    def see(stage: str, done: int, total: int) -> None:
        seen.append((stage, done, total))

    def stop(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "s"
    cancelled = mossrt.Monitor()
    cancelled.cancel()
    with model.session() as session:
        session.eval(IDS)
        for error, monitor in (
            (mossrt.Cancelled, lambda: cancelled),
            (KeyboardInterrupt, lambda: mossrt.Monitor(stop)),
        ):
            with pytest.raises(error):
                session.save(path, monitor=monitor())
            with pytest.raises(error):
                session.save_bytes(monitor=monitor())
            assert list(tmp_path.iterdir()) == []
        session.save(path, progress=see)
        saved = session.save_bytes(progress=see)
        assert path.read_bytes() == saved
        assert seen.count(("save", len(saved), len(saved))) == 2
        for given in (path, saved):
            with pytest.raises(mossrt.Cancelled):
                model.restore_session(given, monitor=cancelled)
            with pytest.raises(KeyboardInterrupt):
                model.restore_session(given, progress=stop)
            seen.clear()
            with model.restore_session(given, progress=see) as restored:
                assert same(restored.logits, session.logits)
            assert seen[-1] == ("restore", len(saved), len(saved))
        link = tmp_path / "link"
        link.symlink_to("s")
        session.save(link)
        assert link.is_symlink()


def test_many_threads_ask_for_the_fingerprint_at_once() -> None:
    model = mossrt.Model.from_pretrained(MOSS, threads=2)
    results: list[bytes] = []

    def work() -> None:
        with model.session() as session:
            session.eval(IDS)
            results.append(session.save_bytes())

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 6
    assert len(set(results)) == 1


SAVE = """
import sys, mossrt
model = mossrt.Model.from_pretrained(sys.argv[1], dtype=sys.argv[2], threads=int(sys.argv[3]))
session = model.session(kv_dtype=sys.argv[4])
session.eval([14, 15, 16] * 90)
session.save(sys.argv[5])
session.eval([1, 2], logits="all")
sys.stdout.buffer.write(session.logits.tobytes())
"""
RESTORE = """
import sys, mossrt
model = mossrt.Model.from_pretrained(sys.argv[1], dtype=sys.argv[2], threads=int(sys.argv[3]))
session = model.restore_session(sys.argv[5])
session.save(sys.argv[5] + ".again")
session.eval([1, 2], logits="all")
sys.stdout.buffer.write(session.logits.tobytes())
"""


def run(program: str, isa: str, *arguments: object) -> tuple[bytes, str]:
    """What the program prints, or its error."""
    result = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, "MOSSRT_ISA": isa},
        capture_output=True,
        timeout=300,
        check=False,
    )
    return result.stdout, result.stderr.decode()


@pytest.mark.parametrize("dtype", ["float32", "int4"])
@pytest.mark.parametrize("kv_dtype", KV)
def test_another_process_instruction_set_and_number_of_threads(
    dtype: str, kv_dtype: str, tmp_path: Path
) -> None:
    """Contract 1 (docs/numerics.md) holds across saving."""
    tables = mossrt.doctor(bandwidth=False)["kernel_tables"]
    arguments = [kv_dtype, tmp_path / "s"]
    wanted, error = run(SAVE, "scalar", MOSS, dtype, 1, *arguments)
    assert error == ""
    tried = 0
    for name in [table["name"] for table in tables if table["available"]]:
        found, error = run(RESTORE, name, MOSS, dtype, 3, *arguments)
        if kv_dtype == "bfloat16" and "bf16" in name:  # its instruction is another setting
            assert "bf16=fma" in error
            assert "bf16=vdpbf16ps" in error
            continue
        assert (found, error) == (wanted, ""), name
        assert (tmp_path / "s.again").read_bytes() == (tmp_path / "s").read_bytes(), name
        tried += 1
    assert tried > 0


@pytest.mark.parametrize("kv_dtype", KV)
def test_the_format_is_the_one_of_its_page(model: mossrt.Model, kv_dtype: str) -> None:
    """Reads the bytes as docs/saved-session.md describes them, and finds what hooks have seen."""
    sizes = model.info["hyper_params"]
    layers, heads, width = sizes["layers"], sizes["kv_heads"], sizes["head_dim"]
    values: list[Any] = [None] * layers

    def keep(call: mossrt.HookCall) -> None:
        assert call.layer is not None
        values[call.layer] = call.values.reshape(-1, heads, width)

    tokens = np.arange(270, dtype=np.int32)
    with model.session(kv_dtype=kv_dtype, context=400, prefill_chunk=512) as session:
        session.hook("v", keep)
        session.eval(tokens)
        saved = session.save_bytes()
        logits = session.logits
        numerics = session.info["numerics"]

    assert saved[:8] == b"\x8bMOSSSN\n"
    assert np.frombuffer(saved, "<u4", 2, 8).tolist() == [1, KV.index(kv_dtype)]
    numbers = np.frombuffer(saved, "<u8", 11, 16).tolist()
    probe, shape_bytes, numerics_bytes = numbers[8:]
    assert numbers[:8] == [len(saved), layers, heads, width, 400, 270, 270, sizes["vocab"]]
    assert probe == sizes["hidden"] + 64
    at = 104

    def take(kind: Any, count: int) -> Any:
        nonlocal at
        found = np.frombuffer(saved, kind, count, at)
        at += found.nbytes
        return found

    assert take("<i4", 270).tolist() == tokens.tolist()
    assert np.isfinite(take("<f4", probe)).all()
    assert same(take("<f4", sizes["vocab"]), logits[0])
    assert b"architecture=moss" in take("u1", shape_bytes).tobytes()
    assert take("u1", numerics_bytes).tobytes().decode() == numerics
    at += 8
    row: Any = {
        "float32": np.dtype(("<f4", width)),
        "bfloat16": np.dtype(("<u2", width)),
        "int8": np.dtype([("values", "u1", width), ("scale", "<f4")]),
    }[kv_dtype]
    cache = np.frombuffer(saved, row, layers * heads * 2 * 270, at)
    assert at + cache.nbytes + 8 == len(saved)
    if kv_dtype == "float32":
        held = cache
    elif kv_dtype == "bfloat16":
        held = (cache.astype("<u4") << 16).view("<f4")
    else:
        held = (cache["values"].astype("<f4") - 128) * cache["scale"][..., None]
    held = held.reshape(layers, heads, 2, 270, width)[:, :, 1]
    true = np.stack(values).transpose(0, 2, 1, 3)
    step = {"float32": 0.0, "bfloat16": 2.0**-8, "int8": 0.5 / 127}[kv_dtype]
    largest = np.abs(true).max(axis=-1, keepdims=True)
    assert (np.abs(held - true) <= step * largest * 1.001).all()
