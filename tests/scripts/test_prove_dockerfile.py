import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_dockerfile_says_only_what_the_script_can_carry_out() -> None:
    spec = importlib.util.spec_from_file_location("prove_dockerfile", ROOT / "scripts" / "prove_dockerfile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = list(module.instructions((ROOT / "Dockerfile").read_text()))
    known = {"ARG", "FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    assert {instruction for instruction, _ in found} == known
    assert [rest for instruction, rest in found if instruction == "USER"] == ["unetkit"]
    assert all("\\" not in rest for _, rest in found)
    torch = next(rest for instruction, rest in found if instruction == "ARG" and rest.startswith("TORCH="))
    assert torch.removeprefix("TORCH=") in (ROOT / "constraints.txt").read_text()
