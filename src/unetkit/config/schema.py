"""Every key of a run, as frozen pydantic models; what a key means is written next to it, once.

Unknown keys, wrong types and impossible values are refused here, before any data is read. Nothing here imports torch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AliasChoices,
    AliasGenerator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from unetkit.errors import ConfigError

RENAMED = {
    "augment.turn": "augment.rotate90",
    "data.border_class": "data.border_width",
    "data.outside": "data.padding_mode",
    "model.stem": "model.downscale",
    "objects.neck": "objects.min_width",
    "optimizer.decay": "optimizer.decay_params",
    "optimizer.final_lr": "optimizer.final_lr_factor",
    "optimizer.rest_lr": "optimizer.adamw_lr",
    "predict.outside": "predict.padding_mode",
    "train.tensorboard": "train.track",
}
"""Old keys -> keys. In configurations and overrides an old one is refused with a line that names the new one; cards of
networks and folders of runs that were written with old ones are read."""

RENAMED_VALUES: dict[str, dict[str, Any]] = {
    "padding_mode": {"mirror": "reflect"},
    "track": {"True": ["tensorboard"], "False": []},
}
"""Likewise the values of keys, as texts."""

_OLD_NAMES = {new.rpartition(".")[2]: old.rpartition(".")[2] for old, new in RENAMED.items()}

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Threshold = Annotated[float, Field(gt=0.0, lt=1.0)]
Size = tuple[PositiveInt, PositiveInt]
Resize = Literal["half-pixel", "asymmetric"]
SplitMethod = Literal[
    "auto", "mindspore", "tensorflow", "shuffled", "interleaved", "blocks", "stacks", "last", "given", "none"
]
MaskKind = Literal["classes", "instances", "binary", "channels"]
PaddingMode = Annotated[
    Literal["reflect", "zeros"],
    BeforeValidator(lambda value: RENAMED_VALUES["padding_mode"].get(str(value), value)),
]

Tracking = Literal["tensorboard", "mlflow", "wandb"]
"""What may follow a training."""


def _several(value: Any) -> Any:
    """Take one tracker for a list of it, and what was once written for TensorBoard alone."""
    today = RENAMED_VALUES["track"].get(str(value), value)
    return (today,) if isinstance(today, str) else tuple(cast(list[Any], today)) if isinstance(today, list) else today


class Section(BaseModel):
    """A part of the configuration: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        alias_generator=AliasGenerator(
            validation_alias=lambda name: AliasChoices(name, *([_OLD_NAMES[name]] if name in _OLD_NAMES else []))
        ),
    )


class SplitConfig(Section):
    """Which samples are held out for validation."""

    method: SplitMethod = Field(
        default="auto",
        description="auto: given where the data is divided by its makers, blocks for the sections of a "
        "stack, stacks where there are many, else "
        "shuffled; shuffled: shuffled folds that never overlap, for any number of samples; "
        "mindspore: the older systems' shuffled folds; tensorflow: that system's, which overlap; "
        "interleaved: every k-th sample; "
        "blocks: neighbouring samples stay together; stacks: slices of one file stay together; "
        "last: the last of the samples in their order, as many as `share` says; "
        "given: the data's own parts train and val; "
        "none: train on everything, validate on nothing",
    )
    folds: Annotated[int, Field(ge=2)] = Field(default=5, description="how many folds the data is divided into")
    fold: Annotated[int, Field(ge=0)] = Field(default=1, description="the fold that is held out, from 0")
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="seed of the shuffle")
    group: str | None = Field(
        default=None,
        description="a regular expression on a sample's file and name whose first group, or match, names what must not "
        "lie on both sides: '(patient\\d+)'; null: what the data itself says",
    )
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


Channels = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]


