"""mossrt against the float64 references of tests/data/models, and these against their scripts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference_data
from reference_data import GPTQ_NAMES, NAMES, Reference

SCRIPTS = Path(__file__).resolve().parent.parent / "references"


@pytest.fixture(scope="module", params=NAMES)
def opened(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Reference]]:
    return (
        reference_data.open_model(request.param, dtype="float32"),
        reference_data.load(request.param),
    )


def largest(ours: np.ndarray, reference: np.ndarray) -> float:
    assert ours.shape == reference.shape
    assert np.all(np.isfinite(ours))
    return float(np.max(np.abs(ours.astype(np.float64) - reference)))


def wanted_logits(model: Any, reference: Reference, chunk: int) -> np.ndarray:
    """Logits at the stored rows when the sequence is evaluated `chunk` tokens at a time."""
    found = []
    with model.session() as session:
        for start in range(0, len(reference.ids), chunk):
            part = reference.ids[start : start + chunk]
            rows = [row - start for row in reference.rows if start <= row < start + len(part)]
            session.eval(part, logits="all" if rows else "none")
            if rows:
                logits = session.logits
                assert logits.dtype == np.float32
                assert logits.shape[0] == len(part)
                found.append(np.array(logits[rows]))
    return np.concatenate(found)


@pytest.mark.parametrize("chunk", [2048, 300, 7, 1])
def test_logits(opened: tuple[Any, Reference], chunk: int) -> None:
    model, reference = opened
    error = largest(wanted_logits(model, reference, chunk), reference.array("logits_f64"))
    assert error <= 2 * reference.torch_error("logits_f64")


def test_last_logits_of_single_steps(opened: tuple[Any, Reference]) -> None:
    model, reference = opened
    found = []
    with model.session() as session:
        for token in reference.short:
            session.eval([token], logits="last")
            assert session.logits.shape[0] == 1
            found.append(np.array(session.logits[0]))
    error = largest(np.stack(found), reference.array("hidden_logits"))
    assert error <= 2 * reference.torch_error("logits_f64")


def test_greedy_tokens(opened: tuple[Any, Reference]) -> None:
    # MOSS's recipe and generation_config.json carry penalties and sampling: switched off by name.
    model, reference = opened
    expected = reference.values["greedy_ids"]
    out = model.generate(
        reference.values["greedy_prompt"],
        max_new_tokens=len(expected),
        do_sample=False,
        repetition_penalty=1.0,
    )
    assert [int(token) for token in out.ids] == expected


def test_hidden_states(opened: tuple[Any, Reference]) -> None:
    model, reference = opened
    layers = (0, reference.last_layer)
    with model.session() as session:
        session.eval(reference.short, logits="all", hidden=layers)
        for layer in layers:
            name = f"hidden_resid_{layer}"
            hidden = session.hidden(layer)
            assert hidden.dtype == np.float32
            # Few values, so torch's largest error is a noisy yardstick: twice the logits' margin.
            assert largest(hidden, reference.array(name)) <= 4 * reference.torch_error(name)
        error = largest(session.logits, reference.array("hidden_logits"))
    assert error <= 2 * reference.torch_error("logits_f64")


def test_hidden_states_of_chunks(opened: tuple[Any, Reference]) -> None:
    model, reference = opened
    layer = reference.last_layer
    parts = []
    with model.session() as session:
        for start, end in itertools.pairwise((0, 1, 6, len(reference.short))):
            session.eval(reference.short[start:end], logits="none", hidden=(layer,))
            parts.append(np.array(session.hidden(layer)))
    name = f"hidden_resid_{layer}"
    error = largest(np.concatenate(parts), reference.array(name))
    assert error <= 4 * reference.torch_error(name)


@pytest.fixture(scope="module")
def remade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything made anew; make_references asserts that NumPy and transformers agree."""
    pytest.importorskip("torch", reason="references are made anew with torch")
    pytest.importorskip("transformers", reason="references are made anew with transformers")
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        import make_gptq
        import make_models
        import make_references

        make_models.make(folder)
        make_references.make(folder)
        make_gptq.make(folder)
    return folder


@pytest.mark.parametrize("name", [*NAMES, "gpt-neox"])
def test_stored_references_are_the_remade_ones(remade: Path, name: str) -> None:
    stored, fresh = reference_data.load(name), reference_data.load(name, remade)
    for key in ("ids", "rows", "short", "greedy_prompt", "greedy_ids", "architecture"):
        assert fresh.values[key] == stored.values[key], key
    assert fresh.values["arrays"] == stored.values["arrays"]
    for array, entry in stored.values["arrays"].items():
        # float32 sums depend on torch's kernels for the machine at hand; float64's hardly.
        allowed = 1e-10 if entry["dtype"] == "float64" else 4 * stored.torch_error("logits_f64")
        assert largest(fresh.array(array), stored.array(array).astype(np.float64)) <= allowed


@pytest.mark.parametrize("name", GPTQ_NAMES)
def test_stored_gptq_references_are_the_remade_ones(remade: Path, name: str) -> None:
    stored, fresh = reference_data.load(name), reference_data.load(name, remade)
    for key in ("ids", "rows", "matrices"):
        assert fresh.values[key] == stored.values[key], key
    assert largest(fresh.array("logits_f64"), stored.array("logits_f64")) <= 1e-10


@pytest.mark.parametrize("name", [*NAMES, "gpt-neox", *GPTQ_NAMES])
def test_stored_checkpoints_are_the_remade_ones(remade: Path, name: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        from forward64 import read_tensors
    stored, fresh = read_tensors(reference_data.MODELS / name), read_tensors(remade / name)
    assert stored.keys() == fresh.keys()
    for tensor, values in stored.items():
        assert np.array_equal(values, fresh[tensor]), tensor
    for file in sorted((remade / name).glob("*.json")):
        kept = json.loads((reference_data.MODELS / name / file.name).read_text())
        assert kept == json.loads(file.read_text()), file.name
