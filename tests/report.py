"""Adds up the results of tests/run.sh and judges skipped tests.

Usage: report.py <folder of results> <allowed_skips.txt>
Reads the JUnit files of CTest and pytest; counts of GoogleTest come from the output in the former.
"""

import fnmatch
import importlib.util
import pathlib
import re
import sys
from typing import NamedTuple
from xml.etree import ElementTree

GTEST_RAN = re.compile(r"^\[=+\] (\d+) tests? from \d+ test suites? ran\.", re.MULTILINE)
# Each skipped test is named twice: when it ends, with its time, and in the list at the end.
GTEST_SKIPPED = re.compile(r"^\[  SKIPPED \] (\S+) \(\d+ ms\)$", re.MULTILINE)
GTEST_FAILED = re.compile(r"^\[  FAILED  \] (\S+?),? .*\(\d+ ms\)$", re.MULTILINE)


class Results(NamedTuple):
    tests: int
    failed: list[str]  # a name, with pytest's message behind it
    skipped: list[str]


def ctest(case: ElementTree.Element) -> Results:
    """One CTest test: a GoogleTest program with many cases, or a single test."""
    name, status = case.get("name", "?"), case.get("status")
    output = case.findtext("system-out") or ""
    ran = [int(n) for n in GTEST_RAN.findall(output)]
    skipped = [f"{name}:{test}" for test in GTEST_SKIPPED.findall(output)]
    failed = [f"{name}:{test}" for test in GTEST_FAILED.findall(output)]
    if status in ("notrun", "disabled") or case.find("skipped") is not None:
        skipped.append(f"{name}:{status}")
    elif status != "run" and not failed:
        failed.append(name)  # crashed, timed out, or no GoogleTest program
    return Results(sum(ran) if ran else 1, failed, skipped)


def pytest(case: ElementTree.Element) -> Results:
    name = f"{case.get('classname')}.{case.get('name')}"
    faults = [*case.findall("failure"), *case.findall("error")]
    failed = [f"{name}: {' '.join(fault.get('message', '').split())[:500]}" for fault in faults]
    return Results(1, failed, [name] if case.find("skipped") is not None else [])


def read(path: pathlib.Path) -> Results:
    if path.suffix == ".txt":  # one finished test a line
        return Results(len(path.read_text(encoding="utf-8").splitlines()), [], [])
    judge = ctest if path.stem.endswith("ctest") else pytest
    results = [judge(case) for case in ElementTree.parse(path).getroot().iter("testcase")]
    return Results(
        sum(r.tests for r in results),
        [name for r in results for name in r.failed],
        [name for r in results for name in r.skipped],
    )


def holds(condition: str) -> bool:
    kind, _, value = condition.partition(" ")
    if kind == "always":
        return True
    if kind == "no-cpu":
        flags = re.search(
            r"^flags\s*:(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE
        )
        return value not in (flags.group(1).split() if flags else [])
    if kind == "no-module":
        return importlib.util.find_spec(value) is None
    raise SystemExit(
        f"allowed_skips.txt: unknown condition {condition!r}: always, no-cpu FLAG or no-module NAME"
    )


def allowed_patterns(path: pathlib.Path) -> list[str]:
    patterns = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        fields = [field.strip() for field in line.split("|")]
        if len(fields) != 3 or not all(fields):
            raise SystemExit(f"allowed_skips.txt: not `pattern | condition | reason`: {line}")
        if holds(fields[1]):
            patterns.append(fields[0])
    return patterns


def main() -> int:
    folder, allowed = pathlib.Path(sys.argv[1]), allowed_patterns(pathlib.Path(sys.argv[2]))
    total = Results(0, [], [])
    for path in sorted(folder.iterdir()):
        results = read(path)
        failed, skipped = len(results.failed), len(results.skipped)
        print(f"  {path.stem:<20} {results.tests:6} tests, {failed} failed, {skipped} skipped")
        total = Results(
            total.tests + results.tests,
            total.failed + results.failed,
            total.skipped + results.skipped,
        )
    wrong = [
        name
        for name in total.skipped
        if not any(fnmatch.fnmatch(name, pattern) for pattern in allowed)
    ]
    for name in total.failed:
        print(f"  failed: {name}")
    for name in wrong:
        print(f"  skipped, but not named in allowed_skips.txt: {name}")
    print(f"total: {total.tests} tests, {len(total.failed)} failed, {len(total.skipped)} skipped")
    if total.tests == 0:
        print("no test ran")
    return 1 if total.failed or wrong or total.tests == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
