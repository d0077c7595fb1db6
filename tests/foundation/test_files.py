"""Files: limits on what is read, whole files or none on what is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from speedlight._foundation.errors import BadFile
from speedlight._foundation.files import parse_json, parse_yaml, read_text, write_atomically


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "answer.json"
    write_atomically(target, "old")

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", broken)
    with pytest.raises(BadFile, match="No space"):
        write_atomically(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_reading_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="does not exist"):
        read_text(tmp_path / "none.json", "model")
    with pytest.raises(BadFile, match="folder"):
        read_text(tmp_path, "model")
    big = tmp_path / "big"
    big.write_bytes(b"x" * 100)
    with pytest.raises(BadFile, match="100 bytes"):
        read_text(big, "model", limit=10)
    big.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadFile, match="UTF-8"):
        read_text(big, "model")


@pytest.mark.parametrize("text", ["{", "[" * 200_000, "{'a': 1}", "", "1" * 5000])
def test_bad_json_is_one_message(text: str) -> None:
    with pytest.raises(BadFile):
        parse_json(text, "it")


def test_yaml_bombs_and_tags_are_refused() -> None:
    bomb = "a0: &a0 [x,x]\n" + "".join(f"a{i}: &a{i} [{','.join(['*a' + str(i - 1)] * 30)}]\n" for i in range(1, 12))
    with pytest.raises(BadFile):
        parse_yaml(bomb, "it")
    with pytest.raises(BadFile):
        parse_yaml("!!python/object/apply:os.system ['true']", "it")
    for deep in ("[" * 100_000, "- " * 100_000, "{a: " * 100_000):
        with pytest.raises(BadFile, match=r"nested|valid"):
            parse_yaml(deep, "it")
    with pytest.raises(BadFile, match="line"):
        parse_yaml("a: 1\nb: [", "it")
