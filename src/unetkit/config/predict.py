"""The keys of prediction."""

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from unetkit.config.section import Outside, Resize, Section, Size


class PredictConfig(Section):
    """How an image of any size is taken through the network."""

    tile: PositiveInt | None = Field(
        default=None, description="side of a tile in pixels, as the network reads it; null: as large as `memory` allows"
    )
    overlap: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="pixels that a tile reads on each side beyond its own; "
        "null: as many as make tiles equal to the whole, where `tile` leaves room for that",
    )
    memory: PositiveFloat = Field(
        default=0.8, description="gigabytes that one call of the network may take; larger images are cut into tiles"
    )
    batch: PositiveInt = Field(default=1, description="tiles in one call of the network")
    tta: bool = Field(default=False, description="average over the eight flips and turns")
    calibrate: bool = Field(
        default=False,
        description="divide logits by the temperature that was fitted on the held-out images: probabilities change, "
        "the most probable class does not",
    )
    close_gaps: bool = Field(
        default=False,
        description="raise the background's probability along every contour to its mean over the whole contour, so "
        "that a membrane that is faint at one spot still parts two cells; holds the whole image in memory",
    )
    size: Size | None = Field(
        default=None,
        description="[rows, columns] that an image is resized to for the network, and its prediction back from; "
        "null: as data.size",
    )
    resize: Resize | None = Field(default=None, description="how; null: as data.resize")
    outside: Outside | None = Field(
        default=None, description="what the network sees beyond an image; null: as data.outside"
    )

    @model_validator(mode="after")
    def _tiles_have_pixels_of_their_own(self) -> "PredictConfig":
        if self.tile is not None and self.overlap is not None and self.tile <= 2 * self.overlap:
            raise ValueError(
                f"an overlap of {self.overlap} on each side leaves nothing of a tile of {self.tile}; "
                f"give a tile above {2 * self.overlap} or a smaller overlap"
            )
        return self
