"""MindSpore's and Ascend's files, written without either: MindIR, AIR, and the model zoo's checkpoints.

A graph is recorded for one size and number of images. Weights are called as in MindSpore's model zoo where the network
is one of its three, and by our own names otherwise; batch norms stay, so that the weights can be read from the graph.
Colour images have the channels R, G, B, as in all files that unetkit exports; a checkpoint has the zoo's order.
"""

from pathlib import Path

from unetkit.errors import UsageError
from unetkit.exporting.job import ExportJob, noise
from unetkit.exporting.recording import record
from unetkit.interop import mindspore_names, to_mindspore, write_mindspore_checkpoint
from unetkit.interop.graphs import Graph, encode_air, encode_mindir
from unetkit.runtimes import CARD_KEY

_ZOO = ((127.5, 127.5), "x / 127.5 - 1")
_MOST_BYTES = 10**9  # above, MindSpore itself puts weights into files of their own


def write_mindir(job: ExportJob, path: Path) -> None:
    """Write MindIR that MindSpore 2.0 to 2.10 load.

    Raises:
        UsageError: the network computes what MindIR does not express, or is too large.
    """
    path.write_bytes(_mindir(job, "ResizeBilinearV2"))


def write_mindir_for_lite(job: ExportJob, path: Path) -> None:
    """Write MindIR that MindSpore Lite takes, too: bilinear resizing is spelt as MindSpore had it up to 2.0.

    Raises:
        UsageError: as `write_mindir`.
    """
    path.write_bytes(_mindir(job, "ResizeBilinear"))


def write_air(job: ExportJob, path: Path) -> None:
    """Write AIR.

    Raises:
        UsageError: the network computes what AIR does not express.
    """
    path.write_bytes(encode_air(_graph(job, "ResizeBilinear")))


def write_checkpoint(job: ExportJob, path: Path) -> None:
    """Write a `.ckpt` byte for byte as MindSpore writes one of the same weights.

    Raises:
        UsageError: the network is none of MindSpore's model zoo, or sees other pixels than its programs give it.
    """
    stored, zoo = job.stored, _ZOO[0]
    if stored is None:
        raise UsageError("a checkpoint holds the weights of one network; this is none that was read from one")
    tensors = to_mindspore(stored.model, stored.state)
    found = set(zip(stored.normalization.mean, stored.normalization.std, strict=True))
    if found != {zoo}:
        pairs = ", ".join(f"(x - {mean:g}) / {std:g}" for mean, std in sorted(found))
        raise UsageError(
            f"this network sees {pairs}, and MindSpore's programs would show it {_ZOO[1]}; train it with "
            "data.normalization=minus-one-to-one, or export to mindir with --with-preprocessing"
        )
    write_mindspore_checkpoint(path, tensors)


def _mindir(job: ExportJob, resize: str) -> bytes:
    content = encode_mindir(_graph(job, resize), version=job.card.unetkit)
    if len(content) > _MOST_BYTES:
        raise UsageError(f"MindIR in one file holds up to 1 GB, and this network takes {len(content):,} bytes")
    return content


def _graph(job: ExportJob, resize: str) -> Graph:
    card = job.card.model_copy(update={"batch": job.card.batch or 1})
    assert card.size is not None, "formats of one size are not written without it"
    assert card.batch is not None
    names = {name: name.removeprefix("network.") for name in job.reference.state_dict()}
    if card.model is not None:
        names |= {f"network.{ours}": f"net.{theirs}" for ours, theirs in mindspore_names(card.model).items()}
    notes = {CARD_KEY: card.model_dump_json()}
    return record(job.reference, noise(card, card.batch, *card.size), names=names, resize=resize, notes=notes)
