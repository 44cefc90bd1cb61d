"""The one record of a network: all that is known of it besides its weights.

A checkpoint, a predictor and an exported file each hold a `ModelCard`; that of an exported file, `ExportCard`, says in
addition what the file takes and gives. In a file the card is JSON. Whoever runs an exported file, in whatever language,
needs nothing else. The JSON has a version: a field that is added keeps it, a field that changes its meaning raises it.
Keys of the JSON are the names of the fields, and `numbers` for `dtype`. Does not know how a file stores the text.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator, model_validator
from torch import Tensor

from unetkit.config import ModelConfig, ObjectsConfig, PredictConfig
from unetkit.config.io import first_complaint
from unetkit.data.normalize import Normalization
from unetkit.errors import ModelFileError
from unetkit.models.geometry import Geometry

CARD_VERSION = 1

Output = Literal["logits", "softmax", "argmax"]
Layout = Literal["nchw", "nhwc", "nchw-nhwc"]
Dtype = Literal["float32", "float16", "int8"]
OUTPUTS: tuple[Output, ...] = get_args(Output)
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1, le=2**16)]
_MOST_PIXELS = 2**30
"""Of one call of a file of one size, all its images together."""


class ModelCard(BaseModel):
    """What is known of a network besides its weights: enough to predict without the run that made it.

    Attributes:
        model: the network's configuration, channels and classes included; None where no configuration describes it,
            such as an ensemble.
        classes: names of the K classes, index 0 first.
        mean: of each of the C channels, in stored units.
        std: likewise: the network sees (pixels - mean) / std.
        context: slices of a stack on each side of a slice whose channels the network is given with it: those of all
            slices one after the other, in the order of the stack and mirrored at its ends; C counts all of them.
        predict: tiles, overlap and flips as the run was configured.
        objects: how objects are made of its probabilities.
        border: the last class is the border of objects, made for training; the data does not have it.
        step: of the training.
        train_seconds: that its steps took so far.
        scores: of the validation that chose the weights.
        temperature: what logits are divided by to make probabilities trustworthy; None: it was never fitted.
        data_sha256: checksum of the pixels that the network was trained on; empty: not known.
        held_out: names of the images of that data that were held out of the training.
        unetkit: the version that wrote it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: ModelConfig | None = None
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    mean: Annotated[tuple[_Finite, ...], Field(min_length=1)]
    std: tuple[_Positive, ...]
    context: Annotated[int, Field(ge=0, le=16)] = 0
    predict: PredictConfig = PredictConfig()
    objects: ObjectsConfig = ObjectsConfig()
    border: bool = False
    step: int = 0
    train_seconds: float = 0.0
    scores: dict[str, float] = {}
    temperature: _Positive | None = None
    data_sha256: str = ""
    held_out: tuple[str, ...] = ()
    unetkit: str = ""

    @model_validator(mode="after")
    def _channels_and_classes_agree(self) -> Self:
        if len(self.std) != len(self.mean):
            raise ValueError(f"std has {len(self.std)} values, mean {len(self.mean)}")
        if len(self.mean) % self.slices:
            raise ValueError(f"mean has {len(self.mean)} values, which are not those of {self.slices} slices")
        if self.model is None:
            return self
        if self.model.in_channels != len(self.mean):
            raise ValueError(f"the network takes {self.model.in_channels} channels, mean has {len(self.mean)}")
        if self.model.num_classes != len(self.classes) and (self.model.num_classes, len(self.classes)) != (1, 2):
            raise ValueError(f"the network gives {self.model.num_classes} classes, {len(self.classes)} are named")
        return self

    @property
    def channels(self) -> int:
        """The number of channels that the network is given, of all slices that it sees together."""
        return len(self.mean)

    @property
    def slices(self) -> int:
        """How many slices of a stack the network sees together."""
        return 2 * self.context + 1

    @property
    def image_channels(self) -> int:
        """The number of channels of a slice."""
        return self.channels // self.slices

    @property
    def purpose(self) -> str:
        """What the network does, as a part of a sentence."""
        of_images = f"{self.image_channels} channel{'s'[: self.image_channels - 1]}"
        seen = f", each slice with the {self.context} before and after it as further channels" if self.context else ""
        return f"Segments images with {of_images}{seen} into {', '.join(self.data_classes)}"

    @property
    def own_channels(self) -> slice:
        """Which of the channels that the network is given are those of the slice that it answers for."""
        return slice(self.context * self.image_channels, (self.context + 1) * self.image_channels)

    @property
    def normalization(self) -> Normalization:
        """What is to be done to pixels as stored before they go in."""
        return Normalization(self.mean, self.std)

    @property
    def data_classes(self) -> tuple[str, ...]:
        """The names of the classes that the data has: all but the border."""
        return self.classes[:-1] if self.border else self.classes

    @property
    def outputs_labels(self) -> bool:
        """Whether classes alone come out, as of an exported file: probabilities are 0 and 1 then."""
        return False

    @property
    def uint8_input(self) -> bool:
        """Whether pixels of 8 bits alone go in, as into an exported file."""
        return False


