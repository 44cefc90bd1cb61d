import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def found() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, as the script reads them."""
    spec = importlib.util.spec_from_file_location("prove_dockerfile", ROOT / "scripts" / "prove_dockerfile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.instructions((ROOT / "Dockerfile").read_text()))


def test_the_dockerfile_says_only_what_the_script_can_carry_out(found: list[tuple[str, str]]) -> None:
    known = {"ARG", "FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    assert {instruction for instruction, _ in found} == known
    assert [rest for instruction, rest in found if instruction == "USER"] == ["unetkit"]
    assert all("\\" not in rest for _, rest in found)
    torch = next(rest for instruction, rest in found if instruction == "ARG" and rest.startswith("TORCH="))
    assert torch.removeprefix("TORCH=") in (ROOT / "constraints.txt").read_text()


@pytest.mark.skipif(shutil.which("useradd") is None or os.geteuid() != 0, reason="makes a user as root does")
def test_its_user_can_be_made_where_the_image_has_one_of_that_number(
    found: list[tuple[str, str]], tmp_path: Path
) -> None:
    """As in Ubuntu's images, which FROM_IMAGE_NAME may name."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nubuntu:x:1000:1000::/home/ubuntu:/bin/sh\n")
    (tmp_path / "etc/group").write_text("root:x:0:\nubuntu:x:1000:\n")
    for name in ("shadow", "gshadow", "login.defs"):
        (tmp_path / "etc" / name).touch()
    (command,) = [rest.partition(" && ")[0] for kind, rest in found if kind == "RUN" and rest.startswith("useradd")]
    subprocess.run([*command.split(), "--prefix", str(tmp_path)], check=True)
    assert "\nunetkit:x:1000:" in (tmp_path / "etc/passwd").read_text()
