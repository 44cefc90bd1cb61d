"""pack: a finished run for other people, as the folder of a hub's model or as a research object.

A research object is one .zip, a Process Run Crate of the Workflow Run RO-Crate profiles:

    ro-crate-metadata.json   what was done, by what, with what, to what, by whom: for machines
    README.md                the model card: the same for people
    config.yaml  data.json  environment.json  functions.json  requirements.txt     what the training started from
    best.safetensors  last.safetensors  evaluation.json  summary.json  log.jsonl  report.html     what came of it

The images are not in it: their checksums are, and where they came from. The same run gives the same bytes: members lie
in one order, with one date; the weights are stored as they are. `reproduce` trains again by what lies in it.
"""

import hashlib
import json
import shlex
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from unetkit.errors import UsageError
from unetkit.formats.runtime import required
from unetkit.modelfile.about import UNET, About, read_about
from unetkit.publishing.facts import Facts, gather, readme
from unetkit.publishing.hub import write_folder
from unetkit.run import OWN_FUNCTIONS, Run, open_run
from unetkit.storage.atomic import atomic_path, make_folder

METADATA = "ro-crate-metadata.json"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_TERMS = "https://w3id.org/ro/terms/workflow-run/context"

STARTED_FROM: dict[str, tuple[str, str]] = {
    "config.yaml": ("application/yaml", "every key of the configuration"),
    "data.json": ("application/json", "the data: sizes, checksums of every image and its labels, who was held out"),
    "environment.json": ("application/json", "command, machine, device, versions"),
    "requirements.txt": ("text/plain", "the versions of all packages, as pip takes them"),
    OWN_FUNCTIONS: ("application/json", "name and source of a loss and metrics of the user's own"),
}
RESULTS: dict[str, tuple[str, str]] = {
    "best.safetensors": ("application/octet-stream", "the weights of the best validation, with their card"),
    "last.safetensors": ("application/octet-stream", "the weights of the last step, with their card"),
    "evaluation.json": ("application/json", "scores in all and of every image, with their definitions"),
    "summary.json": ("application/json", "how the training ended, and where the time went"),
    "log.jsonl": ("application/jsonl", "the losses and validations, in the order of the steps"),
    "report.html": ("text/html", "all of it on one page"),
    "README.md": ("text/markdown", "the model card"),
}
"""Names of members, what they are, and what they hold."""


