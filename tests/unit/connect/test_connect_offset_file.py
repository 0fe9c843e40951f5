from __future__ import annotations

from pathlib import Path

import pytest

from engine.connect.errors import ConnectError
from engine.connect.runtime.java_map import JavaMapError, read_map, write_map
from engine.connect.runtime.offset_store import FileOffsetStore, OffsetIndex, offset_key

# ObjectOutputStream.writeObject(new HashMap<byte[], byte[]>) of Java 17, with two entries.
JAVA = bytes.fromhex(
    "aced0005737200116a6176612e7574696c2e486173684d61700507dac1c31660d103000246000a6c6f6164466163746f"
    "724900097468726573686f6c6478703f4000000000000c77080000001000000002757200025b42acf317f8060854e002"
    "00007870000000105b2263222c7b2266223a227830227d5d7571007e00020000000e7b22706f736974696f6e223a307d"
    "7571007e0002000000105b2263222c7b2266223a227831227d5d7571007e00020000000e7b22706f736974696f6e223a"
    "317d78"
)
ENTRIES = {b'["c",{"f":"x0"}]': b'{"position":0}', b'["c",{"f":"x1"}]': b'{"position":1}'}


def test_javas_file_is_read_and_written_byte_for_byte() -> None:
    assert read_map(JAVA) == ENTRIES
    assert write_map(ENTRIES) == JAVA
    assert read_map(b"") == {}


@pytest.mark.parametrize("data", [b"position=1\n", JAVA[:-20], JAVA.replace(b"HashMap", b"TreeMap")])
def test_other_files_are_no_maps(data: bytes) -> None:
    with pytest.raises(JavaMapError):
        read_map(data)


async def test_offsets_are_there_again_after_a_restart(tmp_path: Path) -> None:
    store = FileOffsetStore(str(tmp_path / "offsets"))
    await store.start()
    await store.put("c", [({"file": "a"}, {"position": 1}), ({"file": "b"}, {"position": 2})])
    await store.put("c", [({"file": "a"}, {"position": 3}), ({"file": "b"}, None)])
    again = FileOffsetStore(str(tmp_path / "offsets"))
    await again.start()
    assert await again.read("c", [{"file": "a"}, {"file": "b"}]) == [{"position": 3}, None]
    assert await again.read("other", [{"file": "a"}]) == [None]
    assert not (tmp_path / "offsets.new").exists()


async def test_a_file_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "offsets"
    file.write_text("dear diary")
    with pytest.raises(ConnectError, match="move it away"):
        await FileOffsetStore(str(file)).start()
    assert file.read_text() == "dear diary"


async def test_a_folder_that_is_not_there_is_told_before_offsets_are_lost(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="no folder"):
        await FileOffsetStore(str(tmp_path / "absent" / "offsets")).start()


def test_a_source_partition_is_the_same_in_whatever_order_its_fields_are() -> None:
    index = OffsetIndex()
    index.replay(b'["c",{"b":1,"a":2}]', b'{"at":5}')
    assert index.get("c", {"a": 2, "b": 1}) == {"at": 5}
    # Forgotten under the key that it has in the topic, and no other.
    assert index.raw("c", {"a": 2, "b": 1}, None) == {b'["c",{"b":1,"a":2}]': None}
    index.replay(b'["c",{"b":1,"a":2}]', None)
    assert index.get("c", {"a": 2, "b": 1}) is None


@pytest.mark.parametrize("key", [None, b"", b"{", b'["c"]', b"[1,{}]", b'"c"', b'["c",{"x":NaN}'])
def test_keys_that_are_no_source_partitions_are_left_out(key: bytes | None) -> None:
    index = OffsetIndex()
    index.replay(key, b'{"at":5}')
    assert index.all("c") == []


def test_keys_are_as_javas_converter_writes_them() -> None:
    assert offset_key("käse", {"filename": "/a"}) == '["käse",{"filename":"/a"}]'.encode()
