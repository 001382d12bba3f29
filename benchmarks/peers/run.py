"""Measures mossrt beside other CPU engines on the same synthetic weights. See README.md.

python benchmarks/peers/run.py                          # everything
python benchmarks/peers/run.py --shapes llama-1.1b --engines mossrt llama_cpp openvino --rounds 3
python benchmarks/peers/run.py --steps report           # tables and plot of samples that are there
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from bench import Bench, raise_priority
from engines import ENGINES, Run, all_runs
from environment import SOURCE, TOOLS, CommandFailed, Folders, build_ours, call, convert, install
from report import markdown
from shapes import MEASURED
from summary import as_json, summarise

STEPS = ("setup", "convert", "bench", "report")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--root", type=Path, default=SOURCE / "build/peers", help="default: %(default)s"
    )
    parser.add_argument("--shapes", nargs="+", choices=MEASURED, default=list(MEASURED))
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--runs", nargs="+", metavar="ENGINE:VARIANT", help="instead of --engines")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--append", action="store_true", help="to the samples that are there")
    parser.add_argument(
        "--max-foreign",
        type=float,
        default=0.18,
        help="drop samples while other processes used more of the cores (default: %(default)s)",
    )
    return parser.parse_args()


def prepare(bench: Bench, runs: list[Run], shapes: list[str], steps: list[str]) -> list[Run]:
    """Installs and converts; returns what can be measured. Failures are on record for each shape."""
    folders = bench.folders
    if "setup" in steps:
        build_ours(folders)
        install(folders, "rivals", TOOLS, None)
        for engine in dict.fromkeys(run.engine for run in runs if run.spec.packages):
            one = next(run for run in runs if run.engine == engine)
            print(f"installing {one.spec.title}", file=sys.stderr)
            try:
                install(folders, one.spec.environment, one.spec.packages, one)
            except Exception as error:  # a rival that cannot be had is reported as such
                for run in [run for run in runs if run.engine == engine]:
                    for shape in shapes:
                        bench.fail(run, shape, "installing", error)
                    runs = [other for other in runs if other != run]
    return runs


def converted(bench: Bench, run: Run, shape: str) -> bool:
    """Whether the engine's files are there; if not, why is on record."""
    return bench.attempt(run, shape, "converting", lambda: convert(bench.folders, run, shape))


def measure(bench: Bench, runs: list[Run], shapes: list[str], steps: list[str]) -> None:
    """All shapes, one after the other."""
    runs = prepare(bench, runs, shapes, steps)
    for shape in shapes:
        ready = runs
        if "convert" in steps:
            ready = [run for run in runs if converted(bench, run, shape)]
        if "bench" in steps:
            bench.run(ready, shape)


def report(folders: Folders, max_foreign: float) -> None:
    """table.md, table.json and plot.png beside the samples."""
    records = [json.loads(line) for line in folders.samples.read_text().splitlines()]
    rows = summarise(records, max_foreign)
    (folders.root / "table.md").write_text(markdown(rows))
    table = folders.root / "table.json"
    table.write_text(json.dumps(as_json(rows), indent=1) + "\n")
    print(markdown(rows))
    plot: list[str | Path] = [folders.python(), Path(__file__).with_name("plot.py"), table]
    call([*plot, folders.root / "plot.png"], folders.root / "logs" / "plot.log")


def main() -> None:
    arguments = parse()
    folders = Folders(arguments.root.resolve())
    folders.root.mkdir(parents=True, exist_ok=True)
    runs = all_runs(arguments.engines)
    if arguments.runs:
        runs = [Run.parse(text) for text in arguments.runs]
    if set(arguments.steps) != {"report"}:
        if "bench" in arguments.steps:
            raise_priority()
        benching = "bench" in arguments.steps
        target = folders.samples if benching else folders.root / "preparation.jsonl"
        with target.open("a" if arguments.append else "w") as out:
            bench = Bench(folders, out, arguments.rounds, arguments.threads)
            measure(bench, runs, arguments.shapes, arguments.steps)
    if "report" in arguments.steps:
        report(folders, arguments.max_foreign)


if __name__ == "__main__":
    try:
        main()
    except CommandFailed as failure:
        sys.exit(f"run.py cannot go on: {failure}")
