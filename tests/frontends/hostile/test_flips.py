"""Law: whatever bytes of a model file change, a graph comes out or an error of ours; nothing else, and nothing hangs."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedlight._foundation.errors import SpeedlightError
from speedlight.frontends.gguf_file import load_gguf
from speedlight.frontends.hf.bare import load_safetensors

from ..safetensors.writing import decoder
from ..safetensors.writing import write as write_safetensors
from .test_gguf import META, header, pair, tensor, text, u32
from .test_pt2 import RELU, call, meta, program

# (place as a share of the file, new byte or bytes put in)
CHANGES = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=9)), min_size=1, max_size=4
)


def changed(data: bytes, changes: list[tuple[float, bytes]]) -> bytes:
    result = bytearray(data)
    for share, new in changes:
        at = int(share * len(result))
        result[at : at + len(new)] = new
    return bytes(result)


def tolerated(load: Callable[[], object]) -> None:
    said = ""
    try:
        load()
    except SpeedlightError as error:
        said = str(error)
    assert len(said) < 2000


def small_gguf() -> bytes:
    sizes = {"attn_q": (64, 64), "attn_k": (64, 32), "attn_v": (64, 32), "attn_output": (64, 64), "ffn_up": (64, 128),
             "ffn_gate": (64, 128), "ffn_down": (128, 64), "attn_norm": (64,), "ffn_norm": (64,)}  # fmt: skip
    tensors, offset = [], 0
    for name, shape in {
        "token_embd": (64, 100),
        "output_norm": (64,),
        **{f"blk.0.{n}": s for n, s in sizes.items()},
    }.items():
        tensors.append(tensor(f"{name}.weight", shape, 0, offset))
        offset += 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
    pairs = [*META, u32("llama.attention.head_count_kv", 1),
             pair("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 3) + text("a") * 3)]  # fmt: skip
    return header(pairs, tensors)


GGUF = small_gguf()


@settings(max_examples=50)
@given(CHANGES)
def test_gguf(tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[float, bytes]]) -> None:
    path = tmp_path_factory.getbasetemp() / "flips.gguf"
    with path.open("wb") as stream:
        stream.write(changed(GGUF, changes))
        stream.truncate(len(GGUF) + 300_000)
    tolerated(lambda: load_gguf(str(path)))


def test_the_unchanged_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(GGUF + b"\0" * 300_000)
    assert len(load_gguf(str(tmp_path / "x.gguf")).blocks) == 3


@settings(max_examples=50)
@given(CHANGES)
def test_safetensors(tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[float, bytes]]) -> None:
    folder = tmp_path_factory.getbasetemp() / "flips"
    folder.mkdir(exist_ok=True)
    path = folder / "x.safetensors"
    whole = write_safetensors(path, decoder(64, 2, 1, 32, 96, 50, 1)).read_bytes()
    head = 8 + struct.unpack("<Q", whole[:8])[0]
    path.write_bytes(changed(whole[:head], changes) + whole[head:])
    tolerated(lambda: load_safetensors(path))


PROGRAM = json.dumps(program(
    [RELU, call("torch.ops.aten.mul.Tensor", "z", self="y", other="x")], {"y": meta(2, 8), "z": meta(2, 8)}, "z"
)).encode()  # fmt: skip


@pytest.mark.torch
@settings(max_examples=15)
@given(CHANGES)
def test_programs(tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[float, bytes]]) -> None:
    pytest.importorskip("torch")
    from speedlight.frontends.pt2 import load_program

    path = tmp_path_factory.getbasetemp() / "flips.pt2"
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("m/models/model.json", changed(PROGRAM, changes))
    tolerated(lambda: load_program(str(path)))


@settings(max_examples=30)
@given(CHANGES)
def test_archives(tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[float, bytes]]) -> None:
    """Changes of the zip file itself; what is left of it is no program, so no torch is needed."""
    from speedlight.frontends.pt2 import load_program

    path = tmp_path_factory.getbasetemp() / "archive.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("m/models/model.json", b"[" * 50)
        z.writestr("m/data/weights/model_weights_config.json", b"{}")
    path.write_bytes(changed(path.read_bytes(), changes))
    tolerated(lambda: load_program(str(path)))
