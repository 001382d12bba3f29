"""From samples to cells: medians, fractions of the probed limit, ratios to the best rival."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from bench import Record
from engines import Run
from shapes import SHAPES

MAX_SPREAD = 0.15
TOKENS = {"decode": 64, "batch8": 128, "prefill512": 512}
ARITHMETIC = {"4 bits": "int8", "8 bits": "int8", "16 bits": "bf16"}
SPEEDS = tuple(TOKENS)
COSTS = ("memory", "load")  # less is better


@dataclass
class Cell:
    """A median over the kept samples. limit: fraction of what the probes allow, speeds only."""

    value: float
    kept: int
    of: int
    spread: tuple[float, float]
    limit: float | None = None


@dataclass
class Row:
    """One engine in one format on one shape."""

    shape: str
    run: Run
    threads: int
    cells: dict[str, Cell] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.run.spec.title} {self.run.variant}"

    @property
    def ours(self) -> bool:
        return self.run.engine == "mossrt"


@dataclass
class Duel:
    """A cell of ours beside the best rival's of the same family; a ratio above 1 is ahead."""

    shape: str
    family: str
    ours: str
    variant: str
    metric: str
    value: float
    rival: str | None
    rival_value: float | None
    ratio: float | None


def limit(metric: str, probe: dict[str, float], run: Run, name: str) -> float:
    """Tokens a second that the probed bandwidth and arithmetic allow."""
    shape = SHAPES[name]
    bits = run.format.bits_on(name)
    read = (shape.layer_weights * bits + shape.head_weights * run.format.head) / 8
    bus = probe["gbs"] * 1e9 / read
    if metric == "decode":
        return bus
    peak = max(probe[ARITHMETIC[run.format.family]], probe["f32"]) * 1e9
    if metric == "batch8":
        return min(8 * bus, peak / (2 * (shape.layer_weights + shape.head_weights)))
    return peak / (2 * (shape.layer_weights + shape.head_weights / TOKENS[metric]))


def steady(sample: Record, max_foreign: float) -> bool:
    before, after = sample["before"]["gbs"], sample["after"]["gbs"]
    moved = abs(before - after) > MAX_SPREAD * max(before, after)
    return not moved and sample["foreign"] <= max_foreign


def speed_cell(samples: list[Record], run: Run, shape: str, max_foreign: float) -> Cell | None:
    """None if no sample was kept."""
    kept = [sample for sample in samples if steady(sample, max_foreign)]
    if not kept:
        return None
    metric = kept[0]["metric"]
    speeds, fractions = [], []
    for sample in kept:
        probe = {key: (sample["before"][key] + sample["after"][key]) / 2 for key in sample["after"]}
        speeds.append(TOKENS[metric] / sample["seconds"])
        fractions.append(speeds[-1] / limit(metric, probe, run, shape))
    spread = (min(speeds), max(speeds))
    fraction = statistics.median(fractions)
    return Cell(statistics.median(speeds), len(kept), len(samples), spread, fraction)


def cost_cell(values: list[float]) -> Cell:
    return Cell(statistics.median(values), len(values), len(values), (min(values), max(values)))


def summarise(records: Iterable[Record], max_foreign: float) -> list[Row]:
    """A row for every shape, engine and variant that was measured or failed."""
    grouped: dict[tuple[str, str, str, int], list[Record]] = {}
    for record in records:
        key = (record["shape"], record["engine"], record["variant"], record["threads"])
        grouped.setdefault(key, []).append(record)
    rows = []
    for (shape, engine, variant, threads), found in grouped.items():
        row = Row(shape, Run(engine, variant), threads)
        for metric in SPEEDS:
            samples = [record for record in found if record["metric"] == metric]
            cell = speed_cell(samples, row.run, shape, max_foreign)
            if cell:
                row.cells[metric] = cell
            elif samples:
                row.failures.append(f"{metric}: none of {len(samples)} samples was steady")
        loads = [record["load_s"] for record in found if record["metric"] == "load"]
        peaks = [record["rss_gib"] for record in found if "rss_gib" in record]
        if loads:
            row.cells["load"] = cost_cell(loads)
            row.cells["memory"] = cost_cell([max(peaks)])
        failed = [record for record in found if record["metric"] == "failed"]
        row.failures += [f"{record['stage']}: {record['reason']}" for record in failed]
        rows.append(row)
    shapes = list(SHAPES)
    return sorted(
        rows, key=lambda row: (shapes.index(row.shape), row.run.format.family != "4 bits")
    )


def duels(rows: list[Row]) -> list[Duel]:
    """Every cell of ours against the best of the rivals."""
    found = []
    for ours in (row for row in rows if row.ours):
        family = ours.run.format.family
        rivals = [
            row
            for row in rows
            if not row.ours and row.shape == ours.shape and row.run.format.family == family
        ]
        for metric, cell in ours.cells.items():
            values = {row.name: row.cells[metric].value for row in rivals if metric in row.cells}
            duel = Duel(
                ours.shape,
                family,
                ours.name,
                ours.run.variant,
                metric,
                cell.value,
                rival=None,
                rival_value=None,
                ratio=None,
            )
            if values:
                best = (min if metric in COSTS else max)(values, key=lambda name: values[name])
                duel.rival, duel.rival_value = best, values[best]
                ratio = cell.value / values[best]
                duel.ratio = 1 / ratio if metric in COSTS else ratio
            found.append(duel)
    return found


def as_json(rows: list[Row]) -> dict[str, Any]:
    """Everything in the tables, for programs."""
    return {
        "rows": [
            {
                "shape": row.shape,
                "engine": row.run.engine,
                "variant": row.run.variant,
                "family": row.run.format.family,
                "bits_per_weight": row.run.format.bits_on(row.shape),
                "head_bits": row.run.format.head,
                "threads": row.threads,
                "cells": {metric: asdict(cell) for metric, cell in row.cells.items()},
                "failures": row.failures,
            }
            for row in rows
        ],
        "beside_the_best_rival": [asdict(duel) for duel in duels(rows)],
    }
