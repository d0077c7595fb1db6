"""Hostile GGUF headers."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from pathlib import Path

from .harness import Case, refused


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def pair(key: str | bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def u32(key: str, value: int) -> bytes:
    return pair(key, 4, struct.pack("<I", value))


def tensor(name: str, sizes: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset)


ARCH = pair("general.architecture", 8, text("llama"))
META = [ARCH, u32("llama.block_count", 1), u32("llama.embedding_length", 64), u32("llama.attention.head_count", 2),
        u32("llama.context_length", 128), pair("llama.attention.layer_norm_rms_epsilon", 6, struct.pack("<f", 1e-5))]  # fmt: skip


def header(pairs: list[bytes], tensors: list[bytes], *, version: int = 3, keys: int | None = None,
           count: int | None = None, data: int = 0) -> bytes:  # fmt: skip
    head = struct.pack("<4sIQQ", b"GGUF", version, len(tensors) if count is None else count,
                       len(pairs) if keys is None else keys)  # fmt: skip
    return head + b"".join(pairs) + b"".join(tensors) + b"\0" * data


def of(content: bytes, hole: int = 0) -> Callable[[Path], None]:
    """Writes the content, and behind it as many bytes that take no room."""

    def build(path: Path) -> None:
        with path.open("wb") as stream:
            stream.write(content)
            stream.truncate(len(content) + hole)

    return build


def crowd(names: Iterable[str], pairs: list[bytes], kinds: int = 1) -> bytes:
    """A header of many small tensors, one after another, in several types."""
    tensors, offset = [], 25_600
    for i, name in enumerate(names):
        tensors.append(tensor(name, (8,), (0, 24)[(i * 2654435761 >> 7) % kinds], offset))
        offset += 32
    return header(pairs, [TABLE, *tensors])


TABLE = tensor("token_embd.weight", (64, 100))
GIGA = 2**40
LAYERS = [ARCH, u32("llama.block_count", 9_999), *META[2:]]
CASES = [
    Case("a layer of 190,000 tensors", of(crowd((f"blk.0.*[{i}" for i in range(190_000)), META), 10**8), "no part"),
    Case("9,999 kinds of layers",
         of(crowd((f"blk.{i}.{n}.weight" for i in range(9_999) for n in ("attn_output", *[f"x{j}" for j in range(15)])),
                  LAYERS, 2), 10**8)),
    Case("empty", of(b""), "gguf"),
    Case("four bytes", of(b"GGUF"), "gguf"),
    Case("another file", of(b"\x89PNG" + b"\0" * 100), "png"),
    Case("version 1", of(header(META, [], version=1, data=100)), "version 1"),
    Case("big endian", of(struct.pack(">4sIQQ", b"GGUF", 3, 0, 0) + b"\0" * 100), "big-endian"),
    Case("version 77", of(header(META, [], version=77, data=100)), "version"),
    Case("no architecture", of(header([u32("a", 1)], [TABLE], data=30_000)), "architecture"),
    Case("truncated metadata", of(header(META, [], data=0)[:120]), "ends"),
    Case("truncated table", of(header(META, [TABLE])[:-20]), "ends"),
    Case("truncated data", of(header(META, [TABLE], data=100)), "download"),
    Case("2^63 keys", of(header(META, [], keys=2**63), GIGA), "metadata keys"),
    Case("2^63 tensors", of(header(META, [], count=2**63), GIGA), "tensors"),
    Case("a million tensors", of(header(META, [tensor("t", (1,))] * 1_000_000)), "tensors"),
    Case("tensors that are not there", of(header(META, [], count=150_000), 100), "tensors"),
    Case("a text of an exabyte", of(header([text("k") + struct.pack("<IQ", 8, 2**60)], []), GIGA), "text"),
    Case("a text of a gigabyte", of(header([text("k") + struct.pack("<IQ", 8, 2**30)], []), GIGA), "text"),
    Case("a key of a gigabyte", of(header([struct.pack("<Q", 2**30)], []), GIGA), "metadata key"),
    Case("an array of an exabyte", of(header([text("k") + struct.pack("<IIQ", 9, 12, 2**57)], []), GIGA), "ends"),
    Case("a billion texts", of(header([text("k") + struct.pack("<IIQ", 9, 8, 10**9)], []), GIGA), "entries"),
    Case("four million texts in a hole", of(header([text("k") + struct.pack("<IIQ", 9, 8, 4_000_000)] * 8, []), GIGA)),
    Case("arrays in arrays", of(header([text("k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 500], []), GIGA),
         "nested"),
    Case("arrays of arrays of arrays", of(header([text("k") + struct.pack("<IIQ", 9, 9, 4_000_000)], []), GIGA)),
    Case("a key twice", of(header([ARCH, ARCH], [TABLE], data=30_000)), "twice"),
    Case("a tensor twice", of(header(META, [TABLE, TABLE], data=30_000)), "twice"),
    Case("a key of bad UTF-8", of(header([pair(b"\xff\xfe", 4, b"\0\0\0\0")], [], data=100)), "utf-8"),
    Case("a tensor of bad UTF-8", of(header(META, [text(b"\xff") + b"\0" * 40])), "utf-8"),
    Case("a type of tomorrow", of(header(META, [tensor("a", (64,), 999)], data=999)), "type 999"),
    Case("a removed type", of(header(META, [tensor("a", (64,), 31)], data=999)), "removed"),
    Case("a value of type 99", of(header([pair("k", 99, b"\0" * 8)], [], data=99)), "type 99"),
    Case("nine dimensions", of(header(META, [tensor("a", (1,) * 9)], data=99)), "dimensions"),
    Case("a tensor of 2^63 elements", of(header(META, [tensor("a", (2**31, 2**31, 2))]), GIGA), "sizes"),
    Case("a size of zero", of(header(META, [tensor("a", (0, 64))], data=99)), "sizes"),
    Case("half a block", of(header(META, [tensor("a", (100, 8), 12)], data=9999)), "multiple of 256"),
    Case("overlapping", of(header(META, [tensor("a", (64,)), tensor("b", (64,), 0, 32)], data=9999)), "overlaps"),
    Case("one offset for all", of(header(META, [tensor(f"t{i}", (64,)) for i in range(50)], data=9999)), "overlaps"),
    Case("an offset behind the file", of(header(META, [tensor("a", (64,), 0, 2**62)], data=99)), "download"),
    Case("an odd offset", of(header(META, [tensor("a", (64,), 0, 7)], data=999)), "multiple of 32"),
    Case("no alignment", of(header([*META, u32("general.alignment", 0)], [TABLE], data=30_000)), "alignment"),
    Case("a billion layers", of(header([ARCH, u32("llama.block_count", 2**31)], [TABLE], data=30_000)), "block_count"),
    Case("no layers", of(header([ARCH, u32("llama.block_count", 0)], [TABLE], data=30_000)), "block_count"),
    Case("a layer list of texts", of(header([*META[:3], pair("llama.attention.head_count", 8, text("many")),
                                             META[4], META[5]], [TABLE, tensor("blk.0.attn_output.weight", (64, 64), 0,
                                             25_600)], data=99_999)), "head_count"),
    Case("a thousand parts", of(header([*META, u32("split.count", 60_000)], [TABLE], data=30_000)), "split.count"),
    Case("parts elsewhere", of(header([*META, u32("split.count", 3)], [TABLE], data=30_000)), "parts"),
    Case("an adapter", of(header([*META, pair("general.type", 8, text("adapter"))], [TABLE], data=30_000)), "lora"),
    Case("an image tower", of(header([pair("general.architecture", 8, text("clip")), u32("clip.block_count", 1)],
                                     [TABLE], data=30_000)), "image"),
    Case("a layer without parts", of(header(META, [TABLE], data=30_000)), "no part"),
]  # fmt: skip


def test_hostile_files(tmp_path: Path) -> None:
    refused(CASES, tmp_path, ".gguf")