class ExportCard(ModelCard):
    """What an exported file says of itself: its network's card, and what the file takes and gives.

    Legend of shapes: N images, C channels, K classes, L logits (1 or K), H height, W width, and h = H - 2 margin.

    Attributes:
        version: of the card.
        preprocessing: the normalisation is inside the file; False: the caller does it.
        input: the type of the pixels that go in; uint8 only with `preprocessing`.
        output: logits [N, L, h, w], softmax: probabilities [N, K, h, w], argmax: int32 class indices [N, h, w].
        layout: of images and of `logits` and `softmax`: nchw, nhwc with channels last, or nchw-nhwc: nchw goes in and
            nhwc comes out, as in MindSpore's model zoo.
        size: the only height and width that the file takes; None: any.
        batch: the only number of images that it takes at once; None: any.
        geometry: multiple and offset of sides that need no padding, halo and margin; see `Geometry`.
        dtype: of the weights; `numbers` in the JSON.
        bytes_per_pixel: memory that one pixel of a call takes in PyTorch, roughly.
    """

    model_config = ConfigDict(extra="ignore", validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    version: Literal[1] = CARD_VERSION
    preprocessing: bool = False
    input: Literal["uint8", "float32"] = "float32"
    output: Output = "logits"
    layout: Layout = "nchw"
    size: tuple[_Count, _Count] | None = None
    batch: _Count | None = None
    geometry: Geometry
    dtype: Dtype = Field(default="float32", validation_alias="numbers", serialization_alias="numbers")
    bytes_per_pixel: _Positive | None = None

    @field_validator("geometry")
    @classmethod
    def _geometry_is_of_a_network(cls, geometry: Geometry) -> Geometry:
        if geometry.multiple < 1 or not 0 <= geometry.offset < geometry.multiple:
            raise ValueError(f"found a multiple of {geometry.multiple} px with an offset of {geometry.offset} px")
        if min(geometry.margin, geometry.halo or 0, geometry.disturbed or 0) < 0:
            raise ValueError(f"found a margin of {geometry.margin} px and a halo of {geometry.halo} px")
        return geometry

    @model_validator(mode="after")
    def _input_and_size_fit(self) -> Self:
        if self.input == "uint8" and not self.preprocessing:
            raise ValueError("pixels of 8 bits go in without their normalisation")
        if self.size is not None and min(self.size) <= 2 * self.geometry.margin:
            raise ValueError(f"images of {self.size} px leave nothing inside a margin of {self.geometry.margin} px")
        if self.size is not None and self.size[0] * self.size[1] * (self.batch or 1) > _MOST_PIXELS:
            raise ValueError(f"{self.batch or 1} images of {self.size} px are more than a call computes")
        return self

    @property
    def normalization(self) -> Normalization:
        """What is still to be done to pixels as stored before they go in."""
        if self.preprocessing:
            return Normalization((0.0,) * self.channels, (1.0,) * self.channels)
        return Normalization(self.mean, self.std)

    @property
    def outputs_labels(self) -> bool:
        """Whether classes alone come out."""
        return self.output == "argmax"

    @property
    def uint8_input(self) -> bool:
        """Whether pixels of 8 bits alone go in."""
        return self.input == "uint8"

    @field_serializer("predict")
    def _predict_as_in_version_1(self, predict: PredictConfig) -> dict[str, Any]:
        """Write `padding_mode` as `outside: mirror` or `zeros`, where C++ and earlier versions look for it."""
        values = predict.model_dump(mode="json")
        mode = values.pop("padding_mode")
        return values | {"outside": "mirror" if mode == "reflect" else mode}

    @property
    def of_network(self) -> ModelCard:
        """What it says of the network alone, whatever the file does."""
        return ModelCard(**{name: getattr(self, name) for name in ModelCard.model_fields})

    @classmethod
    def from_json(cls, text: str, path: object) -> "ExportCard":
        """Read a card.

        Args:
            text: the JSON text.
            path: of the file, for messages.

        Raises:
            ModelFileError: not a card, or one of a later version.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ModelFileError(
                f"{path}: its card is damaged or of another version of unetkit ({first_complaint(error)}); export again"
            ) from None


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


@dataclass(frozen=True, slots=True, eq=False)
class StoredNetwork:
    """A network that was read from a file: its card, which has a configuration, and its weights.

    Attributes:
        card: what is known of it.
        state: its weights by the names of our state dict.
        moments: Adam's state, where a legacy file has it.
        notes: what was translated, a line each.
    """

    card: ModelCard
    state: dict[str, Tensor]
    moments: AdamMoments | None = None
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> ModelConfig:
        """The network's configuration, channels and classes included."""
        assert self.card.model is not None
        return self.card.model
