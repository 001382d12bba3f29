"""A build that lacks Debian packages says so once, and names all of them.

Usage: missing_packages.py <cmake> <source> <work folder> <C compiler> <C++ compiler>

Nothing is removed from the machine: the search path holds only what a case lets it hold, and CMake is
told to look nowhere below /usr.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

BLIND = "-DCMAKE_IGNORE_PREFIX_PATH=/;/usr;/usr/local"
LIBRARIES = [
    *("libabsl-dev", "libboost-dev", "libeigen3-dev", "libisal-dev", "libopenblas-dev"),
    *("libsentencepiece-dev", "libutf8proc-dev", "nlohmann-json3-dev", "pkg-config", "zlib1g-dev"),
]


def packages_named(cmake, source, work, tools, options):
    """Configures with a search path of `tools`, a map from name to program; the packages that CMake asks for."""
    shutil.rmtree(work, ignore_errors=True)
    (work / "bin").mkdir(parents=True)
    for name, program in tools.items():
        (work / "bin" / name).symlink_to(program)
    # A compiler, a launcher or a prefix that the caller's environment names would be found all the same.
    environment = {"PATH": str(work / "bin"), "HOME": os.environ.get("HOME", "/"), "LC_ALL": "C"}
    result = subprocess.run(
        [cmake, "-S", source, "-B", work / "build", "-G", "Ninja", *options],
        env=environment,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    errors = result.stdout.count("CMake Error")
    named = re.findall(r"^ *apt-get install (.*)$", result.stdout, re.MULTILINE)
    if result.returncode == 0 or errors != 1 or len(named) != 1:
        print(result.stdout)
        print(
            f"configuring with {options} gave {errors} errors and named packages {len(named)} times, not once"
        )
        return None
    return sorted(named[0].split())


def main(cmake, source, work, cc, cxx):
    programs = {name: shutil.which(name) for name in ("ninja", "as", "ld", "ar", "ranlib")}
    ninja = {"ninja": programs["ninja"]}
    native = {**programs, "gcc": cc, "g++": cxx}
    named = [f"-DCMAKE_C_COMPILER={work}/bin/gcc", f"-DCMAKE_CXX_COMPILER={work}/bin/g++"]
    cross = ["--toolchain", f"{source}/cmake/aarch64-linux-gnu.cmake", "-DMOSSRT_CPU_ONLY=ON"]
    no_sources = "-DMOSSRT_GOOGLETEST_SOURCES=/nowhere"
    no_tests = ["-DMOSSRT_BUILD_TESTS=OFF", "-DMOSSRT_BUILD_BENCHMARKS=OFF"]
    cases = [
        ({}, [], ["g++", "gcc", "ninja-build"]),
        (ninja, ["-DCMAKE_C_COMPILER=clang", "-DCMAKE_CXX_COMPILER=clang++"], ["clang"]),
        (ninja, [*cross, no_sources], ["g++-aarch64-linux-gnu", "googletest", "qemu-user"]),
        (ninja, [*cross, *no_tests], ["g++-aarch64-linux-gnu"]),
        (
            native,
            [*named, BLIND],
            [*LIBRARIES, "libbenchmark-dev", "libgtest-dev", "python3"],
        ),
        (
            native,
            [*named, *no_tests, "-DMOSSRT_BUILD_PYTHON=ON", BLIND],
            [*LIBRARIES, "python3-dev"],
        ),
        (native, [*named, "-DMOSSRT_CPU_ONLY=ON", BLIND], ["libgtest-dev"]),
    ]
    failures = 0
    for tools, options, expected in cases:
        found = packages_named(cmake, source, work, tools, options)
        if found != sorted(expected):
            print(f"{options}: named {found}, expected {sorted(expected)}")
            failures += 1
    shutil.rmtree(work, ignore_errors=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), *sys.argv[4:]))
