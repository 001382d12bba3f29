"""The equation solver against SymPy, on equations made at random; and SymPy behind it."""

from __future__ import annotations

import itertools
import time
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import mossrt
from mossrt.plugins import solve

sympy = pytest.importorskip("sympy", reason="SymPy is the reference")

SMALL = st.integers(-9, 9)
FRACTIONS = st.fractions(-20, 20, max_denominator=12)


def lines(solution: str) -> dict[str, str]:
    return dict(line.split(" = ", 1) for line in solution.split("\n"))


def fifteen_digits(value: Any) -> str:
    """Of the nearest double: evalf(15) may give its neighbour."""
    return str(sympy.Float(float(value), 15)) if value else "0"


def linear_text(coefficients: list[Any], names: str, value: Any) -> str:
    sides = [f"({c})*{name}" for c, name in zip(coefficients, names)]
    return f"{' + '.join(sides)} = {value}"


@settings(max_examples=300)
@given(
    st.integers(2, 5).flatmap(
        lambda n: st.lists(
            st.lists(FRACTIONS, min_size=n + 1, max_size=n + 1), min_size=n, max_size=n
        )
    )
)
def test_linear_systems(rows: list[list[Fraction]]) -> None:
    names = "abxyz"[: len(rows)]
    symbols = sympy.symbols(list(names))
    matrix = sympy.Matrix([[sympy.Rational(c) for c in row[:-1]] for row in rows])
    values = sympy.Matrix([sympy.Rational(row[-1]) for row in rows])
    text = "; ".join(linear_text(row[:-1], names, row[-1]) for row in rows)
    assume(all(any(row[i] for row in rows) for i in range(len(rows))))
    if matrix.det() == 0:
        with pytest.raises(mossrt.Error):
            solve(text, sympy=False)
        return
    expected = dict(zip(names, matrix.LUsolve(values)))
    assert lines(solve(text)) == {name: str(value) for name, value in expected.items()}
    assert list(lines(solve(text))) == [str(s) for s in symbols]


@settings(max_examples=200)
@given(st.lists(st.decimals(-50, 50, places=2), min_size=6, max_size=6))
def test_decimal_systems(numbers: list[Any]) -> None:
    a, b, c, d, p, q = numbers
    assume(a * d != b * c and (a or c) and (b or d))
    text = f"({a})x + ({b})y = {p}; ({c})x + ({d})y = {q}"
    x, y = sympy.symbols("x y")
    exact = [sympy.Rational(str(number)) for number in numbers]
    solution = sympy.solve(
        [exact[0] * x + exact[1] * y - exact[4], exact[2] * x + exact[3] * y - exact[5]], [x, y]
    )
    expected = {
        str(name): fifteen_digits(Fraction(int(value.p), int(value.q)))
        for name, value in solution.items()
    }
    assert lines(solve(text)) == expected


def polynomial_text(coefficients: list[Any]) -> str:
    return " + ".join(f"({c})x^{i}" for i, c in enumerate(coefficients)) + " = 0"


@settings(max_examples=300)
@given(st.tuples(FRACTIONS, FRACTIONS, FRACTIONS.filter(bool)))
def test_quadratics_are_written_as_by_sympy(coefficients: tuple[Fraction, ...]) -> None:
    x = sympy.Symbol("x")
    expression = sum(sympy.Rational(c) * x**i for i, c in enumerate(coefficients))
    expected = {str(root) for root in sympy.solve(expression, x)}
    got = list(lines(solve(polynomial_text(list(coefficients)))).values())
    assert len(got) == len(set(got))
    assert set(got) == expected


