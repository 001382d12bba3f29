#!/usr/bin/env bash
# From a fresh Debian 12 to a conversation: packages, a virtual environment in .venv, the build, and a few questions to
# the bundled model. May be run twice. Needs root or sudo where packages are missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
LOGS=$PWD/build/logs/quickstart
mkdir -p "$LOGS"
# shellcheck source=tests/setup_debian.sh
source tests/setup_debian.sh

install_mossrt() {
  ! command -v ccache >/dev/null || export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache
  CMAKE_BUILD_PARALLEL_LEVEL=$(nproc) .venv/bin/pip install .
}

step "packages" install_packages "${BUILD_PACKAGES[@]}" || exit 1
step "virtual environment" make_environment .venv || exit 1
step "build and install (pip install .)" install_mossrt || exit 1
start=$SECONDS
echo "  conversation:"
.venv/bin/python examples/python/talk.py
printf '  %-44s %5d s\n' "conversation" $((SECONDS - start))
printf 'total time %d:%02d\n' $((SECONDS / 60)) $((SECONDS % 60))
echo "Go on with: .venv/bin/mossrt chat examples/tiny-moss/model"
