"""Mutated and hostile files over every reader: what was refused, and what was worse; a table.

    python tests/hostile/files.py [--count 10000] [--seed 0] [--seconds 20] [--strace] [--journal FILE]

Each case follows from the seed and its number alone. With --journal, how it ended is a line of a file, and the same
command goes on where the last one was stopped.

A worker process opens one case after the other, and says how each ended. It sees every file that is opened, every
process and every connection, by an audit hook of Python; with --strace the system calls of the same process are looked
at, too, so that nothing that native libraries open is missed, in a namespace without a network. Outcomes: `read`
(nothing was wrong with what was changed), `refused` (an error of unetkit's tree); and those that must not be:
`traceback`, `crash`, `hang`, `memory` (over a gigabyte), `code` (a process, a connection, a file that was not named).
"""

import argparse
import json
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

OUTCOMES = ("tried", "read", "refused", "traceback", "crash", "hang", "memory", "code")
LARGEST = 2**30
BEGIN, END = "/hostile-case-begins", "/hostile-case-ends"
_EXTREMES = (b"\0", b"\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\xff" * 8, b"\0" * 8, b"\xff" * 7 + b"\x7f")
_WORDS = (
    "-1",
    "0",
    "1e999",
    "NaN",
    "99999999999999999999",
    '""',
    "null",
    "[]",
    "{}",
    "true",
    "'../../secret'",
    "1e-320",
)
_FORBIDDEN = re.compile(
    r"os\.(system|exec|fork|forkpty|posix_spawn|startfile|spawn)|subprocess\.Popen|socket\.(connect|bind|getaddrinfo|"
    r"gethostbyname|sendto)|urllib\.Request|pty\.spawn|webbrowser\.open|pickle\.find_class|ctypes\.dlopen"
)


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Return a content that is damaged in one of many ways, more often near its ends, where headers are."""
    content = content or b"\0"
    changed, size = bytearray(content), len(content)

    def place() -> int:
        where = draw.random()
        return (
            draw.randrange(max(1, min(size, 1024) if where < 0.4 else size))
            if where < 0.8
            else size - 1 - draw.randrange(max(1, min(size, 1024)))
        )

    way = draw.randrange(9)
    if way == 0:
        return content[: place()]
    for _ in range(1 if way > 5 else draw.choice((1, 1, 2, 4, 16))):
        at, length = place(), draw.randrange(1, 64)
        if way == 1:
            changed[at : at + 1] = bytes([draw.randrange(256)])
        elif way == 2 and at < len(changed):
            changed[at] ^= 1 << draw.randrange(8)
        elif way == 3:
            extreme = draw.choice(_EXTREMES)
            changed[at : at + len(extreme)] = extreme
        elif way == 4:
            changed[at : at + length] = draw.randbytes(length)
        elif way == 5:
            changed[at:at] = changed[place() :][: length * 4]
        elif way == 6:
            del changed[at : at + length]
        elif way == 7:
            numbers = list(re.finditer(rb"-?\d+(\.\d+)?|\"[^\"]{1,40}\"", content[: 2**16]))
            if numbers:
                one = draw.choice(numbers)
                changed[one.start() : one.end()] = draw.choice(_WORDS).encode()
        else:
            changed[at : at + length * 16] = bytes(length * 16)
    return bytes(changed)


def signed(source: Path, out: Path, draw: random.Random) -> None:
    """Write a checkpoint whose card or state is damaged by somebody who computed its checksum anew."""
    from safetensors.torch import load_file, save_file

    from unetkit.modelfile.checkpoint import digest

    head = source.read_bytes()
    metadata = json.loads(head[8 : 8 + int.from_bytes(head[:8], "little")])["__metadata__"]
    tensors = load_file(source)
    if draw.random() < 0.2:
        tensors.pop(draw.choice(sorted(tensors)))
    else:
        key = draw.choice(("card", "card", "state"))
        metadata[key] = mutated(metadata[key].encode(), draw).decode(errors="replace")
    del metadata["sha256"]
    metadata["sha256"] = digest(tensors, metadata)
    save_file(tensors, out, metadata)


def make_case(seed: Path, folder: Path, draw: random.Random) -> Path:
    """Copy a seed into a folder with one file damaged, and return the path to open."""
    if seed.is_dir():
        place = folder / seed.name
        shutil.copytree(seed, place)
        files = sorted(path for path in place.rglob("*") if path.is_file() and path.suffix not in (".html", ".lock"))
        chosen = draw.choice(files)
        sign = chosen.suffix == ".safetensors" and draw.random() < 0.5
    else:
        place = chosen = Path(shutil.copy(seed, folder / seed.name))
        sign = seed.suffix == ".safetensors" and draw.random() < 0.5
    chosen.chmod(0o600)
    if sign:
        signed(chosen, chosen, draw)
    else:
        chosen.write_bytes(mutated(chosen.read_bytes(), draw))
    return place / "net.xml" if (place / "net.xml").is_file() else place


def open_case(kind: str, path: Path) -> None:
    """Read a path to the last pixel or weight, as the verbs do."""
    import unetkit
    from unetkit.configuring import configure
    from unetkit.data import open_dataset
    from unetkit.images import open_image
    from unetkit.labelling.project import open_project
    from unetkit.run import open_run

    what = kind.split(" ", 1)[1] if kind.startswith("trap ") else kind
    if kind.startswith("image") or what.startswith("ome"):
        pages = open_image(path)
        for page in range(min(pages.count, 64)):
            pages.read(page)
    elif kind.startswith("data") or what.startswith(("coco", "zip")):
        dataset = open_dataset(path)
        for index in range(len(dataset)):
            dataset[index]
    elif kind.startswith("config") or what.startswith(("yaml", "python")):
        configure(str(path))
    elif kind == "project":
        project = open_project(path)
        try:
            project.write()
        finally:
            project.close()
    elif kind == "scores":
        unetkit.compare(path, path)
    elif kind == "run":
        run = open_run(path)
        run.newest_checkpoint(warn=lambda text: None)
        run.read_log()
        for name in ("data.json", "environment.json", "summary.json", "evaluation.json"):
            run.read_json(name)
        unetkit.load(path)
        unetkit.report(path)
    else:
        unetkit.load(path, device="cpu")


def watched() -> tuple[list[str], list[str]]:
    """Let Python report: return where files may be opened (while it is empty nothing is reported), and the reports."""
    allowed = (
        sys.prefix,
        os.path.realpath(sys.prefix),
        sys.base_prefix,
        str(Path(__file__).parents[2] / "src"),
        "/proc",
        "/sys",
        "/dev/null",
        "/usr",
        "/lib",
    )
    here: list[str] = []
    seen: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if not here:
            return
        if _FORBIDDEN.fullmatch(event) and not (event == "ctypes.dlopen" and arguments[0] is None):
            seen.append(f"{event} {arguments!r}"[:300])
        elif event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.path.abspath(os.fsdecode(arguments[0]))
            if not path.startswith((*allowed, *here)):
                seen.append(f"open {path}")

    sys.addaudithook(watch)
    return here, seen


def work(root: Path) -> None:
    """Open what comes on standard input, a JSON object a line, and answer with how it ended."""
    import resource

    import torch

    from unetkit.errors import UnetkitError

    torch.set_num_threads(1)
    tempfile.tempdir = str(root / "tmp")
    here, seen = watched()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (size + 8 * LARGEST, -1))
    print(os.getpid(), file=answers, flush=True)
    for line in sys.stdin:
        case = json.loads(line)
        seen.clear()
        Path("/proc/self/clear_refs").write_text("5")  # the peak of memory begins anew
        before, begun, said = _resident("VmRSS"), time.process_time(), ""
        if not case.get("unwatched"):
            mark(BEGIN)
            here[:] = [case["folder"], *case["own"], str(root / "tmp"), str(root / "config"), str(root / "cache")]
        try:
            open_case(case["kind"], Path(case["path"]))
            outcome = "read"
        except UnetkitError as error:
            outcome, said = "refused", str(error)[:300]
        except MemoryError as error:
            outcome, said = "memory", repr(error)[:300]
        except BaseException as error:
            import traceback

            outcome, said = "traceback", "".join(traceback.format_exception(error))[-1500:]
        here.clear()
        mark(END)
        took = _resident("VmHWM") - before
        if took > LARGEST:
            outcome, said = "memory", f"{took:,} bytes; {said}"
        if seen:
            outcome, said = "code", "; ".join(dict.fromkeys(seen))[:1000]
        print(
            json.dumps({"outcome": outcome, "said": said, "seconds": time.process_time() - begun}),
            file=answers,
            flush=True,
        )


def mark(name: str) -> None:
    """Leave a mark among the system calls: a file that is not there is asked for."""
    with suppress(FileNotFoundError):
        os.close(os.open(name, os.O_RDONLY))


def _resident(what: str) -> int:
    text = Path("/proc/self/status").read_text()
    return int(re.search(rf"{what}:\s+(\d+)", text)[1]) * 1024


class Worker:
    """The process that opens cases; a new one is started after a crash or a hang, and opens the good files first.

    Attributes:
        good: cases that every process opens before others, so that what is imported on first use is no finding.
    """

    def __init__(self, root: Path, trace: Path | None) -> None:
        self.root, self.trace, self.process, self.pid = root, trace, None, 0
        self.good: list[dict[str, Any]] = []

    def start(self) -> None:
        """Start the process, and let it open the good files."""
        calls = "trace=open,openat,openat2,creat,execve,execveat,connect,bind,sendto,fork,vfork"
        traced = ["unshare", "-n", "strace", "-f", "-qq", "-A", "-e", calls, "-s", "400", "-o", str(self.trace)]
        command = [*(traced if self.trace else []), sys.executable, __file__, "--work", str(self.root)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.pid = int(self.process.stdout.readline())
        for case in self.good:
            self.ask(case, 60.0)

    def ask(self, case: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Open a case, and return how it ended; `seconds` are of the processor, on however busy a machine."""
        if self.process is None:
            self.start()
        process, begun, used = self.process, time.perf_counter(), self.used()
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(case).encode() + b"\n")
            process.stdin.flush()
        before = used
        while not select.select([process.stdout], [], [], 5 * seconds)[0]:
            now = self.used()
            if now - used > seconds or now == before:  # it computes for too long, or waits for something
                self.stop()
                return {"outcome": "hang", "said": "", "seconds": time.perf_counter() - begun}
            before = now
        answer = process.stdout.readline()
        if answer:
            found = json.loads(answer)
            return found | ({"outcome": "hang"} if found["seconds"] > seconds else {})
        code = process.wait()
        self.process = None
        return {"outcome": "crash", "said": f"ended with {code}", "seconds": time.perf_counter() - begun}

    def used(self) -> float:
        """Return the seconds of the processor that the process has used."""
        with suppress(FileNotFoundError):
            numbers = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")
        return 0.0

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)  # strace does not end it
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None


