import pytest
import torch

from unetkit.legacy.archive import one_line, to_tensor, whole_number


@pytest.mark.parametrize(
    "dtype", [torch.uint16, torch.uint64, torch.int8, torch.float16, torch.bfloat16, torch.float64]
)
def test_numbers_of_all_types(dtype: torch.dtype) -> None:
    assert whole_number(torch.tensor(7).to(dtype)) == 7
    assert whole_number(torch.ones(1, 1, dtype=torch.int32)) == 1


@pytest.mark.parametrize("tensor", [None, torch.ones(2), torch.tensor(float("nan")), torch.tensor(1j), torch.empty(0)])
def test_what_is_no_number(tensor: torch.Tensor | None) -> None:
    assert whole_number(tensor) is None


@pytest.mark.parametrize("shape", [(3,), (2, 0), (-2, -1), (1 << 62, 4), (1,) * 20 + (2,)])
def test_sizes_that_do_not_fit(shape: tuple[int, ...]) -> None:
    assert to_tensor(bytes(8), torch.float32, shape) is None


def test_tensors_have_memory_of_their_own() -> None:
    content = bytearray(8)
    tensor = to_tensor(memoryview(content), torch.float32, (2, 1))
    content[:] = b"\xff" * 8
    assert tensor is not None
    assert tensor.tolist() == [[0], [0]]


def test_what_a_file_says_stays_on_one_line() -> None:
    assert one_line("a\nb\x1b[2J") == "a?b?[2J"
    assert len(one_line("x" * 10_000)) < 300
