"""Builds programs against mossrt as its users do, runs them and compares what they print.

Usage: consume.py install|cmake|pkg-config|snippets|runtime <settings.json> [project]
The settings (paths, compilers) are written by CMake.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "docs"))
import blocks

PROMPT = "Hello <eoh>"
NEW_TOKENS = "24"


def run(command, **keywords):
    print("+", " ".join(map(str, command)), flush=True)
    result = subprocess.run(list(map(str, command)), capture_output=True, **keywords)
    if result.returncode != 0:
        sys.stdout.buffer.write(result.stdout + result.stderr)
        sys.exit(f"failed with {result.returncode}")
    return result.stdout


def judge(s, program, environment=None):
    """A consumer prints the text that the library's own build prints; a bad path is an error."""
    expected = run([s["reference_program"], s["model"], PROMPT, NEW_TOKENS])
    found = run([program, s["model"], PROMPT, NEW_TOKENS], env=environment)
    if len(expected) < 8 or found != expected:
        sys.exit(f"{program} printed {found!r} instead of {expected!r}")
    bad = subprocess.run(
        [program, "/does/not/exist", "x", "1"], env=environment, capture_output=True
    )
    if bad.returncode != 1 or b"/does/not/exist" not in bad.stderr:
        sys.exit(f"{program}: a missing model gave {bad.returncode}, {bad.stderr!r}")


def install(s):
    """Installs, then moves the tree, so that every consumer proves that it is relocatable."""
    first, prefix = pathlib.Path(s["work"]) / "installed", pathlib.Path(s["prefix"])
    shutil.rmtree(first, ignore_errors=True)
    shutil.rmtree(prefix, ignore_errors=True)
    run([s["cmake"], "--install", s["build"], "--prefix", first, "--component", "sdk"])
    first.rename(prefix)


def common(s):
    arguments = [
        f"-DCMAKE_C_COMPILER={s['cc']}",
        f"-DCMAKE_CXX_COMPILER={s['cxx']}",
        f"-DCMAKE_BUILD_TYPE={s['build_type']}",
        f"-DEXAMPLES={s['source']}/examples",
    ]
    if s["launcher"]:
        arguments += [f"-DCMAKE_CXX_COMPILER_LAUNCHER={s['launcher']}"]
    return arguments


def cmake(s, project):
    build = pathlib.Path(s["work"]) / project
    arguments = [
        s["cmake"],
        "-G",
        s["generator"],
        "-S",
        f"{s['source']}/tests/consumers/{project}",
        "-B",
        build,
        *common(s),
    ]
    if project == "add_subdirectory":
        # The same warnings as the outer build, so that a compiler cache knows the objects.
        arguments += [
            f"-DMOSSRT_SOURCE={s['source']}",
            f"-DMOSSRT_WERROR={s['werror']}",
            "-DEXPECTED_CXX_FLAGS=",
        ]
    else:
        arguments += [f"-DCMAKE_PREFIX_PATH={s['prefix']}"]
    run(arguments)
    run([s["cmake"], "--build", build, "--parallel", "2"])
    programs = sorted(
        p for p in build.iterdir() if re.match(r"(c|cpp)_\w+$", p.name) and p.is_file()
    )
    if len(programs) < 2:
        sys.exit(f"only {programs} were built")
    for program in programs:
        judge(s, program)


def runtime(s):
    """The examples of the header-exposed runtime and its blocks in the documentation, built from
    installed headers alone."""
    build = pathlib.Path(s["work"]) / "find_package_runtime"
    source = f"{s['source']}/tests/consumers/find_package_runtime"
    programs = runtime_blocks(pathlib.Path(s["work"]) / "runtime_blocks")
    run(
        [
            s["cmake"],
            "-G",
            s["generator"],
            "-S",
            source,
            "-B",
            build,
            *common(s),
            f"-DCMAKE_PREFIX_PATH={s['prefix']}",
            f"-DBLOCKS={';'.join(map(str, programs))}",
        ]
    )
    run([s["cmake"], "--build", build, "--parallel", "2"])
    for program in programs:
        run([build / program.stem, f"{s['source']}/examples/tiny-moss/model"])
    models = pathlib.Path(s["model"]).parent
    text = run([build / "forward_pass", models / "moss", PROMPT], text=True)
    if len(re.findall(r"position \d+: token \d+", text)) != 8:
        sys.exit(f"forward_pass printed {text!r}")
    text = run([build / "custom_backend", models / "codegen"], text=True)
    # Two in the first layer, three in the last, whose keys and values come first, and the logits.
    if "loops: 6 products\n" not in text:
        sys.exit(f"custom_backend printed {text!r}")
    if "my-gelu" not in run([build / "custom_kernels", models / "moss"], text=True):
        sys.exit("custom_kernels does not name its table")
    text = run([build / "custom_architecture", models / "gpt-neox"], text=True)
    if (
        "gpt_neox" not in text or "next token 225" not in text
    ):  # as transformers' GPTNeoXForCausalLM chooses
        sys.exit(f"custom_architecture printed {text!r}")


