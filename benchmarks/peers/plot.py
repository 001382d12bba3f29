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
    "memory": "peak memory, GiB (less is better)",
    "load": "load, s (less is better)",
}
COLOURS = {"4 bits": "#4477aa", "8 bits": "#228833", "16 bits": "#aa3377"}


def label(row: dict[str, Any], metric: str) -> str:
    cell = row["cells"].get(metric)
    if cell is None:
        return " not measured"
    fraction = f" ({100 * cell['limit']:.0f} % of the limit)" if cell["limit"] else ""
    return f" {cell['value']:.3g}{fraction}"


def panel(axes: Any, rows: list[dict[str, Any]], metric: str) -> None:
    values = [row["cells"].get(metric, {}).get("value", 0) for row in rows]
    names = [f"{row['engine']} {row['variant']} ({row['bits_per_weight']:g} b)" for row in rows]
    bars = axes.barh(names, values, color=[COLOURS[row["family"]] for row in rows])
    for bar, row in zip(bars, rows):
        if row["engine"] == "mossrt":
            bar.set_edgecolor("black")
            bar.set_linewidth(1.5)
    axes.bar_label(bars, [label(row, metric) for row in rows], fontsize=6)
    axes.set_xlim(0, 1.6 * max([*values, 1e-9]))
    axes.set_title(TITLES[metric], fontsize=8)
    axes.tick_params(labelsize=6)
    axes.invert_yaxis()


def draw(report: dict[str, Any], out: Path) -> None:
    """Every cell of every row, ours with a black edge."""
    shapes = list(dict.fromkeys(row["shape"] for row in report["rows"]))
    width, height = 5.5 * len(shapes), 2.8 * len(TITLES)
    figure, axes = pyplot.subplots(
        len(TITLES), len(shapes), figsize=(width, height), squeeze=False, layout="constrained"
    )
    for column, shape in enumerate(shapes):
        rows = [row for row in report["rows"] if row["shape"] == shape]
        for line, metric in enumerate(TITLES):
            panel(axes[line][column], rows, metric)
        axes[0][column].set_title(f"{shape}\n{TITLES['decode']}", fontsize=8)
    figure.savefig(out, dpi=150)
    pyplot.close(figure)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
