"""Counts the instructions of a program under callgrind, on the level avx2, which valgrind can run."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

SKIP = 77


def require_valgrind() -> None:
    """Ends the test as skipped where there is no valgrind."""
    if shutil.which("valgrind") is None:
        print("skipped: valgrind is not installed (Debian: apt-get install valgrind)")
        sys.exit(SKIP)


def instructions(*program: str) -> tuple[int, str]:
    """Instructions of one run, and what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            "valgrind",
            "--tool=callgrind",
            f"--callgrind-out-file={folder}/out",
            *program,
        ]
        environment = dict(os.environ, MOSSRT_ISA="avx2")
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0 and "avx2" in done.stderr and "cannot run" in done.stderr:
        print(f"skipped: {done.stderr.strip().splitlines()[-1]}")
        sys.exit(SKIP)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or not found:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return int(found.group(1)), done.stdout
