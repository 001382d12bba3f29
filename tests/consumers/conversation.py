"""The conversation of examples/conversation in one language: built, run and compared.

Usage: conversation.py <settings.json> <language>

All programs must print what examples/conversation/README.md shows, to the byte, so all print the
same. Tools are Debian's (/usr/bin); one that is missing is a failure.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

LIMIT = 80  # lines of a program, as wc -l counts them
WIDTH = 100
MISSING = "/does/not/exist"
CALCULATIONS = {"1234*5678": repr(1234 * 5678), "12/34": repr(12 / 34)}
SYSTEM_LIBRARIES = {"libc", "libm", "libgcc_s", "libstdc++", "libgo", "ld-linux-x86-64"}
# How many names a program looks up only when it runs, at least.
LOOKED_UP = {"py": 14, "java": 14, "rb": 14, "lua": 5}
FILES = {"java": "Conversation.java"}
# Each list of commands checks or builds {file}; the last command of a language runs it.
COMMANDS = {
    "c": [
        "{cc} -std=c99 -Wall -Wextra -Wpedantic -Wconversion -Werror {file} -o {program} {flags}",
        "{program}",
    ],
    "cpp": [
        "{cxx} -std=c++20 -Wall -Wextra -Wpedantic -Werror {file} -o {program} {flags}",
        "{program}",
    ],
    "py": ["python3 -W error {file}"],
    "rs": [
        "rustfmt --check {file}",
        "rustc --edition 2021 -D warnings {file} -o {program} {libraries}",
        "{program}",
    ],
    "go": [
        "gofmt-12 -d {file}",
        "go-12 vet {file}",
        "go-12 build -o {program} {file}",
        "{program}",
    ],
    "java": ["java -Dfile.encoding=UTF-8 -cp /usr/share/java/jna.jar {file}"],
    "rb": ["ruby -w {file}"],
    "lua": ["luajit {file}"],
}


def run(command, environment):
    print("+", " ".join(command), flush=True)
    if shutil.which(command[0], path=environment["PATH"]) is None:
        sys.exit(f"{command[0]} is missing: tests/run.sh names its package")
    return subprocess.run(command, env=environment, capture_output=True, check=False)


def pkg_config(environment, *options):
    result = run(["pkg-config", *options, "mossrt"], environment)
    return result.stdout.decode().split()


def transcript(readme):
    """What the page shows, after a look whether it holds the right results."""
    text = re.search(r"```text\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL).group(1)
    for expression, value in CALCULATIONS.items():
        if f"""[result] Calculate("{expression}") => '{value}'\n""" not in text:
            sys.exit(f"{readme} does not show that {expression} is {value}")
        if not re.search(rf"\[answer\] .*{re.escape(value)}", text):
            sys.exit(f"{readme} shows no answer with {value}")
    return text.encode()


def names_looked_up(text):
    """Functions that a program finds by name only when it runs, among them those that free."""
    names = set(re.findall(r"\b(?:call|function)\(\s*\"(\w+)\"", text))
    for kind, name in re.findall(r"\bcreate\((?:own, )?\"(\w+)\", (?:\"(\w+)\")?", text):
        names |= {f"{kind}_free", *([name] if name else [])}
    return {f"mossrt_{name}" for name in names}


def declared(header):
    return set(re.findall(r"MOSSRT_API[^;]*?\b(mossrt_\w+)\(", header))


def check_text(file, header):
    """Short, readable, and nothing but the C interface."""
    text = file.read_text(encoding="utf-8")
    lines = text.count("\n")
    if not 20 < lines < LIMIT:
        sys.exit(f"{file} has {lines} lines: fewer than {LIMIT} are promised")
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > WIDTH:
            sys.exit(f"{file}:{number} has {len(line)} characters, more than {WIDTH}")
    unknown = set(re.findall(r"\bmossrt_\w+", text)) - set(re.findall(r"\bmossrt_\w+", header))
    unknown = {name for name in unknown if not name.endswith("_")}
    if unknown or "mossrt/runtime" in text or "import mossrt" in text:
        sys.exit(f"{file} uses more than mossrt.h: {' '.join(sorted(unknown))}")
    wanted, names = LOOKED_UP.get(file.suffix[1:], 0), names_looked_up(text)
    if len(names) < wanted or names - declared(header):
        wrong = " ".join(sorted(names - declared(header)))
        sys.exit(f"{file} looks {len(names)} names up, of at least {wanted}; not declared: {wrong}")


def check_program(program, header, environment):
    """Linked are libmossrt and the language's own libraries, and called is what mossrt.h declares."""
    dynamic = run(["readelf", "-d", program], environment).stdout.decode()
    needed = set(re.findall(r"NEEDED.*\[(\w[\w+-]*)\.so", dynamic))
    if "libmossrt" not in needed or needed - {"libmossrt"} - SYSTEM_LIBRARIES:
        sys.exit(f"{program} needs {' '.join(sorted(needed))}")
    symbols = run(["nm", "-D", "--undefined-only", program], environment).stdout.decode()
    called = set(re.findall(r"\bmossrt_\w+", symbols))
    if not called or called - declared(header):
        sys.exit(f"{program} calls {' '.join(sorted(called - declared(header))) or 'nothing'}")


def main():
    with open(sys.argv[1], encoding="utf-8") as stream:
        s = json.load(stream)
    language = sys.argv[2]
    folder = pathlib.Path(s["source"]) / "examples/conversation"
    file = folder / FILES.get(language, f"conversation.{language}")
    prefix = pathlib.Path(s["prefix"])
    header = (prefix / "include/mossrt/mossrt.h").read_text(encoding="utf-8")
    expected = transcript(folder / "README.md")
    check_text(file, header)

    work = pathlib.Path(s["work"]) / f"conversation-{language}"
    work.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "PATH": f"/usr/bin:{os.environ['PATH']}",
        "PKG_CONFIG_PATH": str(prefix / s["libdir"] / "pkgconfig"),
        "LD_LIBRARY_PATH": str(prefix / s["libdir"]),
        "GOCACHE": str(work / "cache"),
        "GOPATH": str(work / "go"),
        "LC_ALL": "C",
    }
    names = {
        "file": str(file),
        "program": str(work / "conversation"),
        "cc": s["cc"],
        "cxx": s["cxx"],
    }
    commands = []
    for line in COMMANDS[language]:
        words = []
        for word in line.split():
            if word == "{flags}":
                words += pkg_config(environment, "--cflags", "--libs")
            elif word == "{libraries}":
                words += pkg_config(environment, "--libs-only-L")
            else:
                words.append(word.format(**names))
        commands.append(words)
    for command in commands[:-1]:
        result = run(command, environment)
        if result.returncode != 0 or (command[0].startswith("gofmt") and result.stdout):
            sys.exit((result.stdout + result.stderr).decode() or f"ended with {result.returncode}")
    if "{program}" in COMMANDS[language]:
        check_program(names["program"], header, environment)

    model = str(pathlib.Path(s["source"]) / "examples/tiny-moss/model")
    result = run([*commands[-1], model], environment)
    if (result.returncode, result.stdout, result.stderr) != (0, expected, b""):
        sys.exit(f"ended with {result.returncode} and printed\n{result.stdout + result.stderr!r}\n"
                 f"instead of\n{expected!r}")  # fmt: skip
    result = run([*commands[-1], MISSING], environment)
    if result.returncode != 1 or MISSING.encode() not in result.stderr or result.stdout:
        sys.exit(f"a missing model gave {result.returncode}, {result.stdout + result.stderr!r}")


if __name__ == "__main__":
    main()
