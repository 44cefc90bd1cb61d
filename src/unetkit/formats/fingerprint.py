"""Whose export is this? An HMAC-SHA256 at the end of archives that can run code, with a key that only this user has.

It is the comment that a zip archive may end with, and covers every byte before it, not members as one reader of
archives or another sees them: what is verified is what PyTorch gets. The key is 32 random bytes in the user's
configuration folder, made on the first export. Whoever can read the key, or change a file while it is opened, can do
what this user can anyway.
"""

import hashlib
import hmac
import os
import secrets
import stat
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

from unetkit.errors import StorageError, UsageError
from unetkit.storage.atomic import flush

_MARK = b"unetkit-hmac-sha256:"
_DIGITS = 64
_END_OF_ARCHIVE, _END_LENGTH = b"PK\5\6", 22
_KEY_LENGTH = 32
_CHUNK = 1 << 20


def key_file() -> Path:
    """Return the path of this user's key: below XDG_CONFIG_HOME, or ~/.config; it need not exist."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()) / "unetkit" / "key"


def add_fingerprint(path: Path) -> None:
    """Add the fingerprint of this user's exports to a zip archive; the first time makes the key.

    Raises:
        UsageError: the key is not this user's alone.
        StorageError: the key cannot be made or read.
    """
    key = _key()
    if key is None:
        _make_key()
        key = _key()
        assert key is not None
    with path.open("r+b") as file:
        file.seek(-_END_LENGTH, os.SEEK_END)
        end = file.read()
        assert end.startswith(_END_OF_ARCHIVE), "an archive without a comment"
        file.seek(-2, os.SEEK_END)
        file.write((len(_MARK) + _DIGITS).to_bytes(2, "little") + _MARK)
        file.write(_digest(file, key, file.tell()))


def is_own_export(path: Path) -> bool:
    """Return whether a file ends with this user's fingerprint and is unchanged.

    Raises:
        UsageError: the key is not this user's alone.
        StorageError: the key cannot be read.
    """
    with path.open("rb") as file:
        covered = file.seek(0, os.SEEK_END) - _DIGITS
        if covered < len(_MARK):
            return False
        file.seek(covered - len(_MARK))
        mark, found = file.read(len(_MARK)), file.read()
        key = _key() if mark == _MARK else None
        return key is not None and hmac.compare_digest(found, _digest(file, key, covered))


def _digest(file: BinaryIO, key: bytes, covered: int) -> bytes:
    """Return the HMAC of a file's first bytes as hexadecimal digits; leaves the file's position after them."""
    code = hmac.new(key, digestmod=hashlib.sha256)
    file.seek(0)
    while covered > 0 and (part := file.read(min(_CHUNK, covered))):
        code.update(part)
        covered -= len(part)
    return code.hexdigest().encode()


def _key() -> bytes | None:
    """Read this user's key; None where there is none yet."""
    path = key_file()
    try:
        with path.open("rb") as file:
            about, key = os.fstat(file.fileno()), file.read(_KEY_LENGTH + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path}: the key of your exports cannot be read ({error.strerror})") from None
    # Windows has neither owners of this kind nor modes: there a key is kept as what else lies in the user's folders.
    others = sys.platform != "win32" and (about.st_uid != os.geteuid() or bool(stat.S_IMODE(about.st_mode) & 0o077))
    if others or len(key) != _KEY_LENGTH:
        found = "is not yours alone (expected your own file with mode 0600)" if others else "is damaged"
        raise UsageError(
            f"{path}: the key of your exports {found}; remove it and export again: the next export makes another key"
        )
    return key


def _make_key() -> None:
    """Make this user's key; of several processes that do so at once, all use that of the first."""
    path = key_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".key-", dir=path.parent) as folder:
            draft = Path(folder) / "key"
            draft.touch(0o600)
            draft.write_bytes(secrets.token_bytes(_KEY_LENGTH))
            flush(draft)
            try:
                path.hardlink_to(draft)  # unlike a renaming, never replaces another's
            except FileExistsError:
                return
            except OSError:  # a file system without hard links
                draft.replace(path)
        flush(path.parent)
    except OSError as error:
        raise StorageError(
            f"{path}: the key of your exports cannot be made ({error.strerror or error}); "
            "set XDG_CONFIG_HOME to a folder of yours"
        ) from None