def write_crate(facts: Facts, out: Path) -> None:
    """Write the research object of a run.

    Raises:
        UsageError: another suffix, or the extra `crate` is not installed.
        StorageError: the disk did not take it.
    """
    if out.suffix.lower() != ".zip":
        raise UsageError(f"{out}: a research object is one .zip; give --out FILE.zip")
    members: dict[str, Path | bytes] = {
        name: facts.run.path / name for name in (*STARTED_FROM, *RESULTS) if (facts.run.path / name).is_file()
    }
    lock: Mapping[str, str] = facts.environment.get("lock") or {}
    pins = (f"{name}=={number.partition('+')[0]}\n" for name, number in lock.items())
    members["requirements.txt"] = "".join(pins).encode()
    members["README.md"] = readme(facts, name="best.safetensors").encode()
    described = json.dumps(_metadata(facts, members), indent=2, sort_keys=True, ensure_ascii=False)
    make_folder(out.parent)
    with atomic_path(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in {METADATA: f"{described}\n".encode(), **members}.items():
            entry = zipfile.ZipInfo(name)  # of the first date that there is
            entry.external_attr = 0o644 << 16
            weights = name.endswith(".safetensors")
            entry.compress_type = zipfile.ZIP_STORED if weights else zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as member:
                if isinstance(content, bytes):
                    member.write(content)
                    continue
                with content.open("rb") as file:
                    shutil.copyfileobj(file, member, 2**20)


Add = Callable[..., Any]
"""Adds an entity to a crate by its identifier, its type and its properties; those that are not known are left out."""


def _metadata(facts: Facts, members: Mapping[str, Path | bytes]) -> dict[str, Any]:
    """Return ro-crate-metadata.json of the members of a crate."""
    library: Any = required("rocrate.rocrate", "crate")
    crate, about = library.ROCrate(version="1.1"), facts.about
    crate.metadata.extra_contexts.append(_TERMS)

    def add(identifier: str, kind: str, /, **properties: object) -> Any:
        return crate.add(library.ContextEntity(crate, identifier, {"@type": kind, **_known(properties)}))

    files = {
        name: crate.add(library.File(crate, None, name, properties=_described(name, members[name])))
        for name in (*STARTED_FROM, *RESULTS)
        if name in members
    }
    authors = [
        add(
            f"https://orcid.org/{one.orcid}" if one.orcid else f"#author-{number}",
            "Person",
            name=one.name,
            affiliation=add(f"#affiliation-{number}", "Organization", name=one.affiliation)
            if one.affiliation
            else None,
        )
        for number, one in enumerate(about.authors, 1)
    ]
    works = [
        add(one.link or f"#work-{number}", "CreativeWork", name=one.text)
        for number, one in enumerate((*about.citations, UNET), 1)
    ]
    action = _action(add, facts, files, authors)
    root = {
        "name": facts.title,
        "description": facts.description,
        "datePublished": facts.ended,
        "conformsTo": add(PROFILE, "CreativeWork", name="Process Run Crate", version="0.5"),
        "license": "not stated; ask the authors" if about.license is None else _license(add, about.license),
        "keywords": ["segmentation", "microscopy", *about.tags],
        "author": authors,
        "citation": works,
        "mentions": action,
        "variableMeasured": [
            add(
                f"#{score.images}-{score.definition.name}",
                "PropertyValue",
                name=score.definition.name,
                value=score.value,
                description=f"{score.definition.meaning}, on {score.count} {score.images} images",
                measurementTechnique=f"{score.definition.formula}; {score.definition.averaging}",
            )
            for score in facts.scores
        ],
    }
    for key, value in _known(root).items():
        crate.root_dataset[key] = value
    return crate.metadata.generate()


def _known(properties: Mapping[str, object]) -> dict[str, object]:
    """Return the properties that are known; a list of one thing is that thing."""
    known = dict[str, object]()
    for key, value in properties.items():
        if isinstance(value, Sequence) and not isinstance(value, str):
            things = cast(Sequence[object], value)
            value = things[0] if len(things) == 1 else [*things] or None
        if value is not None:
            known[key] = value
    return known


def _action(add: Add, facts: Facts, files: Mapping[str, Any], authors: Sequence[Any]) -> Any:
    """Add the training: what was done, by what, with what, to what."""
    data, source, environment = facts.data, facts.source, facts.environment
    seen = add(
        "#data",
        "Dataset",
        name=facts.data_name,
        description=f"{data['samples']} images of type {data['dtype']}; data.json has the checksum of each",
        identifier=[f"sha256:{data[key]}" for key in ("sha256_pixels", "sha256_labels") if data[key]],
        url=source.url or facts.address,
        license=None if source.license is None else _license(add, source.license),
    )
    software = add(
        "#unetkit",
        "SoftwareApplication",
        name="unetkit",
        softwareVersion=environment["packages"]["unetkit"],
        softwareRequirements=files["requirements.txt"],
    )
    return add(
        "#training",
        "CreateAction",
        name=f"Training of {facts.title}",
        description=shlex.join(["unetkit", *environment["command"][1:]]),
        startTime=environment.get("started"),
        endTime=facts.ended,
        actionStatus="http://schema.org/CompletedActionStatus",
        instrument=software,
        agent=authors,
        object=[*(files[name] for name in STARTED_FROM if name in files), seen],
        result=[files[name] for name in RESULTS if name in files],
    )


def _license(add: Add, name: str) -> Any:
    return add(f"https://spdx.org/licenses/{name}", "CreativeWork", name=name)


def _described(name: str, content: Path | bytes) -> dict[str, str]:
    """Return what a crate says of a member."""
    kind, holds = (STARTED_FROM | RESULTS)[name]
    if isinstance(content, bytes):
        size, sha256 = len(content), hashlib.sha256(content).hexdigest()
    else:
        with content.open("rb") as file:
            size, sha256 = content.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
    said = {"name": name, "description": holds, "encodingFormat": kind}
    return said | {"contentSize": str(size), "sha256": sha256}


FORMS: dict[str, Callable[[Facts, Path], None]] = {"crate": write_crate, "hub": write_folder}
"""What a run is packed as: a research object, one .zip; the folder of a model for a hub."""


def pack(run: Run | str | Path, *, out: str | Path, to: str = "crate", about: About | str | Path | None = None) -> Path:
    """Pack a finished run for other people.

    Args:
        run: a run or its folder.
        out: the .zip to write, of which an older one is replaced, or the new folder.
        to: crate: a research object that `reproduce` trains again, one .zip; hub: the folder of a model for a hub,
            which is a MODEL for every command.
        about: what only people know: title, authors, licence, what to cite, where the data came from; a YAML file or an
            `About`. None: nothing of it is said.

    Returns:
        `out`.

    Raises:
        UsageError: no such form, another suffix, a folder that is not empty, the extra `crate` is not installed, or
            `about` has an unknown key.
        RunFolderError: the run is not finished.
        StorageError: the disk did not take it.

    Example:
        >>> unetkit.pack("runs/first", out="first.zip", about="about.yaml")
    """
    if to not in FORMS:
        raise UsageError(f"there is no form {to!r} to pack a run in; there are: {', '.join(FORMS)}")
    facts = gather(open_run(run), read_about(about))
    FORMS[to](facts, Path(out))
    return Path(out)
