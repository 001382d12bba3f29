"""Writes what the tiny checkpoints must answer: tests/data/models/<name>/reference/.

    python tests/references/make_references.py [folder] [name ...]

Every number comes from forward64 (float64, NumPy) and is stored only after transformers in float32
has agreed to it up to float32's rounding. README.md in the data folder says what is in each file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel

import forward64
import torch_models
from make_models import DEFAULT_FOLDER, KINDS
from tiny_tokenizer import BASE_IDS

POSITIONS = 2048
# Both ends, the edges of a lane group (16) and of KV blocks (256), and some in between: enough for
# the largest error of two right implementations to be alike.
ROWS = (
    *(0, 1, 2, 3, 15, 16, 17, 31, 32, 63, 64, 127, 128, 255, 256, 257),
    *(511, 512, 700, 767, 768, 1023, 1024, 1300, 1500, 1791, 1792, 1900, 2000, 2045, 2046, 2047),
)
SHORT = 20
GREEDY = 64
GREEDY_LEAD = 1e-3
GREEDY_VARIETY = 16  # distinct tokens; a text of one token would prove little
ZEROED = (0, 1)  # layer, head

# Two right implementations differ by rounding only, 1e-4 at most in the worst of these models. A
# wrong sign, order or activation moves their logits, which are of size 10, by 1e-3 and more.
AGREEMENT = 5e-4


def usable_ids(folder: Path) -> int:
    """Ids below the added tokens, so that no sequence holds an end token by chance."""
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    return min(int(rows), BASE_IDS)


def token_sequence(name: str, usable: int) -> list[int]:
    """2048 ids from 8 up; the first 8 are the LLaMAs' special tokens."""
    seed = sum(map(ord, name))
    drawn = np.random.Generator(np.random.PCG64(seed)).integers(8, usable, POSITIONS)
    return [int(token) for token in drawn]


def end_tokens(folder: Path) -> set[int]:
    """Ids at which generation may end by itself."""
    ends: set[int] = set()
    for file in ("config.json", "generation_config.json"):
        if (folder / file).exists():
            config = json.loads((folder / file).read_text())
            for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
                value = config.get(key)
                ends |= set(value) if isinstance(value, list) else {value}
    return ends - {None}


def greedy_reference(
    model: PreTrainedModel, ids: Sequence[int], forbidden: set[int], usable: int
) -> tuple[list[int], list[int], float]:
    """The first slice of `ids` whose continuation every right float32 runtime gives."""
    for start in range(0, 1000, 12):
        prompt = list(ids[start : start + 12])
        chosen, lead = torch_models.greedy(model, prompt, GREEDY)
        fine = not forbidden & set(chosen) and max(chosen) < usable
        if fine and lead > GREEDY_LEAD and len(set(chosen)) >= GREEDY_VARIETY:
            return prompt, chosen, lead
    raise AssertionError("no prompt leads clearly enough: change the model's seed")


def difference(ours: np.ndarray, reference: np.ndarray, what: str) -> float:
    assert ours.shape == reference.shape, f"{what}: shapes {ours.shape} and {reference.shape}"
    found = float(np.max(np.abs(ours.astype(np.float64) - reference)))
    assert found < AGREEMENT, f"{what}: transformers and forward64 differ by {found:g}"
    return found


def write_array(folder: Path, name: str, values: np.ndarray) -> dict[str, object]:
    """Raw little-endian values, row after row; the entry of reference.json that describes them."""
    dtype = "float32" if values.dtype == np.float32 else "float64"
    file = f"{name}.bin"
    np.ascontiguousarray(values, dtype=np.dtype(dtype).newbyteorder("<")).tofile(folder / file)
    return {"file": file, "dtype": dtype, "shape": list(values.shape)}


def make_one(root: Path, name: str) -> None:
    kind = KINDS[name]
    folder = root / name
    out = folder / "reference"
    out.mkdir(exist_ok=True)
    model64 = forward64.load(folder, kind.family, kind.mp_num)
    model32 = torch_models.load(folder, kind)
    usable = usable_ids(folder)
    ids = token_sequence(name, usable)
    short = ids[:SHORT]
    last = len(model64.layers) - 1
    arrays: dict[str, dict[str, object]] = {}
    bounds: dict[str, float] = {}

    def store(key: str, values: np.ndarray, other: np.ndarray) -> None:
        arrays[key] = write_array(out, key, values)
        bounds[key] = difference(other, values, f"{name}: {key}")

    logits64 = forward64.forward(model64, ids, rows=ROWS).logits
    logits32 = torch_models.logits(model32, ids, ROWS)
    store("logits_f64", logits64, logits32)
    arrays["logits_torch_f32"] = write_array(out, "logits_torch_f32", logits32)

    captured = forward64.forward(model64, short, capture=(0, last)).points
    captured32 = torch_models.points(model32, short)
    for (point, layer), values in captured.items():
        key = f"hidden_{point}" if layer < 0 else f"hidden_{point}_{layer}"
        store(key, values, captured32[point, layer])

    zeroed = forward64.forward(model64, short, zero_head=ZEROED).logits
    zeroed32 = torch_models.logits_without_head(model32, short, *ZEROED, model64.head_dim)
    store("zeroed_head_logits", zeroed, zeroed32)
    assert np.max(np.abs(zeroed - captured["logits", -1])) > 1e-2, "the head changes nothing"

    prompt, chosen, lead = greedy_reference(model32, ids, end_tokens(folder), usable)
    whole = forward64.forward(model64, prompt + chosen[:-1]).logits[len(prompt) - 1 :]
    assert whole.argmax(axis=-1).tolist() == chosen, "float64 continues otherwise"

    reference = {
        "architecture": kind.architecture,
        "layers": len(model64.layers),
        "heads": model64.heads,
        "kv_heads": model64.kv_heads,
        "head_dim": model64.head_dim,
        "vocab": model64.embed.shape[0],
        "rows": ROWS,
        "short": SHORT,
        "zeroed_layer": ZEROED[0],
        "zeroed_head": ZEROED[1],
        "greedy_prompt": prompt,
        "greedy_ids": chosen,
        "greedy_lead": lead,
        "torch_f32_error": bounds,
        "arrays": arrays,
        "ids": ids,
    }
    lines = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in reference.items())
    (out / "reference.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(
        f"{name}: torch float32 is within {bounds['logits_f64']:.3g} of float64, logits up to "
        f"{np.max(np.abs(logits64)):.3g}, greedy lead {lead:.3g} over {len(set(chosen))} tokens"
    )


def make(root: Path, names: Sequence[str] = tuple(KINDS)) -> None:
    for name in names:
        make_one(root, name)


if __name__ == "__main__":
    make(
        Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER,
        sys.argv[2:] or tuple(KINDS),
    )