def traced(log: Path, root: Path) -> list[str]:
    """Return what the system calls of the cases did that they must not: files of others, processes, connections."""
    bad, inside = list[str](), False
    usual = (
        sys.prefix,
        os.path.realpath(sys.prefix),
        sys.base_prefix,
        str(Path(__file__).parents[2]),
        "/proc",
        "/sys",
        "/dev/",
        "/usr",
        "/lib",
        "/etc/ld.so",
        *("/etc/nsswitch.conf", "/etc/passwd", "/etc/os-release"),  # who the user is, and what system this is
        str(Path(__file__).resolve().parents[3] / "shared"),  # where some of the good files lie
    )
    mine = tuple(str(root / name) for name in ("case", "seeds", "tmp", "config", "cache"))
    for line in log.read_text(errors="replace").splitlines():
        if BEGIN in line:
            inside = True
        elif END in line or ("execve(" in line and '"--work"' in line):  # a case ended, or a new worker begins
            inside = False
        elif inside and (found := re.search(r"(open|openat|openat2|creat)\((?:[^,\"]*, )?\"([^\"]*)\"", line)):
            path = os.path.abspath(found[2]) if found[2].startswith("/") else found[2]
            if "ENOENT" not in line and ("/secret/" in path or not path.startswith((*usual, *mine))):
                bad.append(line[:300])
        elif "/nscd/socket" in line or ("sendto(" in line and "NULL, 0" in line):
            continue  # the system's own list of users; a pair of sockets in this process, as asyncio has it
        elif inside and re.search(r"(execve|execveat|connect|bind|sendto|vfork|[^v]fork)\(", line):
            bad.append(line[:300])
    return bad


