"""The keys of objects: how labelled objects are made of probabilities."""

from typing import Annotated, Literal

from pydantic import Field

from unetkit.config.section import Fraction, Section

BORDER = "border"
"""The name of the class that is no object but the edge of one."""


class ObjectsConfig(Section):
    """How probabilities become objects. Stands in the network's file; `unetkit evaluate --tune` chooses the numbers."""

    method: Literal["auto", "components", "distance", "borders"] = Field(
        default="auto",
        description="components: connected regions; distance: regions, cut where they are narrow; "
        "borders: seeds that the class 'border' keeps apart, cut where they are narrow, grown until they meet; "
        "auto: borders where the network has that class, else distance",
    )
    threshold: Fraction = Field(
        default=0.5, description="objects are where the probability of all that is not background is above this"
    )
    seed_threshold: Annotated[float, Field(ge=-1.0, le=1.0)] = Field(
        default=0.0, description="borders: seeds are where the probability of inside less that of border is above this"
    )
    neck: Fraction = Field(
        default=0.8,
        description="distance, borders: a region or seed is cut where it is narrower than this share of the narrower "
        "part's own width; 0: never",
    )
    min_size: Annotated[int, Field(ge=0)] = Field(default=20, description="objects of fewer pixels are dropped")
    min_confidence: Fraction = Field(
        default=0.0, description="objects whose mean probability of not being background is lower are dropped"
    )
    fill_holes: bool = Field(default=True, description="what a single object encloses becomes a part of it")
    chosen: str | None = Field(default=None, description="how the numbers were chosen; `--tune --keep` writes it")
    chosen_on: str | None = Field(default=None, description="SHA-256 of the pixels of the data they were chosen on")
