"""The keys of a training: what images go through, what is minimised, how weights move, and the course of it all."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from unetkit.config.section import Fraction, NonNegative, Section


class AugmentConfig(Section):
    """What training images go through. All geometry is one sampling of the image."""

    flip: bool = Field(default=True, description="mirror at random")
    flip_axes: Literal["both", "rows", "columns"] = Field(
        default="both", description="which axis `flip` reverses the order of; with `turn` it makes no difference"
    )
    turn: bool = Field(default=True, description="turn by multiples of 90 degrees")
    rotation: NonNegative = Field(default=0.0, description="further rotation in degrees, uniform in +-rotation")
    scale: tuple[PositiveFloat, PositiveFloat] = Field(
        default=(1.0, 1.0), description="magnification, log-uniform between the two"
    )
    stretch: tuple[PositiveFloat, PositiveFloat] = Field(
        default=(1.0, 1.0),
        description="magnification of each axis by itself, uniform between the two; "
        "the part that is magnified lies anywhere in the patch",
    )
    crop: Annotated[float, Field(ge=0.0, lt=0.5)] = Field(
        default=0.0,
        description="each side of a patch is cut by up to this share, and what is left enlarged to the patch again",
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
    clip: tuple[float, float] | None = Field(
        default=None,
        description="[lowest, highest] that normalised pixels are cut to after the changes of intensity; null: none",
    )
    probability: Fraction = Field(
        default=1.0, description="share of patches that rotation, scale, stretch, crop and elastic act on"
    )

    @model_validator(mode="after")
    def _ranges_rise(self) -> "AugmentConfig":
        for key in ("scale", "stretch", "clip"):
            bounds = getattr(self, key)
            if bounds is not None and bounds[0] > bounds[1]:
                raise ValueError(f"{key}: found {list(bounds)}; expected the lower bound first")
        return self


class LossConfig(Section):
    """What training minimises: a weighted sum."""

    cross_entropy: NonNegative = Field(default=1.0, description="weight of the cross entropy")
    dice: NonNegative = Field(default=1.0, description="weight of 1 - soft Dice")
    dice_form: Literal["joint", "per-class"] = Field(
        default="joint",
        description="joint: one Dice over all classes together; per-class: the mean of every class's own (TensorFlow)",
    )
    class_weights: tuple[NonNegative, ...] | Literal["balanced"] | None = Field(
        default=None,
        description="weights of the classes in the cross entropy, which is the mean over pixels of weight times loss; "
        "balanced: 1 / (classes * share of the training pixels), so that every class counts alike",
    )
    border_weight: NonNegative = Field(
        default=0.0,
        description="the paper's w0: cross entropy weighs a pixel outside objects by w0 exp(-(d1 + d2)^2 / 2 sigma^2) "
        "more, d1 and d2 its distances to the two nearest objects (the paper: 10); 0: off",
    )
    border_sigma: PositiveFloat = Field(default=5.0, description="how fast the border weight fades, in pixels")
    head_weights: tuple[NonNegative, ...] | None = Field(
        default=None,
        description="unetpp with deep supervision: weights of the heads' losses, which are added; null: all 1",
    )

    @model_validator(mode="after")
    def _something_to_minimise(self) -> "LossConfig":
        if self.cross_entropy == 0 and self.dice == 0:
            raise ValueError("cross_entropy and dice are both 0: nothing is left to minimise")
        if self.cross_entropy == 0 and (self.border_weight > 0 or self.class_weights is not None):
            raise ValueError("class_weights and border_weight weigh the cross entropy, which is 0; set it above 0")
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
    weight_decay: NonNegative = Field(default=1e-2, description="decay of the weights that `decay` names")
    decay: Literal["kernels", "all-but-norms"] = Field(
        default="kernels",
        description="kernels: norms and biases are spared; all-but-norms: biases of convolutions decay too (MindSpore)",
    )
    betas: tuple[Fraction, Fraction] = Field(default=(0.9, 0.999), description="decay of Adam's two moments")
    eps: PositiveFloat = Field(default=1e-8, description="Adam's epsilon")
    eps_form: Literal["torch", "tensorflow"] = Field(
        default="torch",
        description="adam, adamw: torch: epsilon is added to the root of the corrected second moment; "
        "tensorflow: of the uncorrected one, as TensorFlow and MindSpore do",
    )
    momentum: Fraction = Field(default=0.9, description="sgd and muon: share of the past in the momentum")
    schedule: Literal["one-cycle", "linear", "constant"] = Field(
        default="one-cycle",
        description="course of the rate after its rise: half a cosine wave, a straight line, or level",
    )
    lr_factors: dict[str, NonNegative] = Field(
        default={},
        description="shares of the rate for weights whose name matches a pattern, the first match counts; 0 freezes, "
        "statistics of norms too: {'encoder.*': 0} or {'encoder.*': 0.1}",
    )
    warmup: Fraction = Field(default=0.2, description="share of the steps in which the rate rises")
    final_lr: Fraction = Field(default=0.0, description="the last rate as a share of the highest")

    @model_validator(mode="after")
    def _epsilon_is_adams(self) -> "OptimizerConfig":
        if self.eps_form == "tensorflow" and self.name not in ("adam", "adamw"):
            raise ValueError(f"eps_form tensorflow is a form of adam and adamw; the optimizer is {self.name}")
        return self


class InitConfig(Section):
    """Weights to start from."""

    path: str | None = Field(
        default=None, description="a run, a checkpoint, or a founding system's file; null: start at random"
    )
    exclude: tuple[str, ...] = Field(
        default=(), description="patterns of names that start at random all the same: ['head.*']"
    )
    moments: bool = Field(
        default=True, description="take over Adam's state where the file has it and the training uses Adam"
    )


class TrainConfig(Section):
    """The course of the training."""

    steps: PositiveInt = Field(default=400, description="updates of the weights")
    batch: PositiveInt = Field(default=8, description="patches in an update")
    patch: PositiveInt | tuple[PositiveInt, PositiveInt] = Field(
        default=128, description="side of the patches in pixels, or [rows, columns]"
    )
    repeat: PositiveInt = Field(default=1, description="copies of each image in an epoch, which are shuffled together")
    drop_last: bool = Field(
        default=False,
        description="leave out an epoch's last patches where they do not fill a batch; "
        "false: the batch is filled up from the next epoch",
    )
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
    validate_every: PositiveInt | None = Field(
        default=100, description="steps between validations; null: one at the end"
    )
    validate_from: Annotated[int, Field(ge=0)] = Field(default=0, description="no validation before this step")
    patience: PositiveInt | None = Field(
        default=None,
        description="end the training after this many validations without a better best_metric; null: never",
    )
    checkpoint_every: PositiveInt = Field(default=100, description="steps between checkpoints")
    keep_checkpoints: Annotated[int, Field(ge=2)] = Field(
        default=2, description="how many checkpoints to keep for --resume"
    )
    tensorboard: bool = Field(
        default=False, description="write the log and the pictures to RUN/tensorboard as well (extra: tensorboard)"
    )
    best_metric: str = Field(
        default="soft_dice_two_class", description="the validation metric that chooses best.safetensors"
    )

    @property
    def sides(self) -> tuple[int, int]:
        """Return rows and columns of a patch."""
        return (self.patch, self.patch) if isinstance(self.patch, int) else self.patch
