"""What this machine offers and what mossrt makes of it."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

from mossrt import _mossrt

_OPTION_KINDS = {"load": 1, "session": 2, "generate": 3, "eval": 6, "tokenizer": 7, "chat": 8}
_PROBE_BYTES = 256 << 20  # all threads together: beyond the caches of most machines
_PROBE_ROUNDS = 7


def describe_options(kind: str) -> list[dict[str, Any]]:
    """The options of a kind: name, type, default, range, choices, since, doc.

    kind: "load", "session", "generate", "eval", "tokenizer" or "chat".

    >>> [o["name"] for o in mossrt.describe_options("eval")]
    ['logits', 'hidden']
    """
    if kind not in _OPTION_KINDS:
        raise ValueError(f"kind must be one of {', '.join(_OPTION_KINDS)}, found {kind!r}")
    described: dict[str, Any] = json.loads(_mossrt.describe_options(_OPTION_KINDS[kind]))
    options: list[dict[str, Any]] = described["options"]
    return options


def measure_bandwidth(threads: int | None = None) -> float:
    """Bytes per second that `threads` threads (None: as many as a model would use) read from memory
    together, the median of a few rounds of about 256 MB. Takes about a second."""
    if threads is None:
        threads = int(json.loads(_mossrt.system_info())["threads"])
    return _mossrt.measure_bandwidth(threads, max(_PROBE_BYTES // threads, 16 << 20), _PROBE_ROUNDS)


def doctor(bandwidth: bool = True) -> dict[str, Any]:
    """What matters for speed here, and `advice` on what to change.

    Keys: version, python, processor, isa, cpu_features, kernel_tables, threads, cores_allowed,
    cpu_quota (cores, or None), memory_available (bytes), memory_limited_by, huge_pages, backends,
    bandwidth (bytes per second, or None if not measured), advice (sentences).

    >>> sorted(set(mossrt.doctor(bandwidth=False)) & {"isa", "threads", "advice"})
    ['advice', 'isa', 'threads']
    """
    info: dict[str, Any] = json.loads(_mossrt.system_info())
    threads = int(info["threads"])
    report: dict[str, Any] = {
        "version": info["version"],
        "python": platform.python_version(),
        "processor": _processor(),
        "isa": info["isa"],
        "isa_forced": os.environ.get("MOSSRT_ISA") or None,
        "cpu_features": info["cpu_features"],
        "kernel_tables": info["kernel_tables"],
        "threads": threads,
        "cores_allowed": len(os.sched_getaffinity(0)),
        "cpu_quota": _cpu_quota(),
        "memory_available": info["memory_available"],
        "memory_limited_by": info["memory_limited_by"],
        "huge_pages": _chosen(Path("/sys/kernel/mm/transparent_hugepage/enabled")),
        "backends": info["backends"],
        "bandwidth": measure_bandwidth(threads) if bandwidth else None,
    }
    report["advice"] = _advice(report)
    return report


def _advice(report: dict[str, Any]) -> list[str]:
    advice = []
    if report["huge_pages"] == "never":
        advice.append(
            "Huge pages are off, which costs bandwidth: as root, "
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"
        )
    quota = report["cpu_quota"]
    if quota is not None and quota < report["threads"]:
        advice.append(
            f"The cgroup allows {quota:g} cores, fewer than {report['threads']} threads: they will "
            "wait for each other."
        )
    if report["isa_forced"]:
        advice.append(
            f"MOSSRT_ISA={report['isa_forced']} in the environment forces the instruction set."
        )
    elif report["isa"] == "scalar":
        advice.append("No vector instructions were found: everything will be slow.")
    return advice


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _chosen(path: Path) -> str | None:
    """The word in brackets of a file such as "always [madvise] never"."""
    try:
        return path.read_text().partition("[")[2].partition("]")[0] or None
    except OSError:
        return None


def _cpu_quota() -> float | None:
    """Cores that the cgroup (version 2, or 1) grants this process; None: all."""
    try:
        own = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    folder = next((line[3:].strip("/") for line in own if line.startswith("0::")), "")
    candidates = []
    root = Path("/sys/fs/cgroup")
    for place in (root / folder, *(root / folder).parents):
        candidates.append(_quota_of(place / "cpu.max"))
        if place == root:
            break
    try:
        quota = int((root / "cpu/cpu.cfs_quota_us").read_text())
        period = int((root / "cpu/cpu.cfs_period_us").read_text())
        candidates.append(quota / period if quota > 0 else None)
    except (OSError, ValueError):
        pass
    return min((found for found in candidates if found is not None), default=None)


def _quota_of(cpu_max: Path) -> float | None:
    try:
        quota, period = cpu_max.read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None
