"""Tools that a conversation may call: a calculator.

>>> mossrt.plugins.calculate("0.1 + 0.2")
'0.30000000000000004'
"""

from __future__ import annotations

from mossrt import _mossrt

__all__ = ["calculate"]


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
    return _mossrt.calculate(_text(expression, "expression"))


def _text(value: str, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be str, found {type(value).__name__}")
    return value
