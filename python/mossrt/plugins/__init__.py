"""Tools that a conversation may call: a calculator, an equation solver, searches.

>>> mossrt.plugins.calculate("0.1 + 0.2")
'0.30000000000000004'
>>> print(mossrt.plugins.solve("x + y = 10; x - y = 4"))
x = 7
y = 3
"""

from __future__ import annotations

from mossrt.plugins._plugin import Plugin
from mossrt.plugins.calculator import calculate
from mossrt.plugins.search import FolderSearch, SearxngSearch
from mossrt.plugins.solve import solve

__all__ = ["FolderSearch", "Plugin", "SearxngSearch", "calculate", "solve"]
