"""The calculator against Python's own arithmetic, on expressions made at random."""

from __future__ import annotations

import ast
import math
import operator
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mossrt
from mossrt.plugins import calculate

MAX_BITS = 65536  # Arithmetic::kMaxBits

OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
ONE_ARGUMENT = re.findall(
    r"\w+",
    "abs acos acosh asin asinh atan atanh ceil cos cosh degrees exp expm1 fabs factorial float "
    "floor int isqrt log log10 log1p log2 radians round sin sinh sqrt tan tanh trunc",
)
TWO_ARGUMENTS = re.findall(r"\w+", "atan2 comb fmod gcd lcm log max min perm pow round")
FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(math, name, None) or __builtins__[name]  # type: ignore[index]
    for name in [*ONE_ARGUMENT, *TWO_ARGUMENTS]
}
FUNCTIONS["pow"] = pow  # math.pow gives floats


class Refused(Exception):
    """What the calculator must refuse: no finite real number, or too large a one."""


class TooLong(Exception):
    """What Python would need long for; the calculator may do as it likes, but soon."""


def reference(node: ast.AST) -> int | float:
    """Python's value of an expression, step by step, so that no step takes long."""
    if isinstance(node, ast.Expression):
        return reference(node.body)
    if isinstance(node, ast.Constant):
        value = node.value
    elif isinstance(node, ast.UnaryOp):
        value = OPERATORS[type(node.op)](reference(node.operand))
    elif isinstance(node, ast.BinOp):
        left, right = reference(node.left), reference(node.right)
        whole = isinstance(left, int) and isinstance(right, int) and abs(left) > 1 and right > 0
        if isinstance(node.op, ast.Pow) and whole and math.log2(abs(left)) * right > 2 * MAX_BITS:
            raise Refused
        value = OPERATORS[type(node.op)](left, right)
    else:
        assert isinstance(node, ast.Call)
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        arguments = [reference(argument) for argument in node.args]
        if name in ("comb", "factorial", "perm") and max(arguments) > 1000:
            raise TooLong
        if name == "pow" and abs(arguments[0]) > 1 and abs(arguments[1]) > 1000:
            raise TooLong
        value = FUNCTIONS[name](*arguments)
    if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
        raise Refused
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise Refused
    return value


INTEGERS = st.one_of(
    st.integers(0, 20),
    st.integers(0, 10**6),
    st.integers(2**53 - 5, 2**53 + 5),
    st.integers(0, 10**40),
).map(str)
FLOATS = st.floats(min_value=0, allow_nan=False, allow_infinity=False)
DECIMALS = st.one_of(
    st.sampled_from(["0.1", "0.5", "1.5", "2.5", "3.0", "1e16", "1e-5", "2.675", ".25", "7."]),
    st.decimals(0, 1000, places=2).map(str),
    FLOATS.map(repr),
)


def combine(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    small = st.one_of(st.integers(0, 40).map(str), st.sampled_from(["0.5", "-1", "-2", "1.5"]))
    return st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner).map(" ".join),
        st.tuples(inner, st.sampled_from(["**", "^"]), small).map("".join),
        inner.map("({})".format),
        inner.map("-{}".format),
        st.tuples(st.sampled_from(ONE_ARGUMENT), inner).map(lambda t: f"{t[0]}({t[1]})"),
        st.tuples(st.sampled_from(TWO_ARGUMENTS), inner, inner).map(
            lambda t: f"{t[0]}({t[1]}, {t[2]})"
        ),
    )


EXPRESSIONS = st.recursive(st.one_of(INTEGERS, DECIMALS), combine, max_leaves=12)


def check(expression: str) -> None:
    try:
        tree = ast.parse(expression.replace("^", "**"), mode="eval")
        expected = repr(reference(tree))
    except TooLong:
        return
    except (ArithmeticError, TypeError, ValueError, Refused):
        with pytest.raises(mossrt.InvalidArgument):
            calculate(expression)
        return
    assert calculate(expression) == expected


@settings(max_examples=2000)
@given(EXPRESSIONS)
def test_repr_equals_that_of_python(expression: str) -> None:
    check(expression)


# Where integers stop being doubles, doubles stop being finite, and results stop being allowed.
CORNERS = re.findall(
    r"\S+",
    "0 1 2 3 171 1000 2**53 (2**53+1) 10**22 10**23 10**40 (2**1024-1) (2**1024-2**970) "
    "(2**1024-2**970-1) 10**400 10**4300 (2**65536-1) "
    "0.0 5e-324 0.1 0.5 1.0 2.5 1e16 1e154 1.7976931348623157e308",
)
SIGNED = [f"({sign}{corner})" for corner in CORNERS for sign in ("", "-")]


@pytest.mark.parametrize("operation", ["+", "-", "*", "/", "//", "%", "**", *TWO_ARGUMENTS])
def test_corners_of_operations_with_two_arguments(operation: str) -> None:
    function = operation in TWO_ARGUMENTS
    for left in SIGNED:
        for right in SIGNED:
            if operation == "round" and right.startswith("(-") and "*" in right:
                continue  # Python makes that power of ten
            check(f"{operation}({left}, {right})" if function else f"{left} {operation} {right}")


@pytest.mark.parametrize("function", ONE_ARGUMENT)
def test_corners_of_functions(function: str) -> None:
    for argument in SIGNED:
        check(f"{function}({argument})")


@settings(max_examples=2000)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_is_read_and_written(value: float) -> None:
    assert calculate(repr(value)) == repr(value)


@settings(max_examples=2000)
@given(st.integers(-(10**400), 10**400), st.integers(1, 10**400))
def test_integers_are_divided_as_by_python(a: int, b: int) -> None:
    assert calculate(f"({a}) // {b}") == str(a // b)
    assert calculate(f"({a}) % -{b}") == str(a % -b)
    try:
        expected = repr(a / b)
    except OverflowError:
        return
    assert calculate(f"({a}) / {b}") == expected


@settings(max_examples=2000)
@given(st.floats(-1e6, 1e6), st.integers(-8, 20))
def test_round(value: float, digits: int) -> None:
    assert calculate(f"round({value!r}, {digits})") == repr(round(value, digits))
    assert calculate(f"round({value!r})") == repr(round(value))


@settings(max_examples=2000)
@given(st.text(max_size=40) | st.text("0123456789.,+-*/%^!()[]{}= episqrtlogx×÷²√", max_size=60))
def test_any_text_gives_a_value_or_a_sentence(text: str) -> None:
    try:
        value = calculate(text)
    except mossrt.InvalidArgument:
        pass
    else:
        assert math.isfinite(float(value)) or len(value) > 300


@pytest.mark.parametrize(
    "expression",
    [
        "9**9**9",
        "9**9**9**9",
        "factorial(10**9)",
        "comb(10**18, 10**17)",
        "pow(3, 10**4000, 10**4000 + 1)",
        "+".join(["pow(3, 2**60000, 2**60000 + 1)"] * 60),
        "(" * 4000,
        "-" * 4000 + "1",
        "1" * 5000,
        "nan",
        "1e308 * 10",
        "__import__('os').system('true')",
        "().__class__",
        "lambda: 1",
        "1 if 1 else 2",
        "\ud800",
    ],
)
def test_hostile_expressions_end_soon(expression: str) -> None:
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"\w \w"):
        calculate(expression)
    assert time.monotonic() - start < 20


def test_arguments() -> None:
    with pytest.raises(TypeError, match="expression must be str, found int"):
        calculate(3)  # type: ignore[arg-type]
