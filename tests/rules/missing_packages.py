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
import tempfile

BLIND = "-DCMAKE_IGNORE_PREFIX_PATH=/;/usr;/usr/local"
LIBRARIES = [
    *("libabsl-dev", "libboost-dev", "libeigen3-dev", "libisal-dev", "libopenblas-dev"),
    *("libsentencepiece-dev", "libutf8proc-dev", "nlohmann-json3-dev", "pkg-config", "zlib1g-dev"),
]


def packages_named(cmake, source, work, tools, options, variables):
    """Configures with a search path of `tools`, a map from name to program; the packages that CMake asks for."""
    shutil.rmtree(work, ignore_errors=True)
    (work / "bin").mkdir(parents=True)
    for name, program in tools.items():
        (work / "bin" / name).symlink_to(program)
    # A compiler, a launcher or a prefix that the caller's environment names would be found all the same.
    environment = {"PATH": str(work / "bin"), "HOME": os.environ.get("HOME", "/"), "LC_ALL": "C"}
    environment.update(variables)
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


def links_sanitizers(clang):
    """Debian's clang comes without the sanitizers, so it may be there alone."""
    with tempfile.TemporaryDirectory() as folder:
        result = subprocess.run(
            [clang, "-fsanitize=address", "-x", "c++", "-", "-o", f"{folder}/program"],
            check=False,
            input="int main() {}",
            capture_output=True,
            text=True,
        )
        return result.returncode == 0


def main(cmake, source, work, cc, cxx):
    programs = {name: shutil.which(name) for name in ("ninja", "as", "ld", "ar", "ranlib")}
    ninja = {"ninja": programs["ninja"]}
    native = {**programs, "gcc": cc, "g++": cxx}
    named = [f"-DCMAKE_C_COMPILER={work}/bin/gcc", f"-DCMAKE_CXX_COMPILER={work}/bin/g++"]
    # A toolchain of somebody else's, whose compilers are not in the search path.
    toolchain = work.with_suffix(".cmake")
    toolchain.write_text(f'set(CMAKE_C_COMPILER "{cc}")\nset(CMAKE_CXX_COMPILER "{cxx}")\n')
    cross = ["--toolchain", f"{source}/cmake/aarch64-linux-gnu.cmake", "-DMOSSRT_CPU_ONLY=ON"]
    cpu_only = ["-DMOSSRT_CPU_ONLY=ON", BLIND]
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
        (native, [*named, *cpu_only], ["libgtest-dev"]),
        (programs, ["--toolchain", str(toolchain), *cpu_only], ["libgtest-dev"]),
        (programs, cpu_only, ["libgtest-dev"], {"CMAKE_TOOLCHAIN_FILE": str(toolchain)}),
    ]
    clang, clangxx = shutil.which("clang"), shutil.which("clang++")
    if clang and clangxx and links_sanitizers(clangxx):
        # What a first attempt found missing, and its user has installed since.
        sanitize = ["-DMOSSRT_SANITIZE=address", "-DMOSSRT_SANITIZERS_LINK="]
        by_clang = [f"-DCMAKE_C_COMPILER={clang}", f"-DCMAKE_CXX_COMPILER={clangxx}"]
        cases.append((programs, [*by_clang, *sanitize, *cpu_only], ["libgtest-dev"]))
    failures = 0
    for tools, options, expected, *variables in cases:
        found = packages_named(cmake, source, work, tools, options, *(variables or [{}]))
        if found != sorted(expected):
            print(f"{options} {variables}: named {found}, expected {sorted(expected)}")
            failures += 1
    shutil.rmtree(work, ignore_errors=True)
    toolchain.unlink()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), *sys.argv[4:]))
