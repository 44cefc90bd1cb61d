"""A network with all that is needed to use it on pixels as they are stored: any size in, the same size out.

Assumes a network in evaluation mode that gives logits [N, K, H, W], or [N, 1, H, W] for the second of two classes.
Does not know files.

Legend of shapes: N tiles, C channels, K classes, H height, W width.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain, groupby, islice
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unetkit.config import ObjectsConfig, PaddingMode, PredictConfig, Resize, load_config, read_override
from unetkit.data.normalize import Normalization
from unetkit.data.resize import resize, resize_pixels
from unetkit.errors import ConfigError, DataError, UsageError
from unetkit.images.image import ALL, Pixels
from unetkit.modelfile.card import ModelCard
from unetkit.models import decide, fuse_batch_norm, without_border
from unetkit.models.geometry import Geometry
from unetkit.objects import ObjectMap, find_objects, with_closed_gaps
from unetkit.prediction.crops import EIGHT, IDENTITY, Crop, Symmetry, crops_of, in_batches, in_lanes, prefetch
from unetkit.prediction.tiling import Allowance, Plan, Span, bytes_per_pixel, difference, make_plan, shifted


class PredictKeys(TypedDict, total=False):
    """Keys of the section `predict`; one that is None is as one that is left out."""

    tile: int | None
    overlap: int | None
    memory: float | None
    batch: int | None
    channels: tuple[int, ...] | None
    channel_files: tuple[str, ...] | None
    tta: bool | None
    calibrate: bool | None
    close_gaps: bool | None
    size: tuple[int, int] | None
    resize: Resize | None
    padding_mode: PaddingMode | None
    threshold: float | dict[str, float] | None
    threshold_chosen: str | None
    threshold_chosen_on: str | None


ObjectsKeys = TypedDict(
    "ObjectsKeys",
    {
        "objects.method": str | None,
        "objects.threshold": float | None,
        "objects.seed_threshold": float | None,
        "objects.min_width": float | None,
        "objects.min_size": int | None,
        "objects.min_confidence": float | None,
        "objects.fill_holes": bool | None,
        "objects.halo": int | None,
        "objects.chosen": str | None,
        "objects.chosen_on": str | None,
    },
    total=False,
)
"""Keys of the section `objects`, by their whole names."""


class PredictorOptions(PredictKeys, ObjectsKeys, total=False):
    """How a network is used. `overrides` are texts such as "objects.threshold=0.4" or "tile=64", and go last."""

    overrides: Sequence[str] | None


AT_ONCE = 8
"""Whole images of one shape that are computed in one call."""

_SIDE_IN_A_LANE = 1024
"""Pixels of the side of a tile that each of several calls side by side must have the memory for."""

_BYTES_OF_A_VALUE = 4
_KEPT_BY_THE_ALLOCATOR = 1.5
"""Freed blocks stay with the process: on Linux up to 1.43 times the living tensors was measured, over six networks."""


@dataclass(frozen=True, slots=True)
class Part:
    """A finished part of a prediction.

    Attributes:
        rows: of the image.
        columns: of the image.
        probabilities_KHW: of the classes, float32, on the predictor's device.
        small_KHW: those at `config.size` that they were enlarged from; None where images are not resized.
    """

    rows: slice
    columns: slice
    probabilities_KHW: Tensor
    small_KHW: Tensor | None = None


@dataclass(frozen=True, slots=True)
class _Tile:
    """A tile's spans, and the probabilities of all pixels that it has a share in."""

    row: Span
    column: Span
    probabilities_KHW: Tensor


