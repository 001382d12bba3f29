"""Searches for a conversation: a folder of texts on this machine, or a search service's address.

A search is any callable that takes a query and gives a list of snippets.
"""

from __future__ import annotations

from mossrt.plugins._folder import FolderSearch
from mossrt.plugins._searxng import SearxngSearch

__all__ = ["FolderSearch", "SearxngSearch"]
