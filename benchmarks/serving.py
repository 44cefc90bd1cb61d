"""Load `unetkit serve`: many clients at once, slow ones among them, and requests that are meant to harm.

    python benchmarks/serving.py RUN [--clients 200] [--seconds 600] [--slow 50] [--append-record]
    python benchmarks/serving.py RUN --seconds 0 --hostile 10000

Every client sends the same image to `/api/predict` again and again, waits as long as a 429 says, and compares each
answer with the bytes that `unetkit predict` wrote. The share compares megapixels per processor second of the server
with those of plain predictions of the same image by a process that does nothing else, measured before: it does not
depend on what else the machine does, as megapixels per second do. Memory is that of the server's process without mapped
files, every five seconds; its growth is the median of the last fifth less that of the second fifth. Slow clients send a
byte a second of a head or of a body, all the time. What is hostile must be answered with 4xx or a closed connection,
and leave nothing.

The clients run in this process, on the same cores. Does not know what the network computes.
"""

import argparse
import asyncio
import contextlib
import os
import random
import re
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from measure import append_record, circumstances
from unetkit.data.layouts.synthetic import generate

BOUNDARY = "a-boundary-of-this-benchmark"
TICK = 5.0


@dataclass(slots=True)
class Load:
    """What clients met.

    Attributes:
        statuses: answers by status; 0 is a connection that ended without one.
        seconds: of every answer 200.
        wrong: answers 200 with other bytes than the command's.
        memory: bytes of the server, every `TICK` seconds.
    """

    statuses: Counter[int] = field(default_factory=Counter[int])
    seconds: list[float] = field(default_factory=list[float])
    wrong: int = 0
    memory: list[int] = field(default_factory=list[int])


