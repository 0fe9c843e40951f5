"""Files that every schema may import without a reference, as Confluent's registry and its clients have them.

``google/protobuf/`` comes with protoc, ``google/type/`` with ``googleapis-common-protos``; those of ``confluent/``
stand in ``known/``: what their fields are called and numbered is an interface, as a value's bytes are.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

META = "confluent/meta.proto"
DECIMAL = "confluent/type/decimal.proto"


@lru_cache(maxsize=1)
def directories() -> tuple[str, ...]:
    """Where protoc finds those that come with installed packages.

    Raises:
        ImportError: grpcio-tools is not installed.
    """
    import grpc_tools

    found = [str(Path(str(grpc_tools.__file__)).parent / "_proto"), str(Path(__file__).parent / "known")]
    types = find_spec("google.type")
    places = [] if types is None else types.submodule_search_locations or []
    return (*found, *(str(Path(each).parent.parent) for each in places))
