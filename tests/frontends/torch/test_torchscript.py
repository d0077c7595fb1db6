"""A TorchScript archive gives the graph that capturing the live module gives, and nothing in it runs."""

from __future__ import annotations

import enum
import re
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from speedlight._foundation.errors import BadFile, BadInput, Unsupported
from speedlight.frontends.source import load_graph
from speedlight.frontends.torch_export import capture, parse_inputs
from speedlight.frontends.torch_export.inputs import TORCH_DTYPES
from speedlight.frontends.torch_export.source import find
from speedlight.graph import stats

from ..hostile.test_torchscript import DOUBLED, archive, module
from .modules import MODULES
from .test_pt2 import described

# (module, scripted or traced): all of MODULES that TorchScript takes, and whose traces keep the names and the work.
QUICK = [("conv", "script"), ("conv", "trace"), ("attention", "script"), ("lstm", "script")]
SLOW = [
    *[(n, how) for n in ("mlp", "mlp on sequences", "dilated", "transposed", "conv1d", "conv3d", "encoder", "decoder", "einsum", "grouped")
      for how in ("script", "trace")],
    *[(n, "script") for n in ("attention with weights", "resnet18", "unet")],
    *[(n, "trace") for n in ("attention", "lstm", "vit", "grouped causal attention")],
]  # fmt: skip


def saved(module: nn.Module, path: Path, how: str = "script", inputs: Sequence[str] = ()) -> str:
    """Script or trace a module as a user would."""
    module = module.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if how == "trace":
            floating = next((p.dtype for p in module.parameters()), torch.float32)
            tensors = [
                torch.zeros(s.shape, dtype=getattr(torch, TORCH_DTYPES[s.dtype]) if s.dtype else floating)
                for s in parse_inputs(inputs)
            ]
            made = torch.jit.trace(module, tuple(tensors), check_trace=False)
        else:
            made = torch.jit.script(module)
        torch.jit.save(made, str(path))
    return str(path)


