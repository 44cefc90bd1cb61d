#!/usr/bin/env bash
# Load the MindIR files that unetkit writes in MindSpore itself, and compare: in a venv of its own, which takes 2.8 GB and
# is deleted afterwards. It borrows the packages of .venv (`make test` makes it); Python must be one that MindSpore has a
# wheel for.
#
#   scripts/prove_mindir.sh [VERSION]      VERSION of MindSpore, 2.10.0 otherwise
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:-2.10.0}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
packages=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

.venv/bin/python -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir "mindspore==$version"
export PYTHONPATH="$PWD/src:$packages"
"$folder/bin/python" -m pytest -q -s -p no:cacheprovider tests/exporting/test_mindspore.py \
  tests/contract/test_runtimes.py -k "mindspore_itself or (test_runtimes and mindspore)"
