"""Models that the tests share."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import mossrt

ROOT = Path(__file__).resolve().parents[2]
MOSS = ROOT / "tests" / "data" / "models" / "moss"  # random weights
LLAMA = ROOT / "tests" / "data" / "models" / "llama"  # no tokenizer files
TRAINED = ROOT / "examples" / "tiny-moss" / "model"

# The suite makes the same examples every time; HYPOTHESIS_PROFILE=explore makes new ones.
# A busy machine is no finding.
LENIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("suite", LENIENT, derandomize=True)
settings.register_profile("explore", LENIENT)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


@functools.cache
def open_moss() -> mossrt.Model:
    return mossrt.Model.from_pretrained(MOSS)


@pytest.fixture
def model() -> mossrt.Model:
    return open_moss()


@pytest.fixture
def vocab(model: mossrt.Model) -> int:
    return int(model.info["hyper_params"]["vocab"])


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths in docstrings are relative to the repository."""
    monkeypatch.chdir(ROOT)


@pytest.fixture
def slow_prompt() -> tuple[mossrt.Model, Any]:
    """A prompt that takes seconds: plain loops in double on one thread."""
    slow = open_slow()
    return slow, np.arange(1000) % 1400


@functools.cache
def open_slow() -> mossrt.Model:
    return mossrt.Model.from_pretrained(TRAINED, backend="reference", threads=1)
