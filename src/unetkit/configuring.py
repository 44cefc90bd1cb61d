"""Configurations from wherever: a preset, a file or a dict of ours, or an older system's configuration.

This is the one door to the legacy configurations. They are imported when one is asked for, so that a preset costs
nothing more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unetkit.config import Config, ConfigSource, annotated_yaml, io, preset_names

if TYPE_CHECKING:
    from unetkit.legacy.configs import Translation

__all__ = ["Configured", "configure", "load_config", "translate_config"]


@dataclass(frozen=True, slots=True)
class Configured:
    """A configuration, and what an older system's said besides.

    Attributes:
        config: ours.
        translation: how it came about, if it was an older system's.
    """

    config: Config
    translation: "Translation | None" = None

    @property
    def out(self) -> str | None:
        """The run folder that an older system's configuration names."""
        return None if self.translation is None else self.translation.out

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a user should know before training with an older system's configuration, a line each."""
        return () if self.translation is None else tuple(self.translation.remarks())

    def annotated_yaml(self) -> str:
        """Write every key with its value and its meaning as YAML, and of a translation what each key came from."""
        return annotated_yaml(self.config) if self.translation is None else self.translation.annotated_yaml()


def configure(
    source: ConfigSource, overrides: Sequence[str] = (), *, flags: Sequence[str] = (), bug_compatible: bool = False
) -> Configured:
    """Read a configuration with all that is known of it; arguments and errors are those of `load_config`."""
    translation = translate_config(source, overrides, flags=flags, bug_compatible=bug_compatible)
    if translation is None:
        return Configured(io.load_config(source, overrides))
    return Configured(translation.config, translation)


def load_config(
    source: ConfigSource, overrides: Sequence[str] = (), *, flags: Sequence[str] = (), bug_compatible: bool = False
) -> Config:
    """Read a configuration, an older system's included, and apply `key=value` overrides.

    Args:
        source: a preset's name, the path of a file, a dict, or a Config; files and dicts may be an older system's.
        overrides: texts such as "train.steps=400"; the value is read as YAML.
        flags: words of an older system's command line, such as ["--epochs", "200"].
        bug_compatible: keep the older system's known issues.

    Raises:
        ConfigError: an unknown preset, key or flag, an unreadable file, a wrong type or value.
        UsageError, DataError: as `translate_config`.

    Example:
        >>> unetkit.load_config("unet_medical_config.yaml", flags=["--epochs", "200"]).train.steps
    """
    return configure(source, overrides, flags=flags, bug_compatible=bug_compatible).config


def translate_config(
    source: ConfigSource, overrides: Sequence[str] = (), *, flags: Sequence[str] = (), bug_compatible: bool = False
) -> "Translation | None":
    """Translate an older system's configuration; None for one of ours.

    Args:
        source: a file, a dict, or the preset of a system without files.
        overrides: `key=value` texts of ours, which go before everything else.
        flags: the words after `--`, in the grammar of that system's command line.
        bug_compatible: keep the known issues that can be kept.

    Raises:
        ConfigError: a key, flag or value that cannot be; flags or `bug_compatible` for a configuration of ours.
        UsageError: flags that ask for what another verb does.
        DataError: the data that is named cannot be opened, so that its images cannot be counted.

    Example:
        >>> print(unetkit.translate_config("unet_medical_config.yaml").annotated_yaml())
    """
    ours = isinstance(source, Config) or (isinstance(source, str | Path) and str(source) in preset_names())
    if ours and not flags and not bug_compatible:
        return None
    from unetkit.legacy.configs import translate

    return translate(source, overrides, flags=flags, bug_compatible=bug_compatible)
