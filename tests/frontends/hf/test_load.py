"""Files, folders with weights, bundled entries, the hub: what is loaded and what is said of it."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from speedlight._foundation.errors import BadFile, BadInput, MissingDependency
from speedlight.frontends.hf import Config, architecture, hub
from speedlight.frontends.hf.load import load_hf
from speedlight.frontends.hf.weights import read_header, read_weights
from speedlight.frontends.zoo import zoo_entry
from speedlight.graph import stats

LLAMA: dict[str, Any] = {
    "model_type": "llama", "vocab_size": 100, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 32, "torch_dtype": "bfloat16",
}  # fmt: skip


def safetensors(
    path: Path, tensors: dict[str, tuple[str, list[int], int]], header: bytes | None = None, pad: int = 0
) -> None:
    """A file with these (dtype, shape, bytes) and zeros for data."""
    table, offset = {}, 0
    for name, (dtype, shape, size) in tensors.items():
        table[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(table).encode() if header is None else header
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(offset + pad))


def weights_of(config: dict[str, Any], dtype: str, width: int) -> dict[str, tuple[str, list[int], int]]:
    """One tensor as large as the whole model: only sizes are read."""
    count = stats.parameters(load_hf(Config(config))[2])
    return {"model.weight": (dtype, [count], count * width)}


def folder(tmp_path: Path, config: dict[str, Any]) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def test_a_folder_says_true_sizes(tmp_path: Path) -> None:
    safetensors(folder(tmp_path, LLAMA) / "model.safetensors", weights_of(LLAMA, "BF16", 2))
    (tmp_path / "generation_config.json").write_text("not even JSON")  # says nothing about speed, is not read
    arch, formats, graph = load_hf(tmp_path)
    count = stats.parameters(graph)
    assert formats.dtype == "bf16"
    assert arch.family == "llama"
    assert graph.attrs["file"] == {
        "weight_bytes": 2 * count,
        "params": count,
        "by_format": {"bf16": 2 * count},
        "files": 1,
    }
    assert not [a for a in graph.attrs["assumptions"] if a[0] in ("parameters", "number format")]


def test_a_mismatch_is_said(tmp_path: Path) -> None:
    tensors = weights_of(LLAMA, "F16", 2)
    tensors["extra.inv_freq"] = ("F16", [7], 14)
    safetensors(folder(tmp_path, LLAMA) / "model.safetensors", tensors)
    arch, formats, graph = load_hf(tmp_path)
    notes = dict(graph.attrs["assumptions"])
    assert formats.dtype == "fp16"
    assert "bf16" in notes["number format"]
    assert f"{stats.parameters(graph):,}" in notes["parameters"]
    assert f"{stats.parameters(graph) + 7:,}" in notes["parameters"]
    assert notes.items() <= dict(arch.assumptions).items()


def test_an_unstated_dtype_comes_from_the_file(tmp_path: Path) -> None:
    plain = {k: v for k, v in LLAMA.items() if k != "torch_dtype"}
    safetensors(folder(tmp_path, plain) / "model.safetensors", weights_of(plain, "F32", 4))
    _, formats, graph = load_hf(tmp_path / "config.json")
    assert formats.dtype == "fp32"
    assert "number format" not in dict(graph.attrs["assumptions"])


def test_shards_add_up(tmp_path: Path) -> None:
    folder(tmp_path, LLAMA)
    safetensors(tmp_path / "a.safetensors", {"x": ("BF16", [3, 5], 30)})
    safetensors(tmp_path / "b.safetensors", {"y": ("F32", [2], 8)})
    index = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    facts = read_weights(tmp_path)
    assert facts is not None
    assert (facts.bytes, facts.elements, facts.files, facts.main_format) == (38, 17, 2, "bf16")
    (tmp_path / "b.safetensors").unlink()
    assert read_weights(tmp_path) is None  # a partial download says nothing


def test_packed_weights_are_no_parameter_count(tmp_path: Path) -> None:
    quant = {**LLAMA, "quantization_config": {"quant_method": "awq", "bits": 4}}
    safetensors(
        folder(tmp_path, quant) / "model.safetensors", {"q.qweight": ("I32", [8], 32), "q.scales": ("F16", [2], 4)}
    )
    _, formats, graph = load_hf(tmp_path)
    assert formats.weights == "int4_asym"
    assert graph.attrs["file"]["params"] is None
    assert graph.attrs["file"]["weight_bytes"] == 36


def test_formats_asked_for_win(tmp_path: Path) -> None:
    safetensors(folder(tmp_path, LLAMA) / "model.safetensors", weights_of(LLAMA, "F32", 4))
    assert load_hf(tmp_path, dtype="fp16", kv="fp8")[1].dtype == "fp16"
    assert load_hf(tmp_path, dtype="fp16", kv="fp8")[1].kv == "fp8"


def test_bundled_entries() -> None:
    arch, formats, graph = load_hf(zoo_entry("deepseek-v3"), dtype="bf16")  # type: ignore[arg-type]
    assert formats.weights is None
    assert arch.family == "deepseek"
    assert "file" not in graph.attrs


def entry(**fields: Any) -> bytes:
    whole = {"dtype": "F16", "shape": [2], "data_offsets": [0, 4], **fields}
    return json.dumps({"x": {k: v for k, v in whole.items() if v is not None}}).encode()


@pytest.mark.parametrize(
    ("header", "named"),
    [
        (b"{", "JSON"), (b"[]", "list"), (b'{"x": 3}', "data_offsets"), (entry(dtype="F17"), "F17"),
        (entry(shape=[-2]), "shape"), (entry(shape="2"), "shape"), (entry(data_offsets=[0, 10**9]), "data_offsets"),
        (entry(data_offsets=[4, 0]), "data_offsets"), (entry(data_offsets=None), "data_offsets"), (entry(shape=[3]), "bytes"),
        (entry(shape=[True, 2]), "shape"),
    ],
)  # fmt: skip
def test_bad_headers(tmp_path: Path, header: bytes, named: str) -> None:
    safetensors(tmp_path / "model.safetensors", {}, header, pad=4)
    with pytest.raises(BadFile, match=named):
        read_header(tmp_path / "model.safetensors")


def test_header_limits(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"\x01")
    with pytest.raises(BadFile, match="1 bytes"):
        read_header(file)
    file.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(BadFile, match="header"):
        read_header(file)
    with pytest.raises(BadFile, match="cannot read"):
        read_header(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("table", [{"x": "../../etc/passwd"}, {"x": "/etc/passwd"}, {"x": 3}, []])
def test_an_index_names_only_files_beside_it(tmp_path: Path, table: Any) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
    with pytest.raises(BadFile):
        read_weights(tmp_path)


def test_the_hub_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub, "reachable", lambda: False)
    with pytest.raises(BadInput) as caught:
        hub.fetch_config("some-org/some-model")
    assert "some-org/some-model" in caught.value.message
    assert "cannot be reached" in caught.value.message
    assert "speedlight models" in caught.value.hint


def test_the_hub_by_its_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """config.json from the local cache needs no network."""
    module = pytest.importorskip("huggingface_hub")
    path = folder(tmp_path, LLAMA) / "config.json"
    asked = []

    def download(repository: str, name: str, **options: Any) -> str:
        asked.append((name, options["local_files_only"]))
        return str(path)

    monkeypatch.setattr(module, "hf_hub_download", download)
    config = hub.fetch_config("org/name")
    assert config.where == "org/name"
    assert architecture(config).hidden == 16
    assert asked == [("config.json", True)]


def test_the_hub_online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not cached: config.json and its quantisation companion are fetched, and nothing else."""
    module = pytest.importorskip("huggingface_hub")
    path = folder(tmp_path, LLAMA) / "config.json"
    asked = []

    def download(repository: str, name: str, **options: Any) -> str:
        asked.append(name)
        if options["local_files_only"] or name != "config.json":
            raise OSError("not there")
        return str(path)

    monkeypatch.setattr(module, "hf_hub_download", download)
    monkeypatch.setattr(hub, "reachable", lambda: True)
    assert hub.fetch_config("org/name")["hidden_size"] == 16
    assert asked == ["config.json", "config.json", "hf_quant_config.json"]


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(MissingDependency, match="speedlight\\[hf\\]"):
        hub.fetch_config("org/name")
