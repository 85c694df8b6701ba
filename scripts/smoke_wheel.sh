#!/usr/bin/env bash
# Build the sdist and from it the wheel, install the wheel alone into an empty environment, and use it from an empty folder.
#
#   scripts/smoke_wheel.sh [PYTHON]        default: .venv/bin/python; needs `build` there
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=$(cd "$root" && realpath -s "${1:-.venv/bin/python}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
unset "${!MONITOR_@}" 2>/dev/null || true
export HOME="$scratch/home" XDG_CACHE_HOME="$scratch/cache" PIP_DISABLE_PIP_VERSION_CHECK=1
mkdir -p "$HOME" "$scratch/empty"

say() { echo "wheel: $*"; }
fail() { echo "wheel: FAILED: $*" >&2; exit 1; }

say "building"
(cd "$root" && "$python" -m build --outdir "$scratch/dist" . >"$scratch/build.log" 2>&1) || { cat "$scratch/build.log"; fail "build"; }

say "installing into an empty environment"
"$python" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq -c "$root/constraints.txt" "$scratch"/dist/*.whl
export PATH="$scratch/venv/bin:$PATH"
cd "$scratch/empty"

say "import monitor is light"
python - <<'PY'
import sys

import monitor

heavy = {"torch", "transformers", "langchain", "langchain_core", "openai", "sqlmodel", "sqlalchemy", "alembic", "pydantic"}
loaded = sorted(heavy & sys.modules.keys())
assert not loaded, f"import monitor loaded {loaded}"
assert "_bundled" not in monitor.__all__
PY

say "help, version, parts"
monitor --help >/dev/null
monitor version
monitor recipes --json >/dev/null
monitor roles --json >/dev/null
monitor tools --json >/dev/null
monitor probe show truth >/dev/null

say "doctor"
MONITOR_MODEL=scripted:replies.yaml monitor doctor --json >doctor.json || { cat doctor.json; fail "doctor found a needed part missing"; }

say "policy tests"
monitor policy test

say "a run with scripted answers"
cp "$root/tests/packaging/replies.yaml" .
monitor run answer "What is two and two?" --model scripted:replies.yaml --json >result.json
python - <<'PY'
import json
from pathlib import Path

result = json.loads(Path("result.json").read_text())
assert result["format"] == "monitor.result/1" and result["outcome"] == "ok", result
assert "4" in result["answer"], result["answer"]
PY
monitor show latest >shown.txt
grep -q "answer" shown.txt || fail "show did not show the run"
monitor list --json >/dev/null

say "a tool in a process of its own"
cp "$root/tests/packaging/sums.py" "$root/tests/packaging/sums.md" "$root/tests/packaging/sums.yaml" .
monitor run ./sums.py "What is 6 times 7?" --model scripted:sums.yaml --quiet >sums.txt
grep -q "done" sums.txt || fail "the recipe with a tool did not end well"
monitor show latest --json >sums.json
python - <<'PY'
import json
from pathlib import Path

states = [subcall["state"] for subcall in json.loads(Path("sums.json").read_text())["subcalls"]]
parts = {part["name"]: part["state"] for part in json.loads(Path("doctor.json").read_text())["parts"]}
confined = "ok" if parts["tools"] == "ok" else "failed"  # a kernel without Landlock runs no such tool
assert states == ["ok", confined, "ok"], states
PY
say "all is well"
