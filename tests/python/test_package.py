"""Docstrings run, stubs agree with the module, and the package brings what programs need."""

from __future__ import annotations

import ctypes
import doctest
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import mossrt
from conftest import ROOT

MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(mossrt.__path__, "mossrt.")
    if name not in ("mossrt._mossrt", "mossrt.__main__")
]


@pytest.mark.parametrize("name", ["mossrt", *MODULES])
def test_docstrings(name: str, model: mossrt.Model) -> None:
    module = importlib.import_module(name)
    results = doctest.testmod(
        module,
        extraglobs={"mossrt": mossrt, "model": model},
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
    )
    assert results.failed == 0
    if name in (
        "mossrt", "mossrt.chat", "mossrt.model", "mossrt.session", "mossrt.tokenizer",
        "mossrt.machine",
    ):  # fmt: skip
        assert results.attempted > 0


def test_everything_public_is_documented() -> None:
    undocumented = []
    for name in mossrt.__all__:
        thing = getattr(mossrt, name)
        if isinstance(thing, str):
            continue
        if not thing.__doc__:
            undocumented.append(name)
        if isinstance(thing, type):
            for member, value in vars(thing).items():
                if member.startswith("_") or not callable(value):
                    continue
                if not value.__doc__:
                    undocumented.append(f"{name}.{member}")
    assert undocumented == []


def test_stubs(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="stubs are held by mypy.stubtest")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy.stubtest",
            "mossrt._mossrt",
            "--allowlist",
            ROOT / "tests" / "python" / "stubtest_allowlist.txt",
        ],
        cwd=tmp_path,  # else the sources beside would stand for the package
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (Path(mossrt.__file__).parent / "py.typed").exists()


def test_stubs_have_every_name() -> None:
    """stubtest cannot see the parameters of functions in C++; their names are in the docstrings."""
    from mossrt import _mossrt

    stub = (Path(mossrt.__file__).parent / "_mossrt.pyi").read_text()
    checked = 0
    for holder in (_mossrt, *(t for t in vars(_mossrt).values() if isinstance(t, type))):
        for name, value in vars(holder).items():
            if name.startswith("_") or not callable(value) or isinstance(value, type):
                continue
            signature = (value.__doc__ or "").partition("\n")[0]
            parameters = [
                part.partition(":")[0].strip()
                for part in signature.partition("(")[2].rpartition(")")[0].split(", ")
            ]
            for parameter in parameters:
                if parameter and parameter.isidentifier() and parameter not in ("self", "arg0"):
                    assert f"{parameter}:" in stub, (name, parameter)
                    checked += 1
    assert checked > 20


def test_version_is_that_of_the_project() -> None:
    assert f'version = "{mossrt.version}"' in (ROOT / "pyproject.toml").read_text()
    assert f"VERSION {mossrt.version} " in (ROOT / "CMakeLists.txt").read_text()


def test_headers_compile_and_the_library_loads(tmp_path: Path) -> None:
    source = tmp_path / "program.cc"
    source.write_text(
        "#include <mossrt/mossrt.h>\n#include <mossrt/mossrt.hpp>\n"
        "#include <iostream>\n"
        "int main() { std::cout << mossrt::Version(); }\n"
    )
    program = tmp_path / "program"
    library = Path(mossrt.get_library())
    subprocess.run(
        ["c++", "-std=c++20", f"-I{mossrt.get_include()}", source, "-o", program, library,
         f"-Wl,-rpath,{library.parent}"],
        check=True,
    )  # fmt: skip
    found = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    assert found == mossrt.version


def test_the_c_library_from_ctypes() -> None:
    library = ctypes.CDLL(mossrt.get_library())
    library.mossrt_version.restype = ctypes.c_char_p
    assert library.mossrt_version().decode() == mossrt.version


def test_doctor_measures() -> None:
    found = mossrt.doctor()
    assert found["bandwidth"] > 1e8
    assert found["threads"] <= found["cores_allowed"]
    assert any(table["available"] for table in found["kernel_tables"])
    assert mossrt.measure_bandwidth(threads=1) > 1e8
    with pytest.raises(ValueError, match="threads"):
        mossrt.measure_bandwidth(threads=-1)
