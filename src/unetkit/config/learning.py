"""The keys of a training: what images go through, what is minimised, how weights move, and the course of it all."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from unetkit.config.section import Fraction, NonNegative, Section


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


class InitConfig(Section):
    """Weights to start from."""

    path: str | None = Field(
        default=None, description="a run, a checkpoint, or a founding system's file; null: start at random"
    )
    exclude: tuple[str, ...] = Field(
        default=(), description="patterns of names that start at random all the same: ['head.*']"
    )


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
