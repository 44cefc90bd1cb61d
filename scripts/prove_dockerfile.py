"""Carry out the Dockerfile without a container engine: every RUN in a chroot of a bare Debian, every COPY into it.

    debootstrap --variant=minbase --include=python3-venv,ca-certificates bookworm ROOT
    python scripts/prove_dockerfile.py ROOT [DEVICE=cpu] [FIND_LINKS=/folder/of/wheels]

Both stages use the one root, so that COPY --from finds its files in place. The root's Python stands for the image's.
With FIND_LINKS, which is mounted into the root, torch is taken from there and not from PyTorch's index. Needs to be
root. At the end the health check and `unetkit --help` run as the image's user. It knows the instructions that our file
uses and stops at any other.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CONTEXT = Path(__file__).resolve().parent.parent


@dataclass
class Stage:
    """Where the carrying out stands."""

    root: Path
    values: dict[str, str]
    folder: str = "/"
    user: str = "root"
    environment: dict[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
    )

    def run(self, words: list[str]) -> None:
        """Run a command in the root."""
        settings = [f"{name}={value}" for name, value in (self.values | self.environment).items()]
        inside = f"cd {shlex.quote(self.folder)} && exec {shlex.join(['env', '-i', *settings, *words])}"
        as_user = [] if self.user == "root" else [f"--userspec={self.user}"]
        subprocess.run(["chroot", *as_user, self.root, "/bin/sh", "-c", inside], check=True)

    def copy(self, words: list[str]) -> None:
        """Copy files of the context; what another stage made is in the root already."""
        if words[0].startswith("--from="):
            return
        *sources, target = words
        place = self.root / self.folder.lstrip("/") / target
        for source in sources:
            path = CONTEXT / source
            if path.is_dir():
                shutil.copytree(path, place, dirs_exist_ok=True)
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, place)

    def carry_out(self, instruction: str, rest: str) -> None:
        """Do one instruction."""
        match instruction:
            case "RUN":
                print(f"RUN {rest}", flush=True)
                self.run(["/bin/sh", "-c", rest])
            case "COPY":
                self.copy(rest.split())
            case "ENV":
                pairs = (word.split("=", 1) for word in shlex.split(rest))
                self.environment |= {name: value.replace("$PATH", self.environment["PATH"]) for name, value in pairs}
            case "ARG":
                name, _, value = rest.partition("=")
                self.values.setdefault(name, value)
            case "WORKDIR":
                self.folder = rest
                (self.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "USER":
                self.user = rest
            case "FROM":
                self.folder, self.user = "/", "root"
            case "HEALTHCHECK":
                self.run(json.loads(rest.partition("CMD ")[2]))
                print("the health check passed")
            case "ENTRYPOINT":
                self.run([*json.loads(rest), "--help"])
            case "CMD":
                pass
            case _:
                sys.exit(f"{instruction} is not known to this script")


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield the instructions of a Dockerfile and what follows them, comments left out and lines joined."""
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    for line in filter(None, map(str.strip, joined.splitlines())):
        instruction, _, rest = line.partition(" ")
        yield instruction, rest


def main() -> int:
    """Carry out the Dockerfile in the root that is named."""
    root, values = Path(sys.argv[1]).resolve(), dict(word.split("=", 1) for word in sys.argv[2:])
    wheels = values.pop("FIND_LINKS", None)
    stage = Stage(root, values)
    shutil.copy("/etc/resolv.conf", root / "etc")
    if wheels is not None:
        shutil.copytree(wheels, root / "wheels", dirs_exist_ok=True)
        stage.environment |= {"PIP_FIND_LINKS": "/wheels"}
    for instruction, rest in instructions((CONTEXT / "Dockerfile").read_text()):
        without_index = re.sub(r'index="[^"]*"', "index=", rest) if wheels is not None else rest
        stage.carry_out(instruction, without_index)
    return 0


if __name__ == "__main__":
    sys.exit(main())
