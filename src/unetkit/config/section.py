"""What every part of the configuration is, and the kinds of values that several parts have."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Size = tuple[PositiveInt, PositiveInt]
Resize = Literal["half-pixel", "asymmetric"]
Outside = Literal["mirror", "zeros"]


class Section(BaseModel):
    """A part of the configuration: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=())
