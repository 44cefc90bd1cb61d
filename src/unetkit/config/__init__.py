"""The configuration of a run: its keys (`schema`), and its way in and out of YAML (`files`)."""

from unetkit.config.files import annotated_yaml, json_schema, load_config, plain_yaml, preset_names
from unetkit.config.schema import (
    AugmentConfig,
    Config,
    ConfigSource,
    DataConfig,
    InitConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    PredictConfig,
    SplitConfig,
    TrainConfig,
)

__all__ = [
    "AugmentConfig",
    "Config",
    "ConfigSource",
    "DataConfig",
    "InitConfig",
    "LossConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PredictConfig",
    "SplitConfig",
    "TrainConfig",
    "annotated_yaml",
    "json_schema",
    "load_config",
    "plain_yaml",
    "preset_names",
]
