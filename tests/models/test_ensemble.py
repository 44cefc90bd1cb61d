import numpy as np
import pytest
import torch

from unetkit.config import ModelConfig
from unetkit.data import Normalization
from unetkit.models import Ensemble, build_model
from unetkit.models.inference import log_probabilities


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_the_output_is_the_logarithm_of_the_mean_probability_each_member_with_its_own_normalisation(
    classes: int,
) -> None:
    torch.manual_seed(0)
    config = ModelConfig(width=4, depth=1, in_channels=2, num_classes=classes)
    members = [build_model(config).eval() for _ in range(3)]
    norms = [Normalization((m, m + 1.0), (10.0 + m, 20.0)) for m in (100.0, 90.0, 3.0)]
    ensemble = Ensemble(members, members[0].geometry, [(norm.mean, norm.std) for norm in norms]).eval()
    pixels = np.random.default_rng(0).integers(0, 255, (2, 12, 14), np.uint8)
    with torch.inference_mode():
        found = ensemble(torch.from_numpy(pixels.astype(np.float32))[None])
        seen = [torch.from_numpy(norm.apply(pixels))[None] for norm in norms]
        alone = [member(x) for member, x in zip(members, seen, strict=True)]
        expected = torch.stack([log_probabilities(logits).exp() for logits in alone]).mean(0)
    torch.testing.assert_close(found.exp(), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.softmax(1), expected, rtol=0, atol=1e-6)
    assert found.shape[1] == max(classes, 2)


def test_members_see_the_very_pixels_that_they_were_trained_on() -> None:
    config = ModelConfig(width=4, depth=1, in_channels=1, num_classes=2)
    member, norm = build_model(config).eval(), Normalization((123.456,), (7.89,))
    ensemble = Ensemble([member], member.geometry, [(norm.mean, norm.std)]).eval()
    pixels = np.random.default_rng(0).integers(0, 65535, (1, 8, 8), np.uint16)
    seen: list[torch.Tensor] = []
    member.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.inference_mode():
        ensemble(torch.from_numpy(pixels.astype(np.float32))[None])
    assert np.array_equal(seen[0][0].numpy(), norm.apply(pixels))


def test_sure_members_give_finite_logits() -> None:
    class Sure(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x * 0 + 1e4, x * 0 - 1e4], 1)

    geometry = build_model(ModelConfig(width=4, depth=1, in_channels=1, num_classes=2)).geometry
    found = Ensemble([Sure(), Sure()], geometry, [((0.0,), (1.0,))] * 2)(torch.zeros(1, 1, 4, 4))
    assert torch.isfinite(found).all()
