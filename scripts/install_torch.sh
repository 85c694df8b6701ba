#!/bin/sh
# Install the CPU build of torch for activation probes, where one can be had. Never the CUDA build, which is gigabytes.
#
#   scripts/install_torch.sh [PYTHON]      default: .venv/bin/python
#
# Always exits 0: probes are optional, and what is off is said.
set -u
cd "$(dirname "$0")/.."
python=${1:-.venv/bin/python}
torch='torch==2.13.0+cpu' # the local version pins the build: plain PyPI has none of that name, and so cannot send CUDA
cpu_index='https://download.pytorch.org/whl/cpu'

fetch() {
    "$python" -m pip install -qq --disable-pip-version-check --only-binary=:all: --no-deps "$@" "$torch"
}

off() {
    echo "probes: off. $1"
    echo "probes: everything else works without them; try again with: make probes"
    exit 0
}

echo "probes: looking for $torch, as pip is configured"
if ! fetch 2>/dev/null; then
    echo "probes: not there; trying PyTorch's own CPU index, $cpu_index"
    fetch --index-url "$cpu_index" 2>/dev/null || off "$torch could be had from neither (no network, or no build for this machine)."
fi

echo "probes: installing what goes with it"
"$python" -m pip install -qq --disable-pip-version-check -c constraints.txt --editable '.[embedded,probes]' ||
    off "torch is installed, but what goes with it is not (see above)."
"$python" -c 'import torch; print("probes: on, torch", torch.__version__)' ||
    off "torch is installed, but cannot be imported (see above)."
