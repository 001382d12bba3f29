"""mossrt chat"""

from __future__ import annotations

from mossrt.cli.chat.command import run

__all__ = ["run"]
