"""check_data: what is wrong with a data set, before anything is trained on it."""

from collections.abc import Sequence
from pathlib import Path

from unetkit.config import Config, load_config
from unetkit.data.forms import open_usable
from unetkit.data.sample import Dataset, held_out_by
from unetkit.doctor import Diagnosis, diagnose
from unetkit.progress import Reporter
from unetkit.reporting import write_diagnosis


def check_data(
    data: str | Path,
    *,
    overrides: Sequence[str] = (),
    html: str | Path | None = None,
    reporter: Reporter | None = None,
) -> Diagnosis:
    """Examine a data set: files, values, masks, labels that lie askew, duplicates, leaks, objects.

    Args:
        data: a folder or a file with labels, whatever `train` takes.
        overrides: `key=value` texts of a configuration; the split, the patch and the normalisation that are meant to be
            used are judged, too. Data that is divided into train and val is judged by that, unless a split is named.
        html: a page with pictures to write.
        reporter: hears about the course.

    Raises:
        DataError: there is nothing at the path, or nothing that is known.
        ConfigError: an unknown key or an impossible value.
        StorageError: the page could not be written.

    Example:
        >>> for finding in unetkit.check_data("path/to/data").findings:
        ...     print(finding)
    """
    config = load_config({"data": {"path": str(data)}}, overrides)
    dataset = open_usable(data, config=config.data)
    diagnosis = diagnose(dataset, by_its_own_split(config, dataset, overrides), reporter=reporter)
    if html is not None:
        write_diagnosis(Path(html), diagnosis, dataset)
    return diagnosis


def by_its_own_split(config: Config, dataset: Dataset, overrides: Sequence[str]) -> Config:
    """Return a configuration that holds out what the data itself does, unless a split was asked for."""
    if not held_out_by(dataset) or any(word.startswith("data.split") for word in overrides):
        return config
    split = config.data.split.model_copy(update={"method": "given"})
    return config.model_copy(update={"data": config.data.model_copy(update={"split": split})})
