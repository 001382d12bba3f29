#!/usr/bin/env bash
# Prints tests/data/golden_bits.json anew: tests/golden_bits.sh <build folder> > golden_bits.json
# Only a change of the numeric contract itself (docs/numerics.md) may change these values, and only
# together with its description. A level that this machine lacks keeps its old values.
set -euo pipefail
build=${1:?usage: tests/golden_bits.sh <build folder>}
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=$(mktemp)
trap 'rm -f "$out"' EXIT
cp "$source/tests/data/golden_bits.json" "$out"
for level in avx512_bf16 avx512 avx2 scalar; do
  MOSSRT_ISA=$level MOSSRT_GOLDEN_BITS_OUT=$out "$build/tests/models/golden_bits_test" >&2 || true
done
cat "$out"
