"""Equations as MOSS's plugin Solve has them; SymPy, where it is installed, does what mossrt cannot."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from mossrt import _mossrt
from mossrt._options import string
from mossrt.errors import Code, Error, InvalidArgument
from mossrt.plugins._arguments import positive

_WORKER = Path(__file__).with_name("_sympy_worker.py")
# The path of this process, so that SymPy is found where this process would find it.
_START = (
    "import runpy, sys; sys.path[:] = sys.argv[2:]; runpy.run_path(sys.argv[1], run_name='worker')"
)


def solve(equations: str, *, sympy: bool = True, timeout: float = 20.0) -> str:
    """The solution of equations: "x = 160/3", one unknown a line in the order of their names.

    Equations are separated by ";", "," or new lines. Several solutions are x_0, x_1, ... and what
    is printed is what SymPy prints. Linear systems and polynomials in one unknown are solved here.
    sympy: other equations go to SymPy (`pip install 'mossrt[plugins]'`) in a process of its own.
    timeout: seconds that SymPy may take; it gets 1 GiB of memory.
    Errors: ValueError (no equations, or no solution), mossrt.Error with `Code.UNSUPPORTED`.

    >>> print(mossrt.plugins.solve("x² = x + 1"))
    x_0 = 1/2 - sqrt(5)/2
    x_1 = 1/2 + sqrt(5)/2
    """
    positive(timeout, "timeout")
    try:
        return _mossrt.solve(string(equations, "equations"))
    except Error as error:
        if error.code != Code.UNSUPPORTED or not sympy:
            raise
        if importlib.util.find_spec("sympy") is None:
            raise Error(f"{error}. SymPy may: pip install 'mossrt[plugins]'", error.code) from None
    return _solve_with_sympy(equations, timeout)


def _solve_with_sympy(equations: str, timeout: float) -> str:
    try:
        done = subprocess.run(
            [sys.executable, "-c", _START, str(_WORKER), *sys.path],
            input=json.dumps({"equations": equations, "seconds": timeout}),
            capture_output=True,
            encoding="utf-8",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Error(
            f"SymPy found no solution within {timeout:g} seconds; simplify the equations or give "
            "a longer timeout",
            Code.UNSUPPORTED,
        ) from None
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise Error(
            f"SymPy's process ended with {done.returncode} and no answer, out of memory or time; "
            "simplify the equations",
            Code.UNSUPPORTED,
        ) from None
    if "solution" in answer:
        return str(answer["solution"])
    if answer["kind"] == "invalid":
        raise InvalidArgument(answer["error"], Code.INVALID_ARGUMENT)
    raise Error(answer["error"], Code.UNSUPPORTED)
