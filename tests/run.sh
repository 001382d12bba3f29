#!/usr/bin/env bash
# Sets everything up on a fresh Debian 12 and runs all tests. Stages:
#   release  g++, as users build it: all C++ and Python tests, rules of the house, consumers, linters
#   asan     clang with AddressSanitizer and UndefinedBehaviorSanitizer: C++ tests, then every fuzz target for 5 s
#   tsan     g++ with ThreadSanitizer: threads, sessions, generation, the C interface
#   aarch64  the processor room for AArch64, cross-built and run under qemu
# A failing stage does not keep the others from running; the last lines list all that failed. A skipped test is a
# failure unless tests/allowed_skips.txt names it. May be run twice: what stands is used again.
#
# usage: tests/run.sh [--stage NAME]... [--no-setup] [--no-torch]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

STAGES=() SETUP=1 TORCH=1
while (($# > 0)); do
  case $1 in
    --stage)
      STAGES+=("${2:?--stage needs a name: release, asan, tsan or aarch64}")
      shift
      ;;
    --no-setup) SETUP=0 ;;
    --no-torch) TORCH=0 ;;
    *)
      sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
      exit 2
      ;;
  esac
  shift
done
((${#STAGES[@]} > 0)) || STAGES=(release asan tsan aarch64)
for stage in "${STAGES[@]}"; do
  case $stage in
    release | asan | tsan | aarch64) ;;
    *)
      echo "no stage is called $stage: release, asan, tsan, aarch64" >&2
      exit 2
      ;;
  esac
done

BUILD=$PWD/build
LOGS=$BUILD/logs
RESULTS=$BUILD/results
VENV=$BUILD/venv
mkdir -p "$LOGS"
rm -rf "$RESULTS"
mkdir -p "$RESULTS"
JOBS=$(nproc)
# shellcheck source=tests/setup_debian.sh
source tests/setup_debian.sh

TEST_PACKAGES=("${BUILD_PACKAGES[@]}" git ccache libgtest-dev googletest libbenchmark-dev libblis4 libblis64-4-serial
  valgrind binutils tmux clang libclang-rt-14-dev clang-format shellcheck g++-aarch64-linux-gnu qemu-user)
# abidiff, and the languages of examples/conversation: about 155 MB, most of it for Java, Rust and Go. Java's runtime can
# compile a single file; gccgo brings go, gofmt and vet in half the size of golang-go.
TEST_PACKAGES+=(abigail-tools default-jre-headless libjna-java rustc rustfmt gccgo ruby luajit)

install_torch() {
  "$VENV/bin/python" -c 'import torch' 2>/dev/null ||
    "$VENV/bin/pip" install -q --retries 1 torch==2.13.0 ||
    echo "torch cannot be installed here: the stored references are used and not made anew" >&2
}

setup() {
  step "packages" install_packages "${TEST_PACKAGES[@]}" || return
  step "virtual environment" make_environment "$VENV" || return
  if ((TORCH)); then
    step "torch (references are made anew with it)" install_torch || return
  fi
  step "Python packages" "$VENV/bin/pip" install -q -r tests/requirements.txt || return
}

configure() { # PRESET [OPTION...]
  step "$1: configure" cmake --preset "$@"
}

build() { # PRESET
  step "$1: build" cmake --build "$BUILD/$1" --parallel "$JOBS"
}

# The whole output of every test goes into the results: GoogleTest's own counts are read from it.
run_ctest() { # PRESET [OPTION...]
  local preset=$1
  shift
  step "$preset: CTest" ctest --test-dir "$BUILD/$preset" --parallel "$JOBS" --output-on-failure --no-tests=error \
    --test-output-size-passed 100000000 --test-output-size-failed 100000000 \
    --output-junit "$RESULTS/$preset-ctest.xml" "$@"
}

cpp_files() {
  git ls-files '*.h' '*.cc' '*.hpp' '*.cpp' '*.c'
}

lint() {
  # shellcheck disable=SC2046  # no file name of ours holds a space
  step "lint: clang-format" clang-format --dry-run -Werror $(cpp_files) || true
  # shellcheck disable=SC2046
  step "lint: shellcheck" shellcheck -x .ci/run $(git ls-files '*.sh') || true
  step "lint: ruff" "$VENV/bin/ruff" check . || true
  step "lint: mypy" "$VENV/bin/mypy" || true
  step "lint: mypy, ctypes" "$VENV/bin/mypy" --strict examples/conversation/conversation.py || true
  step "lint: stubtest" "$VENV/bin/python" -m mypy.stubtest mossrt._mossrt \
    --allowlist tests/python/stubtest_allowlist.txt || true
}

stage_release() {
  if configure release -DCMAKE_C_COMPILER=gcc -DCMAKE_CXX_COMPILER=g++ && build release; then
    run_ctest release || true
  fi
  # The compiler, the warnings and the depth of the build above, so that ccache knows every object but the binding's.
  if step "release: pip install ." env CC=gcc CXX=g++ "$VENV/bin/pip" install -q --no-build-isolation \
    -Cbuild-dir=build/python -Ccmake.define.MOSSRT_WERROR=ON .; then
    # Tests of Ctrl-C need it unignored, which it is not in a shell's background job.
    step "release: pytest" timeout 1200 env --default-signal=INT \
      "$VENV/bin/python" -m pytest --junitxml="$RESULTS/release-pytest.xml" || true
    lint
  fi
}

fuzz() { # TARGET
  local name=${1##*/}
  tests/fuzz.sh --build "$BUILD/asan" --seconds 5 "$name"
  echo "fuzz target $name" >>"$RESULTS/asan-fuzz.txt"
}

stage_asan() {
  configure asan && build asan || return 0
  # A test that allocates what it should have refused must fail, not get a null pointer.
  ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1 run_ctest asan || true
  local target
  for target in "$BUILD"/asan/fuzz/*_fuzz; do
    step "asan: ${target##*/}" fuzz "$target" || true
  done
}

stage_tsan() {
  configure tsan && build tsan || return 0
  # OpenBLAS is not instrumented: ThreadSanitizer cannot see how its threads wait for each other.
  OPENBLAS_NUM_THREADS=1 TSAN_OPTIONS=halt_on_error=1 run_ctest tsan || true
}

stage_aarch64() {
  if configure aarch64 && build aarch64; then
    run_ctest aarch64 || true
  fi
}

if command -v ccache >/dev/null || ((SETUP)); then
  export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache
  # Another checkout of the same text finds its objects too.
  export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
fi
if ((SETUP)); then
  start=$SECONDS
  echo "set-up"
  setup || exit 1
  echo "set-up took $((SECONDS - start)) s"
fi
for stage in "${STAGES[@]}"; do
  start=$SECONDS
  echo "stage $stage"
  "stage_$stage"
  echo "stage $stage took $((SECONDS - start)) s"
done
PYTHON_FOR_REPORT=python3
[[ ! -x $VENV/bin/python ]] || PYTHON_FOR_REPORT=$VENV/bin/python
"$PYTHON_FOR_REPORT" tests/report.py "$RESULTS" tests/allowed_skips.txt || FAILED+=("tests, see above")
printf 'total time %d:%02d\n' $((SECONDS / 60)) $((SECONDS % 60))
if ((${#FAILED[@]} > 0)); then
  printf 'FAILED: %s\n' "${FAILED[@]}"
  exit 1
fi
echo "PASSED: ${STAGES[*]}"
