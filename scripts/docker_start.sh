#!/bin/sh
# The model zoo's docker_start.sh: a shell in a container that sees data and models under their own paths.
#
#   scripts/docker_start.sh IMAGE DATA_DIR MODEL_DIR [WORD...]
#
# Words after MODEL_DIR are run instead of a shell: ... unetkit train isbi --data DATA_DIR --out MODEL_DIR/first
# DOCKER names another engine (podman); DOCKER_ARGS holds further options, such as --gpus all.
set -eu
if [ $# -lt 3 ]; then
    echo "docker_start.sh: found $# words; write: docker_start.sh IMAGE DATA_DIR MODEL_DIR" >&2
    exit 2
fi
image=$1 data=$2 model=$3
shift 3
for folder in "$data" "$model"; do
    if [ ! -d "$folder" ]; then
        echo "docker_start.sh: $folder: no such folder; make it first" >&2
        exit 2
    fi
done
data=$(cd "$data" && pwd) model=$(cd "$model" && pwd)
[ $# -gt 0 ] || set -- bash
terminal=$(test -t 0 && echo -it || true)
# shellcheck disable=SC2086 # an empty option is none
exec ${DOCKER:-docker} run --rm $terminal --ipc=host ${DOCKER_ARGS:-} --user "$(id -u):$(id -g)" \
    -v "$data:$data" -v "$model:$model" -w "$model" --entrypoint /usr/bin/env "$image" "$@"
