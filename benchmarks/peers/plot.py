"""The tables as a picture: a column of panels for each shape, a panel for each measurement."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

TITLES = {
    "decode": "decode, tokens/s",
    "batch8": "8 sequences, tokens/s",
    "prefill512": "prefill of 512, tokens/s",
    "memory": "peak memory, GiB (less is better; a ratio above 1 is ahead)",
    "load": "load, s (less is better; a ratio above 1 is ahead)",
}
COLOURS = {"4 bits": "#4477aa", "8 bits": "#228833", "16 bits": "#aa3377"}


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def label(row: dict[str, Any], metric: str, ratios: dict[tuple[str, str, str], float]) -> str:
    cell = row["cells"].get(metric)
    if cell is None:
        return " not measured"
    notes = []
    if cell["limit"] is not None:
        notes.append(f"{100 * cell['limit']:.0f} % of the limit")
    ratio = ratios.get((row["shape"], row["variant"], metric))
    if row["engine"] == "mossrt" and ratio is not None:
        notes.append(f"{ratio:.2f} of the best rival")
    return f" {number(cell['value'])}" + (f" ({', '.join(notes)})" if notes else "")


def panel(
    axes: Any,
    rows: list[dict[str, Any]],
    metric: str,
    ratios: dict[tuple[str, str, str], float],
) -> None:
    values = [row["cells"].get(metric, {}).get("value", 0) for row in rows]
    names = [f"{row['engine']} {row['variant']} ({row['bits_per_weight']:.4g} b)" for row in rows]
    bars = axes.barh(names, values, color=[COLOURS[row["family"]] for row in rows])
    for bar, row in zip(bars, rows):
        if row["engine"] == "mossrt":
            bar.set_edgecolor("black")
            bar.set_linewidth(1.5)
    axes.bar_label(bars, [label(row, metric, ratios) for row in rows], fontsize=6)
    axes.set_xlim(0, 2 * max([*values, 1e-9]))
    axes.set_title(TITLES[metric], fontsize=8)
    axes.tick_params(labelsize=6)
    axes.invert_yaxis()


def draw(report: dict[str, Any], out: Path) -> None:
    """Every cell of every row, ours with a black edge."""
    shapes = list(dict.fromkeys(row["shape"] for row in report["rows"]))
    ratios = {
        (duel["shape"], duel["variant"], duel["metric"]): duel["ratio"]
        for duel in report["beside_the_best_rival"]
        if duel["ratio"] is not None
    }
    width, height = 5.5 * len(shapes), 2.8 * len(TITLES)
    figure, axes = pyplot.subplots(
        len(TITLES), len(shapes), figsize=(width, height), squeeze=False, layout="constrained"
    )
    for column, shape in enumerate(shapes):
        rows = [row for row in report["rows"] if row["shape"] == shape]
        for line, metric in enumerate(TITLES):
            panel(axes[line][column], rows, metric, ratios)
        axes[0][column].set_title(f"{shape}\n{TITLES['decode']}", fontsize=8)
    figure.savefig(out, dpi=150)
    pyplot.close(figure)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
