"""Which image and which place each patch of a training is cut from, as a function of the seed and the step alone.

Nothing is kept between steps: any step can be drawn at any time, so a resumed run, or one on another number of
processes, draws the same patches. Images come in shuffled epochs: each is used as often as any other before the next.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, slots=True)
class PatchSampler:
    """Draws the places of the patches of a step.

    Attributes:
        sizes: [N, 2] rows and columns of the images.
        batch: patches in a step.
        patch: rows and columns of the part of a patch that is scored by the loss.
        seed: the only source of randomness.
        repeat: copies of each image in an epoch.
        drop_last: leave out an epoch's last patches where they do not fill a batch; else the next epoch fills it up.
    """

    sizes: Tensor
    batch: int
    patch: tuple[int, int]
    seed: int
    repeat: int = 1
    drop_last: bool = False

    def draw(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the image indices [B] int64 and the patch centres [B, 2] float32 (row, column) of a step.

        A patch lies inside its image; an image smaller than the patch has it centred.
        """
        image_B = torch.from_numpy(self._images(step))
        sizes_B2 = self.sizes[image_B]
        share_B2 = torch.from_numpy(generator(self.seed, "place", step).random((self.batch, 2)))
        patch_2 = torch.tensor(self.patch)
        room_B2 = sizes_B2 - patch_2
        corner_B2 = torch.where(room_B2 >= 0, (share_B2 * (room_B2 + 1)).floor(), room_B2.div(2, rounding_mode="floor"))
        return image_B, (corner_B2 + (patch_2 - 1) / 2).float()

    def _images(self, step: int) -> NDArray[np.int64]:
        count = len(self.sizes) * self.repeat
        used = count // self.batch * self.batch if self.drop_last else count
        positions = np.arange(step * self.batch, (step + 1) * self.batch)
        first, last = positions[[0, -1]] // used
        epochs = [generator(self.seed, "epoch", int(epoch)).permutation(count) for epoch in range(first, last + 1)]
        drawn = np.concatenate([epoch[:used] for epoch in epochs])
        return drawn[positions - first * used] % len(self.sizes)


def generator(seed: int, purpose: str, number: int) -> np.random.Generator:
    """Return the random generator of one purpose and one step or epoch of a training."""
    return np.random.default_rng([seed, *purpose.encode(), number])
