#!/usr/bin/env bash
# Write constraints.txt: the newest versions that fit pyproject.toml, with every extra, in a fresh environment.
# Usage: write_constraints.sh PYTHON TORCH_VERSION. Run it with the oldest supported Python: its pins hold on newer ones.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 torch=$2

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"$python" -m venv "$place/env"
pip=("$place/env/bin/python" -m pip --quiet --disable-pip-version-check)
"${pip[@]}" uninstall --yes setuptools # only what is asked for may be pinned
"${pip[@]}" install "torch==$torch" hatchling editables --editable '.[bench,bioimageio,coco,crate,czi,dask,dev,docs,hdf5,hub,imagej,lif,mlflow,nd2,nifti,notebooks,onnx,openvino,parquet,quantize,s3,search,serve,tensorboard,wandb]'

# `===` takes the build without a local tag, which on Linux is the one for CUDA: what it brings along is pinned too,
# although it need not be installed here.
"${pip[@]}" install --dry-run --ignore-installed --report "$place/report.json" "torch===$torch"
companions='import json, re, sys
for item in json.load(open(sys.argv[1]))["install"]:
    name, version = item["metadata"]["name"], item["metadata"]["version"]
    if re.match("nvidia-|cuda-|triton", name):
        print(f"{name}=={version}")'

# A local tag (+cpu) would refuse every other build of the same version.
{
    echo "# Written by \`make constraints\`: every package, and what it needs, at the version the tests ran with."
    {
        "${pip[@]}" freeze --all --exclude-editable | grep -v '^pip==' | sed 's/+[a-z0-9.]*$//'
        "$place/env/bin/python" -c "$companions" "$place/report.json"
    } | LC_ALL=C sort --ignore-case --unique
} >"$place/constraints.txt"
mv "$place/constraints.txt" constraints.txt