@settings(max_examples=200)
@given(st.lists(SMALL, min_size=4, max_size=8))
def test_higher_degrees(coefficients: list[int]) -> None:
    assume(coefficients[-1] != 0)
    x = sympy.Symbol("x")
    polynomial = sympy.Poly(coefficients[::-1], x)
    got = list(lines(solve(polynomial_text(coefficients))).values())
    roots = [sympy.sympify(text) for text in got]
    expected = polynomial.sqf_part().nroots(n=30, maxsteps=500)
    assert len(roots) == len(expected)
    for root in expected:
        near = min(roots, key=lambda r: abs((r - root).evalf(30)))
        assert abs((near - root).evalf(30)) <= 1e-14 * max(1, abs(root))
    # Every fraction among the roots is given as one, and real roots stand first, in order.
    fractions = {str(root) for root in sympy.roots(polynomial) if root.is_rational}
    assert fractions == {
        text for text in got if "." not in text and "sqrt" not in text and "I" not in text
    }
    real = [root for root in roots if root.is_real]
    assert roots[: len(real)] == real
    assert all(a.evalf(30) < b.evalf(30) for a, b in itertools.pairwise(real))
    assert len(real) == polynomial.sqf_part().count_roots()


@settings(max_examples=200)
@given(st.lists(SMALL, min_size=4, max_size=7))
def test_fifteen_digits_are_right(coefficients: list[int]) -> None:
    polynomial = sympy.Poly(coefficients[::-1], sympy.Symbol("x"))
    assume(polynomial.degree() > 2 and polynomial.is_irreducible)
    got = [text for text in lines(solve(polynomial_text(coefficients))).values() if "I" not in text]
    expected = [fifteen_digits(str(root.evalf(30))) for root in polynomial.real_roots()]
    assert got == expected


@settings(max_examples=1000)
@given(st.text(max_size=40) | st.text("0123456789.,;=+-*/%^()[]xyz e²√", max_size=50))
def test_any_text_gives_lines_or_a_sentence(text: str) -> None:
    try:
        solution = solve(text, sympy=False)
    except mossrt.Error as error:
        code = error.code
    else:
        code = mossrt.Code.UNSUPPORTED
        assert all(lines(solution).values())
    assert code in (mossrt.Code.INVALID_ARGUMENT, mossrt.Code.UNSUPPORTED)


@pytest.mark.parametrize(
    ("equations", "expected"),
    [
        ("x + y = 7; x*y = 12", "x_0 = 3\nx_1 = 4\ny_0 = 4\ny_1 = 3"),
        ("2^x = 8", "x = 3"),
        ("√x = 3", "x = 9"),
        ("sqrt(2x + 1) = 3", "x = 4"),
        ("ln x = 1", None),
        ("ln(x) = 1", "x = E"),
        ("x + y = 1", "x = 1 - y"),
        ("2πx = 4", "x = 2/pi"),
        ("x*y = 1,200; y = 2", "x = 600\ny = 2"),
        ("x*y = 12,00; y = 2", None),
        ("x² + y² = 25，y = x + 1", "x_0 = -4\nx_1 = 3\ny_0 = -3\ny_1 = 4"),
        ("xy = 6; x + y = 5; x > 0", None),
        ("x y = 6; x + y = 5, x", "x_0 = 2\nx_1 = 3\ny_0 = 3\ny_1 = 2"),
        ("|x| = 1", None),
        ("sin(x)^2 = 2; x = 3", None),
    ],
)
def test_sympy_does_the_rest(equations: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match=r"\w \w"):
            solve(equations)
    else:
        assert solve(equations) == expected


def test_without_sympy_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(mossrt.Error, match=r"pip install 'mossrt\[plugins\]'") as caught:
        solve("2^x = 8")
    assert caught.value.code == mossrt.Code.UNSUPPORTED


@pytest.mark.parametrize(
    "equations",
    [
        "x^9^9^9 = 1",
        "2^(9^9^9 x) = 3",
        "sin(x)^99 + cos(x)^98 + x^97 = exp(x^96)",
        "(a+b+c+d+f+g+h)^50 = 1; a = b^2",
        "(" * 3000 + "x",
        "x = __import__('os').system('true')",
        "x.__class__ = 1",
        "\ud800",
    ],
)
def test_hostile_equations_end_in_time(equations: str) -> None:
    start = time.monotonic()
    with pytest.raises((mossrt.Error, ValueError), match=r"\w \w"):
        solve(equations, timeout=3)
    assert time.monotonic() - start < 30


def test_arguments() -> None:
    with pytest.raises(TypeError, match="equations must be str, found int"):
        solve(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout must be greater than 0"):
        solve("x = 1", timeout=0)
