"""The archive of graphs: what goes in comes out, one at a time; damage is one message."""

from __future__ import annotations

from pathlib import Path

import pytest

import speedlight.frontends.carried.archive as module
from speedlight._foundation.errors import BadFile
from speedlight.frontends.carried.archive import Archive, packed_tightly, unpacked, write_archive

GROUPS = [{"a": {"x": [1, 2.5, "é"]}, "b": {"y": None}}, {"c": {"z": list(range(1000))}}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_archive(tmp_path / "graphs", GROUPS, {"timm": "1"})
    return tmp_path / "graphs"


def test_every_graph_comes_back_whole(path: Path) -> None:
    opened = Archive(path)
    assert opened.facts == {"timm": "1"}
    assert opened.keys == {"a", "b", "c"}
    assert {k: opened.read(k) for k in opened.keys} == {**GROUPS[0], **GROUPS[1]}


def test_the_same_graphs_give_the_same_bytes(path: Path, tmp_path: Path) -> None:
    write_archive(tmp_path / "again", GROUPS, {"timm": "1"})
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_reading_one_unpacks_its_own_chunk_only(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, sizes = Archive(path), []

    def counted(data: bytes, limit: int, where: Path) -> bytes:
        sizes.append(len(data))
        return unpacked(data, limit, where)

    monkeypatch.setattr(module, "unpacked", counted)
    opened.read("b")
    opened.read("a")
    assert len(sizes) == 1


@pytest.mark.parametrize("keep", [0, 5, 12, 40, -40])
def test_a_file_cut_short_is_one_message(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadFile):
        Archive(path).read("c")


def test_every_flipped_byte_is_noticed_or_harmless(path: Path) -> None:
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        flipped = bytearray(whole)
        flipped[position] ^= 0xFF
        path.write_bytes(bytes(flipped))
        try:
            Archive(path).read("a")
        except (BadFile, KeyError):
            pass


def test_a_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="more than"):
        unpacked(packed_tightly(bytes(10**7)), 10**6, tmp_path)


def test_an_index_that_claims_gigabytes_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:8] + (2**40).to_bytes(8, "little") + whole[16:])
    with pytest.raises(BadFile):
        Archive(path)


def test_a_missing_file_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(BadFile):
        Archive(tmp_path / "nothing")
