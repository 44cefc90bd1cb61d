import pytest
import torch
from torch import nn

from unetkit.errors import ConfigError
from unetkit.models import Options, UNetPlusPlus, count_parameters


def supervised(head: int | None = None, **options: object) -> UNetPlusPlus:
    torch.manual_seed(0)
    options = {"in_channels": 1, "num_classes": 2, "width": 2, "depth": 3, "norm": "none"} | options
    return UNetPlusPlus(Options(**options), deep_supervision=True, head=head)


@torch.no_grad()
@pytest.mark.parametrize("size", [(16, 24), (13, 21)])
def test_training_gives_all_heads_and_prediction_the_chosen_one(size: tuple[int, int]) -> None:
    network = supervised()
    pixels = torch.randn(2, 1, *size)
    together = network.train()(pixels)
    assert together.shape == (3, 2, 2, *size)
    network.eval()
    torch.testing.assert_close(network(pixels), together[2])
    for head in (1, 2, 3):
        network.choose_head(head)
        torch.testing.assert_close(network(pixels), together[head - 1])


@torch.no_grad()
@pytest.mark.parametrize("head", [1, 2, 3])
def test_a_head_computes_nothing_that_it_does_not_need(head: int) -> None:
    network = supervised().eval()
    network.choose_head(head)
    computed: set[nn.Module] = set()
    for module in (*network.encoder, *network.nodes.values(), *network.heads.values()):
        module.register_forward_hook(lambda module, _given, _answer: computed.add(module))
    network(torch.randn(1, 1, 8, 8))
    assert computed == set(network.modules_of_head(head))


def test_lower_heads_are_smaller_and_the_last_is_all_but_the_other_heads() -> None:
    network = supervised()
    counts = [count_parameters(*network.modules_of_head(head)) for head in (1, 2, 3)]
    assert counts == sorted(set(counts))
    others = count_parameters(network.heads["1"], network.heads["2"])
    assert counts[-1] == count_parameters(network) - others


def test_heads_that_are_not_there_are_refused() -> None:
    with pytest.raises(ConfigError, match="head: found 4; this network has the heads 1, 2, 3"):
        supervised().choose_head(4)
    plain = UNetPlusPlus(Options(in_channels=1, num_classes=2, width=2, depth=2))
    assert plain.head == 2
    with pytest.raises(ConfigError, match="head: found 1; this network has the heads 2"):
        plain.choose_head(1)


def test_geometry_follows_the_head() -> None:
    network = supervised(head=1)
    assert network.geometry.halo == 9
    network.choose_head(None)
    assert network.geometry.halo == 51


@torch.no_grad()
@pytest.mark.parametrize("concat", ["skip-up", "up-skip"])
def test_nodes_join_the_row_in_order(concat: str) -> None:
    network = supervised(depth=2, concat=concat).eval()
    given: list[torch.Tensor] = []
    network.nodes["0_2"].block.register_forward_pre_hook(lambda _module, given_: given.append(given_[0]))
    parts: dict[str, torch.Tensor] = {}
    for name, module in {
        "encoder": network.encoder[0],
        "node": network.nodes["0_1"],
        "up": network.nodes["0_2"].up,
    }.items():
        module.register_forward_hook(lambda _module, _given, answer, name=name: parts.__setitem__(name, answer))
    network(torch.randn(1, 1, 8, 8))
    order = ["encoder", "node", "up"] if concat == "skip-up" else ["up", "encoder", "node"]
    torch.testing.assert_close(given[0], torch.cat([parts[name] for name in order], 1))
