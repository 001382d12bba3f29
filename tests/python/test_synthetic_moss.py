"""benchmarks/make_synthetic_moss.py: the formats it writes at the size for tests, all sizes counted."""

from __future__ import annotations

import hashlib
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mossrt

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "make_synthetic_moss.py"
FORMATS = ("int4", "int8", "fp16")


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(folder), "--small", *options])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def files(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("form", FORMATS)
def test_equal_arguments_give_equal_bytes(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seed in (("one", "3"), ("two", "3"), ("three", "4")):
        run(monkeypatch, tmp_path / name, "--format", form, "--seed", seed)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert files(tmp_path / "one") != files(tmp_path / "three")
    assert not list(tmp_path.glob("*/*.part"))


@pytest.mark.parametrize(
    ("form", "bits", "total"),
    [("int4", 4, 10_782_999_552), ("int8", 8, 18_543_903_744), ("fp16", 16, 33_578_566_656)],
)
def test_full_size_is_that_of_the_published_files(form: str, bits: int, total: int) -> None:
    """Counted from MOSS's config.json alone; the published files have 10.8, 18.5 and 33.6 GB."""
    hidden, layers, vocab, positions, group = 6144, 34, 107008, 2048, 128
    inner, half, word = 4 * hidden, 2, 4
    matrices = [(3 * hidden, hidden), (hidden, hidden), (inner, hidden), (hidden, inner)]
    layer = sum(outputs * inputs * bits // 8 for outputs, inputs in matrices)
    if form != "fp16":  # a scale and a zero point for each output and group, a group's number
        for outputs, inputs in matrices:
            layer += inputs // group * outputs * half + inputs // group * outputs * bits // 8
            layer += inputs * word
    layer += (2 * hidden + inner + hidden) * half  # the norm, two biases
    layer += positions * positions  # the mask of bytes
    outside = (2 * vocab * hidden + vocab + 2 * hidden) * half
    assert layers * layer + outside == total

    script = runpy.run_path(str(SCRIPT), run_name="make_synthetic_moss")
    listed = list(script["tensors"](script["Size"](), form, act_order=False))
    names = {tensor.name for tensor in listed}
    assert len(names) == len(listed) == layers * (9 if form == "fp16" else 21) + 5
    assert sum(tensor.size() for tensor in listed) == total


@pytest.mark.parametrize("form", FORMATS)
def test_torch_reads_the_published_layout(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch", reason="torch reads what the script wrote")
    run(monkeypatch, tmp_path, "--format", form, "--layers", "1")
    state: dict[str, Any] = {}
    paths = sorted(tmp_path.glob("*.bin"))
    assert len(paths) == (4 if form == "fp16" else 1)
    for path in paths:
        state |= torch.load(path, weights_only=True)
    layer = "transformer.h.0."
    assert state[layer + "attn.causal_mask"].dtype == torch.uint8
    if form == "fp16":
        assert tuple(state[layer + "mlp.fc_out.weight"].shape) == (256, 1024)
        index = json.loads((tmp_path / "pytorch_model.bin.index.json").read_text())
        assert index["weight_map"].keys() == state.keys()
        return
    bits = int(form.removeprefix("int"))
    found = {
        name.removeprefix(layer + "mlp.fc_out."): (str(tensor.dtype), tuple(tensor.shape))
        for name, tensor in state.items()
        if ".fc_out." in name
    }
    assert found == {
        "qweight": ("torch.int32", (1024 * bits // 32, 256)),
        "qzeros": ("torch.int32", (8, 256 * bits // 32)),
        "scales": ("torch.float16", (8, 256)),
        "g_idx": ("torch.int32", (1024,)),
        "bias": ("torch.float16", (256,)),
    }


@pytest.mark.parametrize("options", [("--format", form) for form in FORMATS] + [("--act-order",)])
def test_activations_neither_vanish_nor_grow(
    options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, tmp_path, "--layers", "12", *options)
    model = mossrt.Model.from_pretrained(tmp_path, dtype="float32", threads=2)
    with model.session() as session:
        session.eval(list(range(40, 72)), logits="all", hidden=(0, 11))
        sizes = [float(np.std(session.hidden(layer))) for layer in (0, 11)]
        logits = np.array(session.logits)
    assert np.all(np.isfinite(logits))
    assert 0.5 < sizes[0] < 5
    assert 0.5 < sizes[1] < 20
    assert 0.3 < np.std(logits) < 3
    assert len(set(logits.argmax(axis=-1).tolist())) > 8
