"""The older systems' checkpoints: read as networks of ours, and written for MindSpore.

`read_legacy` takes what a user of MindSpore's model zoo or course, of OneFlow's or TensorFlow's U-Net, or of
milesial's Pytorch-UNet has on the disk, and recognises it by its content. None of those systems need be installed, and
no code in any file is run. Of what MindSpore exports the weights are read. It does not predict or train.
"""

from pathlib import Path

from unetkit.errors import ModelFileError
from unetkit.legacy.checkpoints import mindspore, oneflow, pytorch, tensorflow
from unetkit.legacy.checkpoints.mindspore import write_checkpoint as write_mindspore_checkpoint
from unetkit.legacy.checkpoints.translate import LegacyNetwork, translate
from unetkit.legacy.networks import mindspore_names, to_mindspore

__all__ = ["LegacyNetwork", "mindspore_names", "read_legacy", "to_mindspore", "write_mindspore_checkpoint"]

_READERS = (mindspore.read, mindspore.read_exported, tensorflow.read, pytorch.read, oneflow.read)


def read_legacy(path: str | Path) -> LegacyNetwork | None:
    """Read an older system's checkpoint, recognised by its content; None for anything else.

    Args:
        path: a file, a folder (OneFlow, TensorFlow) or the prefix of a TensorFlow bundle, such as `model.ckpt-6400`.

    Raises:
        ModelFileError: encrypted, cut short, contradicting itself, or of another network.
        DamagedFileError: a checksum in it does not match its content.
    """
    path = Path(path)
    try:
        for read in _READERS:
            archive = read(path)
            if archive is not None:
                return translate(path, archive)
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from None
    if path.name.endswith("-graph.meta") and path.is_file():
        raise ModelFileError(f"{path}: MindSpore's graph, which holds no weights; give the .ckpt next to it")
    if path.suffix == ".ckpt" and path.is_file():
        raise ModelFileError(
            f"{path}: named as a checkpoint, but neither MindSpore's nor PyTorch's: encrypted, empty or damaged; "
            "copy it again from where it was written"
        )
    return None
