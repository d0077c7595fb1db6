"""A GGUF file from the command line to an answer."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from speedlight._foundation.errors import Unsupported
from speedlight.cli.main import main
from speedlight.frontends.gguf_file import load_gguf
from speedlight.frontends.gguf_file.header import Length, read_header
from speedlight.frontends.source import load_graph
from speedlight.frontends.weight_files.reading import LocalFile
from speedlight.graph.stats import kv_bytes_per_token

from .writing import F32, Q4_K, layer, llama, stored_bytes, write


@pytest.mark.parametrize("machine", ["apple-m3-max-40c-128gb", "rtx-4090"])
def test_explain(machine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arch, meta, tensors = llama(count=8)
    path = write(tmp_path / "tiny-Q4_K.gguf", arch, meta, tensors, tokens=20)
    assert main(["explain", str(path), "--on", machine, "--phase", "decode", "--context", "100", "--json", "-"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["model"]["id"] == "tiny-Q4_K"
    assert answer["model"]["weight_bytes"] == stored_bytes(tensors)
    assert answer["memory"]["by_class"]["weights"] == pytest.approx(stored_bytes(tensors))
    assert answer["stack"].startswith("llama.cpp")


def test_what_a_file_fixes_is_not_overridden(tmp_path: Path) -> None:
    path = str(write(tmp_path / "x.gguf", *llama()))
    for asked in ({"dtype": "bf16"}, {"weights": "int4"}, {"mtp": 1}):
        with pytest.raises(Unsupported, match=r"config\.json"):
            load_graph(path, **asked)
    assert kv_bytes_per_token(load_graph(path, kv="q8_0")) == kv_bytes_per_token(load_graph(path)) * 34 / 64


def test_a_part_we_do_not_describe_is_named(tmp_path: Path) -> None:
    arch, meta, tensors = llama()
    strange = tensors | layer(0, {"ssm_beta.weight": ((64, 512), Q4_K)})
    with pytest.raises(Unsupported, match="ssm_beta"):
        load_gguf(str(write(tmp_path / "a.gguf", arch, meta, strange)))
    large = tensors | layer(0, {"altup.weight": ((4096, 512), Q4_K)})
    with pytest.raises(Unsupported, match=r"altup.*no operator|no operator.*altup"):
        load_gguf(str(write(tmp_path / "b.gguf", arch, meta, large)))
    small = tensors | layer(0, {"scale.weight": ((8,), F32)})
    assert ("tensors of no operator", "1 of 32 bytes: blk.0.scale.weight") in load_gguf(
        str(write(tmp_path / "c.gguf", arch, meta, small))
    ).attrs["assumptions"]


def test_draft_layers_are_kept_and_not_run(tmp_path: Path) -> None:
    arch, meta, tensors = llama(count=5)
    graph = load_gguf(str(write(tmp_path / "x.gguf", arch, {**meta, "nextn_predict_layers": 1}, tensors)))
    assert graph.attrs["n_layers"] == 4
    assert graph.attrs["file"]["weight_bytes"] == stored_bytes(tensors)


def test_the_header_is_the_librarys(tmp_path: Path) -> None:
    """Our reader against the gguf library's, on the same file."""
    import gguf

    path = write(tmp_path / "x.gguf", *llama(), tokens=5000, note="text", many=[1, 2, 3])
    ours, theirs = read_header(LocalFile(path)), gguf.GGUFReader(path)
    assert [(t.name, t.bytes, t.elements) for t in ours.tensors] == [
        (t.name, t.n_bytes, t.n_elements) for t in theirs.tensors
    ]  # fmt: skip
    assert set(ours.metadata) == {k for k in theirs.fields if not k.startswith("GGUF.")}
    assert ours.metadata["tokenizer.ggml.tokens"] == Length(5000)
    assert ours.metadata["many"] == [1, 2, 3]
    assert ours.metadata["llama.attention.layer_norm_rms_epsilon"] == struct.unpack("f", struct.pack("f", 1e-5))[0]
