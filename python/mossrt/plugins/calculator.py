"""Arithmetic as MOSS's plugin Calculate has it."""

from __future__ import annotations

from mossrt import _mossrt
from mossrt._options import string


def calculate(expression: str) -> str:
    """The value of an arithmetic expression, written as Python's `repr` writes it.

    Integers are exact, `^` means `**`, and the functions are those of Python's `math`; nothing is
    executed. Whatever the expression is, the call ends within about a second.
    Errors: ValueError, a sentence that says what is wrong with the expression.

    >>> mossrt.plugins.calculate("2^100 / 10")
    '1.2676506002282295e+29'
    >>> mossrt.plugins.calculate("９ × (3 − 1)")
    '18'
    >>> mossrt.plugins.calculate("9**9**9")
    Traceback (most recent call last):
      ...
    mossrt.errors.InvalidArgument: ...
    """
    return _mossrt.calculate(string(expression, "expression"))
