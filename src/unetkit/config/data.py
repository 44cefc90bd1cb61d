"""The keys about data: where it lies, how it is read, who is held out."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from unetkit.config.section import Outside, Resize, Section, Size


class SplitConfig(Section):
    """Which samples are held out for validation."""

    method: Literal[
        "mindspore", "tensorflow", "shuffled", "interleaved", "blocks", "stacks", "last", "given", "none"
    ] = Field(
        default="mindspore",
        description="mindspore: the founding systems' shuffled folds; tensorflow: that system's, which overlap; "
        "shuffled: shuffled folds that never overlap, for any number of samples; interleaved: every k-th sample; "
        "blocks: neighbouring samples stay together; stacks: slices of one file stay together; "
        "last: the last of the samples in their order, as many as `share` says; "
        "given: the data's own folders train and val; "
        "none: train on everything, validate on nothing",
    )
    folds: Annotated[int, Field(ge=2)] = Field(default=5, description="how many folds the data is divided into")
    fold: Annotated[int, Field(ge=0)] = Field(default=1, description="the fold that is held out, from 0")
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="seed of the shuffle")
    share: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        default=0.2, description="last: the share that is held out; int(n * (1 - share)) samples are trained on"
    )

    @model_validator(mode="after")
    def _fold_exists(self) -> "SplitConfig":
        if self.fold >= self.folds:
            raise ValueError(
                f"fold {self.fold} does not exist: with {self.folds} folds the last one is {self.folds - 1}"
            )
        return self


class DataConfig(Section):
    """Where the data lies and how its pixels and labels are read."""

    path: str | None = Field(
        default=None, description="the data set: a folder, a file, or 'sample' for the generated one"
    )
    images: str | None = Field(default=None, description="image file, where the names in `path` are not the usual ones")
    labels: str | None = Field(default=None, description="label file, where the names in `path` are not the usual ones")
    classes: Annotated[tuple[str, ...], Field(min_length=2)] | None = Field(
        default=None, description="names of the classes, index 0 first; null: by the form of the data"
    )
    mask_values: dict[str, int] | None = Field(
        default=None,
        description="how a stored mask value becomes a class index: {'0': 0, '255': 1} or {'#ff0000': 1}; "
        "null: 0/255 and 0/1 masks are two classes, other masks hold class indices",
    )
    normalization: Literal["standardize", "minus-one-to-one", "zero-to-one", "none"] = Field(
        default="standardize",
        description="standardize: mean 0 and deviation 1 by the training images; "
        "minus-one-to-one: x / 127.5 - 1 for 8 bits, the founding systems' way; zero-to-one: x / 255 for 8 bits; "
        "none: pixels as stored",
    )
    size: Size | None = Field(
        default=None,
        description="[rows, columns] that every image is resized to before anything else, and labels with it; "
        "predictions are resized back; null: images keep their size",
    )
    resize: Resize = Field(
        default="half-pixel",
        description="size: bilinear between pixel centres, or TensorFlow 1's way (source = target * scale)",
    )
    outside: Outside = Field(
        default="mirror",
        description="what the network sees beyond an image: the image mirrored, or 0 after normalisation and class 0",
    )
    border_class: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="width in pixels of a further class 'border', drawn along the inside of every object for training; "
        "scores and masks count it to its object; 0: none",
    )
    border_touching: bool = Field(
        default=False,
        description="the border class only where another object is within reach, the gap between the two included",
    )
    check: Literal["full", "essential"] = Field(
        default="full",
        description="what is looked for before a training: full: also labels that lie askew, duplicates, images that "
        "leak into the held-out part; essential: only what would stop it",
    )
    split: SplitConfig = SplitConfig()

    @model_validator(mode="after")
    def _touching_has_a_width(self) -> "DataConfig":
        if self.border_touching and not self.border_class:
            raise ValueError("border_touching needs a border class; set border_class to its width in pixels")
        return self
