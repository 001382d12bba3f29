"""mossrt bench"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from mossrt.cli import common, groups
from mossrt.machine import measure_bandwidth
from mossrt.model import Model


@groups.command
def run(
    model: common.ModelPath,
    prompt: Annotated[int, typer.Option("--prompt", "-p", min=0, help="Tokens of a prompt.")] = 512,
    new: Annotated[int, typer.Option("--new", "-n", min=0, help="Tokens to make.")] = 128,
    repetitions: Annotated[int, typer.Option("--repetitions", "-r", min=1)] = 3,
    *,
    loading: groups.Loading,
    kv_dtype: common.KvDtype = None,
    option: common.MoreLoading = None,
    as_json: common.AsJson = False,
) -> None:
    """Measures tokens per second: ppN reads a prompt of N tokens, tgN makes N, one at a time.

    For tg also the share of the memory's measured bandwidth: weights and cache are read once a
    token, so that it cannot exceed 100 % by much.
    """
    if not prompt and not new:
        common.fail(
            "there is nothing to measure: give --prompt (-p), --new (-n) or both, above 0",
            common.USAGE,
        )
    loaded = loading.load(model, option=option)
    results = []
    if prompt:
        seconds = repeat(repetitions, lambda: read_prompt(loaded, prompt, kv_dtype))
        results.append(result(loaded, f"pp{prompt}", prompt, 0, seconds, None))
    if new:
        before = measure_bandwidth(loaded.info["threads"])
        seconds = repeat(repetitions, lambda: make_tokens(loaded, new, kv_dtype))
        # Other programs may come and go: the better of two probes is nearer to the machine's.
        bandwidth = max(before, measure_bandwidth(loaded.info["threads"]))
        results.append(result(loaded, f"tg{new}", 0, new, seconds, bandwidth))
    if as_json:
        common.print_json(results)
    else:
        common.print_table(table(results))


def repeat(times: int, measure: Callable[[], float]) -> list[float]:
    """Seconds of each run, after one that warms up."""
    measure()
    return [measure() for _ in range(times)]


def token_ids(model: Model, n: int) -> list[int]:
    """Ids that are spread over the vocabulary, always the same."""
    vocab = model.info["hyper_params"]["vocab"]
    return [(7919 * i + 11) % vocab for i in range(n)]


def check_fits(model: Model, n: int) -> None:
    positions = model.info["hyper_params"]["max_positions"]
    if n > positions:
        common.fail(
            f"{n} tokens do not fit into the model's {positions} positions: give --prompt (-p) of at most "
            f"{positions} and --new (-n) of at most {positions - 1}",
            common.USAGE,
        )


def read_prompt(model: Model, n: int, kv_dtype: str | None) -> float:
    check_fits(model, n)
    with model.session(kv_dtype=kv_dtype) as session:
        start = time.perf_counter()
        session.eval(token_ids(model, n))
        return time.perf_counter() - start


def make_tokens(model: Model, n: int, kv_dtype: str | None) -> float:
    check_fits(model, n + 1)
    ids = token_ids(model, n + 1)
    with model.session(kv_dtype=kv_dtype) as session:
        session.eval(ids[:1])
        start = time.perf_counter()
        for token in ids[1:]:
            session.eval([token])
        return time.perf_counter() - start


def result(
    model: Model, name: str, prompt: int, new: int, seconds: list[float], bandwidth: float | None
) -> dict[str, Any]:
    info = model.info
    speeds = [(prompt + new) / one for one in seconds]
    median = statistics.median(speeds)
    found = {
        "test": name,
        "model": info["file"],
        "architecture": info["architecture"],
        "parameters": info["parameters"],
        "weight_bytes": info["memory"]["weights"],
        "dtype": info["dtype"],
        "backend": info["backend"],
        "isa": info["isa"],
        "threads": info["threads"],
        "prompt_tokens": prompt,
        "new_tokens": new,
        "tokens_per_second": median,
        "deviation": statistics.stdev(speeds) if len(speeds) > 1 else 0.0,
        "samples": speeds,
        "bandwidth": bandwidth,
        "bandwidth_share": None,
    }
    if bandwidth is not None:
        # The cache is read as far as it is filled: half of it on average.
        read = info["memory"]["weights"] + info["memory"]["kv_per_token"] * new / 2
        found["bandwidth_share"] = median * read / bandwidth
    return found


def table(results: list[dict[str, Any]]) -> Table:
    columns = ("model", "size", "params", "dtype", "backend", "isa", "threads", "test", "t/s")
    made = Table(box=box.MARKDOWN)
    for column in (*columns, "of bandwidth"):
        made.add_column(column, no_wrap=True)
    for one in results:
        share, bandwidth = one["bandwidth_share"], one["bandwidth"]
        made.add_row(
            one["architecture"],
            common.human_bytes(one["weight_bytes"]),
            common.human_count(one["parameters"]),
            one["dtype"],
            one["backend"],
            one["isa"],
            str(one["threads"]),
            one["test"],
            f"{one['tokens_per_second']:.2f} ± {one['deviation']:.2f}",
            "" if share is None else f"{100 * share:.0f} % of {bandwidth / 1e9:.1f} GB/s",
        )
    return made
