"""Solves equations with SymPy. Run in a process of its own: JSON comes in on stdin and goes out on stdout.

The text is read by Python's parser and by a list of what is known; nothing in it is executed, as
SymPy's own parser would do.
"""

from __future__ import annotations

import ast
import json
import re
import resource
import sys
import unicodedata
from typing import Any

MEMORY = 1 << 30  # bytes
LONGEST = 200  # characters of an exact value; a longer one is given in 15 digits
MOST = 50  # solutions

SIGNS = str.maketrans(
    {
        **dict.fromkeys("×·∙⋅•✕✖∗", "*"),
        **dict.fromkeys("÷∕⁄", "/"),
        **dict.fromkeys("−‐‑‒–—―", "-"),
        **dict.fromkeys("【〔[{", "("),
        **dict.fromkeys("】〕]}", ")"),
        "√": " sqrt ",
        "π": " pi ",
        "、": ",",
        "\n": ";",
    }
)
SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"
FUNCTIONS = {
    **{name: name for name in "acos asin atan cos cosh exp log sin sinh sqrt tan tanh".split()},  # noqa: SIM905
    "abs": "Abs",
    "arccos": "acos",
    "arcsin": "asin",
    "arctan": "atan",
    "ln": "log",
}
THOUSANDS = re.compile(r"(?<![\w.,])[1-9]\d{0,2}(?:,\d{3})+(?![\w,])")
CONSTANTS = {"pi": "pi", "E": "E", "I": "I"}
TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d]\w*)"
    r"|(?P<sign>\*\*|==|[-+*/^%(),;=]))"
)


class Invalid(Exception):
    """The text is no equation, or its equations have no solution."""


def plain(text: str) -> str:
    """The text with the signs of ASCII."""
    raised = re.sub(
        f"[{SUPERSCRIPTS}]+",
        lambda run: f"^({run.group().translate(str.maketrans(SUPERSCRIPTS, '0123456789-'))})",
        text,
    )
    ascii_signs = unicodedata.normalize("NFKC", raised.translate(SIGNS)).translate(SIGNS)
    return THOUSANDS.sub(lambda number: number.group().replace(",", ""), ascii_signs)


def cut(text: str) -> list[tuple[str, str]]:
    """(kind, text) of the tokens."""
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise Invalid(f"{text[at : at + 20]!r} has no meaning in an equation")
        kind = str(match.lastgroup)
        tokens.append((kind, match.group(kind)))
        at = match.end()
    return tokens


def parts(tokens: list[tuple[str, str]]) -> list[list[list[tuple[str, str]]]]:
    """The sides of each equation."""
    equations: list[list[list[tuple[str, str]]]] = [[[]]]
    depth = 0
    for kind, token in tokens:
        depth += (token == "(") - (token == ")")
        if token == ";" or (token == "," and depth == 0):
            equations.append([[]])
        elif token in ("=", "=="):
            equations[-1].append([])
        else:
            equations[-1][-1].append((kind, token))
    return [sides for sides in equations if any(sides)]


def to_python(tokens: list[tuple[str, str]]) -> str:
    """The text of a side with every product written out."""
    out: list[str] = []
    bare_root = False  # behind a root sign without brackets
    for i, (kind, token) in enumerate(tokens):
        last_kind, last = tokens[i - 1] if i else ("sign", "(")
        factor = kind != "sign" or token == "("
        if factor and (last_kind == "number" or last == ")" or last == "%"):
            out.append("*")
        elif factor and last_kind == "name" and not (last in FUNCTIONS and token == "("):
            if last == "sqrt":
                out.append("(")
                bare_root = True
            else:
                out.append("*")
        following = tokens[i + 1][1] if i + 1 < len(tokens) else ""
        if kind == "name" and token in FUNCTIONS and following != "(" and token != "sqrt":
            raise Invalid(f"{token} needs brackets behind it")
        out.append({"^": "**", "%": "/100"}.get(token, token))
        if bare_root and token != "sqrt":
            out.append(")")
            bare_root = False
    return " ".join(out)


