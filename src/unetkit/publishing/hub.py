"""Models on a hub: a folder for one, sent to it and fetched from it.

    README.md            the model card       config.json          the network's card
    model.safetensors    its best weights

The hub is Hugging Face's, or any server that speaks its protocol (`endpoint`, or the variable HF_ENDPOINT that
huggingface_hub reads). What is fetched stays in huggingface_hub's cache, where it is found without a network. Weights
are safetensors, and nothing that comes from a hub is run.
"""

from pathlib import Path
from typing import Any

from unetkit.errors import RemoteError, UnetkitError, UsageError
from unetkit.formats.runtime import reason, required
from unetkit.modelfile.about import About, read_about
from unetkit.modelfile.checkpoint import CONFIG, WEIGHTS, Checkpoint, write_hub_files
from unetkit.prediction import Predictor
from unetkit.prediction.load import LoadOptions, load
from unetkit.publishing.facts import Facts, gather, readme
from unetkit.run import Run, open_run
from unetkit.storage.atomic import atomic_folder, is_taken, temporary_folder
from unetkit.version import __version__


def write_folder(facts: Facts, folder: Path) -> None:
    """Write the folder of a hub's model; it is a MODEL for every command.

    Raises:
        UsageError: something is there already.
        StorageError: the disk did not take it.
    """
    if is_taken(folder):
        raise UsageError(f"{folder}: is not an empty folder; choose another --out, so that nothing is overwritten")
    with atomic_folder(folder) as temporary:
        _fill(facts, temporary, folder.name)


def _fill(facts: Facts, folder: Path, name: str) -> None:
    write_hub_files(Checkpoint.load(facts.run.weights()), folder)
    (folder / "README.md").write_text(readme(facts, name=name), encoding="utf-8")


def push_to_hub(
    run: Run | str | Path,
    repository: str,
    *,
    about: About | str | Path | None = None,
    private: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Send the best weights of a finished run to a hub, with their card; the repository is made where it is missing.

    Args:
        run: a run or its folder.
        repository: OWNER/NAME.
        about: what only people know, as of `pack`.
        private: a new repository is seen by its owner alone.
        token: of the hub; None: the one that `hf auth login` keeps.
        endpoint: the hub's URL; None: Hugging Face.

    Returns:
        The URL of what was sent.

    Raises:
        UsageError: the extra `hub` is not installed, or `about` has an unknown key.
        RunFolderError: the run is not finished.
        RemoteError: the hub cannot be reached or does not take it.

    Example:
        >>> unetkit.push_to_hub("runs/first", "ada/membranes", about="about.yaml")
    """
    library: Any = required("huggingface_hub", "hub")
    facts = gather(open_run(run), read_about(about))
    with temporary_folder() as folder:
        _fill(facts, folder, repository)
        try:
            api = library.HfApi(endpoint=endpoint, token=token, library_name="unetkit", library_version=__version__)
            api.create_repo(repository, private=private, exist_ok=True)
            sent = api.upload_folder(repo_id=repository, folder_path=folder, commit_message=f"unetkit {__version__}")
        except Exception as error:  # of huggingface_hub, and of the HTTP library below it, which changes
            raise _remote(repository, error) from error
    return str(sent.commit_url)


def from_pretrained(
    repository: str,
    *,
    revision: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    device: str = "auto",
    options: LoadOptions | None = None,
) -> Predictor:
    """Fetch a network that `push_to_hub` sent and make it ready to predict; what was fetched before is not again.

    Args:
        repository: OWNER/NAME.
        revision: a branch, tag or commit; None: the newest.
        token: of the hub; None: the one that `hf auth login` keeps.
        endpoint: the hub's URL; None: Hugging Face.
        device: auto, cpu, cuda or mps.
        options: as of `load`.

    Raises:
        UsageError: the extra `hub` is not installed.
        RemoteError: no such repository or revision, or the hub cannot be reached and nothing is in the cache.
        ModelFileError: what lies there is not a network of unetkit.

    Example:
        >>> predictor = unetkit.from_pretrained("ada/membranes")
    """
    library: Any = required("huggingface_hub", "hub")
    try:
        of_hub = {"revision": revision, "token": token, "endpoint": endpoint, "library_name": "unetkit"}
        for name in (CONFIG, WEIGHTS):  # both into one folder
            file = library.hf_hub_download(repository, name, **of_hub, library_version=__version__)
    except Exception as error:  # as above
        raise _remote(repository, error) from error
    return load(Path(file).parent, device=device, options=options)


def _remote(repository: str, error: Exception) -> UnetkitError:
    """Return the error for what a hub answers, or for its silence."""
    errors: Any = required("huggingface_hub.errors", "hub")
    if isinstance(error, errors.HFValidationError):
        return UsageError(f"{repository}: not the name of a repository ({reason(error)}); expected OWNER/NAME")
    if isinstance(error, errors.LocalEntryNotFoundError):
        what, advice = "the hub cannot be reached, and it is not in the cache", "connect, and try again"
    elif isinstance(error, errors.RevisionNotFoundError):
        what, advice = "has no such revision", "choose one that its page lists"
    elif isinstance(error, errors.RepositoryNotFoundError | errors.GatedRepoError):
        what = "there is no such repository, or it is not yours to read or write"
        advice = "check its name, give a token, or run: hf auth login"
    elif isinstance(error, errors.EntryNotFoundError):
        what, advice = f"holds no {CONFIG} and {WEIGHTS}", "expected what unetkit.push_to_hub sends"
    else:
        what, advice = f"the hub does not take part ({reason(error)})", "check the connection, the endpoint, the token"
    return RemoteError(f"{repository}: {what}; {advice}")
