"""mossrt doctor"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from mossrt.cli import common
from mossrt.machine import doctor


@common.command
def run(
    bandwidth: Annotated[
        bool, typer.Option(help="Measure the memory's bandwidth; takes about a second.")
    ] = True,
    as_json: common.AsJson = False,
) -> None:
    """Says what this machine offers and what mossrt makes of it."""
    found = doctor(bandwidth)
    if as_json:
        common.print_json(found)
        return
    quota = found["cpu_quota"]
    speed = found["bandwidth"]
    tables = [t["name"] + ("" if t["available"] else " (no)") for t in found["kernel_tables"]]
    rows = {
        "mossrt": f"{found['version']}, Python {found['python']}",
        "processor": found["processor"],
        "instruction set": found["isa"],
        "kernels": ", ".join(tables),
        "threads": f"{found['threads']} (of {found['cores_allowed']} logical cores allowed)",
        "cgroup quota": "none" if quota is None else f"{quota:g} cores",
        "memory available": common.human_bytes(found["memory_available"])
        + f" (limited by {found['memory_limited_by']})",
        "huge pages": found["huge_pages"] or "unknown",
        "backends": ", ".join(found["backends"]),
        "bandwidth": "not measured" if speed is None else f"{speed / 1e9:.1f} GB/s",
    }
    grid = Table(box=None, show_header=False, pad_edge=False)
    for name, value in rows.items():
        grid.add_row(name, value)
    common.print_table(grid)
    for text in found["advice"]:
        print(f"advice: {text}")