class DataConfig(Section):
    """Where the data lies and how its pixels and labels are read."""

    path: str | None = Field(
        default=None, description="the data set: a folder, a file, or 'sample' for the generated one"
    )
    images: str | dict[str, str] | None = Field(
        default=None,
        description="image files where they are not found by themselves: a pattern ('**/raw/*.png'), a folder or a "
        "file below `path`; or a list of files, a .csv with the columns image, label, split, roi, group; several "
        "patterns are a channel each: {dapi: '**/*_ch00.tif', gfp: '**/*_ch01.tif'}",
    )
    labels: str | dict[str, str] | None = Field(
        default=None,
        description="likewise the masks, or annotation files such as 'labels/*.json' and 'train.csv', paired with the "
        "images by what their names share; several patterns of masks are a class each, the later ones on top: "
        "{membrane: '**/membranes/*.png', synapse: '**/synapses/*.png'}",
    )
    roi: str | None = Field(
        default=None,
        description="likewise the regions of interest: pixels that are 0 there count neither in the loss nor in scores",
    )
    test: str | None = Field(
        default=None,
        description="the test set: a pattern or a folder of images in `path`, or another data set; never trained on "
        "nor chosen on; null: folders and names test/ and testing/ where there are others",
    )
    unlabelled: Literal["error", "skip"] = Field(
        default="error", description="images without labels: refused, or left out"
    )
    classes: Annotated[tuple[str, ...], Field(min_length=2)] | None = Field(
        default=None, description="names of the classes, index 0 first; null: by the form of the data"
    )
    mask_kind: MaskKind | Literal["auto"] = Field(
        default="auto",
        description="classes: a value of a mask is a class; instances: every value but 0 is an object, whose class a "
        "second channel may hold; binary: values from half of white on are the class, for anti-aliased masks; "
        "channels: each channel of a mask is a class, mask_values says which; auto: told from the values of the set",
    )
    mask_values: dict[str, int | Literal["ignore"]] | None = Field(
        default=None,
        description="how a stored mask value becomes a class index: {'0': 0, '255': 1} or {'#ff0000': 1}; ignore: its "
        "pixels do not count; null: told from the values of the set",
    )
    ignore_value: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="a stored mask value whose pixels do not count; null: none"
    )
    channels: Channels | None = Field(
        default=None, description="the channels of the images that are used, counted from 0: [0, 2]; null: all"
    )
    normalization: Literal["standardize", "minus-one-to-one", "zero-to-one", "none"] = Field(
        default="standardize",
        description="standardize: mean 0 and deviation 1 by the training images; "
        "minus-one-to-one: x / 127.5 - 1 for 8 bits, the older systems' way; zero-to-one: x / 255 for 8 bits; "
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
    padding_mode: PaddingMode = Field(
        default="reflect",
        description="what the network sees beyond an image: the image mirrored, or 0 after normalisation and class 0",
    )
    border_width: Annotated[int, Field(ge=0)] = Field(
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
        description="what is looked for before a training: full: also misaligned labels, duplicates, images that "
        "leak into the held-out part; essential: only what would stop it",
    )
    split: SplitConfig = SplitConfig()

    @model_validator(mode="after")
    def _touching_has_a_width(self) -> "DataConfig":
        if self.border_touching and not self.border_width:
            raise ValueError("border_touching needs a border class; set border_width to its width in pixels")
        return self


class AugmentConfig(Section):
    """What training images go through. All geometry is one sampling of the image."""

    flip: bool = Field(default=True, description="mirror at random")
    flip_axes: Literal["both", "rows", "columns"] = Field(
        default="both", description="which axis `flip` reverses the order of; with `rotate90` it makes no difference"
    )
    rotate90: bool = Field(default=True, description="rotate by multiples of 90 degrees")
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
    focal: NonNegative = Field(
        default=0.0,
        description="the focal loss's gamma: cross entropy counts a pixel by (1 - probability of its class) to this "
        "power, so that probabilities come out less sure than they should be; 0: plain cross entropy",
    )
    class_weights: tuple[NonNegative, ...] | Literal["balanced"] | None = Field(
        default=None,
        description="weights of the classes in the cross entropy, which is the mean over pixels of weight times loss; "
        "balanced: 1 / (classes * share of the training pixels), so that every class counts alike: rare classes are "
        "found too often, and probabilities no longer mean what they say (docs/planning.md)",
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
        if self.cross_entropy == 0 and (self.border_weight > 0 or self.class_weights is not None or self.focal > 0):
            raise ValueError(
                "class_weights, border_weight and focal weigh the cross entropy, which is 0; set it above 0"
            )
        return self


class OptimizerConfig(Section):
    """How the weights move."""

    name: Literal["adamw", "adam", "sgd", "muon"] = Field(
        default="adamw",
        description="adamw; adam (decay as L2 in the gradient); sgd; "
        "muon: orthogonal momentum for the kernels, AdamW for norms, biases and the last layer",
    )
    lr: PositiveFloat = Field(default=1e-3, description="the highest learning rate")
    adamw_lr: PositiveFloat = Field(default=3e-3, description="muon: the highest rate of what AdamW moves")
    weight_decay: NonNegative = Field(default=1e-2, description="decay of the weights that `decay_params` names")
    decay_params: Literal["kernels", "all-but-norms"] = Field(
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
    final_lr_factor: Fraction = Field(default=0.0, description="the last rate as a share of the highest")

    @model_validator(mode="after")
    def _epsilon_is_adams(self) -> "OptimizerConfig":
        if self.eps_form == "tensorflow" and self.name not in ("adam", "adamw"):
            raise ValueError(f"eps_form tensorflow is a form of adam and adamw; the optimizer is {self.name}")
        return self


class InitConfig(Section):
    """Weights to start from."""

    path: str | None = Field(
        default=None, description="a run, a checkpoint, or an older system's file; null: start at random"
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
        default=None,
        description="CPU threads; null: as many as are fastest when the training starts, which the run records: on a "
        "busy machine often one",
    )
    memory: PositiveFloat | None = Field(
        default=None,
        description="gigabytes that the images may take; where they take more, they are read again from their files "
        "and the training draws from a mapped file: null: 70 % of what is free",
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
    track: Annotated[tuple[Tracking, ...], BeforeValidator(_several)] = Field(
        default=(),
        description="also keep the course of the training there: tensorboard (RUN/tensorboard), mlflow, wandb "
        "(RUN/wandb, offline); each needs the extra of its name (docs/trackers.md)",
    )
    log_format: Literal["mindspore", "mindspore-course", "tensorflow", "oneflow"] | None = Field(
        default=None, description="also print the lines that an older system prints, in its spelling; null: ours alone"
    )
    rank_logs: bool = Field(
        default=False, description="write what each process prints to RUN/LOG0/log.log, RUN/LOG1/log.log, ..."
    )
    best_metric: str = Field(
        default="foreground_dice",
        description="the validation metric that chooses best.safetensors, and stands first; foreground_dice: the mean "
        "Dice of all classes but the background, of decisions, over all pixels that were held out",
    )
    metrics: tuple[Literal["isbi", "objects", "legacy", "binary", "surface"], ...] = Field(
        default=(),
        description="families of scores that are computed besides overlap (see `unetkit metrics`): isbi, objects, "
        "legacy, the older systems' protocol, binary, surface; that of best_metric always is; validations leave out "
        "objects and isbi, which take long, where best_metric is none of them",
    )

    @property
    def sides(self) -> tuple[int, int]:
        """Return rows and columns of a patch."""
        return (self.patch, self.patch) if isinstance(self.patch, int) else self.patch


class ModelConfig(Section):
    """The network. Every legacy network is a setting of these options."""

    name: Literal["unet", "unetpp"] = Field(default="unet", description="unet, or unetpp (nested skip paths)")
    in_channels: PositiveInt | None = Field(
        default=None, description="channels of the images, of all slices that are seen together; null: by the data"
    )
    context: Annotated[int, Field(ge=0, le=16)] = Field(
        default=0,
        description="slices of a stack that are seen before and after each slice, as further channels in the order of "
        "the stack (2.5D), mirrored at its ends; 0: each slice by itself",
    )
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
        description="padded unet, at sides that are not multiples of 2**depth: replicate: the last row and column are "
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
        "bilinear-legacy: the older systems' corner-aligned sampling (source = target * scale)",
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
    downscale: Literal[1, 2, 4] = Field(
        default=1,
        description="side of the pixel blocks that the first level sees as channels; above 1 is faster and coarser",
    )
    deep_supervision: bool = Field(default=False, description="unetpp: a head on every nesting depth")
    head: PositiveInt | None = Field(
        default=None,
        description="unetpp with deep supervision: the head that predicts, from 1, the fastest, to depth; null: depth",
    )
    init: Literal["he", "torch", "mindspore-medical", "mindspore-normal", "glorot"] = Field(
        default="he", description="how weights start: He's normal rule, PyTorch's own, or an older system's"
    )

    @property
    def slices(self) -> int:
        """Return how many slices are seen together."""
        return 2 * self.context + 1

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


BORDER = "border"
"""The name of the class that is not an object but the edge of one."""


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
    min_width: Fraction = Field(
        default=0.8,
        description="distance, borders: a region or seed is cut where it is narrower than this share of the narrower "
        "part's own width; 0: never",
    )
    min_size: Annotated[int, Field(ge=0)] = Field(default=20, description="objects of fewer pixels are dropped")
    min_confidence: Fraction = Field(
        default=0.0, description="objects whose mean probability of not being background is lower are dropped"
    )
    fill_holes: bool = Field(default=True, description="what a single object encloses becomes a part of it")
    halo: Annotated[int, Field(ge=32, le=1024)] = Field(
        default=128,
        description="pixels around a block that objects of a large image are split by: what touches each other and "
        "reaches no further out of a block is split as in the whole image",
    )
    chosen: str | None = Field(default=None, description="how the numbers were chosen; `--tune --keep` writes it")
    chosen_on: str | None = Field(default=None, description="SHA-256 of the pixels of the data they were chosen on")


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
    channels: Channels | None = Field(
        default=None,
        description="which channels of an image with more of them the network is given, counted from 0; "
        "a training takes `data.channels`",
    )
    channel_files: Annotated[tuple[str, ...], Field(min_length=2)] | None = Field(
        default=None,
        description="the words that tell the files of an image apart where each channel has a file of its own, as in "
        "a_dapi.tif and a_gfp.tif: [dapi, gfp]; with any of them the others are read; a training takes its data's",
    )
    tta: bool = Field(default=False, description="average over the eight flips and turns")
    threshold: Threshold | dict[str, Threshold] | None = Field(
        default=None,
        description="masks: a pixel is of its most probable class but the background where that one's probability "
        "against the background, p / (p + p_background), is above this: a number, or one for each class by its name "
        "(others 0.5); of two classes it is the probability of the second; null: the most probable class. "
        "`unetkit evaluate --tune` chooses it",
    )
    threshold_chosen: str | None = Field(
        default=None, description="how the threshold was chosen; `--tune --keep` writes it"
    )
    threshold_chosen_on: str | None = Field(
        default=None, description="SHA-256 of the pixels of the data it was chosen on"
    )
    calibrate: bool = Field(
        default=False,
        description="divide logits by the temperature that was fitted on the held-out images: probabilities change, "
        "the most probable class does not",
    )
    close_gaps: bool = Field(
        default=False,
        description="raise the background's probability along every contour to its mean over the whole contour, so "
        "that a membrane that is faint at one spot still separates two cells",
    )
    size: Size | None = Field(
        default=None,
        description="[rows, columns] that an image is resized to for the network, and its prediction back from; "
        "null: as data.size",
    )
    resize: Resize | None = Field(default=None, description="how; null: as data.resize")
    padding_mode: PaddingMode | None = Field(
        default=None, description="what the network sees beyond an image; null: as data.padding_mode"
    )

    @model_validator(mode="after")
    def _tiles_have_pixels_of_their_own(self) -> "PredictConfig":
        if self.tile is not None and self.overlap is not None and self.tile <= 2 * self.overlap:
            raise ValueError(
                f"an overlap of {self.overlap} on each side leaves nothing of a tile of {self.tile}; "
                f"give a tile above {2 * self.overlap} or a smaller overlap"
            )
        return self

    def thresholds(self, classes: Sequence[str]) -> tuple[float, ...] | None:
        """Return the threshold of every class but the background; None: pixels are of their most probable class.

        Args:
            classes: the names of the data's classes, index 0, the background, first.

        Raises:
            ConfigError: a threshold of a class that there is not.
        """
        if not isinstance(self.threshold, dict):
            return None if self.threshold is None else (self.threshold,) * (len(classes) - 1)
        if unknown := [name for name in self.threshold if name not in classes[1:]]:
            raise ConfigError(
                f"predict.threshold: there is no class {unknown[0]!r} with a threshold; expected "
                f"{', '.join(classes[1:])}"
            )
        return tuple(self.threshold.get(name, 0.5) for name in classes[1:])


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
    objects: ObjectsConfig = ObjectsConfig()


ConfigSource = Config | str | Path | dict[str, Any]
