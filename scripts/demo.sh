#!/usr/bin/env bash
# The main job on a generated stack: make data, train, evaluate on held-out slices, predict. Usage: demo.sh UNETKIT FOLDER
set -euo pipefail
unetkit=$1 folder=$2

run() {
    printf '\n$ unetkit %s\n' "$*"
    "$unetkit" "$@"
}

rm -rf "$folder"
mkdir -p "$folder"
run data sample --out "$folder/data"
run train isbi --data "$folder/data" --out "$folder/run" train.steps=200
run evaluate "$folder/run" --data "$folder/data" --json "$folder/scores.json"
run predict "$folder/run" "$folder/data/test-volume.tif" --out "$folder/masks.tif"

here=$(cd "$folder" && pwd)
cat <<END

The generated stack     $here/data
The run                 $here/run
The report, to look at  $here/run/report.html
Scores                  $here/scores.json
Predicted masks         $here/masks.tif
END
