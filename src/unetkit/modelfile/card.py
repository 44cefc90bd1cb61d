"""The card that every exported file carries as JSON: what goes in, what comes out, and what is to be known of both.

Whoever runs the file, in whatever language, needs nothing else. The card has a version: a field that is added keeps
it, a field that changes its meaning raises it. Does not know how a format stores the text.

Network files: safetensors with a card of what they hold and a checksum over all of it. No code can hide in them.

The tensors under plain names are the weights to predict with, named as in the module's state dict. A checkpoint of a
running training has more, under `training/`: what is needed to go on exactly where it stopped.

Whatever holds a network, read by its content: a run, a checkpoint of ours, a older system's file or folder.

The folder of a cross-validation holds several, its members: `read_members`.

A older system's network as one of ours: its configuration, its weights under our names, its optimizer's state.

The names that a network should have come from building ours without memory for its weights; a checkpoint that lacks one
of them, or has it in another shape, is refused. What is left over is named in the notes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer
from torch import Tensor

from unetkit.config import ModelConfig, ObjectsConfig, PredictConfig
from unetkit.data.normalize import Normalization
from unetkit.errors import ModelFileError
from unetkit.models.geometry import Geometry

CARD_VERSION = 1

Output = Literal["logits", "softmax", "argmax"]
Layout = Literal["nchw", "nhwc", "nchw-nhwc"]
Number = Literal["float32", "float16", "int8"]
OUTPUTS: tuple[str, ...] = get_args(Output)
LAYOUTS: tuple[str, ...] = get_args(Layout)


class ExportCard(BaseModel):
    """What an exported file says of itself.

    Legend of shapes: N images, C channels, K classes, L logits (1 or K), H height, W width, and h = H - 2 margin.

    Attributes:
        version: of the card.
        unetkit: the version that wrote it.
        model: the network's configuration; None where it is none of ours alone, such as an ensemble.
        classes: names of the K classes, index 0 first.
        border: the last class is the border of objects, made for training.
        mean: of each of the C channels, in stored units.
        std: likewise: the network sees (pixels - mean) / std.
        preprocessing: that normalisation is inside the file; False: the caller does it.
        input: the type of the pixels that go in; uint8 only with `preprocessing`.
        output: logits [N, L, h, w], softmax: probabilities [N, K, h, w], argmax: int32 class indices [N, h, w].
        layout: of images and of `logits` and `softmax`: nchw, nhwc with channels last, or nchw-nhwc: nchw goes in and
            nhwc comes out, as in MindSpore's model zoo.
        size: the only height and width that the file takes; None: any.
        batch: the only number of images that it takes at once; None: any.
        geometry: multiple and offset of sides that need no padding, halo and margin; see `Geometry`.
        numbers: the format of the weights.
        predict: tiles, overlap and flips as the run was configured.
        objects: how objects are made of its probabilities.
        bytes_per_pixel: memory that one pixel of a call takes in PyTorch, roughly.
        scores: of the validation that chose the weights.
        data_sha256: checksum of the pixels that the network was trained on.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    version: Literal[1] = CARD_VERSION
    unetkit: str
    model: ModelConfig | None = None
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    border: bool = False
    mean: Annotated[tuple[float, ...], Field(min_length=1)]
    std: tuple[float, ...]
    preprocessing: bool = False
    input: Literal["uint8", "float32"] = "float32"
    output: Output = "logits"
    layout: Layout = "nchw"
    size: tuple[int, int] | None = None
    batch: int | None = None
    geometry: Geometry
    numbers: Number = "float32"
    predict: PredictConfig = PredictConfig()
    objects: ObjectsConfig = ObjectsConfig()
    bytes_per_pixel: float | None = None
    scores: dict[str, float] = {}
    data_sha256: str = ""

    @property
    def channels(self) -> int:
        """The number of channels of an image."""
        return len(self.mean)

    @property
    def normalization(self) -> Normalization:
        """What is still to be done to pixels as stored before they go in."""
        if self.preprocessing:
            return Normalization((0.0,) * self.channels, (1.0,) * self.channels)
        return Normalization(self.mean, self.std)

    @field_serializer("predict")
    def _predict_as_in_version_1(self, predict: PredictConfig) -> dict[str, Any]:
        """Write `padding_mode` as `outside: mirror` or `zeros`, where C++ and earlier versions look for it."""
        values = predict.model_dump(mode="json")
        mode = values.pop("padding_mode")
        return values | {"outside": "mirror" if mode == "reflect" else mode}

    @classmethod
    def from_json(cls, text: str, place: object) -> "ExportCard":
        """Read a card.

        Args:
            text: the JSON text.
            place: of the file, for messages.

        Raises:
            ModelFileError: not a card, or one of a later version.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "text"
            raise ModelFileError(
                f"{place}: its card is damaged or of another version of unetkit ({where}: {first['msg']}); export again"
            ) from None


class Card(BaseModel):
    """What a network file says about itself: enough to predict without the run that made it."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: ModelConfig
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    predict: PredictConfig
    objects: ObjectsConfig = ObjectsConfig()
    border: bool = False  # the last class is the border of objects, which the data does not have
    step: int
    train_seconds: float
    scores: dict[str, float] = {}
    temperature: float | None = None  # what logits are divided by to make probabilities trustworthy, once it was fitted
    data_sha256: str = ""
    unetkit: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class AdamMoments:
    """The state of Adam, by the names of our parameters.

    Attributes:
        step: updates of the weights so far.
        first: running averages of the gradients.
        second: running averages of their squares; neither is corrected for its start.
    """

    step: int
    first: dict[str, Tensor]
    second: dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class StoredNetwork:
    """A network as it lies on the disk, in our terms.

    Attributes:
        model: its configuration, channels and classes included.
        state: its weights by the names of our state dict.
        normalization: what is done to pixels before it.
        classes: names, index 0 first.
        predict: how it wants to be used.
        objects: how objects are made of its probabilities.
        border: the last class is the border of objects, which the data does not have.
        moments: Adam's state, where a older system's file has it.
        notes: what was translated, a line each.
        scores: of the validation that chose the weights, where one did.
        data_sha256: checksum of the pixels that it was trained on, where it is known.
        temperature: what its logits are divided by to make its probabilities trustworthy, where it was fitted.
    """

    model: ModelConfig
    state: dict[str, Tensor]
    normalization: Normalization
    classes: tuple[str, ...]
    predict: PredictConfig
    objects: ObjectsConfig = ObjectsConfig()
    border: bool = False
    moments: AdamMoments | None = None
    notes: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    data_sha256: str = ""
    temperature: float | None = None
