"""The command `mossrt`: results on stdout, all else on stderr."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Entry point; exits with 0 ok, 1 failed, 2 usage, 3 bad model, 4 not enough memory,
    130 interrupted."""
    try:
        # Imported here, so that Ctrl-C during the imports ends quietly as well.
        from mossrt.cli.app import app

        app(prog_name="mossrt")
    except KeyboardInterrupt:
        sys.exit(130)
