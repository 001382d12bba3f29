"""Writes a random checkpoint of MOSS 16B in its published file formats, for timing and memory.

    python benchmarks/make_synthetic_moss.py FOLDER --format int4           # 10.8 GB
    python benchmarks/make_synthetic_moss.py FOLDER --format int8           # 18.5 GB
    python benchmarks/make_synthetic_moss.py FOLDER --format fp16 --layers 8
    python benchmarks/make_synthetic_moss.py FOLDER --format int4 --small   # for tests

int4 and int8 are one pytorch_model.bin without an index, in GPTQ's layout with groups of 128; fp16
is four shards with an index. Names, shapes and types are those of the originals. Values are random
and of such sizes that activations neither vanish nor grow. Equal arguments give equal bytes: each
tensor draws from a generator of its own, seeded by --seed and its name. Memory stays below 200 MB.
Needs NumPy only.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Random = np.random.Generator
Chunks = Iterator[bytes | memoryview]

GROUP = 128
SHARDS = 4
CHUNK = 16 << 20
# A prime number of values: rows that are cut from their repetition are all different.
POOL = 4_194_301
STORAGES = {"f16": "HalfStorage", "u8": "ByteStorage", "i32": "IntStorage"}
WIDTHS = {"f16": 2, "u8": 1, "i32": 4}
# What one value of uniformly drawn integers deviates from their mean, root mean square.
SPREAD = {4: 4.61, 8: 73.9}


@dataclass(frozen=True)
class Size:
    hidden: int = 6144
    inner: int = 24576
    heads: int = 24
    layers: int = 34
    vocab: int = 107008
    positions: int = 2048
    rotary_dim: int = 64


SMALL = Size(hidden=256, inner=1024, heads=8, layers=2, vocab=512, positions=128, rotary_dim=16)


@dataclass(frozen=True)
class Tensor:
    name: str
    dtype: str
    shape: tuple[int, ...]
    fill: Callable[[Random, int], Chunks]  # all bytes, in chunks

    def elements(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def size(self) -> int:
        return self.elements() * WIDTHS[self.dtype]


# ---- values


def repeated(pool: np.ndarray, size: int) -> Chunks:
    """`size` bytes of `pool` over and over."""
    whole = pool.view(np.uint8).reshape(-1).data
    while size > 0:
        part = whole[:size]
        yield part
        size -= len(part)


def normal(scale: float, mean: float = 0.0) -> Callable[[Random, int], Chunks]:
    def fill(random: Random, size: int) -> Chunks:
        count = min(POOL, size // 2)
        drawn = random.standard_normal(count, dtype=np.float32)
        return repeated((drawn * np.float32(scale) + np.float32(mean)).astype(np.float16), size)

    return fill


def integers(random: Random, size: int) -> Chunks:
    """Any bits: uniform fields of whatever width."""
    while size > 0:
        count = min(size, CHUNK)
        yield random.bytes(count)
        size -= count


def zero_points(bits: int) -> Callable[[Random, int], Chunks]:
    """Fields that put the zero point, one more, on either side of the mean."""
    lowest, base = (0x11, 0x66) if bits == 4 else (0x01, 0x7E)

    def fill(random: Random, size: int) -> Chunks:
        for chunk in integers(random, size):
            drawn = np.frombuffer(chunk, dtype=np.uint8)
            yield ((drawn & lowest) + base).astype(np.uint8).data

    return fill


def scales(typical: float) -> Callable[[Random, int], Chunks]:
    def fill(random: Random, size: int) -> Chunks:
        drawn = random.random(min(POOL, size // 2), dtype=np.float32)
        return repeated(((0.8 + 0.4 * drawn) * typical).astype(np.float16), size)

    return fill


def group_index(inputs: int, act_order: bool) -> Callable[[Random, int], Chunks]:
    def fill(random: Random, size: int) -> Chunks:
        order = random.permutation(inputs) if act_order else np.arange(inputs)
        index = np.empty(inputs, dtype="<i4")
        index[order] = np.arange(inputs) // GROUP
        return repeated(index, size)

    return fill


def causal_mask(side: int) -> Callable[[Random, int], Chunks]:
    def fill(random: Random, size: int) -> Chunks:
        return repeated(np.tril(np.ones((side, side), dtype=np.uint8)), size)

    return fill


# ---- tensors


def matrix(name: str, outputs: int, inputs: int, form: str, act_order: bool) -> list[Tensor]:
    """A linear layer whose outputs are of the size of its inputs."""
    deviation = inputs**-0.5
    if form == "fp16":
        return [Tensor(name + ".weight", "f16", (outputs, inputs), normal(deviation))]
    bits = int(form.removeprefix("int"))
    groups = -(-inputs // GROUP)
    return [
        Tensor(name + ".qweight", "i32", (inputs * bits // 32, outputs), integers),
        Tensor(name + ".qzeros", "i32", (groups, outputs * bits // 32), zero_points(bits)),
        Tensor(name + ".scales", "f16", (groups, outputs), scales(deviation / SPREAD[bits])),
        Tensor(name + ".g_idx", "i32", (inputs,), group_index(inputs, act_order)),
    ]


def vector(name: str, size: int, mean: float = 0.0) -> Tensor:
    return Tensor(name, "f16", (size,), normal(0.05, mean))


def tensors(size: Size, form: str, act_order: bool) -> Iterator[Tensor]:
    hidden, inner, side = size.hidden, size.inner, size.positions
    yield Tensor("transformer.wte.weight", "f16", (size.vocab, hidden), normal(1.0))
    for layer in range(size.layers):
        name = f"transformer.h.{layer}."
        yield vector(name + "ln_1.weight", hidden, 1.0)
        yield vector(name + "ln_1.bias", hidden)
        yield Tensor(name + "attn.causal_mask", "u8", (1, 1, side, side), causal_mask(side))
        yield from matrix(name + "attn.qkv_proj", 3 * hidden, hidden, form, act_order)
        yield from matrix(name + "attn.out_proj", hidden, hidden, form, act_order)
        yield from matrix(name + "mlp.fc_in", inner, hidden, form, act_order)
        yield vector(name + "mlp.fc_in.bias", inner)
        yield from matrix(name + "mlp.fc_out", hidden, inner, form, act_order)
        yield vector(name + "mlp.fc_out.bias", hidden)
    yield vector("transformer.ln_f.weight", hidden, 1.0)
    yield vector("transformer.ln_f.bias", hidden)
    yield Tensor("lm_head.weight", "f16", (size.vocab, hidden), normal(hidden**-0.5))
    yield vector("lm_head.bias", size.vocab)


def config(size: Size, form: str) -> dict[str, object]:
    values: dict[str, object] = {
        "activation_function": "gelu_new",
        "architectures": ["MossForCausalLM"],
        "attn_pdrop": 0.0,
        "auto_map": {
            "AutoConfig": "configuration_moss.MossConfig",
            "AutoModelForCausalLM": "modeling_moss.MossForCausalLM",
        },
        "bos_token_id": size.vocab - 980,
        "embd_pdrop": 0.0,
        "eos_token_id": size.vocab - 940,
        "gradient_checkpointing": False,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05,
        "model_type": "moss",
        "n_ctx": size.positions,
        "n_embd": size.hidden,
        "n_head": size.heads,
        "n_inner": None,
        "n_layer": size.layers,
        "n_positions": size.positions,
        "resid_pdrop": 0.0,
        "rotary_dim": size.rotary_dim,
        "scale_attn_weights": True,
        "tie_word_embeddings": False,
        "tokenizer_class": "GPT2Tokenizer",
        "torch_dtype": "float16",
        "transformers_version": "4.25.1",
        "use_cache": True,
        "vocab_size": size.vocab,
    }
    if size == SMALL:
        values |= {"bos_token_id": 1, "eos_token_id": 2}
    if form != "fp16":
        values |= {"wbits": int(form.removeprefix("int")), "groupsize": GROUP}
    return values


# ---- files


def pickled_int(value: int) -> bytes:
    return (
        b"J" + struct.pack("<i", value) if value < 2**31 else b"\x8a\x08" + struct.pack("<q", value)
    )


def pickled_text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def pickled_state(listed: list[Tensor]) -> bytes:
    """The opcodes (protocol 2) of an OrderedDict of tensors as torch.save writes them."""
    empty = b"ccollections\nOrderedDict\n)R"
    out = b"\x80\x02" + empty + b"("
    for key, tensor in enumerate(listed):
        strides = [int(np.prod(tensor.shape[at + 1 :])) for at in range(len(tensor.shape))]
        out += pickled_text(tensor.name) + b"ctorch._utils\n_rebuild_tensor_v2\n(("
        out += pickled_text("storage") + f"ctorch\n{STORAGES[tensor.dtype]}\n".encode()
        out += pickled_text(str(key)) + pickled_text("cpu") + pickled_int(tensor.elements())
        out += b"tQ" + pickled_int(0)
        for numbers in (tensor.shape, strides):
            out += b"(" + b"".join(map(pickled_int, numbers)) + b"t"
        out += b"\x89" + empty + b"tR"
    return out + b"u."


def entry(archive: zipfile.ZipFile, name: str, size: int) -> zipfile.ZipInfo:
    """A stored entry whose bytes begin at a multiple of 64, padded as torch pads them."""
    assert archive.fp is not None
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.file_size = size
    padding = -(archive.fp.tell() + 30 + len(name) + 4) % 64
    info.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    return info


def write_file(path: Path, listed: list[Tensor], seed: int) -> None:
    stem = path.name.removesuffix(".bin")
    part = path.with_name(path.name + ".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        pickle = pickled_state(listed)
        archive.writestr(entry(archive, f"{stem}/data.pkl", len(pickle)), pickle)
        for key, tensor in enumerate(listed):
            random = np.random.Generator(np.random.SFC64([seed, zlib.crc32(tensor.name.encode())]))
            info = entry(archive, f"{stem}/data/{key}", tensor.size())
            with archive.open(info, "w") as out:
                for chunk in tensor.fill(random, tensor.size()):
                    out.write(chunk)
        archive.writestr(entry(archive, f"{stem}/version", 2), b"3\n")
    os.replace(part, path)


def in_shards(listed: list[Tensor]) -> list[list[Tensor]]:
    total = sum(tensor.size() for tensor in listed)
    shards: list[list[Tensor]] = [[] for _ in range(SHARDS)]
    done = 0
    for tensor in listed:
        shards[min(SHARDS - 1, done * SHARDS // total)].append(tensor)
        done += tensor.size()
    return shards


def write(folder: Path, size: Size, form: str, seed: int = 0, act_order: bool = False) -> int:
    """The checkpoint's tensors in bytes."""
    listed = list(tensors(size, form, act_order))
    total = sum(tensor.size() for tensor in listed)
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if total * 1.01 > free:
        raise OSError(
            f"{folder}: {total / 1e9:.1f} GB are to be written and {free / 1e9:.1f} GB are free; "
            "give fewer --layers"
        )
    text = json.dumps(config(size, form), indent=2) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    if form != "fp16":
        write_file(folder / "pytorch_model.bin", listed, seed)
        return total
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(in_shards(listed), 1):
        name = f"pytorch_model-{number:05d}-of-{SHARDS:05d}.bin"
        write_file(folder / name, shard, seed)
        weight_map |= dict.fromkeys((tensor.name for tensor in shard), name)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    text = json.dumps(index, indent=2) + "\n"
    (folder / "pytorch_model.bin.index.json").write_text(text, encoding="utf-8")
    return total


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--format", choices=("int4", "int8", "fp16"), default="int4")
    parser.add_argument("--layers", type=int, help="34, or 2 with --small")
    parser.add_argument("--small", action="store_true", help="hidden 256, 512 tokens")
    parser.add_argument("--act-order", action="store_true", help="groups of inputs in any order")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    size = SMALL if given.small else Size()
    if given.layers is not None:
        if given.layers < 1:
            parser.error("--layers must be 1 or more")
        size = Size(**(vars(size) | {"layers": given.layers}))
    try:
        total = write(given.folder, size, given.format, given.seed, given.act_order)
    except OSError as error:
        sys.exit(f"make_synthetic_moss: {error}")
    print(f"{given.folder}: {total:,} bytes of tensors")


if __name__ == "__main__":
    main()
