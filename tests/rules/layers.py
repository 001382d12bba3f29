"""The layer rule: an include may reach only rooms to the right of its own.

Usage: layers.py <source directory> | layers.py --self-test <source directory>
"""

import pathlib
import re
import shutil
import sys
import tempfile

# Room -> rooms it may include (src/README.md). capi may include all.
LAYERS = {
    "base": "",
    "threads": "base",
    "cpu": "base",
    "text": "base",
    "tensor": "base",
    "checkpoint": "tensor base",
    "backends": "cpu tensor threads base",
    "ops": "backends cpu tensor threads base",
    # cpu: the numerics text names the kernel table, and weights are widened with its conversions.
    "models": "ops backends checkpoint cpu tensor threads base",
    "generate": "models ops text tensor threads base",
    "chat": "text base",
    "dialogue": "chat generate text base",
}
LAYERS["capi"] = " ".join(LAYERS)
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.MULTILINE)
SUFFIXES = {".h", ".cc", ".inc", ".hpp", ".cpp", ".c"}


def includes(path):
    return INCLUDE.findall(path.read_text(encoding="utf-8"))


def sources(directory):
    return sorted(p for p in directory.rglob("*") if p.suffix in SUFFIXES)


def owners(root):
    """Room of every interface header, by its first comment."""
    found, errors = {}, []
    for path in sources(root / "include/mossrt/runtime"):
        comment = []
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("//"):
                break
            comment.append(line[2:].strip())
        match = re.search(r"Owned by src/(\w+)", " ".join(comment))
        if match is None or match.group(1) not in LAYERS:
            errors.append(f"{path}: its first comment must say 'Owned by src/<room>'")
        else:
            found[f"mossrt/runtime/{path.name}"] = match.group(1)
    return found, errors


def room_of_include(name, owner, root):
    """The room that an include leads to; None for the world outside."""
    if name.startswith("mossrt/runtime/"):
        return owner.get(name, "unknown")
    if name.startswith("mossrt/"):
        return "capi"
    first = name.split("/")[0]
    return first if (root / "src" / first).is_dir() else None


def check_rooms(root, owner):
    errors = []
    files = [(p, p.relative_to(root / "src").parts[0]) for p in sources(root / "src")]
    files += [(root / "include" / name, room) for name, room in owner.items()]
    for path, room in files:
        if room not in LAYERS:
            errors.append(f"{path}: room {room} stands in no layer")
            continue
        allowed = {room, *LAYERS[room].split()}
        for _, name in includes(path):
            target = room_of_include(name, owner, root)
            if target is not None and target not in allowed:
                errors.append(f"{path}: {room} may not include {name} (room {target})")
    return errors


def check_cpu_alone(root):
    """cpu, and what it includes of base, cross-compiles without any library."""
    errors, seen, queue = [], set(), sources(root / "src/cpu")
    queue += [root / "include/mossrt/runtime/kernel_table.h"]
    while queue:
        path = queue.pop()
        if path in seen:
            continue
        seen.add(path)
        for _, name in includes(path):
            if name.startswith(("absl/", "nlohmann/")):
                errors.append(f"{path}: cpu must build without libraries, but reads {name}")
            for base in (root / "src", root / "include"):
                if (base / name).is_file():
                    queue.append(base / name)
    return errors


def check_doors(root):
    """mossrt.h, mossrt.hpp and what is built on them see no more than that."""
    errors = []
    rules = [
        (root / "include/mossrt/mossrt.h", r"std(def|int)\.h$"),
        (root / "include/mossrt/mossrt.hpp", r"mossrt/(mossrt\.h|hpp/\w+\.hpp)$"),
        (root / "include/mossrt/hpp", r"mossrt/(mossrt\.h|hpp/\w+\.hpp)$|\w+$"),
        (root / "bindings", r"(?!mossrt/runtime/)(?!absl/)"),
        (root / "examples/c", r"mossrt/mossrt\.h$|\w+\.h$"),
        (root / "examples/cpp", r"mossrt/mossrt\.hpp$|\w+$"),
    ]
    for place, pattern in rules:
        for path in [place] if place.is_file() else sources(place):
            for _, name in includes(path):
                internal = (root / "src" / name).is_file()
                if internal or re.match(pattern, name) is None:
                    errors.append(f"{path}: may not include {name}")
    return errors


def check(root):
    owner, errors = owners(root)
    return errors + check_rooms(root, owner) + check_cpu_alone(root) + check_doors(root)


def self_test(root):
    """Every kind of violation is found."""
    planted = {
        "src/base/log.cc": '#include "mossrt/runtime/decoder.h"',
        "src/threads/thread_team.cc": '#include "generate/stop.h"',
        "src/cpu/dispatch.cc": '#include "absl/status/status.h"',
        "include/mossrt/mossrt.h": "#include <stdbool.h>",
        "include/mossrt/hpp/model.hpp": '#include "mossrt/runtime/decoder.h"',
        "include/mossrt/runtime/hooks.h": '#include "mossrt/runtime/session.h"',
    }
    with tempfile.TemporaryDirectory() as temporary:
        for file, line in planted.items():
            copy = pathlib.Path(temporary) / file.replace("/", "_")
            for folder in ("src", "include"):
                shutil.copytree(root / folder, copy / folder)
            if check(copy):
                return ["the tree is already at fault: " + check(copy)[0]]
            with open(copy / file, "a", encoding="utf-8") as stream:
                stream.write(line + "\n")
            if not any(file in error for error in check(copy)):
                return [f"{line} in {file} was not found"]
    return []


def main():
    errors = (
        self_test(pathlib.Path(sys.argv[2]))
        if sys.argv[1] == "--self-test"
        else check(pathlib.Path(sys.argv[1]))
    )
    print("\n".join(errors) or "ok")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
