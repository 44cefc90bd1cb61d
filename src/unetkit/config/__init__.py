"""The configuration of a run: its keys (`schema` and its parts), and its way in and out of YAML (`files`)."""

from unetkit.config.data import DataConfig, SplitConfig
from unetkit.config.files import (
    annotated_yaml,
    json_schema,
    load_config,
    load_tree,
    plain_yaml,
    preset_names,
    read_override,
)
from unetkit.config.learning import AugmentConfig, InitConfig, LossConfig, OptimizerConfig, TrainConfig
from unetkit.config.model import ModelConfig
from unetkit.config.objects import BORDER, ObjectsConfig
from unetkit.config.predict import PredictConfig
from unetkit.config.schema import Config, ConfigSource
from unetkit.config.section import Outside, Resize
from unetkit.config.text import Yaml11, documents, read_text

__all__ = [
    "BORDER",
    "AugmentConfig",
    "Config",
    "ConfigSource",
    "DataConfig",
    "InitConfig",
    "LossConfig",
    "ModelConfig",
    "ObjectsConfig",
    "OptimizerConfig",
    "Outside",
    "PredictConfig",
    "Resize",
    "SplitConfig",
    "TrainConfig",
    "Yaml11",
    "annotated_yaml",
    "documents",
    "json_schema",
    "load_config",
    "load_tree",
    "plain_yaml",
    "preset_names",
    "read_text",
    "read_override",
]
