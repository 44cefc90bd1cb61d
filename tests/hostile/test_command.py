"""How the command ends when it is stopped, or asked for more than the machine has: one line, and nothing left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unetkit import cli
from unetkit.errors import UsageError
from unetkit.machine import available_cores, threads_of


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_command_and_leaves_nothing_half_written(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "unetkit", "data", "sample", "--out", str(tmp_path), "--slices", "80"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not list(tmp_path.iterdir()):
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(number)
        _, said = process.communicate()
    assert said == f"unetkit: stopped by {number.name}; nothing is left half-written\n"
    assert process.returncode == 128 + number
    assert not list(tmp_path.glob(".*"))


def test_a_signal_after_the_work_is_done_says_nothing_more(tmp_path: Path) -> None:
    program = "import atexit, signal; from unetkit.cli import main; "
    program += "atexit.register(signal.raise_signal, signal.SIGTERM); main()"
    command = [sys.executable, "-c", program, "data", "sample", "--out", str(tmp_path), "--slices", "4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"written: {tmp_path}\n", "")
    assert done.returncode == -signal.SIGTERM


def test_a_signal_while_the_command_is_imported_ends_it_without_a_word() -> None:
    program = """
import signal, sys
from unetkit.__main__ import main

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "unetkit.cli.app":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Finder)
main()
"""
    done = subprocess.run([sys.executable, "-c", program, "metrics"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_a_signal_that_native_code_turns_into_an_error_of_its_own_is_told_as_a_signal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def replaced(prog_name: str) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException:  # as numpy's tofile does
            raise TypeError("expected str, bytes or os.PathLike object, not BufferedWriter") from None

    monkeypatch.setattr(cli, "app", replaced)
    monkeypatch.setattr(sys, "argv", ["unetkit"])
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        with pytest.raises(SystemExit) as ended:
            cli.main()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert ended.value.code == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "unetkit: stopped by SIGTERM; nothing is left half-written\n"


@pytest.mark.parametrize("error", [MemoryError("Unable to allocate 40 GiB"), RuntimeError("[x] can't allocate memory")])
def test_too_little_memory_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def fail(prog_name: str) -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(sys, "argv", ["unetkit"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("unetkit: this takes more memory than there is")
    assert said.count("\n") == 1


@pytest.mark.parametrize("words", [["data", "check"], ["data", "sample", "--out"], ["evaluate"]])
def test_a_name_that_is_too_long_is_one_line(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["unetkit", *words, "x" * 300])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"unetkit: {'x' * 300}")
    assert said.count("\n") == 1


def test_threads_that_end_the_process_are_refused() -> None:
    assert threads_of(None) == available_cores()
    assert threads_of(3) == 3
    with pytest.raises(UsageError, match="found 100,000 threads; this process may use"):
        threads_of(100_000)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_an_output_that_takes_nothing_is_one_line() -> None:
    command = [sys.executable, "-u", "-m", "unetkit", "metrics"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "no space is left on the device" in done.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "unetkit", "metrics"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
