"""The keys about data: where it lies, how it is read, who is held out."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from unetkit.config.section import Section


class SplitConfig(Section):
    """Which samples are held out for validation."""

    method: Literal["mindspore", "tensorflow", "shuffled", "interleaved", "blocks", "stacks", "given", "none"] = Field(
        default="mindspore",
        description="mindspore: the founding systems' shuffled folds; tensorflow: that system's, which overlap; "
        "shuffled: shuffled folds that never overlap, for any number of samples; interleaved: every k-th sample; "
        "blocks: neighbouring samples stay together; stacks: slices of one file stay together; "
        "given: the data's own folders train and val; "
        "none: train on everything, validate on nothing",
    )
    folds: Annotated[int, Field(ge=2)] = Field(default=5, description="how many folds the data is divided into")
    fold: Annotated[int, Field(ge=0)] = Field(default=1, description="the fold that is held out, from 0")
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="seed of the shuffle")

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
    normalization: Literal["standardize", "minus-one-to-one", "zero-to-one"] = Field(
        default="standardize",
        description="standardize: mean 0 and deviation 1 by the training images; "
        "minus-one-to-one: x / 127.5 - 1 for 8 bits, the founding systems' way; zero-to-one: x / 255 for 8 bits",
    )
    split: SplitConfig = SplitConfig()