def build(node: ast.AST, sympy: Any, names: dict[str, Any]) -> Any:
    """The expression of a parsed side."""
    if isinstance(node, ast.Expression):
        return build(node.body, sympy, names)
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return sympy.Integer(node.value)
    if isinstance(node, ast.Constant) and type(node.value) is float:
        return sympy.Float(node.value)
    if isinstance(node, ast.Name):
        if node.id in CONSTANTS:
            return getattr(sympy, CONSTANTS[node.id])
        return names[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = build(node.operand, sympy, names)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        left, right = build(node.left, sympy, names), build(node.right, sympy, names)
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.Div):
            return left / right
        if isinstance(node.op, ast.Pow):
            return left**right
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        arguments = [build(argument, sympy, names) for argument in node.args]
        if 1 <= len(arguments) <= (2 if node.func.id == "log" else 1):
            return getattr(sympy, FUNCTIONS[node.func.id])(*arguments)
    raise Invalid(
        "the equations hold something that is neither a number, an unknown nor a function"
    )


def split_names(tokens: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """ "xy" is x times y where x and y also stand alone, else the name of one unknown."""
    letters = {token for kind, token in tokens if kind == "name" and len(token) == 1}
    out = []
    for kind, token in tokens:
        if kind == "name" and token not in FUNCTIONS and len(token) > 1 and set(token) <= letters:
            out += [("name", letter) for letter in token]
        else:
            out.append((kind, token))
    return out


def value_text(value: Any, sympy: Any) -> str:
    """A value as SymPy prints it, or its 15 digits where that is long."""
    exact = str(value)
    if len(exact) <= LONGEST and not value.has(sympy.CRootOf):
        return exact
    digits = str(value.evalf(15, chop=True)) if not value.free_symbols else ""
    if not digits or len(digits) > LONGEST:
        raise NotImplementedError("the solution is too long to be read")
    return digits


def solve(text: str) -> str:
    """The lines of the solution."""
    import sympy

    tokens = split_names(cut(plain(text)))
    names = {
        token: sympy.Symbol(token)
        for kind, token in tokens
        if kind == "name" and token not in FUNCTIONS and token not in CONSTANTS
    }
    if not names:
        raise Invalid("there is no equation with an unknown such as x")
    equations = []
    every = parts(tokens)
    for sides in every:
        if len(every) > 1 and len(sides) == 1 and len(sides[0]) == 1 and sides[0][0][0] == "name":
            continue  # "3x = 6, x" names what is asked for
        if len(sides) == 1 and all(kind != "name" for kind, _ in sides[0]):
            raise Invalid('the equations hold a part without an unknown and without "="')
        try:
            built = [build(ast.parse(to_python(s), mode="eval"), sympy, names) for s in sides]
        except SyntaxError:
            raise Invalid("the equations cannot be read") from None
        right = built[1:] or [sympy.Integer(0)]
        equations += [a - b for a, b in zip(built, right)]
    unknowns = [names[name] for name in sorted(names)]
    solutions = sympy.solve(equations, unknowns, dict=True)
    if not solutions:
        raise Invalid("the equations have no solution")
    if len(solutions) > MOST:
        raise NotImplementedError(f"there are {len(solutions)} solutions")
    lines = []
    for unknown in unknowns:
        for i, solution in enumerate(solutions):
            if unknown in solution:
                name = f"{unknown}_{i}" if len(solutions) > 1 else str(unknown)
                lines.append(f"{name} = {value_text(solution[unknown], sympy)}")
    return "\n".join(lines)


def main() -> None:
    """One request."""
    request = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    seconds = int(request["seconds"]) + 1  # if the parent is gone
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    try:
        answer = {"solution": solve(request["equations"])}
    except Invalid as error:
        answer = {"kind": "invalid", "error": str(error)}
    except NotImplementedError as error:
        answer = {"kind": "unsupported", "error": f"SymPy cannot solve the equations: {error}"}
    except (ArithmeticError, MemoryError, RecursionError, TypeError, ValueError) as error:
        name = type(error).__name__
        answer = {"kind": "unsupported", "error": f"SymPy gave up on the equations with {name}"}
    json.dump(answer, sys.stdout)


if __name__ == "worker":
    main()
