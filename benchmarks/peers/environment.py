"""Virtual environments for the rivals, our own programs, checkpoints and each engine's files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from engines import TORCH, Run

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1]
# The report's plot; make_models.py needs torch and transformers beside it.
TOOLS = (TORCH, "transformers==5.23.0", "matplotlib==3.11.2")

OFFLINE = {"HF_HUB_OFFLINE": "1"}  # converters get a folder and need no hub


class CommandFailed(Exception):
    """A command that ended badly, with the last lines that it wrote."""


@dataclass(frozen=True)
class Folders:
    """Where everything lies under one root."""

    root: Path

    def python(self, environment: str = "rivals") -> Path:
        return self.root / "venvs" / environment / "bin" / "python"

    def checkpoint(self, run: Run, shape: str) -> Path:
        return self.root / "checkpoints" / run.spec.substitutes.get(shape, shape)

    def artifact(self, run: Run, shape: str) -> Path:
        stands_in = run.spec.substitutes.get(shape, shape)
        return self.root / "artifacts" / run.engine / stands_in / (run.format.files or run.variant)

    @property
    def samples(self) -> Path:
        return self.root / "samples.jsonl"


def call(command: list[str | Path], log: Path, env: dict[str, str] | None = None) -> None:
    """Runs a command; its output goes to `log`, and its end into the exception if it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(f"$ {' '.join(map(str, command))}\n")
        file.flush()
        done = subprocess.run(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **OFFLINE, **(env or {})},
        )
    if done.returncode != 0:
        end = " / ".join(log.read_text(errors="replace").strip().splitlines()[-2:])
        raise CommandFailed(f"exit status {done.returncode}: {end[-400:]} (all of it: {log})")


def build_ours(folders: Folders) -> None:
    """model_bench and the probe, as users build them."""
    log = folders.root / "logs" / "build.log"
    call(["cmake", "--preset", "release", "-S", SOURCE], log)
    programs = ["model_bench", "peers_probe"]
    call(["cmake", "--build", SOURCE / "build/release", "-j2", "--target", *programs], log)


def install(folders: Folders, environment: str, packages: tuple[str, ...], run: Run | None) -> None:
    """Packages into an environment, torch before everything else; once done, done."""
    python = folders.python(environment)
    wanted = json.dumps(sorted(packages))
    mark = python.parents[1] / f"installed-{run.engine if run else 'tools'}.json"
    if mark.exists() and mark.read_text() == wanted:
        return
    if not python.exists():
        venv.create(python.parents[1], with_pip=True)
    log = folders.root / "logs" / f"install-{run.engine if run else 'tools'}.log"
    pip: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check"]
    if TORCH in packages:
        call([*pip, "install", "-q", TORCH], log)
    call([*pip, "install", "-q", *packages], log, run.spec.pip_env if run else None)
    if run and run.spec.remove:
        call([*pip, "uninstall", "-qy", *run.spec.remove], log)
    mark.write_text(wanted)


def convert(folders: Folders, run: Run, shape: str) -> None:
    """The checkpoint, once for all, and the engine's own files; what is there is kept."""
    checkpoint = folders.checkpoint(run, shape)
    log = folders.root / "logs" / f"convert-{run.engine}-{shape}-{run.variant}.log"
    if not checkpoint.exists():
        print(f"  writing {checkpoint}", file=sys.stderr)
        unfinished = checkpoint.with_name(f"{checkpoint.name}.partial")
        maker: list[str | Path] = [folders.python(), HERE / "make_models.py", checkpoint.name]
        call([*maker, unfinished], log)
        unfinished.rename(checkpoint)
    out = folders.artifact(run, shape)
    if out.exists():
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f"{out.name}.partial")
    worker: list[str | Path] = [folders.python(run.spec.environment), HERE / "worker.py"]
    call([*worker, "convert", run.engine, run.variant, checkpoint, unfinished], log)
    unfinished.rename(out)
