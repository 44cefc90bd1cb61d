"""The keys of the network."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from unetkit.config.section import Section


class ModelConfig(Section):
    """The network. Every founding network is a setting of these options."""

    name: Literal["unet", "unetpp"] = Field(default="unet", description="unet, or unetpp (nested skip paths)")
    in_channels: PositiveInt | None = Field(default=None, description="channels of the images; null: by the data")
    num_classes: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="channels of the output; null: by the data"
    )
    width: PositiveInt = Field(
        default=32, description="channels of the first level; each level below has twice as many"
    )
    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=2, max_length=9)] | None = Field(
        default=None, description="channels of every level, instead of width and depth"
    )
    depth: Annotated[int, Field(ge=1, le=8)] = Field(default=4, description="how many times the image is halved")
    padding: Literal["same", "valid"] = Field(
        default="same", description="valid: unpadded 3x3 convolutions, as in the paper"
    )
    odd_sizes: Literal["replicate", "zeros"] = Field(
        default="replicate",
        description="padded unet, at sides that are no multiple of 2**depth: replicate: the last row and column are "
        "repeated up to one; zeros: odd sides are halved downwards and the enlarged map is filled with zeros (OneFlow)",
    )
    norm: Literal["batch", "group", "instance", "none"] = Field(
        default="batch", description="normalisation after a convolution"
    )
    decoder_norm: Literal["batch", "group", "instance", "none"] | None = Field(
        default=None, description="null: as `norm`"
    )
    conv_bias: bool | None = Field(
        default=None, description="bias in the 3x3 convolutions; null: where no norm follows"
    )
    decoder_convs: Literal[1, 2] = Field(default=2, description="3x3 convolutions in a block of the decoder")
    residual: bool = Field(default=False, description="blocks add their input to their output")
    up: Literal["deconv", "bilinear", "bilinear-legacy"] = Field(
        default="deconv",
        description="deconv: transposed convolution; bilinear: interpolation and a convolution; "
        "bilinear-legacy: the founding systems' corner-aligned sampling (source = target * scale)",
    )
    up_kernel: Literal[1, 2, 3] | None = Field(
        default=None,
        description="side of the up step's convolution: deconv: 2 or 3; bilinear: 1 or 3; null: the smaller",
    )
    up_bias: bool = Field(default=True, description="bias in the up step's convolution")
    up_relu: bool = Field(default=False, description="ReLU after the up step")
    concat: Literal["skip-up", "up-skip"] = Field(default="skip-up", description="order of the joined channels")
    head_bias: bool = Field(default=True, description="bias in the last 1x1 convolution")
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(default=0.0, description="dropout at the bottleneck")
    stem: Literal[1, 2, 4] = Field(
        default=1,
        description="side of the pixel blocks that the first level sees as channels; above 1 is faster and coarser",
    )
    deep_supervision: bool = Field(default=False, description="unetpp: a head on every nesting depth")
    head: PositiveInt | None = Field(
        default=None,
        description="unetpp with deep supervision: the head that predicts, from 1, the fastest, to depth; null: depth",
    )
    init: Literal["he", "torch", "mindspore-medical", "mindspore-normal", "glorot"] = Field(
        default="he", description="how weights start: He's normal rule, PyTorch's own, or a founding system's"
    )

    @model_validator(mode="after")
    def _options_agree(self) -> "ModelConfig":
        levels = len(self.widths) - 1 if self.widths is not None else self.depth
        clashes = {
            f"up_kernel {self.up_kernel} does not go with up {self.up}: deconv takes 2 or 3, bilinear 1 or 3": (
                self.up_kernel == (1 if self.up == "deconv" else 2)
            ),
            "padding valid is for unet: unetpp joins maps of one size": (
                self.name == "unetpp" and self.padding == "valid"
            ),
            "odd_sizes zeros is for a padded unet": (
                self.odd_sizes == "zeros" and (self.name == "unetpp" or self.padding == "valid")
            ),
            "deep_supervision and head are for unetpp": (
                self.name == "unet" and (self.deep_supervision or self.head is not None)
            ),
            f"head {self.head} does not exist: the last one is {levels}": (self.head or 0) > levels,
            f"head {self.head} needs deep_supervision: without it only head {levels} is there": (
                self.head is not None and self.head < levels and not self.deep_supervision
            ),
        }
        for message, clash in clashes.items():
            if clash:
                raise ValueError(message)
        return self
