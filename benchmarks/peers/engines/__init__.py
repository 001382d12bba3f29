"""The engines that can be measured.

An engine is an entry in `ENGINES` and a module of the same name here, which holds

    convert(checkpoint: Path, out: Path, options: Options) -> None   # the engine's own files
    class Engine:
        __init__(artifact: Path, options: Options, threads: int)     # loads
        prefill(ids: list[int]) -> float                             # a fresh sequence
        decode(n: int) -> float                                      # n steps, one sequence
        batch_decode(b: int, n: int) -> float                        # n steps of b sequences together

The last three return the seconds that the named work took; what they need first (a new cache, the
8-token prompt) stays outside the timed part. An engine that computes in another process also has
`load_s` and `peak_rss_gib`. The module is imported only in the engine's own environment, this file
anywhere. Imports stand at the top of a module, so that they do not count as loading.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Options = dict[str, Any]

TORCH = "torch==2.13.0"  # installed first: other packages' requirements would choose a GPU build
PROMPT = list(range(11, 19))  # before every decode


@dataclass(frozen=True)
class Variant:
    """One format of an engine.

    family: variants of one family are compared with each other. bits: of a weight in the layers,
    scales and zero points included; head: of one in the last matrix. files: variants that differ in
    options only may share files.
    """

    family: str
    bits: float
    head: float
    options: Options = field(default_factory=dict)
    files: str = ""
    bits_elsewhere: dict[str, float] = field(default_factory=dict)  # shape -> bits that differ

    def bits_on(self, shape: str) -> float:
        return self.bits_elsewhere.get(shape, self.bits)


@dataclass(frozen=True)
class Spec:
    """How an engine is installed and what it can run."""

    title: str
    variants: dict[str, Variant]
    packages: tuple[str, ...] = ()
    environment: str = "rivals"
    substitutes: dict[str, str] = field(default_factory=dict)  # shape -> the shape that stands in
    pip_env: dict[str, str] = field(default_factory=dict)
    remove: tuple[str, ...] = ()  # comes along, is not needed, and is broken beside this torch


# The same block as a Phi-2 model: parallel attention and MLP behind one LayerNorm, GELU, partial
# rotary embedding, biases in the MLP.
AS_PHI = {"moss-slice": "phi-slice"}

# OpenVINO's groups of 4 bits: a scale of 16 bits and a zero point of 4 for 128 weights, or for 64
# where 128 do not divide a row.
SMALL_GROUPS = {"llama-135m": 4.3125}

ENGINES = {
    "mossrt": Spec(
        title="mossrt",
        variants={
            "int4-g64": Variant("4 bits", 4.25, 8.125, {"dtype": "int4-g64"}, "hf"),
            "int4-g128": Variant("4 bits", 4.125, 8.125, {"dtype": "int4-g128"}, "hf"),
            "int8-g128": Variant("8 bits", 8.125, 8.125, {"dtype": "int8-g128"}, "hf"),
            "bfloat16": Variant("16 bits", 16, 16, {"dtype": "bfloat16"}, "hf"),
        },
    ),
    "llama_cpp": Spec(
        title="llama.cpp",
        packages=("llama-cpp-python==0.3.36", "gguf==0.19.0"),
        pip_env={"CMAKE_ARGS": "-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF"},
        variants={
            "q4_0": Variant("4 bits", 4.5, 4.5, {"ftype": "LLAMA_FTYPE_MOSTLY_Q4_0"}),
            "q8_0": Variant("8 bits", 8.5, 8.5, {"ftype": "LLAMA_FTYPE_MOSTLY_Q8_0"}),
            "bf16": Variant("16 bits", 16, 16, {"ftype": "LLAMA_FTYPE_MOSTLY_BF16"}),
        },
        substitutes=AS_PHI,
    ),
    "ctranslate2": Spec(
        title="CTranslate2",
        packages=(TORCH, "ctranslate2==4.8.5", "transformers==5.23.0"),
        variants={"int8": Variant("8 bits", 8, 8, {"quantization": "int8"})},
    ),
    "openvino": Spec(
        title="OpenVINO GenAI",
        environment="openvino",  # optimum-intel wants an older transformers
        packages=(
            TORCH,
            "optimum-intel==2.2.0",
            "nncf==3.4.0",
            "openvino==2026.4.1",
            "openvino-genai==2026.4.1.0",
        ),
        remove=("torchvision",),
        variants={
            "int4": Variant(
                "4 bits", 4.15625, 8, {"bits": 4, "precision": "f32"}, "", SMALL_GROUPS
            ),
            "int4-bf16": Variant(
                "4 bits", 4.15625, 8, {"bits": 4, "precision": "bf16"}, "int4", SMALL_GROUPS
            ),
            "int8": Variant("8 bits", 8, 8, {"bits": 8, "precision": "f32"}),
            "int8-bf16": Variant("8 bits", 8, 8, {"bits": 8, "precision": "bf16"}, "int8"),
            "bf16": Variant("16 bits", 16, 16, {"bits": 16, "precision": "bf16"}),
        },
    ),
    "onnxruntime_genai": Spec(
        title="ONNX Runtime GenAI",
        packages=(
            TORCH,
            "onnxruntime-genai==0.18.0",
            "onnxruntime==1.32.0",
            "onnx==1.23.2",
            "onnx-ir==1.1.0",
            "transformers==5.23.0",
        ),
        variants={
            # Blocks of 32 with a scale of 32 bits.
            "int4": Variant("4 bits", 5, 5, {"precision": "int4", "accuracy_level": 4}),
        },
        substitutes=AS_PHI,
    ),
    "transformers": Spec(
        title="transformers",
        packages=(TORCH, "transformers==5.23.0"),
        variants={"bf16": Variant("16 bits", 16, 16, {"dtype": "bfloat16"}, "hf")},
    ),
}


@dataclass(frozen=True)
class Run:
    """An engine and one of its variants, written `engine:variant`."""

    engine: str
    variant: str

    @classmethod
    def parse(cls, text: str) -> Run:
        """Raises ValueError with what there is to choose from."""
        engine, _, variant = text.partition(":")
        if engine not in ENGINES:
            raise ValueError(
                f"{text}: no engine is called {engine!r}; there is {', '.join(ENGINES)}"
            )
        if variant not in ENGINES[engine].variants:
            known = ", ".join(ENGINES[engine].variants)
            raise ValueError(f"{text}: {engine} has no variant {variant!r}; there is {known}")
        return cls(engine, variant)

    @property
    def spec(self) -> Spec:
        return ENGINES[self.engine]

    @property
    def format(self) -> Variant:
        return self.spec.variants[self.variant]

    def __str__(self) -> str:
        return f"{self.engine}:{self.variant}"


def all_runs(engines: list[str]) -> list[Run]:
    """Every variant of the engines, in this file's order."""
    return [Run(name, key) for name in ENGINES if name in engines for key in ENGINES[name].variants]
