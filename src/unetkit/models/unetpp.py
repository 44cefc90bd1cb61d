"""UNet++ (Zhou et al. 2018): every skip passes through nested nodes, and every length of skip can have its own head.

Node <level>_<column> joins the map of node <level + 1>_<column - 1> to all nodes left of it in its level; column 0 is
the encoder. Head k reads node 0_k, which needs the nodes with level + column <= k and no others, so a low head is
cheap: it computes an encoder and a decoder of k levels. Names in a state dict:

    encoder.<level>.conv1|norm1|conv2|norm2|shortcut      level 0 to depth
    nodes.<level>_<column>.up.conv                        column 1 to depth - level
    nodes.<level>_<column>.block.conv1|norm1|conv2|norm2|shortcut
    heads.<k>                                             1x1 convolution, k 1 to depth; without deep supervision depth

Channels are joined as (node 0, node 1, ..., enlarged map) or, with `concat="up-skip"`, (enlarged map, node 0, node 1,
...). Any size goes in: the last row and column are repeated up to a multiple that holds for all heads, and the result
is cut back.

Legend of shapes: J heads, N batch, C channels, K classes, H height, W width.
"""

from dataclasses import replace
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unetkit.errors import ConfigError
from unetkit.models.blocks import (
    WHOLE_IMAGE_NORMS,
    Block,
    BlockStyle,
    Join,
    JoinStyle,
    Norm,
    UpStyle,
    fold_pixels,
    level_widths,
    pad_end,
    unfold_pixels,
)
from unetkit.models.geometry import Geometry, Layout, Up, unetpp_geometry
from unetkit.models.initialise import Rule, initialise


class UNetPlusPlus(nn.Module):
    """The network. `geometry` says what prediction has to know about its sizes."""

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        width: int = 32,
        depth: int = 4,
        widths: tuple[int, ...] | None = None,
        norm: Norm = "batch",
        decoder_norm: Norm | None = None,
        conv_bias: bool | None = None,
        decoder_convs: int = 2,
        residual: bool = False,
        up: Up = "deconv",
        up_kernel: int | None = None,
        up_bias: bool = True,
        up_relu: bool = False,
        concat: Literal["skip-up", "up-skip"] = "skip-up",
        head_bias: bool = True,
        dropout: float = 0.0,
        stem: int = 1,
        deep_supervision: bool = False,
        head: int | None = None,
        init: Rule = "he",
    ) -> None:
        """Build the network; every option is described where `ModelConfig` declares it."""
        super().__init__()
        widths = level_widths(width, depth, widths)
        self.depth, self.stem, self.dropout, self.deep_supervision = len(widths) - 1, stem, dropout, deep_supervision
        block = BlockStyle(norm, conv_bias, residual, valid=False)
        join = JoinStyle(
            up=UpStyle(up, up_kernel, up_bias, up_relu, valid=False),
            block=replace(block, norm=decoder_norm or norm, convs=decoder_convs),
            up_first=concat == "up-skip",
        )
        self._layout = Layout(depth=self.depth, stem=stem, up=up, up_kernel=join.up.side, decoder_convs=decoder_convs)
        self._whole_image = not WHOLE_IMAGE_NORMS.isdisjoint((norm, join.block.norm))
        self.encoder = nn.ModuleList(
            Block(channels_in, channels, block) for channels_in, channels in pairwise((in_channels * stem**2, *widths))
        )
        self.nodes = nn.ModuleDict(
            {
                f"{level}_{column}": Join(widths[level + 1], widths[level], join, skips=column)
                for column in range(1, self.depth + 1)
                for level in range(self.depth + 1 - column)
            }
        )
        self.heads = nn.ModuleDict(
            {
                str(k): nn.Conv2d(widths[0], num_classes * stem**2, 1, bias=head_bias)
                for k in range(1 if deep_supervision else self.depth, self.depth + 1)
            }
        )
        self.choose_head(head)
        initialise(self, init)

    def choose_head(self, head: int | None) -> None:
        """Predict from now on with a head from 1, the fastest, to depth, the default; `geometry` follows.

        Raises:
            ConfigError: the network has no such head.
        """
        self.head = self.depth if head is None else head
        if str(self.head) not in self.heads:
            raise ConfigError(f"head: found {head}; this network has the heads {', '.join(self.heads)}")
        self.geometry: Geometry = unetpp_geometry(self._layout, head=self.head, whole_image=self._whole_image)

    def modules_of_head(self, head: int) -> list[nn.Module]:
        """Return what a prediction with one head computes: `count_parameters(*model.modules_of_head(1))`."""
        nodes = [
            self.nodes[_node(level, column)] for column in range(1, head + 1) for level in range(head + 1 - column)
        ]
        return [*self.encoder[: head + 1], *nodes, self.heads[str(head)]]

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the logits of the chosen head [N, K, H, W]; in training with deep supervision all [J, N, K, H, W]."""
        height, width = x_NCHW.shape[2:]
        padded = (self.geometry.padded_size(size) for size in (height, width))
        x_NCHW = fold_pixels(pad_end(x_NCHW, *padded, mode="replicate"), self.stem)
        if not (self.training and self.deep_supervision):
            return self._logits(self._top_nodes(x_NCHW, self.head)[-1], self.head)[:, :, :height, :width]
        tops = self._top_nodes(x_NCHW, self.depth)
        return torch.stack([self._logits(top, k) for k, top in enumerate(tops, 1)])[..., :height, :width]

    def _top_nodes(self, x_NCHW: Tensor, head: int) -> list[Tensor]:
        rows: list[list[Tensor]] = []
        for level in range(head + 1):
            x_NCHW = self.encoder[level](F.max_pool2d(x_NCHW, 2) if level else x_NCHW)
            rows.append([F.dropout(x_NCHW, self.dropout, self.training) if level == self.depth else x_NCHW])
        for column in range(1, head + 1):
            for level in range(head + 1 - column):
                below = rows[level + 1][column - 1]
                rows[level].append(self.nodes[_node(level, column)](below, *rows[level]))
        return rows[0][1:]

    def _logits(self, top_NCHW: Tensor, head: int) -> Tensor:
        return unfold_pixels(self.heads[str(head)](top_NCHW), self.stem)


def _node(level: int, column: int) -> str:
    return f"{level}_{column}"
