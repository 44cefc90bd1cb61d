"""What other people's files are, for messages that name it: networks by their tensors, files by how they begin.

Says only what it recognises for sure. It opens no network.
"""

import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from unetkit.errors import listed

NETWORKS: dict[str, tuple[str, ...]] = {
    "segmentation_models.pytorch": (r"encoder\.", r"decoder\.", r"segmentation_head\.0\.weight$"),
    "MONAI's BasicUNet": (r"conv_0\.conv_0\.conv\.weight$", r"upcat_\d\.", r"final_conv\.weight$"),
    "MONAI's UNet": (r"model\.0\.conv\.", r"model\.1\.submodule\."),
    "the brain-segmentation U-Net of mateuszbuda": (r"encoder1\.enc1conv1\.weight$", r"bottleneck\.bottleneckconv1\."),
    "nnU-Net": (r"encoder\.stages\.0\.", r"decoder\.seg_layers\.0\.weight$"),
    "pytorch-3dunet": (r"encoders\.0\.basic_module\.", r"decoders\.0\.basic_module\."),
    "a segmentation network of torchvision": (r"backbone\.conv1\.weight$", r"classifier\.\d+\.weight$"),
}
"""Well-known networks for segmentation, by patterns that each match the end of a tensor's name behind any prefix."""

_MOST_NAMES = 10_000


def network_of(names: Iterable[str]) -> str | None:
    """Return whose network has tensors with these names; None: it is not known."""
    text = "\n".join(islice(names, _MOST_NAMES))
    for network, patterns in NETWORKS.items():
        if all(re.search(rf"^(?:\w+\.)*?{pattern}", text, re.MULTILINE) for pattern in patterns):
            return network
    return None


def unknown_weights(names: Iterable[str]) -> str:
    """Say what weights that no network here has are, and what to do with them."""
    found = list(names)
    whose, shown = network_of(found), listed([name[:60] for name in found]) or "none"
    return (
        f"weights {f'named as those of {whose}' if whose else 'of a network that is not known here'}, without the "
        f"network itself (its tensors: {shown}); export the network to ONNX where it was made, and give that "
        "with --classes and --normalization"
    )


_BEGINNINGS: dict[bytes, str] = {
    b"<!doctype html": "a web page, not the file that was to be fetched; fetch it again",
    b"<html": "a web page, not the file that was to be fetched; fetch it again",
    b"version https://git-lfs": "a pointer of Git LFS, not the file that it stands for; `git lfs pull` brings that",
    b"\x89hdf\r\n\x1a\n": "HDF5, as Keras writes it; export the network to ONNX (with tf2onnx) and give that",
    b"pk\x03\x04": "a .zip archive of no kind that is read, as Keras writes it; export the network to ONNX",
    b"\x1f\x8b": "packed by gzip; unpack it first",
    b"\x80": "a pickle, which can run code and is never opened; export the network to ONNX and give that",
}


def content_of(path: Path) -> str | None:
    """Say what a file that holds no network is, by how it begins, and what to do; None: it is not known."""
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        return "empty; copy it again"
    if start[4:8] == b"TFL3":
        return "a network for TensorFlow Lite; export it to ONNX and give that"
    begins = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((what for beginning, what in _BEGINNINGS.items() if begins.startswith(beginning)), None)
