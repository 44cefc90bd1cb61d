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

from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unetkit.errors import ConfigError
from unetkit.models.blocks import Block, UpBlock, cut_end, fold_pixels, pad_end, unfold_pixels
from unetkit.models.geometry import Geometry, unetpp_geometry
from unetkit.models.options import Options, initialise


class UNetPlusPlus(nn.Module):
    """The network. `geometry` says what prediction has to know about its sizes."""

    def __init__(self, options: Options, *, deep_supervision: bool = False, head: int | None = None) -> None:
        """Build the network and draw its weights.

        Args:
            options: `padding` and `odd_sizes` are as their defaults.
            deep_supervision: every column has a head, not only the last.
            head: the one that predicts, from 1 to depth; None: the last.
        """
        super().__init__()
        assert (options.padding, options.odd_sizes) == ("same", "replicate"), "UNet++ joins maps of one size"
        levels, depth = options.levels, options.layout.depth
        self.depth, self.deep_supervision = depth, deep_supervision
        self.downscale, self.dropout = options.downscale, options.dropout
        self._layout, self._whole_image = options.layout, options.whole_image
        self.encoder = nn.ModuleList(
            Block(channels_in, channels, options.encoder_block) for channels_in, channels in pairwise(options.channels)
        )
        self.nodes = nn.ModuleDict(
            {
                _node(level, column): UpBlock(levels[level + 1], levels[level], options.up_block, skips=column)
                for level, column in _nodes_of(depth)
            }
        )
        self.heads = nn.ModuleDict(
            {
                str(k): nn.Conv2d(levels[0], options.num_classes * options.downscale**2, 1, bias=options.head_bias)
                for k in range(1 if deep_supervision else depth, depth + 1)
            }
        )
        self.choose_head(head)
        initialise(self, options.init)

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
        nodes = [self.nodes[_node(level, column)] for level, column in _nodes_of(head)]
        return [*self.encoder[: head + 1], *nodes, self.heads[str(head)]]

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the logits of the chosen head [N, K, H, W]; in training with deep supervision all [J, N, K, H, W]."""
        height, width = x_NCHW.shape[2:]
        padded = (self.geometry.padded_size(size) for size in (height, width))
        x_NCHW = fold_pixels(pad_end(x_NCHW, *padded, mode="replicate"), self.downscale)
        if not (self.training and self.deep_supervision):
            return cut_end(self._logits(self._top_nodes(x_NCHW, self.head)[-1], self.head), height, width)
        tops = self._top_nodes(x_NCHW, self.depth)
        return torch.stack([cut_end(self._logits(top, k), height, width) for k, top in enumerate(tops, 1)])

    def _top_nodes(self, x_NCHW: Tensor, head: int) -> list[Tensor]:
        rows: list[list[Tensor]] = []
        for level in range(head + 1):
            x_NCHW = self.encoder[level](F.max_pool2d(x_NCHW, 2) if level else x_NCHW)
            rows.append([F.dropout(x_NCHW, self.dropout, self.training) if level == self.depth else x_NCHW])
        for level, column in _nodes_of(head):
            below_NCHW = rows[level + 1][column - 1]
            rows[level].append(self.nodes[_node(level, column)](below_NCHW, *rows[level]))
        return rows[0][1:]

    def _logits(self, top_NCHW: Tensor, head: int) -> Tensor:
        return unfold_pixels(self.heads[str(head)](top_NCHW), self.downscale)


def _node(level: int, column: int) -> str:
    return f"{level}_{column}"


def _nodes_of(head: int) -> Iterator[tuple[int, int]]:
    """Yield level and column of the nodes that a head needs, in an order in which they can be computed."""
    return ((level, column) for column in range(1, head + 1) for level in range(head + 1 - column))
