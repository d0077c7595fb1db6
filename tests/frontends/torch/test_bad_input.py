"""Every way user code and shapes can be wrong is one BadInput that says where; nothing else ever comes out."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight._foundation.errors import BadInput
from speedlight.frontends.torch_export import capture, parse_inputs
from speedlight.frontends.torch_export.inputs import parse_input

CODE = """
import sys
import torch
from torch import nn

class Branch(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x * 2
        return x

class Loop(nn.Module):
    def forward(self, x):
        for _ in range(int(x.sum().item())):
            x = x + 1
        return x

class Nonzero(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)
    def forward(self, x):
        return self.layer(x[x.sum(-1) > 0])

class Numpy(nn.Module):
    def forward(self, x):
        return torch.from_numpy(x.numpy() * 2)

class Raises(nn.Module):
    def forward(self, x):
        raise KeyError("boom")

class Exits(nn.Module):
    def forward(self, x):
        raise SystemExit(3)

class Endless(nn.Module):
    def forward(self, x):
        return self.forward(x)

class Nothing(nn.Module):
    def forward(self, x):
        return 3

class Two(nn.Module):
    def forward(self, x, y):
        return x + y

def linear():
    return nn.Linear(4, 4)

def conv():
    return nn.Conv2d(3, 8, 3)

def raising():
    raise ValueError("no weights here")

def exits():
    sys.exit(2)

def number():
    return 42

def needs(a, b):
    return nn.Linear(a, b)

def endless():
    return endless()

def cuda():
    return nn.Linear(4, 4).to("cuda")

value = 3
"""
FILES = {
    "good.py": CODE, "syntax.py": "def f(:\n", "imports.py": "import not_there_at_all\n", "empty.py": "",
    "raises.py": "raise RuntimeError('at import')\n", "exits.py": "import sys\nsys.exit(0)\n", "nul.py": "\0\0",
}  # fmt: skip
CASES = [
    # source, inputs, what the message names
    ("absent.py:f", ["1x3"], "does not exist"), ("good.py:absent", ["1x3"], "has no 'absent'"),
    ("good.py", ["1x3"], "names no factory"), ("", ["1x3"], "no name"), ("good.py:", ["1x3"], "names no factory"),
    (":f", ["1x3"], "names no factory"), ("good.py:a b", ["1x3"], "no Python name"), ("x" * 5000 + ":f", ["1"], "no name"),
    ("good.py:raising", ["1x3"], "no weights here"), ("good.py:exits", ["1x3"], "SystemExit"),
    ("good.py:number", ["1x3"], "type int"), ("good.py:needs", ["1x3"], "a, b"), ("good.py:value", ["1x3"], "type int"),
    ("good.py:endless", ["1x3"], "RecursionError"), ("good.py:cuda", ["1x4"], "failed"),
    ("syntax.py:f", ["1x3"], "syntax error at line 1"), ("imports.py:f", ["1x3"], "not_there_at_all"),
    ("empty.py:f", ["1x3"], "defines nothing"), ("raises.py:f", ["1x3"], "at import"), ("exits.py:f", ["1"], "SystemExit"),
    ("nul.py:f", ["1"], "cannot be imported"), ("no_such_package.mod:f", ["1x3"], "no_such_package"),
    ("torch.nn:Linear", ["1x3"], "in_features"), ("torch:float", ["1"], "nothing to call"),
    ("good.py:linear", ["1x5"], "does not run"), ("good.py:conv", ["1x4x8x8"], "does not run"),
    ("good.py:linear", ["1x4", "1x4"], "does not run"), ("good.py:Two", ["1x4"], "'y'"),
    ("good.py:Two", ["1x4", "1x5"], "does not run"), ("good.py:Two", ["1x4", "z=1x4"], "'z'"),
    ("good.py:linear", ["1x4:int64"], "int64 and fp32"), ("good.py:linear", ["1x3xfoo"], "'foo'"),
    ("good.py:linear", ["1x4:foo"], "'foo'"), ("good.py:linear", ["1x4:int4"], "int4"), ("good.py:linear", ["-1x4"], "negative"),
    ("good.py:linear", ["0x4"], "is 0"), ("good.py:linear", [""], "empty"), ("good.py:linear", [], "no input"),
    ("good.py:linear", ["9" * 25 + "x4"], "whole number"), ("good.py:linear", ["999999999999x999999"], "elements"),
    ("good.py:linear", ["y=1x4", "1x4"], "positional"), ("good.py:linear", ["1x4x"], "whole number"),
    ("good.py:linear", ["x".join(["1"] * 13)], "13 dimensions"), ("good.py:linear", ["1x4:"], "missing"),
    ("good.py:Branch", ["1x3"], "good.py:8 in forward"), ("good.py:Loop", ["1x3"], "needs real data"),
    ("good.py:Nonzero", ["4x3"], "needs real data"), ("good.py:Numpy", ["4x3"], "needs real data"),
    ("good.py:Raises", ["4x3"], "boom"), ("good.py:Exits", ["4x3"], "SystemExit"),
    ("good.py:Endless", ["4x3"], "RecursionError"), ("good.py:Nothing", ["4x3"], "computes nothing"),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("user_code")
    for name, text in FILES.items():
        (path / name).write_text(text)
    return path


@pytest.mark.parametrize(("source", "inputs", "says"), CASES, ids=lambda v: str(v)[:40])
def test_bad_input(source: str, inputs: list[str], says: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = source if not source.partition(":")[0].endswith(".py") else f"{folder}/{source}"
    with pytest.raises(BadInput) as caught:
        capture(place, inputs)
    assert says in str(caught.value)
    assert caught.value.message
    assert caught.value.expected
    assert "Traceback" not in str(caught.value)
    assert len(str(caught.value)) < 1000 + 2 * len(str(folder))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("source", [None, 3, b"x.py:f", "a\0b:f"])
def test_sources_of_other_types(source: object) -> None:
    with pytest.raises(BadInput):
        capture(source, ["1x3"])


@pytest.mark.parametrize("dtype", ["int8", "fp8", "foo", ""])
def test_bad_dtypes(dtype: str) -> None:
    with pytest.raises(BadInput):
        capture("good.py:linear", ["1x4"], dtype=dtype)


@given(st.text(max_size=30) | st.from_regex(r"[-0-9x:a-z=]{1,20}", fullmatch=True))
def test_inputs_parse_or_say_why(text: str) -> None:
    with suppress(BadInput):
        assert all(size >= 1 for size in parse_input(text).shape)


@given(st.lists(st.integers(1, 100), min_size=1, max_size=6), st.sampled_from(["", ":bf16", ":int64", ":float16"]))
def test_sizes_round_trip(sizes: list[int], dtype: str) -> None:
    (shape,) = parse_inputs(["x".join(map(str, sizes)) + dtype])
    assert shape.shape == tuple(sizes)
    assert shape.dtype == {"": None, ":bf16": "bf16", ":int64": "int64", ":float16": "fp16"}[dtype]
