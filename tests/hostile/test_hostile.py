"""The harness as tests: fast, damaged files over every fast reader and all traps; slow, native libraries and kills."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def harness(script: str, *words: str) -> None:
    command = [sys.executable, str(HERE / script), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]


def test_damaged_files_and_traps_are_read_or_refused() -> None:
    harness("files.py", "--count", "120", "--fast")


@pytest.mark.slow  # a moment that depends on the load of the machine
@pytest.mark.parametrize("verb", ["data convert", "predict folder"])
def test_kills_leave_nothing_half_written(verb: str) -> None:
    harness("kills.py", "--count", "1", "--only", verb)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_native_libraries_open_nothing_else_and_nothing_connects() -> None:
    probe = ["unshare", "-n", "strace", "-o", "/dev/null", "true"]
    try:
        usable = subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        usable = False
    if not usable:
        pytest.skip("needs strace, and the right to make a namespace without a network")
    harness("files.py", "--count", "60", "--strace")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_verb_that_writes_survives_kills() -> None:
    harness("kills.py", "--count", "30")
