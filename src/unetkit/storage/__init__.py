"""Object storage: every path that the library takes may be `s3://bucket/key` (or `obs://`, Huawei's, by its endpoint).

What is read is copied here first and kept, by checksum; what is written is made here and sent whole.
"""

from unetkit.storage.cache import Mirror, cache_folder, local_copy
from unetkit.storage.remote import is_remote, place_of, send_file, send_folder, url_of

__all__ = ["Mirror", "cache_folder", "is_remote", "local_copy", "place_of", "send_file", "send_folder", "url_of"]