def runtime_blocks(folder):
    """A program for each block of RUNTIME_PAGES: the body of a function that gives a status."""
    folder.mkdir(parents=True, exist_ok=True)
    programs = []
    for page in blocks.RUNTIME_PAGES:
        for number, body in enumerate(blocks.to_run(page, "cpp")):
            file = folder / f"{pathlib.Path(page).stem}_{number}.cpp"
            if MOSS not in body:
                sys.exit(f"{page}: block {number} opens no {MOSS}")
            text = RUNTIME_WRAP.replace("BODY", body.replace(MOSS, "path"))
            file.write_text(text, encoding="utf-8")
            programs.append(file)
    if not programs:
        sys.exit("no block of the runtime was found")
    return programs


def flags(s, package):
    environment = {**os.environ, "PKG_CONFIG_PATH": f"{s['prefix']}/{s['libdir']}/pkgconfig"}
    return run([s["pkg_config"], "--cflags", "--libs", package], env=environment, text=True).split()


def pkg_config(s):
    work = pathlib.Path(s["work"]) / "pkg-config"
    work.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "LD_LIBRARY_PATH": f"{s['prefix']}/{s['libdir']}"}
    for package in ("mossrt", "mossrt-static"):
        for language, compiler in (("c", [s["cc"], "-std=c99"]), ("cpp", [s["cxx"], "-std=c++20"])):
            program = work / f"{language}_{package}"
            extension = {"c": "c", "cpp": "cpp"}[language]
            run(
                [
                    *compiler,
                    f"{s['source']}/examples/{language}/generate.{extension}",
                    "-o",
                    program,
                    *flags(s, package),
                ]
            )
            judge(s, program, environment)


def snippets(s):
    """Every c and cpp block of the documentation (tests/docs/blocks.py) compiles and runs."""
    work = pathlib.Path(s["work"]) / "snippets"
    work.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "LD_LIBRARY_PATH": f"{s['prefix']}/{s['libdir']}"}
    count = 0
    pages = [
        (page, language)
        for page in blocks.pages()
        for language in ("c", "cpp")
        if not (language == "cpp" and page in blocks.RUNTIME_PAGES)
    ]
    # What a page's blocks print where the trained model runs.
    trained = {
        "docs/conversation.md": "The result is 408.\n" * 2,
        "docs/plugins.md": r"'1024'\nLength(\"MOSS\") => 4 bytes",
    }
    printed = dict.fromkeys(trained, "")
    for page, language in pages:
        guide = page.replace("/", "-")
        for number, body in enumerate(blocks.to_run(page, language)):
            stem = work / f"{guide}-{language}-{number}"
            file = work / f"{stem.name}.{language}"
            if "int main" not in body:
                body = WRAP[language].replace("BODY", body)
            file.write_text(body, encoding="utf-8")
            compiler = [s["cc"], "-std=c99"] if language == "c" else [s["cxx"], "-std=c++20"]
            run([*compiler, "-Wall", "-Wextra", "-Werror", file, "-o", stem, *flags(s, "mossrt")])
            model = f"{s['source']}/examples/tiny-moss/model" if page in trained else s["model"]
            text = run([stem, model], env=environment).decode("utf-8")
            if page in trained:
                printed[page] += text
            count += 1
    for page, wanted in trained.items():
        if wanted not in printed[page]:
            sys.exit(f"{page} printed {printed[page]!r}, without {wanted!r}")
    if count < 10:
        sys.exit(f"only {count} snippets were found")


# A block without main runs inside a function that has a model and a session at hand.
WRAP = {
    "c": """#include <mossrt/mossrt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static void Check(mossrt_error* e) {
  if (e == NULL) return;
  fprintf(stderr, "%s\\n", mossrt_error_message(e));
  exit(1);
}
static const int32_t ids[] = {14, 139, 271};
static void Run(const char* path, mossrt_model* model, mossrt_session* session) {
  (void)path; (void)model; (void)session; (void)ids;
BODY
}
int main(int argc, char** argv) {
  mossrt_model* model = NULL;
  mossrt_session* session = NULL;
  if (argc < 2) return 2;
  Check(mossrt_model_load(argv[1], NULL, NULL, &model));
  Check(mossrt_session_create(model, NULL, &session));
  Run(argv[1], model, session);
  mossrt_session_free(session);
  mossrt_model_free(model);
  return 0;
}
""",
    "cpp": """#include <mossrt/mossrt.hpp>
#include <iostream>
#include <memory>
static void Run([[maybe_unused]] const char* path, [[maybe_unused]] mossrt::Model& model,
                [[maybe_unused]] mossrt::Session& session) {
  [[maybe_unused]] const std::vector<std::int32_t> ids = {14, 139, 271};
BODY
}
int main(int argc, char** argv) {
  if (argc < 2) return 2;
  auto model = mossrt::Model::Load(argv[1]);
  auto session = model.CreateSession();
  Run(argv[1], model, session);
}
""",
}


# Where a page opens the published model, the bundled one is opened.
MOSS = '"moss-moon-003-sft"'
RUNTIME_WRAP = """#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

#include <mossrt/runtime/checkpoint.h>

static absl::Status Run(const std::string& path) {
BODY
  return status;
}
int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const absl::Status status = Run(argv[1]);
  if (!status.ok()) std::cerr << status << '\\n';
  return status.ok() ? 0 : 1;
}
"""


def main():
    with open(sys.argv[2], encoding="utf-8") as stream:
        settings = json.load(stream)
    actions = {
        "install": install,
        "cmake": cmake,
        "pkg-config": pkg_config,
        "snippets": snippets,
        "runtime": runtime,
    }
    action = actions[sys.argv[1]]
    action(settings, *sys.argv[3:])


if __name__ == "__main__":
    main()
