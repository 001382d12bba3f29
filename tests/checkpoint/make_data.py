"""Writes tests/data/checkpoint with torch and safetensors; the tests read what it wrote.

Run once with torch 2.13 and safetensors installed:  python tests/checkpoint/make_data.py
Each folder is a checkpoint; expected.json holds dtype, shape and the dense little-endian bytes (hex)
of every tensor as torch sees them.
"""

import json
import pathlib
import struct
import zipfile

import safetensors.torch
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent / "data" / "checkpoint"
EXPECTED = {}


def dense_bytes(tensor):
    tensor = tensor.detach().contiguous()
    return bytes(tensor.reshape(-1).view(torch.uint8).tolist()) if tensor.numel() else b""


def expect(case, tensors):
    EXPECTED[case] = {
        name: {
            "dtype": str(t.dtype).removeprefix("torch."),
            "shape": list(t.shape),
            "bytes": dense_bytes(t).hex(),
        }
        for name, t in tensors.items()
    }


def folder(case, config=None):
    path = ROOT / case
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config or {"model_type": "moss"}) + "\n")
    return path


def mixed_tensors():
    torch.manual_seed(7)
    base = torch.randn(6, 5)
    return {
        "f16": torch.randn(3, 4).half(),
        "bf16": torch.randn(5).bfloat16(),
        "f32": base,
        "f64": torch.randn(2, 2, dtype=torch.float64),
        "i64": torch.tensor([-1, 2**40, 3]),
        "i32": torch.tensor([[1, -2], [3, 2**30]], dtype=torch.int32),
        "i16": torch.tensor([-300, 300], dtype=torch.int16),
        "i8": torch.tensor([-128, 127], dtype=torch.int8),
        "u8": torch.arange(9, dtype=torch.uint8).reshape(1, 1, 3, 3),
        "bool": torch.tensor([True, False, True]),
        "transposed": base.t(),
        "columns": base[:, 1:4],
        "rows": base[2:5],
        "every_second": base[::2, ::2],
        "expanded": torch.randn(3, 1).expand(3, 4),
        "permuted": torch.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1),
        "shared": base,
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.randn(2, 3)),
    }


def write_big_endian(source, target):
    """Rewrites a torch file as a big-endian machine would have written it."""
    widths = {"f16": 2, "bf16": 2, "f32": 4, "i64": 8, "u8": 1}
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for index, width in enumerate(widths.values()):
            data = old.read(f"archive/data/{index}")
            swapped = b"".join(data[i : i + width][::-1] for i in range(0, len(data), width))
            new.writestr(f"archive/data/{index}", swapped)
        new.writestr("archive/data.pkl", old.read("archive/data.pkl"))
        new.writestr("archive/byteorder", "big")
        new.writestr("archive/version", "3\n")


def main():
    mixed = mixed_tensors()
    expect("mixed", mixed)
    torch.save(mixed, folder("mixed", {"torch_dtype": "float16"}) / "pytorch_model.bin")
    for protocol in (3, 4, 5):
        case = f"protocol{protocol}"
        few = {name: mixed[name] for name in ("f16", "transposed", "shared", "parameter")}
        expect(case, few)
        torch.save(few, folder(case) / "pytorch_model.bin", pickle_protocol=protocol)

    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.LayerNorm(3)).half()
    expect("module", module.state_dict())
    torch.save(module.state_dict(), folder("module") / "pytorch_model.bin")
    expect("wrapped", module.state_dict())
    torch.save(
        {"epoch": 3, "state_dict": module.state_dict(), "note": ["a", None, 1.5, 2**70]},
        folder("wrapped") / "pytorch_model.bin",
    )

    path = folder("sharded", {"torch_dtype": "float32"})
    names = ["f16", "bf16", "u8", "parameter", "columns"]
    expect("sharded", {name: mixed[name] for name in names})
    shards = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]
    torch.save({name: mixed[name] for name in names[:2]}, path / shards[0])
    torch.save({name: mixed[name] for name in names[2:]}, path / shards[1])
    weight_map = {name: shards[0 if i < 2 else 1] for i, name in enumerate(names)}
    (path / "pytorch_model.bin.index.json").write_text(
        json.dumps({"metadata": {"total_size": 0}, "weight_map": weight_map}, indent=1) + "\n"
    )

    plain = {name: mixed[name].detach() for name in ("f16", "bf16", "f32", "i64", "u8")}
    path = folder("big_endian")
    with open(path / "little.tmp", "wb") as file:  # a file object: the folder is "archive"
        torch.save(plain, file)
    write_big_endian(path / "little.tmp", path / "pytorch_model.bin")
    (path / "little.tmp").unlink()
    expect("big_endian", plain)

    dense = {k: v.detach().clone().contiguous() for k, v in mixed.items()}
    expect("safetensors", dense)
    safetensors.torch.save_file(
        dense, folder("safetensors") / "model.safetensors", metadata={"format": "pt"}
    )
    path = folder("safetensors_sharded")
    expect("safetensors_sharded", {k: dense[k] for k in ("f16", "f32")})
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for name, shard in zip(("f16", "f32"), shards):
        safetensors.torch.save_file({name: dense[name]}, path / shard)
    (path / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": dict(zip(("f16", "f32"), shards))}, indent=1) + "\n"
    )

    # Files that are refused, each with its own message.
    torch.save(
        {"a": torch.ones(3)},
        folder("refused_old_format") / "pytorch_model.bin",
        _use_new_zipfile_serialization=False,
    )
    torch.save(
        {"a": torch.zeros(2, dtype=torch.float8_e4m3fn)},
        folder("refused_float8") / "pytorch_model.bin",
    )
    torch.save(module, folder("refused_module") / "pytorch_model.bin")
    torch.jit.save(torch.jit.script(module), folder("refused_script") / "pytorch_model.bin")
    header = json.dumps({"w8": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}})
    (folder("refused_safetensors_float8") / "model.safetensors").write_bytes(
        struct.pack("<Q", len(header)) + header.encode() + b"\0\0"
    )
    (ROOT / "expected.json").write_text(json.dumps(EXPECTED, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