@dataclass(frozen=True, slots=True)
class Target:
    """The server that is asked."""

    process: subprocess.Popen[str]
    port: int
    folder: Path

    @property
    def proc(self) -> Path:
        """What the kernel says of the process that serves: the child of the one that keeps it alive."""
        started = f"/proc/{self.process.pid}"
        children = Path(started, "task", str(self.process.pid), "children").read_text().split()
        return Path("/proc", children[0]) if children else Path(started)

    def anonymous(self) -> int:
        """Return the bytes of memory that are no mapped files."""
        lines = (self.proc / "status").read_text().splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith("RssAnon")))

    def processor_seconds(self) -> float:
        """Return the processor time that it took."""
        fields = (self.proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def left(self) -> int:
        """Return how many folders of requests lie on its disk."""
        return sum(1 for place in self.folder.glob(".unetkit.*.part") for _ in place.iterdir())


@contextlib.contextmanager
def served(run: Path, folder: Path) -> Iterator[Target]:
    """Start the server."""
    command = [sys.executable, "-m", "unetkit", "serve", str(run), "--port", "0"]
    log = (folder / "log.txt").open("w")
    environment = os.environ | {"TMPDIR": str(folder)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
    assert process.stdout is not None
    line = process.stdout.readline()
    try:
        yield Target(process, int(line.rstrip("/\n").rpartition(":")[2]), folder)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(90)
        log.close()


def multipart(content: bytes, name: str = "image.png") -> bytes:
    """Return the body that asks for a mask as PNG."""
    parts = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="format"\r\n\r\n.png\r\n'
    parts += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="wait"\r\n\r\n60\r\n'
    parts += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'
    return parts.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def request(body: bytes, path: str = "/api/predict", cookie: str = "", more: str = "") -> bytes:
    """Return a whole request."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n{cookie}{more}"
    return f"{head}Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Read an answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in head[1:]) if key}
    if "content-length" in headers:
        return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split()[1]), headers, b""


async def client(target: Target, body: bytes, expected: bytes, until: float, load: Load) -> None:
    """Ask until the time is over."""
    reader, writer, cookie = None, None, ""
    while time.monotonic() < until:
        try:
            if writer is None or reader is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
                if not cookie:
                    writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                    cookie = f"Cookie: {(await answer(reader))[1]['set-cookie'].partition(';')[0]}\r\n"
            began = time.monotonic()
            writer.write(request(body, cookie=cookie))
            status, headers, content = await answer(reader)
        except (OSError, asyncio.IncompleteReadError):
            if writer is not None:
                writer.close()
            reader, writer = None, None
            load.statuses[0] += time.monotonic() < until
            await asyncio.sleep(0.2)
            continue
        load.statuses[status] += 1
        if status == 200:
            load.seconds.append(time.monotonic() - began)
            load.wrong += content != expected
        elif status == 429:
            writer.close()  # the server does not keep a connection for as long as this client waits
            reader, writer = None, None
            await asyncio.sleep(float(headers["retry-after"]) * random.uniform(1, 1.5))
    if writer is not None:
        writer.close()


async def slow(target: Target, until: float, number: int) -> None:
    """Send a byte a second, of a head or of a body, and begin anew when the server closes."""
    content = request(b"x" * 10_000) if number % 2 else b"GET /" + b"a" * 10_000
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", target.port)
            writer.write(content[:200])
            for place in range(200, len(content)):
                await asyncio.sleep(1)
                if time.monotonic() >= until:
                    break
                writer.write(content[place : place + 1])
                await writer.drain()
            writer.close()
        await asyncio.sleep(0.5)


async def watch(target: Target, until: float, load: Load) -> None:
    """Note the memory."""
    while time.monotonic() < until:
        load.memory.append(target.anonymous())
        await asyncio.sleep(TICK)


def hostile(noise: random.Random) -> bytes:
    """Return a request that is meant to harm, whose connection is closed after it."""
    close = "Connection: close\r\n"
    side = noise.choice((60_000, 2**31 - 1))
    body = zlib.compress(bytes(noise.randrange(1, 2**18)))
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)), (b"IDAT", body), (b"IEND", b""))
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part)) for kind, part in chunks
    )
    whole = request(multipart(bomb), more=close)
    place = noise.choice(("/api/predict", "/api/images"))
    up = "/".join(["..", "%2e%2e", "..%2f", "..\\"][noise.randrange(4)] for _ in range(noise.randrange(1, 9)))
    kind = noise.randrange(8)
    if kind == 0:
        return request(multipart(bomb), place, more=close)
    if kind == 1:
        return whole[: noise.randrange(10, len(whole))]  # cut
    if kind == 2:
        broken = bytearray(multipart(noise.randbytes(200)))
        for _ in range(noise.randrange(1, 30)):
            broken[noise.randrange(len(broken))] = noise.randrange(256)
        return request(bytes(broken), place, more=close)
    if kind == 3:
        return f"GET /{up}/etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n{close}\r\n".encode()
    if kind == 4:
        lines = "".join(f"x{number}: {'y' * noise.randrange(200)}\r\n" for number in range(noise.randrange(200, 2000)))
        return f"GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n{close}{lines}\r\n".encode()
    if kind == 5:
        return noise.randbytes(noise.randrange(1, 3000)) + b"\r\n\r\n"
    if kind == 6:
        name = noise.choice(("II*\0", "MM\0*", "P5 99999 99999 255\n", "\x93NUMPY\1\0", "GIF89a", "BM", "\xff\xd8\xff"))
        return request(multipart(name.encode("latin-1") + noise.randbytes(300), f"{up}/a.tif"), place, more=close)
    names = ("rebound.example", "127.0.0.1.example", "[::ffff:1.2.3.4]")
    return f"GET /api/models HTTP/1.1\r\nHost: {noise.choice(names)}\r\n{close}\r\n".encode()


def _is_whole(content: bytes) -> bool:
    """Tell whether a request has its head and the body that its head promises."""
    head, end, body = content.partition(b"\r\n\r\n")
    promised = re.search(rb"Content-Length: ([0-9]+)", head)
    return bool(end) and (promised is None or len(body) >= int(promised[1]))


async def attack(target: Target, count: int) -> Counter[str]:
    """Send hostile requests, 20 at a time, and count what became of them."""
    found, noise = Counter[str](), random.Random(0)
    waiting = iter([hostile(noise) for _ in range(count)])

    async def attacker() -> None:
        for content in waiting:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
                writer.write(content)
                if b"Connection: close" not in content or not _is_whole(content):
                    writer.write_eof()  # the server would wait for the rest
                async with asyncio.timeout(120):
                    back = await reader.read()
                writer.close()
                found[back.split()[1].decode() if back else "closed"] += 1
            except TimeoutError:
                found["no end"] += 1
            except OSError:
                found["closed"] += 1

    await asyncio.gather(*(attacker() for _ in range(20)))
    return found


def plain_rate(run: Path, picture: Path, out: Path) -> tuple[float, float, bytes]:
    """Return megapixels per second and per processor second of predictions alone, and the file that they write."""
    import unetkit
    from unetkit.prediction import predict_to_file
    from unetkit.prediction.engine import Work

    predictor = unetkit.load(run).folded()
    height, width = np.asarray(Image.open(picture)).shape[:2]
    best, best_cpu = 0.0, 0.0
    for _ in range(12):
        began, cpu = time.perf_counter(), time.process_time()
        predict_to_file(predictor, picture, out, work=Work(overwrite=True))
        best = max(best, height * width / 1e6 / (time.perf_counter() - began))
        best_cpu = max(best_cpu, height * width / 1e6 / (time.process_time() - cpu))
    return best, best_cpu, out.read_bytes()


def loaded(target: Target, options: argparse.Namespace, picture: Path, plain: tuple[float, float, bytes]) -> list[str]:
    """Ask with many clients, and say what they met."""
    load, body, side = Load(), multipart(picture.read_bytes()), options.size
    before, began = target.processor_seconds(), time.monotonic()

    async def everything() -> None:
        until = time.monotonic() + options.seconds
        clients = (client(target, body, plain[2], until, load) for _ in range(options.clients))
        trickles = (slow(target, until, number) for number in range(options.slow))
        await asyncio.gather(watch(target, until, load), *clients, *trickles)

    asyncio.run(everything())
    took, cpu = time.monotonic() - began, target.processor_seconds() - before
    megapixels = load.statuses[200] * side * side / 1e6
    ordered, fifth = sorted(load.seconds), max(1, len(load.memory) // 5)
    growth = statistics.median(load.memory[-fifth:]) - statistics.median(load.memory[fifth : 2 * fifth])
    errors = {status: count for status, count in sorted(load.statuses.items()) if status not in (200, 429)}
    return [
        f"{options.clients} clients and {options.slow} slow ones for {took:.0f} s, images of {side} x {side} px",
        f"{load.statuses[200]} files, {load.wrong} of them wrong, {load.statuses[429]} times 429, errors: {errors}",
        f"seconds of an answer: p50 {ordered[len(ordered) // 2]:.2f}, p99 {ordered[len(ordered) * 99 // 100]:.2f}",
        f"{megapixels / took:.3f} Mpx/s, plain prediction alone {plain[0]:.3f} before",
        f"{megapixels / cpu:.3f} Mpx per processor second, plain {plain[1]:.3f}: {megapixels / cpu / plain[1]:.0%}",
        f"memory {load.memory[-1] / 1e6:.0f} MB, most {max(load.memory) / 1e6:.0f} MB, growth {growth / 1e6:+.1f} MB",
    ]


def main() -> None:
    """Run what is asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--slow", type=int, default=50)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--hostile", type=int, default=0)
    parser.add_argument("--append-record", action="store_true")
    options = parser.parse_args()
    import torch

    known, lines = circumstances(("starlette", "uvicorn"), torch.device("cpu")), list[str]()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        picture, out = folder / "image.png", folder / "mask.png"
        Image.fromarray(generate(slices=1, size=options.size).images[0]).save(picture)
        plain = plain_rate(options.run, picture, out) if options.seconds else (0.0, 0.0, b"")
        (folder / "server").mkdir()
        with served(options.run, folder / "server") as target:
            if options.seconds:
                lines += loaded(target, options, picture, plain)
            if options.hostile:
                found = asyncio.run(attack(target, options.hostile))
                lines.append(f"{options.hostile} hostile requests: {dict(sorted(found.items()))}")
            time.sleep(2)
            lines.append(
                f"left on the disk after it: {target.left()} folders; the server lives: {target.process.poll() is None}"
            )
    print("\n".join(lines))
    if options.append_record:
        append_record("Serving under load", known, lines)


if __name__ == "__main__":
    main()
