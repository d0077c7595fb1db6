"""Hostile TorchScript archives, refused before PyTorch is imported. What passes the reader is in torch/test_torchscript.py."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

from .harness import Case, refused
from .test_pt2 import MARK, Bomb, lying, many_members

CODE = """class M(Module):
  __parameters__ = ["weight", ]
  __buffers__ = []
  weight : Tensor
  training : bool
  def forward(self: __torch__.M,
    x: Tensor) -> Tensor:
    return torch.relu(x)
"""
# A tuple of the one before twice, sixty times.
DOUBLED = b"N" + b"".join(bytes([ord("q"), k, ord("h"), k, 0x86]) for k in range(60))
NOTHING = b"\x80\x02)."  # a pickled ()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def tensor(elements: int, *shape: int, key: str = "0") -> bytes:
    """Opcodes of one tensor as PyTorch's pickler writes them."""
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + number(elements) + b"tQ"
    sizes = b"(" + b"".join(map(number, shape)) + b"t"
    strides = b"(" + b"".join(number(1) for _ in shape) + b"t"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(0) + sizes + strides + b"\x89)tR"


def module(weight: bytes = b"N", name: str = "__torch__\nM") -> bytes:
    """A pickled module with a weight."""
    return b"\x80\x02c" + name.encode() + b"\n)\x81}(" + text("weight") + weight + text("training") + b"\x89ub."


def archive(
    data: bytes = b"", code: str | bytes = CODE, constants: bytes = NOTHING, **members: bytes
) -> Callable[[Path], None]:
    def build(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
            z.writestr("m/data.pkl", data or module())
            z.writestr("m/code/__torch__.py", code)
            z.writestr("m/constants.pkl", constants)
            for name, content in members.items():
                z.writestr(f"m/data/{name.lstrip('_')}", content)

    return build


def truncated(path: Path) -> None:
    archive()(path)
    path.write_bytes(path.read_bytes()[:-30])


def lying_code(path: Path) -> None:
    """A directory that states 2 GB for a member of code."""
    archive()(path)
    data = bytearray(path.read_bytes())
    at = data.find(b"m/code/__torch__.py", data.find(b"PK\x01\x02")) - 46
    struct.pack_into("<I", data, at + 24, 2**31)
    path.write_bytes(data)


CASES = [
    Case("whole", archive(), "states no shapes"),
    Case("a bomb", archive(pickle.dumps(Bomb())), "opcode"),
    Case("a bomb of protocol 2", archive(pickle.dumps(Bomb(), 2)), "system"),
    Case("a bomb among the constants", archive(constants=pickle.dumps(Bomb(), 2)), "system"),
    Case("an object of another class", archive(module(name="os\nstat_result")), "makes"),
    Case("a pickle of zeros", archive(b"\0" * 100), "pickle"),
    Case("a pickle without end", archive(b"\x80\x02}"), "exhausted"),
    Case("an empty pickle", archive(b"\x80\x02."), "pickle"),
    Case("marks alone", archive(b"\x80\x02" + b"(" * 1_500_000 + b"."), "opcodes"),
    Case("a key that doubles", archive(b"\x80\x02}" + DOUBLED + b"Ns."), "key"),
    Case("a text of 4 GB", archive(b"\x80\x02X\xff\xff\xff\xffabc."), "pickle"),
    Case("a tensor of 4 TB", archive(module(tensor(2**40, 2**40))), "elements"),
    Case("a storage of 4 TB", archive(module(tensor(2**40, 2**40)), _0=b"x" * 16), "said to hold"),
    Case("a tensor beyond its storage", archive(module(tensor(4, 2**40)), _0=b"x" * 16), "elements"),
    Case("a tensor of negative size", archive(module(tensor(4, -4)), _0=b"x" * 16), "shape"),
    Case("a storage of nowhere", archive(module(tensor(4, 4, key="../../x"))), "elements"),
    Case("imports", archive(code="import os"), "import"),
    Case("a call outside a function", archive(code="open('x')\n" * 10), "states no shapes"),  # never run
    Case("a lambda", archive(code="x = (lambda: 1)()"), "lambda"),
    Case("an expression that grows", archive(code=f"x = {'9' * 5000}"), "code"),
    Case("no syntax", archive(code="def f(:"), "parsed"),
    Case("deep code", archive(code="x = " + "(" * 100_000), "parsed"),
    Case("deep negations", archive(code="x = " + "-" * 900_000 + "1"), "parsed"),
    Case("deep attributes", archive(code="x = a" + ".a" * 450_000), ""),
    Case("code of zeros", archive(code=b"\0" * 1000), "parsed"),
    Case("code of 100 MB", archive(code=" " * 100_000_000), "code"),
    Case("code of a million words", archive(code="x = [" + "1," * 1_500_000 + "]"), "words"),
    Case("code of no text", archive(code=b"\xff\xfe"), "no text"),
    Case("code that lies", lying_code, "code"),
    Case("a directory that lies", lying(2**31), ""),
    Case("truncated", truncated, "zip"),
    Case("300,000 members", many_members, ""),
]


def test_hostile_archives(tmp_path: Path) -> None:
    refused(CASES, tmp_path, ".pt")
    assert not list(tmp_path.rglob(MARK))
    assert not Path(MARK).exists()
