# shellcheck shell=bash
# Sourced by tests/run.sh and examples/quickstart.sh: packages, a virtual environment, steps with their time.

# shellcheck disable=SC2034  # read by those who source this
# What the library and its Python package are built with.
BUILD_PACKAGES=(g++ cmake ninja-build pkg-config libabsl-dev libboost-dev libsentencepiece-dev libutf8proc-dev
  libeigen3-dev libopenblas-dev nlohmann-json3-dev zlib1g-dev libisal-dev python3-dev python3-venv)

# step NAME COMMAND...: runs it with its output in $LOGS and prints one line with the time. On a failure the end of
# the output follows.
FAILED=()
step() {
  local name=$1 start=$SECONDS log
  shift
  log=$LOGS/${name//[^a-zA-Z0-9_]/-}.log
  if "$@" >"$log" 2>&1; then
    printf '  %-44s %5d s\n' "$name" $((SECONDS - start))
    return 0
  fi
  printf '  %-44s %5d s  FAILED, see %s\n' "$name" $((SECONDS - start)) "$log"
  tail -n 40 "$log" | sed 's/^/    | /'
  FAILED+=("$name")
  return 1
}

# A tool may have come from elsewhere than Debian's package.
have_package() {
  case $1 in
    cmake) cmake --version 2>/dev/null | awk 'NR == 1 { split($3, v, "."); exit !(v[1] > 3 || v[2] >= 25) }' ;;
    ninja-build) ninja --version >/dev/null 2>&1 ;;
    *) [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]] ;;
  esac
}

install_packages() {
  local package missing=() root=()
  if ! command -v apt-get >/dev/null; then
    echo "no apt-get here: the counterparts of these Debian packages must be installed: $*"
    return 0
  fi
  for package in "$@"; do
    have_package "$package" || missing+=("$package")
  done
  if ((${#missing[@]} == 0)); then
    return 0
  fi
  if ((EUID != 0)); then
    root=(sudo)
    if ! command -v sudo >/dev/null; then
      echo "neither root nor sudo; ask for: apt-get install ${missing[*]}"
      return 1
    fi
  fi
  "${root[@]}" apt-get update &&
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
}

# make_environment FOLDER: a virtual environment; an existing one is kept.
make_environment() {
  [[ -x $1/bin/pip ]] || "${PYTHON:-python3}" -m venv "$1"
}