@pytest.mark.parametrize(("name", "how"), [*QUICK, *[pytest.param(*c, marks=pytest.mark.slow) for c in SLOW]])
def test_an_archive_is_its_module(name: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    factory, inputs = MODULES[name]
    factory = find(factory) if isinstance(factory, str) else factory
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(how == "script")  # a tracer would take it, and record nothing else
    try:
        path = saved(factory(), tmp_path / "m.pt", how, inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    assert described(load_graph(path, tuple(inputs))) == described(capture(factory, inputs))


class Kind(enum.Enum):
    SUM = "sum"
    MEAN = "mean"


def chosen(x: torch.Tensor, kind: Kind) -> torch.Tensor:
    return x.sum((2, 3)) if kind == Kind.SUM else x.mean((2, 3))


class Language(nn.Module):
    """Loops, lists, dictionaries, an enumeration, optional values, an assertion, tied weights, a size in arithmetic."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.convs = nn.ModuleList([nn.Conv2d(3, 8, 3) for _ in range(2)])
        self.kind = Kind.MEAN
        self.sizes = [1, 2, 3]

    def forward(self, x: torch.Tensor, scale: float | None = None) -> dict[str, torch.Tensor]:
        assert x.dim() == 4, f"images, not {x.dim()} dimensions"
        found: list[torch.Tensor] = []
        for conv in self.convs:
            found.append(chosen(conv(x), self.kind))
        y = torch.cat(found, 0)
        for size in self.sizes:
            y = self.first(y) + size
        while len(found) < 4:
            found = found + found[:1]
        half = x.size(0) // 2
        if scale is not None:
            y = y * scale
        elif half > 100_000:
            y = y - 1
        y = self.second(y.view(-1, 8)).to(torch.float64).float()
        return {"y": y, "n": found[-1].reshape([half * 2, 8])}


def test_the_language(tmp_path: Path) -> None:
    path = saved(Language(), tmp_path / "m.pt")
    ours, live = (described(g) for g in (load_graph(path, ("4x3x9x9",)), capture(Language, ["4x3x9x9"])))
    assert ours == live
    assert ours["parameters"] == 2 * (3 * 8 * 9 + 8) + 8 * 8 + 2 * 8  # the tied matrix once
    with pytest.raises(BadInput, match="images, not 3 dimensions"):
        load_graph(path, ("4x3x9",))


def test_options_are_those_of_a_module(tmp_path: Path) -> None:
    path = saved(MODULES["conv"][0](), tmp_path / "m.ts")
    inputs = MODULES["conv"][1]
    with pytest.raises(BadInput, match="states no shapes"):
        load_graph(path)
    with pytest.raises(Unsupported, match="--weights"):
        load_graph(path, tuple(inputs), weights="int8")
    ours = load_graph(path, tuple(inputs), dtype="bf16", layout="channels_last")
    assert described(ours) == described(capture(MODULES["conv"][0], inputs, dtype="bf16", channels_last=True))
    trained = load_graph(path, tuple(inputs), train=True)
    assert described(trained) == described(capture(MODULES["conv"][0], inputs, train=True))


def test_a_frozen_module_keeps_its_weights(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 49, 5)).eval()
    torch.jit.save(torch.jit.freeze(torch.jit.script(module)), str(tmp_path / "m.pt"))
    graph = load_graph(str(tmp_path / "m.pt"), ("2x3x9x9",))
    assert stats.parameters(graph) == sum(p.numel() for p in module.parameters())
    assert described(graph)["flops"] == described(capture(module, ["2x3x9x9"]))["flops"]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    module = torch.jit.script(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).eval())
    torch.jit.save(torch.jit.optimize_for_inference(module), str(tmp_path / "packed.pt"))
    with pytest.raises(Unsupported, match="packed for one processor"):
        load_graph(str(tmp_path / "packed.pt"), ("2x3x9x9",))

    class Looks(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2 if bool(x.sum() > 0) else x

    with pytest.raises(BadInput, match="needs real data"):
        load_graph(saved(Looks(), tmp_path / "looks.pt"), ("2x3",))


def rewritten(path: str, out: Path, old: str, new: str) -> str:
    """The archive with a text of its code replaced."""
    found = False
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith(".py"):
                found = found or old.encode() in data
                data = data.replace(old.encode(), new.encode())
            target.writestr(name, data)
    assert found
    return str(out)


class Scripted(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x)


def test_one_of_several_signatures(tmp_path: Path) -> None:
    """An overloaded forward is several methods, and a call says which."""
    path = saved(nn.Sequential(Scripted()), tmp_path / "m.pt")
    path = rewritten(path, tmp_path / "a.pt", "(_0).forward(", "(_0).forward__1(")
    first = "  def forward__0(self: Any, x: Tensor) -> Tensor:\n    return torch.exp(x)\n  def forward__1(self: __torch__.tests"
    path = rewritten(path, tmp_path / "b.pt", "  def forward(self: __torch__.tests", first)
    assert [op.fn for _, op in load_graph(path, ("2x3",)).ops()] == ["relu"]


DOUBLING = "".join(
    f"    {name}0 = ({number}, 2)\n" + "".join(f"    {name}{i + 1} = ({name}{i}, {name}{i})\n" for i in range(60))
    for name, number in (("d", 1), ("e", 1))
)
HOSTILE = [
    ("torch.from_file('MARK')", "torch.from_file"),  # opens files
    ("torch.save(x, 'MARK')", "torch.save"),  # writes them, and is no operator of the dispatcher
    ("ops.evil.run(x)", "ops.evil.run"),
    ("ops.prim.__class__(x)", "ops.prim.__class__"),
    ("open('MARK', 'w')", "open"),
    ("x.__class__", "__class__"),
    ("x.storage()", "storage"),
    ("(self).__init_subclass__", "__init_subclass__"),
    ("__torch__.os.system('touch MARK')", "which it does not hold"),
    ("torch.pow(2, torch.pow(9, 20))", "power"),
    ("torch.pow(9, 60)", "bits"),
    ("torch.mul([1], 10000000000)", "list of"),
    ("torch.unbind(torch.zeros([8589934592]))", "tensors"),
    ("torch.split(torch.zeros([8589934592]), 1)", "tensors"),
    ("torch.mm(x, x)", "do not run|does not run"),
    ("torch.nosuch(x)", "torch.nosuch"),
    ("nosuch", "before it has a value"),
    ("(self).forward(x, )", "too deep|one another"),
    ("CONSTANTS.c99", "constant"),
    ("[][1]", "fails"),
    ("torch.eq(DOUBLING, DOUBLED)", "items"),
    ("torch.format('{}', DOUBLING)", "items|does not run"),
    ("torch.cat(DOUBLING)", "items"),
    ("ops.prim.max(DOUBLING, DOUBLED)", "items"),
    ("ops.prim.RaiseException(DOUBLING)", "items"),
    ("{DOUBLING: 1}", "key"),
    ("torch._set_item({}, DOUBLING, x)", "key|items"),
    ("({})[DOUBLING]", "key"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "says"), HOSTILE, ids=[c for c, _ in HOSTILE])
def test_hostile_code(code: str, says: str, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = saved(Scripted(), tmp_path / "m.pt")
    code = code.replace("MARK", str(mark))
    if "DOUBLING" in code:  # sixty lines that make 2^60 values, twice
        path = rewritten(path, tmp_path / "d.pt", "    return", DOUBLING + "    return")
        code = code.replace("DOUBLING", "d60").replace("DOUBLED", "e60")
    path = rewritten(path, tmp_path / "h.pt", "torch.relu(x)", code)
    with pytest.raises((BadFile, BadInput, Unsupported), match=says):
        load_graph(path, ("2x3",))
    assert not mark.exists()


@pytest.mark.parametrize("loop", ["while True:", "for i in range(10000):\n      for j in range(10000):"])
def test_a_loop_without_end_ends(loop: str, tmp_path: Path) -> None:
    path = saved(Scripted(), tmp_path / "m.pt")
    path = rewritten(path, tmp_path / "h.pt", "    return torch.relu(x)", f"    {loop}\n        pass\n    return x")
    with pytest.raises(Unsupported, match="steps"):
        load_graph(path, ("2x3",))


def test_lists_that_double_are_refused(tmp_path: Path) -> None:
    """Sixty tuples of two, each holding the one before twice: some 300 bytes, 2^60 values."""
    archive(module(DOUBLED))(tmp_path / "m.pt")
    with pytest.raises(BadFile, match="values in lists"):
        load_graph(str(tmp_path / "m.pt"), ("2x3",))


def test_a_huge_tensor_takes_no_memory(tmp_path: Path) -> None:
    path = saved(Scripted(), tmp_path / "m.pt")
    path = rewritten(path, tmp_path / "h.pt", "torch.relu(x)", "torch.relu(torch.zeros([1048576, 1048576]))")
    assert stats.parameters(load_graph(path, ("2x3",))) == 0


def test_no_pickle_is_loaded_and_no_weight_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    plain = zipfile.ZipFile.open

    def watched(self: zipfile.ZipFile, name: Any, *args: Any, **kwargs: Any) -> Any:
        opened.append(getattr(name, "filename", name))
        return plain(self, name, *args, **kwargs)

    path = saved(MODULES["conv"][0](), tmp_path / "m.pt")
    monkeypatch.setattr(zipfile.ZipFile, "open", watched)
    for name in ("pickle.loads", "pickle.Unpickler", "torch.load", "torch.jit.load"):
        monkeypatch.setattr(name, None)
    load_graph(path, tuple(MODULES["conv"][1]))
    assert opened
    assert all(re.search(r"\.py$|(data|constants)\.pkl$", name) for name in opened)
