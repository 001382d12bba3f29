"""The tables, as Markdown."""

from __future__ import annotations

from summary import COSTS, SPEEDS, Cell, Duel, Row, duels

TITLES = {
    "decode": "decode, t/s",
    "batch8": "8 sequences, t/s",
    "prefill512": "prefill 512, t/s",
    "memory": "peak memory, GiB",
    "load": "load, s",
}
COLUMNS = (*SPEEDS, *COSTS)


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def text(cell: Cell | None) -> str:
    """Median, fraction of the limit, kept samples where some were dropped."""
    if cell is None:
        return "-"
    parts = [number(cell.value)]
    if cell.limit is not None:
        parts.append(f"({100 * cell.limit:.0f} %)")
    if cell.kept < cell.of:
        parts.append(f"[{cell.kept}/{cell.of}]")
    return " ".join(parts)


def line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def shape_table(rows: list[Row]) -> list[str]:
    head = ["engine", "bits per weight (head)", *(TITLES[metric] for metric in COLUMNS)]
    lines = [line(head), line(["---"] * len(head))]
    for row in rows:
        bits = f"{row.run.format.bits_on(row.shape):.4g} ({row.run.format.head:g})"
        name = f"**{row.name}**" if row.ours else row.name
        lines.append(line([name, bits, *(text(row.cells.get(metric)) for metric in COLUMNS)]))
    return lines


def duel_text(duel: Duel | None) -> str:
    if duel is None:
        return "-"
    if duel.ratio is None:
        return "no rival"
    mark = "" if duel.ratio >= 1 else " **behind**"
    return f"{duel.ratio:.2f} {duel.rival} {number(duel.rival_value or 0)}{mark}"


def duel_table(found: list[Duel]) -> list[str]:
    head = ["ours", *(TITLES[metric].split(",")[0] for metric in COLUMNS)]
    lines = [line(head), line(["---"] * len(head))]
    for name in dict.fromkeys(duel.ours for duel in found):
        by_metric = {duel.metric: duel for duel in found if duel.ours == name}
        lines.append(line([name, *(duel_text(by_metric.get(metric)) for metric in COLUMNS)]))
    return lines


def markdown(rows: list[Row]) -> str:
    """Everything: a table and the ratios for each shape, and what failed."""
    lines = [
        "Medians; in brackets the fraction of what the probes of the same moment allow, and kept of "
        "all samples where some were dropped. Ratios: ours to the best rival of as many bits, above "
        "1 is ahead (for memory and load time, too).",
    ]
    for shape in dict.fromkeys(row.shape for row in rows):
        here = [row for row in rows if row.shape == shape]
        lines += ["", f"### {shape}", "", *shape_table(here), "", "Beside the best rival:", ""]
        lines += duel_table([duel for duel in duels(rows) if duel.shape == shape])
        failed = [f"- {row.name}: {reason}" for row in here for reason in row.failures]
        if failed:
            lines += ["", "Not measured:", "", *failed]
    return "\n".join(lines) + "\n"
