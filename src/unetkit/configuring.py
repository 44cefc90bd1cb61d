"""Configurations from wherever: a preset, a file or a dict of ours, or an older system's configuration.

This is the one door to the legacy configurations and to the lines that the older systems print. Both are imported when
they are asked for, so that a preset costs nothing more.
"""

import json
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unetkit.config import Config, ConfigSource, annotated_yaml, io, preset_names
from unetkit.errors import ConfigError, UsageError
from unetkit.storage import is_remote, local_copy, url_of

if TYPE_CHECKING:
    from unetkit.distributed import World
    from unetkit.legacy.configs import LegacyNetwork, Translation
    from unetkit.legacy.lines import System, TrainingLines

__all__ = [
    "Configured",
    "configure",
    "data_override",
    "evaluation_lines",
    "load_config",
    "training_lines",
    "translate_config",
]


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

    def network(self, named: str | Path | None) -> str | Path:
        """Return the network to evaluate or export: the named one, or that of an older system's configuration.

        A path of the machines of a cloud job is followed to where its content lies in object storage.

        Raises:
            UsageError: none is named.
        """
        if named is not None and self.translation is None:
            return named
        path = self.legacy_network.stored(str(named or self.legacy_network.path))
        if not path:
            raise UsageError("no network is named; give a run, a network file or an exported file as MODEL")
        return path

    @property
    def legacy_network(self) -> "LegacyNetwork":
        """How an older system's programs that evaluate and export name a network; of ours, nothing is named."""
        from unetkit.legacy.configs import LegacyNetwork

        return LegacyNetwork() if self.translation is None else self.translation.network

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
        with _fetched(source) as local:
            return Configured(io.load_config(local, overrides))
    return Configured(translation.config, translation)


def data_override(data: str | Path | None) -> list[str]:
    """Return the override that names a data set; none where none is named."""
    return [] if data is None else [f"data.path={json.dumps(str(data))}"]


def asks_for_split(source: ConfigSource, overrides: Sequence[str]) -> bool:
    """Tell whether a user chose how data is divided: in a configuration of their own, or by an override."""
    return str(source) not in preset_names() or any(word.startswith("data.split") for word in overrides)


@contextmanager
def _fetched(source: ConfigSource) -> Generator[ConfigSource]:
    """Give a configuration that lies on this machine; messages name it as the user did."""
    if isinstance(source, Config | dict) or not is_remote(source):
        yield source
        return
    local = local_copy(source)
    try:
        yield local
    except ConfigError as error:
        raise ConfigError(str(error).replace(str(local), url_of(source))) from None


def load_config(
    source: ConfigSource, overrides: Sequence[str] = (), *, flags: Sequence[str] = (), bug_compatible: bool = False
) -> Config:
    """Read a configuration, an older system's included, and apply `key=value` overrides.

    Args:
        source: a preset's name, the path or address of a file, a dict, or a Config; files and dicts may be an older
            system's.
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

    with _fetched(source) as local:
        name = "" if local is source else url_of(str(source))
        return translate(local, overrides, flags=flags, bug_compatible=bug_compatible, name=name)


def training_lines(
    config: Config, log: Callable[[str], None], images: int, world: "World", *, device: str, folder: Path
) -> "TrainingLines | None":
    """Return what prints a training as an older system does; None where `train.log_format` asks for none.

    Files that the system writes go to `folder`; the main process alone writes them.
    """
    train = config.train
    if train.log_format is None:
        return None
    from unetkit.legacy.lines import TrainingFacts, TrainingLines

    shown = images * train.repeat
    epoch = max(1, shown // train.batch if train.drop_last else -(-shown // train.batch))
    place = folder if world.is_main_process else None
    facts = TrainingFacts(train.batch // world.size, epoch, train.best_metric, device, place)
    return TrainingLines(train.log_format, facts, log)


def evaluation_lines(
    system: "System", content: dict[str, Any], metric: str, *, own_size: bool = False
) -> Iterator[str]:
    """Yield the lines that an older system prints of an evaluation, as `legacy.lines` has them, of its `as_json`."""
    from unetkit.legacy import lines

    images = [image["scores"] for image in content["images"]]
    yield from lines.evaluation_lines(system, images, content["scores"], metric, own_size=own_size)
