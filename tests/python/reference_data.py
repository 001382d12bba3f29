"""Reads tests/data/models: the tiny checkpoints and the answers stored beside them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MODELS = Path(__file__).resolve().parent.parent / "data" / "models"

# gpt-neox is opened by programs that bring its architecture along, in C++.
NAMES = ("moss", "codegen", "codegen2", "llama", "llama-untied")
# Quantised, with answers of their own kind.
GPTQ_NAMES = ("moss-gptq-int4", "moss-gptq-int8", "moss-gptq-int2", "llama-gptq")


@dataclass(frozen=True)
class Reference:
    """One model's stored answers; README.md beside them says what each is."""

    path: Path
    values: dict[str, Any]

    @property
    def ids(self) -> list[int]:
        ids: list[int] = self.values["ids"]
        return ids

    @property
    def rows(self) -> list[int]:
        rows: list[int] = self.values["rows"]
        return rows

    @property
    def short(self) -> list[int]:
        return self.ids[: self.values["short"]]

    @property
    def last_layer(self) -> int:
        return int(self.values["layers"]) - 1

    def array(self, name: str) -> np.ndarray:
        entry = self.values["arrays"][name]
        dtype = np.dtype(entry["dtype"]).newbyteorder("<")
        values = np.fromfile(self.path / "reference" / entry["file"], dtype)
        return values.reshape(entry["shape"])

    def torch_error(self, name: str) -> float:
        """The largest |float32 torch - float64| over the array."""
        return float(self.values["torch_f32_error"][name])


def load(name: str, root: Path = MODELS) -> Reference:
    values = json.loads((root / name / "reference" / "reference.json").read_text())
    return Reference(root / name, values)


def open_model(name: str, **options: Any) -> Any:
    """The checkpoint in mossrt, with the architecture that its files cannot tell."""
    import mossrt

    architecture = load(name).values["architecture"]
    if architecture is not None:
        options["architecture"] = architecture
    return mossrt.Model.from_pretrained(MODELS / name, **options)