@dataclass(frozen=True)
class Predictor:
    """A network, its card, and how images are taken through it.

    Attributes:
        network: float32 [N, C, H, W] -> logits [N, K, H, W], less `geometry.margin` on each side.
        geometry: which sizes fit the network, and how far it sees.
        card: what is known of the network; an `ExportCard` where it is an exported file.
        device: where the network is.
        prepare: what is done to the pixels [C, H, W] of a whole image, as stored, before it is divided into tiles, as
            other people's networks ask for it; None: nothing.
        notes: sentences on how other people's network was understood.
    """

    network: Callable[[Tensor], Tensor]
    geometry: Geometry
    card: ModelCard
    device: torch.device
    prepare: Callable[[NDArray[Any]], NDArray[np.float32]] | None = None
    notes: tuple[str, ...] = ()

    @property
    def config(self) -> PredictConfig:
        """Tiles, batch and flips."""
        return self.card.predict

    @property
    def object_config(self) -> ObjectsConfig:
        """How objects are made of its probabilities."""
        return self.card.objects

    @property
    def normalization(self) -> Normalization:
        """From stored units to what the network was trained on."""
        return self.card.normalization

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes that the network gives, index 0 first."""
        return self.card.classes

    @property
    def border(self) -> bool:
        """Whether the last class is the border of objects, made for training; the data does not have it."""
        return self.card.border

    @property
    def data_classes(self) -> tuple[str, ...]:
        """The names of the classes that the data has: all but the border."""
        return self.card.data_classes

    @property
    def apart(self) -> bool:
        """Whether calls of the network for several tiles may be made side by side, a thread each, to the same result.

        Files of other runtimes have threads of their own, and a norm over all that it sees wants large tiles.
        """
        return isinstance(self.network, nn.Module) and self.device.type == "cpu" and self.exactness() is None

    @property
    def lanes(self) -> int:
        """How many calls of the network are made side by side where there are many tiles, as the memory allows."""
        if not self.apart or torch.get_num_threads() == 1:
            return 1
        pixels = (self.config.tile or _SIDE_IN_A_LANE) ** 2
        affordable = int(self.config.memory * 1e9 / (self.bytes_per_pixel * self.config.batch * pixels))
        return max(1, min(torch.get_num_threads(), affordable))

    def takes(self, channels: int) -> bool:
        """Return whether images of so many channels go in; other people's networks take grey and RGB alike."""
        return channels == self.card.channels or (self.prepare is not None and {channels, self.card.channels} == {1, 3})

    def with_card(self, *, predict: PredictConfig | None = None, objects: ObjectsConfig | None = None) -> "Predictor":
        """Return the predictor of the same network that is used in another way."""
        changed = {"predict": predict or self.config, "objects": objects or self.object_config}
        return replace(self, card=self.card.model_copy(update=changed))

    def with_options(self, options: PredictorOptions) -> "Predictor":
        """Return the predictor with some keys of `predict` and `objects` replaced; None values are passed over.

        Raises:
            ConfigError: an unknown key or an impossible value.
        """
        given = {key: value for key, value in options.items() if value is not None and key != "overrides"}
        given |= map(read_override, options.get("overrides") or ())
        given = {key if "." in key else f"predict.{key}": value for key, value in given.items()}
        if any(key.startswith("objects.") for key in given):
            given = {"objects.chosen": None, "objects.chosen_on": None} | given  # those were of other numbers
        if any(key.startswith("predict.threshold") for key in given):
            given = {"predict.threshold_chosen": None, "predict.threshold_chosen_on": None} | given
        sections = {
            "predict": self.config.model_dump(mode="json"),
            "objects": self.object_config.model_dump(mode="json"),
        }
        for key, value in given.items():
            section, _, name = key.partition(".")
            if section not in sections:
                raise ConfigError(f"{key}: a prediction takes keys of {' and '.join(sections)} alone")
            sections[section][name] = value
        config = load_config(sections)
        config.predict.thresholds(self.data_classes)
        return self.with_card(predict=config.predict, objects=config.objects)

    def folded(self) -> "Predictor":
        """Return the predictor of the same network with its batch norms folded away: faster, equal to rounding."""
        if not isinstance(self.network, nn.Module):
            return self
        # The copy has other weights than the card's configuration describes.
        return replace(self, network=fuse_batch_norm(self.network), card=self.card.model_copy(update={"model": None}))

    def probabilities(self, pixels_CHW: Pixels) -> NDArray[np.float32]:
        """Return the probability of each class at each pixel, [K, H, W] float32, for pixels [C, H, W] as stored.

        Of a page that is read by windows, only the tile at hand is in memory.

        Raises:
            DataError: another number of channels or axes, or no pixels.
            UsageError: the network is in training mode.
        """
        return next(self.probabilities_of([pixels_CHW]))

    def probabilities_of(self, images: Sequence[Pixels]) -> Iterator[NDArray[np.float32]]:
        """Yield the `probabilities` of each image; those of images of one shape are computed together.

        The network is called less often, which spares a GPU time and a CPU none, and takes memory within
        `config.memory`. Results are the same up to the rounding of float32.

        Raises:
            DataError, UsageError: as `probabilities`.
        """
        return (whole_KHW for whole_KHW, _ in self.answers_to(images))

    @torch.inference_mode()
    def answers_to(self, images: Sequence[Pixels]) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32] | None]]:
        """Yield what `probabilities_of` yields, and the probabilities at `config.size` that it was enlarged from.

        The second is None where images are not resized, or gaps are closed in what was enlarged.

        Raises:
            DataError, UsageError: as `probabilities`.
        """
        for shape, alike in groupby(images, key=np.shape):
            for parts in self._parts_of(list(alike)):
                first = next(parts)
                small_KHW = None if first.small_KHW is None else first.small_KHW.cpu().numpy()
                yield _gathered(chain([first], parts), torch.empty(len(self.classes), *shape[1:])).numpy(), small_KHW

    def labels(self, pixels_CHW: Pixels) -> NDArray[Any]:
        """Return the index of each pixel's class, [H, W] uint8, or uint16 above 256 classes.

        It is the most probable one, or what `config.threshold` says; the border counts as the object that it belongs
        to.

        Raises:
            DataError, UsageError: as `probabilities`.
        """
        result = np.empty(pixels_CHW.shape[1:], self.label_type)
        for part in self.parts(pixels_CHW):
            result[part.rows, part.columns] = self.decided(part.probabilities_KHW)
        return result

    def objects(self, pixels_CHW: Pixels) -> ObjectMap:
        """Return the objects of an image, made of all its probabilities at once.

        Raises:
            DataError, UsageError: as `probabilities`.
            ConfigError: its classes and the section `objects` do not go together.
        """
        return self.objects_in(self.probabilities(pixels_CHW))

    def objects_in(self, probabilities_KHW: NDArray[Any]) -> ObjectMap:
        """Return the objects that probabilities of the network's classes make.

        Raises:
            ConfigError: its classes and the section `objects` do not go together.
        """
        return find_objects(probabilities_KHW, self.classes, self.object_config)

    def of_data(self, probabilities_KHW: Tensor) -> Tensor:
        """Return the probabilities of `data_classes`: the border's go to the most probable class of objects."""
        return without_border(probabilities_KHW[None])[0] if self.border else probabilities_KHW

    def decided(self, probabilities_KHW: Tensor) -> NDArray[Any]:
        """Return the index [H, W], uint8 or int32, of each pixel's class for probabilities of the network's classes.

        Raises:
            ConfigError: `config.threshold` names a class that there is not.
        """
        small = torch.uint8 if len(self.data_classes) <= 256 else torch.int32
        p_KHW, thresholds = self.of_data(probabilities_KHW), self.config.thresholds(self.data_classes)
        return decide(p_KHW[None], thresholds)[0].to(small).cpu().numpy()

    @property
    def decision(self) -> str:
        """What masks are decided by where that is not the most probable class, and how it was chosen; else nothing."""
        threshold, chosen = self.config.threshold, self.config.threshold_chosen
        if threshold is None:
            return ""
        numbers = threshold if isinstance(threshold, dict) else {"": threshold}
        said = ", ".join(f"{name} {value:g}".strip() for name, value in numbers.items())
        return f"masks are decided at predict.threshold {said}{f', chosen by {chosen}' if chosen else ''}"

    @property
    def label_type(self) -> type[np.uint8] | type[np.uint16]:
        """The smallest unsigned type that holds every class index."""
        return np.uint8 if len(self.data_classes) <= 256 else np.uint16

    @torch.inference_mode()
    def parts(self, pixels_CHW: Pixels) -> Iterator[Part]:
        """Predict part by part, from the top; together the parts hold each pixel of the image once.

        Memory is that of one call of the network and one part, whatever the size of the image; an image that is resized
        or whose gaps are closed is one part.

        Raises:
            DataError, UsageError: as `probabilities`.
        """
        for parts in self._parts_of([pixels_CHW]):
            yield from parts

    def crops(self, pixels_CHW: Pixels, plan: Plan, rows: slice, columns: slice) -> list[Crop]:
        """Read what the network is to be given for a window of an image: by those tiles that have a share in it.

        The plan is that of the whole image, which is not finished at once; the tiles' windows alone are read.

        Raises:
            DataError, UsageError: as `probabilities`.
        """
        self.require_usable(pixels_CHW.shape)
        assert not plan.at_once
        down, across = (
            tuple(span for span in spans if span.begin < part.stop and part.start < span.end)
            for spans, part in ((plan.rows, rows), (plan.columns, columns))
        )
        return list(crops_of(pixels_CHW, replace(plan, rows=down, columns=across), self._symmetries))

    @torch.inference_mode()
    def window(self, crops: Iterable[Crop], plan: Plan, rows: slice, columns: slice) -> Iterator[Part]:
        """Predict a window of an image by its `crops`; its parts are its tiles, or one where those are blended."""
        tiles = self._tiles(crops, self.config.batch, lanes=1)
        whole_KHW = torch.zeros(
            len(self.classes), rows.stop - rows.start if plan.note else 0, columns.stop - columns.start
        )
        for tile in tiles:
            own = [
                slice(max(span.begin, part.start), min(span.end, part.stop))
                for span, part in ((tile.row, rows), (tile.column, columns))
            ]
            down, across = shifted(own[0], tile.row.begin), shifted(own[1], tile.column.begin)
            shared_KHW = tile.probabilities_KHW[:, down, across]
            if plan.note is None:
                yield Part(own[0], own[1], shared_KHW)
                continue
            share_H, share_W = (
                torch.from_numpy(span.weights()[part]) for span, part in ((tile.row, down), (tile.column, across))
            )
            into_KHW = whole_KHW[:, shifted(own[0], rows.start), shifted(own[1], columns.start)]
            into_KHW.addcmul_(shared_KHW.cpu(), share_H[:, None] * share_W)
        if plan.note is not None:
            yield Part(rows, columns, whole_KHW)

    def require_usable(self, shape: tuple[int, ...]) -> None:
        """Make sure that an image of a shape can be predicted as it is configured.

        Raises:
            DataError, UsageError: as `probabilities`.
        """
        if len(shape) != 3 or 0 in shape:
            raise DataError(f"an image of shape {shape} was given; [channels, height, width] was expected")
        if self.card.context and shape[0] != self.card.channels:
            raise DataError(
                f"an image of {shape[0]} channels was given, but the network sees {self.card.slices} slices of a stack "
                f"together (model.context={self.card.context}); give the {self.card.channels} channels of all of them, "
                "in the order of the stack"
            )
        self._require_evaluation()
        if self.config.calibrate and self.card.temperature is None:
            raise UsageError(
                "this network has no temperature to calibrate it with; the best weights of a run get one at the end of "
                "the training, where images were held out"
            )

    def _parts_of(self, images: Sequence[Pixels]) -> Iterator[Iterator[Part]]:
        """Yield the parts of each image in turn; all have one shape."""
        shape = images[0].shape
        self.require_usable(shape)
        (height, width), size, kind = shape[1:], self.config.size, self.config.resize or "half-pixel"
        whole = (slice(0, height), slice(0, width))
        # With a size, the network sees the one that it was trained on; probabilities go back to the image's own.
        shown = iter(images) if size is None else (resize_pixels(image[ALL, ALL, ALL], size, kind) for image in images)
        if self.prepare is not None:
            shown = map(self._prepared, shown)
        plan = self.plan(height, width)
        crops = (crop for pixels_CHW in shown for crop in crops_of(pixels_CHW, plan, self._symmetries))
        count = len(plan.rows) * len(plan.columns)
        lanes = self.lanes if count * len(images) * len(self._symmetries) > self.config.batch else 1
        tiles = self._tiles(crops, self.config.batch if lanes > 1 else self._at_once(plan, len(images)), lanes)
        for _ in images:
            parts = _parts(islice(tiles, count), plan, width if size is None else size[1])
            if size is not None:
                p_KHW = _gathered(parts, torch.empty(len(self.classes), *size, device=self.device))
                parts = iter([Part(*whole, resize(p_KHW, (height, width), kind), p_KHW)])
            if self.config.close_gaps:
                closed_KHW = self.closed(_gathered(parts, torch.empty(len(self.classes), height, width)).numpy())
                parts = iter([Part(*whole, torch.from_numpy(closed_KHW).to(self.device))])
            yield parts

    def _prepared(self, pixels_CHW: Pixels) -> NDArray[Any]:
        """Return an image as the model's own pre-processing leaves it."""
        assert self.prepare is not None
        whole_CHW = pixels_CHW[:, :, :]
        if not self.takes(len(whole_CHW)):
            self.normalization.require_channels(whole_CHW)
        return self.prepare(whole_CHW)

    def _at_once(self, plan: Plan, images: int) -> int:
        """Return how many tiles are computed in one call: of whole images, as many as the memory allows."""
        (row, *rows), (column, *columns) = plan.rows, plan.columns
        if images == 1 or rows or columns:
            return self.config.batch
        height, width = (plan.grid.window_side(axis.high - axis.low) for axis in (row, column))
        affordable = int(self.config.memory * 1e9 / (self.bytes_per_pixel * height * width))
        return max(self.config.batch, min(AT_ONCE, affordable))

    def closed(self, probabilities_KHW: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities of a whole image with closed gaps where `config.close_gaps` asks for it."""
        return with_closed_gaps(probabilities_KHW) if self.config.close_gaps else probabilities_KHW

    def plan(self, height: int, width: int, *, lanes: int | None = None) -> Plan:
        """Plan the tiles of an image of `height` x `width` pixels.

        Args:
            height: of the image.
            width: of the image.
            lanes: calls of the network that share `config.memory`; None: those that a whole image is predicted with.

        Raises:
            UsageError: the network is in training mode.
        """
        allowance = Allowance(1.0)
        if self.config.tile is None:
            per_call = self.bytes_per_pixel * self.config.batch
            # A row of blended tiles is kept whole, and what overlaps the next row twice.
            row = 2 * _BYTES_OF_A_VALUE * len(self.classes) / per_call
            allowance = Allowance(self.config.memory * 1e9 / (per_call * (lanes or self.lanes)), row)
        size = self.config.size or (height, width)
        plan = make_plan(*size, geometry=self.geometry, config=self.config, allowance=allowance)
        return replace(plan, at_once=self.config.size is not None or self.config.close_gaps)

    def exactness(self) -> str | None:
        """Say in one sentence why images that are cut into tiles may come out differently; None: they do not."""
        return difference(self.geometry, self.config)

    @cached_property
    def bytes_per_pixel(self) -> float:
        """The memory that a call of the network takes for each pixel of its input, in bytes."""
        self._require_evaluation()  # in training mode, norms would learn from the images that memory is measured with
        network = bytes_per_pixel(self.network, self.geometry, channels=self.card.channels, device=self.device)
        answer = float(_BYTES_OF_A_VALUE * len(self.classes))
        # The part before is still being used, flips and turns are summed up, and the next input is made ahead.
        kept = (2 if self.config.tta else 1) * answer + _BYTES_OF_A_VALUE * self.card.channels
        return (kept + max(network, 2 * answer)) * _KEPT_BY_THE_ALLOCATOR

    def _require_evaluation(self) -> None:
        if getattr(self.network, "training", False):
            raise UsageError("the network is in training mode, which predicts differently; call network.eval() first")

    @property
    def _symmetries(self) -> tuple[Symmetry, ...]:
        return EIGHT if self.config.tta else (IDENTITY,)

    def _tiles(self, crops: Iterable[Crop], at_once: int, lanes: int) -> Iterator[_Tile]:
        """Yield the tile of all crops of one place, averaged over its flips and turns."""
        symmetries, batches = self._symmetries, in_batches(crops, at_once)
        if lanes == 1:  # the next input is made while the network is at work
            given = prefetch((batch, self._input(batch)) for batch in batches)
            answers = (answer for batch, x_NCHW in given for answer in self._answers(batch, x_NCHW))
        else:
            threads = torch.get_num_threads() // lanes
            answers = chain.from_iterable(in_lanes(partial(self._apart, threads), prefetch(batches), lanes))
        for crop, total_KHW in answers:
            for _ in symmetries[1:]:
                total_KHW = total_KHW + next(answers)[1]
            yield _Tile(crop.row, crop.column, total_KHW / len(symmetries) if self.config.tta else total_KHW)

    @torch.inference_mode()
    def _apart(self, threads: int, batch: list[Crop]) -> list[tuple[Crop, Tensor]]:
        """Return the probabilities of some crops, computed in another thread with so many threads of its own."""
        torch.set_num_threads(threads)
        return list(self._answers(batch, self._input(batch)))

    def _input(self, batch: list[Crop]) -> Tensor:
        """Return the normalised pixels of crops; zeros outside the image where the network was trained so."""
        shown: list[Tensor] = []
        for crop in batch:
            pixels_CHW = self.normalization.apply(crop.pixels_CHW)
            if self.config.padding_mode == "zeros":
                inside_CHW, pixels_CHW = pixels_CHW, np.zeros_like(pixels_CHW)
                pixels_CHW[:, *crop.inside] = inside_CHW[:, *crop.inside]
            shown.append(torch.from_numpy(pixels_CHW))
        return torch.stack(shown).to(self.device, memory_format=torch.channels_last)

    def _answers(self, batch: list[Crop], x_NCHW: Tensor) -> Iterator[tuple[Crop, Tensor]]:
        """Yield the probabilities of each crop, turned back."""
        temperature = self.card.temperature
        # Of labels alone, probabilities stay 0 and 1.
        warm = self.config.calibrate and temperature is not None and not self.card.outputs_labels
        cooling = 1 / temperature if warm and temperature is not None else 1.0
        for crop, logits_KHW in zip(batch, self.network(x_NCHW), strict=True):
            shown_KHW = logits_KHW[:, crop.rows, crop.columns].float()
            if cooling != 1:
                shown_KHW = shown_KHW * cooling
            if len(shown_KHW) == 1:
                second_1HW = shown_KHW.sigmoid()
                p_KHW = torch.cat([1 - second_1HW, second_1HW])
            elif len(shown_KHW) == 2:  # the softmax of two, plane by plane, in a tenth of the time
                p_KHW = torch.empty(shown_KHW.shape, device=shown_KHW.device)
                torch.sub(shown_KHW[1], shown_KHW[0], out=p_KHW[1])
                torch.neg(p_KHW[1], out=p_KHW[0])
                p_KHW.sigmoid_()
            else:
                # In channels-last layout this needs less time and memory than torch.softmax, which rearranges first.
                powers_KHW = (shown_KHW - shown_KHW.amax(0)).exp_()
                p_KHW = powers_KHW.div_(powers_KHW.sum(0))
            yield crop, crop.symmetry.undo(p_KHW)


def _gathered(parts: Iterator[Part], whole_KHW: Tensor) -> Tensor:
    """Put every part to its place in the whole, and return that."""
    for part in parts:
        whole_KHW[:, part.rows, part.columns] = part.probabilities_KHW
    return whole_KHW


def _parts(tiles: Iterator[_Tile], plan: Plan, width: int) -> Iterator[Part]:
    """Yield the parts that the tiles of an image make: each tile, or rows of them where they are blended."""
    if plan.note is not None:
        yield from _blended(tiles, width=width)
        return
    for tile in tiles:
        rows, columns = slice(tile.row.low, tile.row.high), slice(tile.column.low, tile.column.high)
        yield Part(rows, columns, tile.probabilities_KHW)


def _blended(tiles: Iterator[_Tile], width: int) -> Iterator[Part]:
    """Add up weighted tiles to rows of tiles, and yield each row as far as the next one has no share in it."""
    rest_KHW: Tensor | None = None
    for row, in_row in groupby(tiles, key=lambda tile: tile.row):
        band_KHW: Tensor | None = None
        for tile in in_row:
            share_KHW = tile.probabilities_KHW
            if band_KHW is None:
                band_KHW = share_KHW.new_zeros(share_KHW.shape[0], share_KHW.shape[1], width)
            across_W = torch.from_numpy(tile.column.weights()).to(band_KHW.device)
            band_KHW[:, :, tile.column.begin : tile.column.end].addcmul_(share_KHW, across_W)
        assert band_KHW is not None
        band_KHW.mul_(torch.from_numpy(row.weights()).to(band_KHW.device)[:, None])
        if rest_KHW is not None:
            band_KHW[:, : rest_KHW.shape[1]] += rest_KHW
        finished = row.high - row.fall
        rest_KHW = band_KHW[:, finished - row.begin :]
        yield Part(slice(row.begin, finished), slice(0, width), band_KHW[:, : finished - row.begin])


def require_probabilities(predictor: Predictor) -> None:
    """Make sure that a predictor has probabilities to give.

    Raises:
        UsageError: it has not.
    """
    if predictor.card.outputs_labels:
        raise UsageError("this file gives classes alone, no probabilities; export it again with --output softmax")
