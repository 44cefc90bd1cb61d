"""The whole configuration of a run, as frozen pydantic models; what a key means is written beside it, once.

Unknown keys, wrong types and impossible values are refused here, before any data is read. Nothing here imports torch.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Interval = tuple[float, float]


class Section(BaseModel):
    """A part of the configuration: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=())


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


class AugmentConfig(Section):
    """What training images go through. All geometry is one sampling of the image."""

    flip: bool = Field(default=True, description="mirror at random")
    turn: bool = Field(default=True, description="turn by multiples of 90 degrees")
    rotation: NonNegative = Field(default=0.0, description="further rotation in degrees, uniform in +-rotation")
    scale: tuple[PositiveFloat, PositiveFloat] = Field(
        default=(1.0, 1.0), description="magnification, log-uniform between the two"
    )
    elastic: NonNegative = Field(
        default=0.0, description="standard deviation of the coarse displacements in pixels (the paper: 10)"
    )
    elastic_spacing: PositiveFloat = Field(default=64.0, description="distance of the coarse displacements in pixels")
    brightness: NonNegative = Field(default=0.0, description="shift in normalised units, uniform in +-brightness")
    contrast: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        default=0.0, description="factor, uniform in 1 +- contrast"
    )
    gamma: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        default=0.0, description="exponent, log-uniform within 1 +- gamma"
    )
    noise: NonNegative = Field(
        default=0.0, description="largest standard deviation of added Gaussian noise, normalised units"
    )
    probability: Fraction = Field(default=1.0, description="share of patches that rotation, scale and elastic act on")


class LossConfig(Section):
    """What training minimises: a weighted sum."""

    cross_entropy: NonNegative = Field(default=1.0, description="weight of the cross entropy")
    dice: NonNegative = Field(default=1.0, description="weight of 1 - soft Dice")
    class_weights: tuple[NonNegative, ...] | None = Field(
        default=None, description="weights of the classes in the cross entropy"
    )
    head_weights: tuple[NonNegative, ...] | None = Field(
        default=None,
        description="unetpp with deep supervision: weights of the heads' losses, which are added; null: all 1",
    )

    @model_validator(mode="after")
    def _something_to_minimise(self) -> "LossConfig":
        if self.cross_entropy == 0 and self.dice == 0:
            raise ValueError("cross_entropy and dice are both 0: nothing is left to minimise")
        return self


class OptimizerConfig(Section):
    """How the weights move."""

    name: Literal["adamw", "adam", "sgd", "muon"] = Field(
        default="adamw",
        description="adamw; adam (decay as L2 in the gradient); sgd; "
        "muon: orthogonal momentum for the kernels, AdamW for norms, biases and the last layer",
    )
    lr: PositiveFloat = Field(default=1e-3, description="the highest learning rate")
    rest_lr: PositiveFloat = Field(default=3e-3, description="muon: the highest rate of what AdamW moves")
    weight_decay: NonNegative = Field(default=1e-2, description="decay of kernels; norms and biases are spared")
    betas: tuple[Fraction, Fraction] = Field(default=(0.9, 0.999), description="decay of Adam's two moments")
    eps: PositiveFloat = Field(default=1e-8, description="Adam's epsilon")
    momentum: Fraction = Field(default=0.9, description="sgd and muon: share of the past in the momentum")
    schedule: Literal["one-cycle", "linear", "constant"] = Field(
        default="one-cycle",
        description="course of the rate after its rise: half a cosine wave, a straight line, or level",
    )
    lr_factors: dict[str, NonNegative] = Field(
        default={},
        description="shares of the rate for weights whose name matches a pattern, the first match counts; 0 freezes: "
        "{'encoder.*': 0} or {'encoder.*': 0.1}",
    )
    warmup: Fraction = Field(default=0.2, description="share of the steps in which the rate rises")
    final_lr: Fraction = Field(default=0.0, description="the last rate as a share of the highest")


class TrainConfig(Section):
    """The course of the training."""

    steps: PositiveInt = Field(default=400, description="updates of the weights")
    batch: PositiveInt = Field(default=8, description="patches in an update")
    patch: PositiveInt = Field(default=128, description="side of the square patches in pixels")
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="seed of every random number of the training")
    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        default=0.0, description="decay of the weights' running average; 0: none"
    )
    accumulate: PositiveInt = Field(
        default=1, description="parts in which a batch is taken through the network, to save memory"
    )
    grad_clip: NonNegative = Field(default=0.0, description="largest norm of the gradient; 0: no limit")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="auto: bfloat16 where the device multiplies it in hardware, float16 on older CUDA, else float32",
    )
    loss_scale: PositiveFloat | None = Field(
        default=None, description="float16: a fixed loss scale; null: found while training"
    )
    compile: bool = Field(default=False, description="torch.compile the network (worth it on CUDA and long runs)")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="where to compute")
    threads: PositiveInt | None = Field(
        default=None, description="CPU threads; null: one for every core of this process"
    )
    log_every: PositiveInt = Field(default=10, description="steps between lines of the log")
    validate_every: PositiveInt = Field(default=100, description="steps between validations")
    validate_from: Annotated[int, Field(ge=0)] = Field(default=0, description="no validation before this step")
    patience: PositiveInt | None = Field(
        default=None,
        description="end the training after this many validations without a better best_metric; null: never",
    )
    checkpoint_every: PositiveInt = Field(default=100, description="steps between checkpoints")
    keep_checkpoints: Annotated[int, Field(ge=2)] = Field(
        default=2, description="how many checkpoints to keep for --resume"
    )
    best_metric: str = Field(
        default="soft_dice_two_class", description="the validation metric that chooses best.safetensors"
    )


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

    @model_validator(mode="after")
    def _tiles_have_pixels_of_their_own(self) -> "PredictConfig":
        if self.tile is not None and self.overlap is not None and self.tile <= 2 * self.overlap:
            raise ValueError(
                f"an overlap of {self.overlap} on each side leaves nothing of a tile of {self.tile}; "
                f"give a tile above {2 * self.overlap} or a smaller overlap"
            )
        return self


class InitConfig(Section):
    """Weights to start from."""

    path: str | None = Field(
        default=None, description="a run, a checkpoint, or a founding system's file; null: start at random"
    )
    exclude: tuple[str, ...] = Field(
        default=(), description="patterns of names that start at random all the same: ['head.*']"
    )


class Config(Section):
    """The configuration of a run."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    init: InitConfig = InitConfig()
    augment: AugmentConfig = AugmentConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()
    predict: PredictConfig = PredictConfig()


ConfigSource = Config | str | Path | dict[str, Any]
