"""The C interface has not changed since tests/data/abi/mossrt.abi was written.

Usage: abi.py check | renew | self-test

Types come from include/mossrt/mossrt.h alone: it is compiled as a library of empty functions with
debug information, under libmossrt's SONAME and symbol versions, which takes a second and does not
depend on the flags of a build. The compiler holds the real functions against the same header, and
check_library.py the symbols of the real library. Constants, which no library contains, become the
values of an enumeration. abidiff (Debian: abigail-tools) compares.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEADER = ROOT / "include/mossrt/mossrt.h"
STORED = ROOT / "tests/data/abi/mossrt.abi"
SYMBOLS = ROOT / "src/capi/mossrt.map"
ADVICE = """
The C interface differs from tests/data/abi/mossrt.abi. What was only added: renew the file with
    python3 tests/rules/abi.py renew
and commit it. What was changed or removed breaks programs: it needs a new minor version."""


def run(*command, folder):
    if shutil.which(command[0]) is None:
        sys.exit(f"{command[0]} is not installed (Debian: abigail-tools, gcc)")
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=environment,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def write_abi(header_text, folder, name):
    """The interface of a header as libabigail's XML, without paths."""
    major, minor = (
        re.search(rf"#define MOSSRT_ABI_{part} (\d+)", header_text).group(1)
        for part in ("MAJOR", "MINOR")
    )
    constants = re.findall(r"#define (MOSSRT_\w+)(?:[ \t]|\\\n)+\d", header_text)
    # A definition for each declaration; the names below keep the constants' values.
    text = re.sub(r"(MOSSRT_API [^;]*\));", r"\1 { __builtin_trap(); }", header_text)
    text += "\nenum mossrt_constants {\n"
    text += "".join(f"  CONSTANT_{constant} = {constant},\n" for constant in constants)
    text += "};\nMOSSRT_API void mossrt_constants(enum mossrt_constants c) { (void)c; }\n"
    (folder / "mossrt.c").write_text(text, encoding="utf-8")
    commands = [
        ["gcc", "-std=c99", "-g", "-fPIC", "-shared", "-nostdlib", "mossrt.c", "-o", "mossrt.so"]
        + [f"-Wl,-soname,libmossrt.so.{major}.{minor}", f"-Wl,--version-script={SYMBOLS}"],
        ["abidw", "--no-corpus-path", "--no-comp-dir-path", "--no-show-locs", "--out-file", name]
        + ["mossrt.so"],
    ]
    for command in commands:
        result = run(*command, folder=folder)
        if result.returncode != 0:
            sys.exit(f"{' '.join(command)} failed:\n{result.stdout}")
    return folder / name


def difference(stored, header_text):
    """What abidiff says about a header, or an empty text."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        result = run("abidiff", stored, write_abi(header_text, folder, "new.abi"), folder=folder)
        return (
            result.stdout or f"abidiff ended with {result.returncode}" if result.returncode else ""
        )


def self_test(text):
    """Every kind of change is found, each against the header as it is."""
    edits = {
        "a parameter's type": (r"(mossrt_chat_end\(mossrt_chat\* c, )int32_t", r"\1int64_t"),
        "one more parameter": (r"(mossrt_chat_send\(mossrt_chat\* c, )", r"\1int32_t flags, "),
        "a result's type": (r"size_t (mossrt_tokenizer_size)", r"int32_t \1"),
        "a callback's type": (
            r"(\*mossrt_text_fn\)\(void\* user, const char\* text, )size_t",
            r"\1int",
        ),
        "a removed function": (r"MOSSRT_API void mossrt_chat_free\([^;]*;", ""),
        "an added function": (
            r"(MOSSRT_API void mossrt_chat_free)",
            r"MOSSRT_API int mossrt_x(int i);\n\1",
        ),
        "a constant": (r"(#define MOSSRT_E_BUSY) 8", r"\1 14"),
    }
    failures = []
    with tempfile.TemporaryDirectory() as name:
        stored = write_abi(text, pathlib.Path(name), "stored.abi")
        if difference(stored, text):
            failures.append("the header differs from itself")
        for what, (pattern, replacement) in edits.items():
            edited, count = re.subn(pattern, replacement, text, count=1)
            if count != 1:
                failures.append(f"{what}: the self-test finds nothing to change in mossrt.h")
            elif not difference(stored, edited):
                failures.append(f"{what} is not noticed")
    return failures


def main():
    text = HEADER.read_text(encoding="utf-8")
    if sys.argv[1:] == ["renew"]:
        with tempfile.TemporaryDirectory() as name:
            shutil.copyfile(write_abi(text, pathlib.Path(name), "mossrt.abi"), STORED)
        return 0
    if sys.argv[1:] == ["self-test"]:
        failures = self_test(text)
        print("\n".join(failures) or "every change was noticed")
        return 1 if failures else 0
    if sys.argv[1:] != ["check"]:
        sys.exit(__doc__)
    found = difference(STORED, text)
    print(found + ADVICE if found else "mossrt.h has the interface of tests/data/abi/mossrt.abi")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
