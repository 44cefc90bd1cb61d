"""The whole configuration of a run, as frozen pydantic models; what a key means is written beside it, once.

Unknown keys, wrong types and impossible values are refused here, before any data is read. Nothing here imports torch.
"""

from pathlib import Path
from typing import Any

from unetkit.config.data import DataConfig
from unetkit.config.learning import AugmentConfig, InitConfig, LossConfig, OptimizerConfig, TrainConfig
from unetkit.config.model import ModelConfig
from unetkit.config.objects import ObjectsConfig
from unetkit.config.predict import PredictConfig
from unetkit.config.section import Section


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
