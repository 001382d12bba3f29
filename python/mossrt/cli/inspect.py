"""mossrt inspect"""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from mossrt.cli import common
from mossrt.model import inspect as inspect_model


@common.command
def run(
    model: common.ModelPath,
    dtype: common.Dtype = "auto",
    architecture: common.Architecture = None,
    context: Annotated[
        int | None, typer.Option(min=1, help="Tokens of cache to count; default: all positions.")
    ] = None,
    tensors: Annotated[
        bool, typer.Option("--tensors", help="List every tensor, not one line for all layers.")
    ] = False,
    as_json: common.AsJson = False,
) -> None:
    """Says what a checkpoint is and how much memory it needs, before any weight is read."""
    found = inspect_model(model, dtype=dtype, architecture=architecture)
    most = found["hyper_params"]["max_positions"]
    positions = most if context is None else context
    if positions > most:
        common.fail(
            f"--context must be from 1 to the model's {most} positions, found {context}",
            common.USAGE,
        )
    need = memory_terms(found["memory"], positions)
    if as_json:
        common.print_json(found | {"memory_needed": need})
        return
    print_summary(found)
    common.print_table(tensor_table(found["tensors"], merge_layers=not tensors))
    print_memory(need, found["memory"], positions)
    for text in found["notes"]:
        print(f"note: {text}")


def memory_terms(memory: dict[str, Any], positions: int) -> dict[str, int]:
    """Bytes by term."""
    cache = memory["kv_per_token"] * positions
    held = memory["weights"] + memory["embedding"]
    return {
        "weights": memory["weights"],
        "embedding": memory["embedding"],
        "loading": memory["loading"],
        "kv_cache": cache,
        "peak": held + max(memory["loading"], cache),
    }


def print_summary(found: dict[str, Any]) -> None:
    params = found["hyper_params"]
    grid = Table(box=None, show_header=False, pad_edge=False)
    grid.add_row("file" if found["packed"] else "directory", found["file"])
    if packed := found["packed"]:
        asked = ", ".join([packed["dtype"], *packed["overrides"]])
        grid.add_row("packed from", f"{packed['made_from']} ({asked}) by {packed['made_by']}")
    kind = found["model_type"]
    same = found["architecture"] == kind
    grid.add_row("architecture", kind if same else f"{found['architecture']} (model_type {kind})")
    grid.add_row("parameters", common.human_count(found["parameters"]))
    grid.add_row("held as", found["dtype"])
    for key in ("layers", "hidden", "inner", "heads", "kv_heads", "head_dim", "vocab"):
        grid.add_row(key, str(params[key]))
    grid.add_row("positions", str(params["max_positions"]))
    tokenizer = found["tokenizer"]
    known = f"{tokenizer['kind']}, {tokenizer['size']} tokens" if tokenizer else "none"
    grid.add_row("tokenizer", known)
    common.print_table(grid)
    print()


def tensor_table(tensors: list[dict[str, Any]], merge_layers: bool) -> Table:
    """One row per tensor, or per name with its layers counted."""
    rows: dict[tuple[str, ...], list[int]] = {}
    for tensor in tensors:
        name, use = tensor["name"], tensor["use"]
        if merge_layers:
            name = re.sub(r"\.\d+\.", ".*.", name)
            use = re.sub(r"^layer \d+ ", "layers: ", use)
        shape = " x ".join(map(str, tensor["shape"]))
        rows.setdefault((name, tensor["dtype"], shape, use), []).append(tensor["bytes"])
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("tensor", "count", "dtype", "shape", "bytes", "use"):
        table.add_column(column, justify="right" if column in ("count", "bytes") else "left")
    for (name, dtype, shape, use), sizes in rows.items():
        size = common.human_bytes(sum(sizes))
        table.add_row(name, str(len(sizes)), dtype, shape, size, use)
    return table


def print_memory(need: dict[str, int], memory: dict[str, Any], positions: int) -> None:
    grid = Table(box=None, show_header=False, pad_edge=False)
    grid.add_column()
    grid.add_column(justify="right")
    labels = {
        "weights": "memory: weights",
        "embedding": "memory: embedding",
        "loading": "memory: while loading",
        "kv_cache": f"memory: cache of {positions} tokens",
        "peak": "memory needed",
    }
    for key, label in labels.items():
        grid.add_row(label, common.human_bytes(need[key]))
    grid.add_row(
        f"available (limited by {memory['limited_by']})", common.human_bytes(memory["available"])
    )
    common.print_table(grid)
    if need["peak"] > memory["available"]:
        print("It does not fit into this machine's memory.")
