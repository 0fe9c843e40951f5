"""CRC-32C of record batches (Castagnoli), from the extension module of the crc32c package.

The package itself asks the metadata of installed distributions for its own version when it is imported, which is an
eighth of the time that a broker needs to start: its extension is loaded without it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crc32c import crc32c
else:

    def _load() -> Callable[..., Any]:
        package = find_spec("crc32c")
        found = package and PathFinder.find_spec("crc32c._crc32c", package.submodule_search_locations)
        if not found or not found.loader:
            # Another version of the package may be made otherwise.
            from crc32c import crc32c as slow_to_import

            return slow_to_import
        extension = module_from_spec(found)
        found.loader.exec_module(extension)
        return extension.crc32c

    crc32c = _load()

__all__ = ["crc32c"]
