"""PyTorch's own files with a state dictionary: milesial's Pytorch-UNet, and OneFlow's when saved for PyTorch.

Opened by `torch.load(weights_only=True)`, which runs no code. Before that, sizes are compared with the file's own: an
archive of PyTorch 1.6 or later is a zip file whose members are stored as they are and match their checksums, which
PyTorch does not compare; an older file names no number larger than itself. Tuples have a limit in both.
"""

import mmap
import re
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO, cast

import torch
from torch import Tensor

from unetkit.errors import DamagedFileError, ModelFileError
from unetkit.legacy.archive import Archive, archive_of_state, instructions, one_line
from unetkit.storage.tree import ZIP_DAMAGE

SYSTEM = "PyTorch"

_ZIP = b"PK\x03\x04"
_OLD = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_OLD_PICKLES, _OLD_HEADERS = 5, 3  # magic number, protocol, system: headers; object, keys of the storages
_PIECE = 1 << 20
_FORBIDDEN = re.compile(r"(?:GLOBAL|instance of type|class|function) ['\"<]*([\w.]+)")
"""What PyTorch's reader says of what it does not build, such as "GLOBAL net.UNet was not an allowed global"."""


def read(path: Path) -> Archive | None:
    """Read a file with a state dictionary; None for what is not one of PyTorch's files.

    Raises:
        ModelFileError: cut short, of a kind that may run code, or without a network.
        DamagedFileError: a member does not match its checksum.
    """
    if not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(len(_OLD))
    if head.startswith(_ZIP):
        if not check_zip(path):
            return None
    elif head == _OLD:
        check_old(path)
    else:
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and its unpickler fail on damaged files in any of their ways
        whole = _FORBIDDEN.search(str(error))
        if whole is not None:
            raise ModelFileError(
                f"{path}: a PyTorch file with more than weights in it (an object of {one_line(whole[1])}), which opens "
                "only by running code, and that is never done; where it was made, save model.state_dict(), or export "
                "the network to ONNX"
            ) from None
        reason = one_line(str(error).partition("\n")[0])
        raise ModelFileError(f"{path}: a damaged PyTorch file ({reason}); copy it again") from None

    def on_cpu(value: Any) -> Tensor | None:
        """Return a value that is a tensor on the CPU and has memory for all its elements."""
        if not isinstance(value, Tensor) or value.layout is not torch.strided or value.device.type != "cpu":
            return None
        return value.detach() if value.numel() * value.itemsize <= value.untyped_storage().nbytes() else None

    archive = archive_of_state(SYSTEM, content, on_cpu)
    if archive is None:
        raise ModelFileError(f"{path}: a PyTorch file without a network's state dictionary; save model.state_dict()")
    return archive


def check_zip(path: Path) -> bool:
    """Return whether a zip file is one of torch.save's, after checking that it is whole.

    Raises:
        ModelFileError, DamagedFileError: as `read`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if not any(name.endswith("/data.pkl") for name in names) or any("/code/" in name for name in names):
                return False
            stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
            if not stored or sum(member.file_size for member in members) > path.stat().st_size:
                raise ModelFileError(f"{path}: an archive with compressed members, which torch.save does not write")
            for member in members:
                with archive.open(member) as content:
                    while content.read(_PIECE):
                        pass
            for member in members:
                if member.filename.endswith("/data.pkl"):
                    for _ in instructions(archive.read(member)):
                        pass
    except zipfile.BadZipFile as error:
        raise DamagedFileError(f"{path}: a damaged PyTorch archive ({one_line(error)}); copy it again") from None
    except (*ZIP_DAMAGE, LookupError, UnpicklingError) as error:
        raise ModelFileError(f"{path}: a zip archive that cannot be read ({one_line(error)}); copy it again") from None
    return True


def check_old(path: Path) -> None:
    """Check that a file of before PyTorch 1.6 announces nothing larger than itself.

    Raises:
        ModelFileError: as `read`.
    """
    size = path.stat().st_size
    try:
        # Reads of a mapped file cannot ask for more than it holds.
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for number in range(_OLD_PICKLES):
                for _, argument in instructions(cast("BinaryIO", content)):
                    if number >= _OLD_HEADERS and isinstance(argument, int) and argument > size:
                        raise ValueError(f"it announces {argument:,} where the file has {size:,} bytes")
    except (ValueError, OSError, OverflowError, LookupError, UnpicklingError) as error:
        raise ModelFileError(f"{path}: a damaged PyTorch file ({one_line(error)}); copy it again") from None
