#!/usr/bin/env bash
# Runs the libFuzzer targets of a build longer than tests/run.sh does. Seeds are in tests/data/corpus/<target>; new
# inputs are kept in <build>/corpus/<target>, and what crashes in <build>/fuzz/crashes.
#
# usage: tests/fuzz.sh [--minutes N | --seconds N] [--build FOLDER] [TARGET...]
#   --minutes N     for each target (default 1)
#   --build FOLDER  default build/asan; made anew if there is none (clang, see CMakePresets.json)
set -euo pipefail
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
seconds=60 build=$source/build/asan targets=()
while (($# > 0)); do
  case $1 in
    --minutes) seconds=$((${2:?} * 60)) && shift ;;
    --seconds) seconds=${2:?} && shift ;;
    --build) build=${2:?} && shift ;;
    -*)
      sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
      exit 2
      ;;
    *) targets+=("$1") ;;
  esac
  shift
done
if ((${#targets[@]} == 0)); then
  [[ -d $build/fuzz ]] || (cd "$source" && cmake --preset asan && cmake --build "$build" --parallel "$(nproc)")
  for path in "$build"/fuzz/*_fuzz; do
    targets+=("${path##*/}")
  done
fi
mkdir -p "$build/fuzz/crashes"
for name in "${targets[@]}"; do
  seeds=$source/tests/data/corpus/$name
  own=$build/corpus/$name
  mkdir -p "$own"
  corpora=("$own")
  [[ ! -d $seeds ]] || corpora+=("$seeds")
  echo "$name for $seconds s"
  # No input takes more than seconds or 2 GiB.
  "$build/fuzz/$name" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$build/fuzz/crashes/$name-" "${corpora[@]}"
done
