#!/bin/sh
# Train the shipped probes again, from the data in probes/data. The same machine and packages give the same bytes.
#
#   scripts/train_probes.sh [MONITOR]      default: .venv/bin/monitor
set -eu
cd "$(dirname "$0")/.."
monitor=${1:-.venv/bin/monitor}

for name in truth wrong_step; do
    echo "probes: training $name"
    "$monitor" probe train "probes/$name/train.yaml" --device cpu
done