class Account:
    """How cases ended, by kind, and what was found; those of a journal are known from the start.

    Attributes:
        table: how many ended how, by kind.
        found: the answers that must not be.
        known: numbers of the damaged files that the journal has.
    """

    def __init__(self, journal: Path | None) -> None:
        self.table, self.found, self.known = dict[str, Counter[str]](), list[dict[str, Any]](), set[int]()
        lines = journal.read_text().splitlines() if journal is not None and journal.exists() else []
        for line in lines:
            case = json.loads(line)
            self.known.add(case["number"])
            self.note(**case)
        self.journal = None if journal is None else journal.open("a", buffering=1)

    def note(self, *, kind: str, outcome: str, said: str, seconds: float, number: int | None = None) -> bool:
        """Count a case, and return whether it must not be."""
        self.table.setdefault(kind, Counter()).update(("tried", outcome))
        case = {"number": number, "kind": kind, "outcome": outcome, "said": said, "seconds": round(seconds, 3)}
        if outcome not in ("read", "refused"):
            self.found.append(case)
        if self.journal is not None and number is not None and number not in self.known:
            print(json.dumps(case), file=self.journal)
        return outcome not in ("read", "refused")


def run(
    first: int,
    count: int,
    seed: int,
    seconds: float,
    *,
    strace: bool,
    fast: bool,
    only: str,
    kept: Path | None,
    account: Account,
) -> None:
    """Make and open the cases from the first up to their count."""
    import seeds as made

    root = Path(tempfile.mkdtemp(prefix="unetkit-hostile-"))
    os.environ |= {
        "XDG_CONFIG_HOME": str(root / "config"),
        "XDG_CACHE_HOME": str(root / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2] / "src")
    for name in ("tmp", "case", "seeds"):
        (root / name).mkdir()
    shared = Path(__file__).resolve().parents[3] / "shared"
    good = made.images(root / "seeds") | made.data_sets(root / "seeds")
    good |= made.networks(root / "seeds", shared if shared.is_dir() else None, fast=fast)
    (root / "case" / "traps").mkdir()
    traps = made.traps(root / "case" / "traps", good)
    own = [str(root / "seeds" / "stack-of-run")]  # which the run names as its data
    worker = Worker(root, root / "trace" if strace else None)
    for kind, path in {**good, **traps}.items():
        if only in kind:
            folder = path if path.is_dir() else path.parent
            case = {"kind": kind, "path": _opened(path), "folder": str(folder), "own": own}
            if kind in good:  # what is imported on first use is no finding
                worker.good.append(case | {"unwatched": True})
                worker.ask(worker.good[-1], seconds)
            answer = worker.ask(case, seconds)
            if kind in traps:
                account.note(**answer | {"kind": "traps", "said": f"{kind}: {answer['said']}"})
            elif answer["outcome"] != "read":
                outcome = "code" if answer["outcome"] == "code" else "traceback"
                account.note(**answer | {"kind": "good files", "outcome": outcome, "said": f"{kind}: {answer['said']}"})
    if (root / "case" / "traps" / made.MARKER).exists():
        account.note(kind="traps", outcome="code", said="the marker is there", seconds=0.0)
    kinds = [kind for kind in good if only in kind]
    begun, left = time.perf_counter(), [number for number in range(first, count) if number not in account.known]
    for done, number in enumerate(left, 1):
        kind, folder = kinds[number % len(kinds)], root / "case" / f"{seed}-{number}"
        folder.mkdir()
        path = make_case(good[kind], folder, random.Random(f"{seed}-{number}"))
        answer = worker.ask({"kind": kind, "path": str(path), "folder": str(folder), "own": own}, seconds)
        if account.note(kind=kind, number=number, **answer) and kept is not None and folder.is_dir():
            shutil.copytree(folder, kept / folder.name, dirs_exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        if done % 100 == 0:
            each = (time.perf_counter() - begun) / done
            print(
                f"{done} of {len(left)} files, {each:.2f} s each; {len(account.found)} bad", file=sys.stderr, flush=True
            )
    worker.stop()
    for line in traced(root / "trace", root)[:20] if strace else ():
        account.note(kind="system calls", outcome="code", said=line, seconds=0.0)
    shutil.rmtree(root, ignore_errors=True)


def _opened(path: Path) -> str:
    return str(path / "net.xml" if (path / "net.xml").is_file() else path)


def main() -> None:
    """Print the table, and end with 1 where there is more in it than what was read and refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case, to divide them among processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=20.0, help="of the processor, for one case")
    parser.add_argument("--strace", action="store_true")
    parser.add_argument("--fast", action="store_true", help="without the files that take long to make")
    parser.add_argument("--only", default="", help="kinds with this in their names")
    parser.add_argument("--journal", type=Path, help="a file for how each case ended, to go on from")
    parser.add_argument("--keep", type=Path, help="copy the cases that were found bad here")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work is not None:
        work(given.work)
        return
    account, total = Account(given.journal), Counter[str]()
    run(
        given.first,
        given.count,
        given.seed,
        given.seconds,
        strace=given.strace,
        fast=given.fast,
        only=given.only,
        kept=given.keep,
        account=account,
    )
    print(f"{'kind':<40}" + "".join(f"{name:>10}" for name in OUTCOMES))
    for kind, counts in account.table.items():
        total.update(counts)
        print(f"{kind:<40}" + "".join(f"{counts.get(name, 0):>10}" for name in OUTCOMES))
    print(f"{'all':<40}" + "".join(f"{total[name]:>10}" for name in OUTCOMES))
    for one in account.found:
        print(f"\n{one['kind']}, case {one['number']}: {one['outcome']} after {one['seconds']:.1f} s\n{one['said']}")
    sys.exit(bool(account.found))


if __name__ == "__main__":
    main()
