"""load_config: a configuration of ours, or a older system's in our terms."""

from collections.abc import Sequence

from unetkit.config import Config, ConfigSource, io
from unetkit.legacy.configs import Translation, translate_config

__all__ = ["Translation", "load_config", "translate_config"]


def load_config(
    source: ConfigSource, overrides: Sequence[str] = (), *, flags: Sequence[str] = (), bug_compatible: bool = False
) -> Config:
    """Read a configuration, a older system's included, and apply `key=value` overrides.

    Args:
        source: a preset's name, the path of a file, a dict, or a Config; files and dicts may be a older system's.
        overrides: texts such as "train.steps=400"; the value is read as YAML.
        flags: words of a older system's command line, such as ["--epochs", "200"].
        bug_compatible: keep the older system's known issues.

    Raises:
        ConfigError: an unknown preset, key or flag, an unreadable file, a wrong type or value.

    Example:
        >>> unetkit.load_config("unet_medical_config.yaml", flags=["--epochs", "200"]).train.steps
    """
    translation = translate_config(source, overrides, flags=flags, bug_compatible=bug_compatible)
    return io.load_config(source, overrides) if translation is None else translation.config
