"""The model zoo's docker_start.sh, with an engine that only says how it was called."""

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "docker_start.sh"


def started(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Start the script as the zoo's users do."""
    settings = os.environ | {"DOCKER": "echo"} | environment
    return subprocess.run(
        [SCRIPT, *words], env=settings, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def test_both_folders_are_seen_under_their_own_paths(tmp_path: Path) -> None:
    data, model = tmp_path / "my data", tmp_path / "model"
    data.mkdir()
    model.mkdir()
    shell = started("unetkit", str(data), str(model))
    assert shell.returncode == 0
    assert f"-v {data}:{data} -v {model}:{model} -w {model} --entrypoint /usr/bin/env unetkit bash" in shell.stdout
    command = started("unetkit", str(data), str(model), "unetkit", "train", "isbi", DOCKER_ARGS="--gpus all")
    assert "--gpus all" in command.stdout
    assert command.stdout.endswith("--entrypoint /usr/bin/env unetkit unetkit train isbi\n")


def test_what_is_missing_is_said_before_anything_starts(tmp_path: Path) -> None:
    for words, complaint in (
        (["unetkit"], "found 1 words; write: docker_start.sh IMAGE DATA_DIR MODEL_DIR"),
        (["unetkit", str(tmp_path), str(tmp_path / "nowhere")], "nowhere: no such folder; make it first"),
    ):
        ended = started(*words)
        assert ended.returncode == 2
        assert complaint in ended.stderr
        assert not ended.stdout
