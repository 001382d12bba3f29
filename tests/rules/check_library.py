"""What libmossrt.so exports, needs and is called.

Usage: check_library.py <libmossrt.so> <exported_symbols.txt> <mossrt.h> <soname>
"""

import re
import subprocess
import sys


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main():
    library, list_file, header, soname = sys.argv[1:]
    errors = []
    exported = set()
    for line in run("nm", "-D", "--defined-only", library).splitlines():
        _, kind, name = line.split()
        symbol, _, version = name.partition("@@")
        if kind == "A":
            continue  # the version node itself
        exported.add(symbol)
        if version != "MOSSRT_0.1":
            errors.append(f"{symbol} carries version '{version}' instead of MOSSRT_0.1")
    with open(list_file, encoding="utf-8") as stream:
        listed = set(stream.read().split())
    with open(header, encoding="utf-8") as stream:
        text = re.sub(r"/\*.*?\*/", "", stream.read(), flags=re.DOTALL)
    declared = set(re.findall(r"MOSSRT_API[^;]*?\b(mossrt_\w+)\(", text))
    for name, other in (("exported_symbols.txt", listed), ("mossrt.h", declared)):
        for symbol in sorted(exported - other):
            errors.append(f"{symbol} is exported but not in {name}")
        for symbol in sorted(other - exported):
            errors.append(f"{symbol} is in {name} but not exported")
    dynamic = run("readelf", "-d", library)
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
    for name in needed:
        if re.search(r"blas|lapack|atlas|mkl|blis|gomp|omp\.so|iomp", name):
            errors.append(f"needs {name}: a BLAS is opened at run time, and OpenMP not at all")
    found = re.findall(r"\(SONAME\).*\[(.*)\]", dynamic)
    if found != [soname]:
        errors.append(f"SONAME is {found} instead of {soname}")
    if not re.search(r"FLAGS_1\).*NODELETE", dynamic):
        errors.append("may be unmapped by dlclose while its threads run (link with -z nodelete)")
    if not needed or not exported:
        errors.append("nothing was read from the library")
    print("\n".join(errors) or f"{len(exported)} symbols; needs {' '.join(needed)}")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
