"""An exported program gives the graph that capturing the live module gives: operators, FLOPs, bytes, names, folding."""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from speedlight._foundation.errors import BadInput
from speedlight.frontends.pt2 import load_program, replay
from speedlight.frontends.source import load_graph
from speedlight.frontends.torch_export import capture, parse_inputs
from speedlight.frontends.torch_export.inputs import TORCH_DTYPES
from speedlight.frontends.torch_export.source import find
from speedlight.graph import stats
from speedlight.graph.ir import Graph

from .counting import bytes_moved, matmul_flops, totals
from .modules import MODULES

QUICK = ["conv", "grouped causal attention", "branches"]
SLOW = ["unet", "einsum", "conv1d", "transposed", "grouped", "mlp", "attention with weights", "decoder", "resnet18", "lstm", "gpt2", "bert", "llama", "qwen3", "clip", "swin",
        "convnext", "vit", "encoder"]  # fmt: skip


class Autocast(nn.Module):
    """Tied weights, an unused layer, a buffer, layers of a list and an autocast region."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 16)
        self.layers = nn.ModuleList([nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 16), nn.GELU()) for _ in range(3)])
        self.head, self.unused = nn.Linear(16, 50, bias=False), nn.Linear(3, 3)
        self.head.weight = self.table.weight
        self.register_buffer("scale", torch.ones(16))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.table(tokens) * self.scale
        for layer in self.layers:
            x = x + layer(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            x = self.layers[0](x)
        return self.head(x.float())


def export(module: nn.Module, inputs: list[str], path: Path, *, strict: bool = False) -> Path:
    """Export as a user would, the leading dimension free."""
    module = module.eval()
    shapes = parse_inputs(inputs)
    floating = next((p.dtype for p in module.parameters()), torch.float32)
    first = shapes[0].shape[0]
    tensors = [
        torch.zeros(
            max(first, 2) if s.shape[0] == first else s.shape[0], *s.shape[1:],
            dtype=getattr(torch, TORCH_DTYPES[s.dtype]) if s.dtype else floating,
        )
        for s in shapes
    ]  # fmt: skip
    free = tuple({0: torch.export.Dim.AUTO} if s.shape[0] == first else None for s in shapes)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(module, tuple(tensors), dynamic_shapes=free, strict=strict)
            torch.export.save(program, path)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return path


def described(graph: Graph) -> dict[str, Any]:
    return {
        "ops": [(b.name, str(b.count), o.name, o.kind, o.fn, o.path, o.attrs) for b, o in graph.ops()],
        "parameters": stats.parameters(graph), "flops": matmul_flops(graph, "forward", batch=3),
        "bytes": bytes_moved(graph, 3), "weights": stats.kept(graph, "weight"),
        **{k: graph.attrs[k] for k in ("family", "kind", "dtype", "unknown_ops", "static", "train")},
        "symbols": set(graph.symbols),
    }  # fmt: skip


@pytest.mark.parametrize("name", [*QUICK, *[pytest.param(n, marks=pytest.mark.slow) for n in SLOW]])
def test_a_program_is_its_module(name: str, tmp_path: Path) -> None:
    factory, inputs = MODULES[name]
    factory = find(factory) if isinstance(factory, str) else factory
    path = export(factory(), inputs, tmp_path / "m.pt2")
    ours, live = described(load_program(str(path))), described(capture(factory, inputs))
    # What a call of ``float()`` would convert in mixed precision an exported graph does not say: in fp32 it converts nothing.
    idle = [
        op
        for op in live["ops"]
        if op[4] == "cast" and op[6].get("to") in ("low", live["dtype"]) and op not in ours["ops"]
    ]
    live["ops"] = [op for op in live["ops"] if op not in idle]
    if idle:
        assert ours.pop("bytes") < live.pop("bytes")
    assert ours == live


@pytest.mark.parametrize("strict", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_tied_weights_buffers_and_autocast(strict: bool, tmp_path: Path) -> None:
    path = export(Autocast(), ["2x5:int64"], tmp_path / "m.pt2", strict=strict)
    ours, live = described(load_program(str(path))), described(capture(Autocast, ["2x5:int64"]))
    if strict:  # the strict exporter drops what nothing uses, and names the casts' modules otherwise
        ours, live = ({k: d[k] for k in ("flops", "dtype", "family", "unknown_ops")} for d in (ours, live))
    assert ours == live


def test_inputs_choose_the_batch(tmp_path: Path) -> None:
    factory, inputs = MODULES["conv"]
    path = str(export(factory(), inputs, tmp_path / "m.pt2"))
    assert load_graph(path).symbols["batch"] == 2
    graph = load_graph(path, ("32x3x20x24",))
    assert graph.symbols["batch"] == 32
    assert described(graph) == described(load_graph(path))
    for wrong, says in ((("32x3x20x25",), "20x24"), (("32x3",), "20x24"), (("1x3x20x24", "1x2"), "inputs are given")):
        with pytest.raises(BadInput, match=says):
            load_graph(path, wrong)


def test_what_follows_an_interpolation_follows_the_batch(tmp_path: Path) -> None:
    class Upsampled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 5, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(nn.functional.interpolate(x * 2, scale_factor=2.0, mode="bilinear"))

    path = str(export(Upsampled(), ["2x4x6x8"], tmp_path / "m.pt2"))
    for batch in (1, 2, 8):
        graph = load_graph(path, (f"{batch}x4x6x8",))
        assert graph.attrs["static"] == ()
        assert totals(graph, batch) == pytest.approx(totals(capture(Upsampled, [f"{batch}x4x6x8"])), rel=1e-12)


class Padded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(nn.functional.pad(x * 2, (0, 1, 0, 3)))


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_what_follows_padding_follows_the_batch(batch: int, tmp_path: Path) -> None:
    path = str(export(Padded(), ["2x4x6x8"], tmp_path / "m.pt2"))
    graph = load_graph(path, (f"{batch}x4x6x8",))
    assert graph.attrs["static"] == ()
    assert totals(graph, batch) == pytest.approx(totals(capture(Padded, [f"{batch}x4x6x8"])), rel=1e-12)


@pytest.mark.parametrize("batch", [2, 8])
def test_a_batch_lost_on_the_way_is_fixed_and_said_so(
    batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Operators whose C++ reads the batch as a number, as padding's does: all of it then holds for the batch asked for."""
    monkeypatch.setattr(replay, "PADDING", ())
    graph = load_graph(str(export(Padded(), ["2x4x6x8"], tmp_path / "m.pt2")), (f"{batch}x4x6x8",))
    assert graph.attrs["static"] == ("batch",)
    assert graph.symbols["batch"] == batch
    assert totals(graph, batch) == pytest.approx(totals(capture(Padded, [f"{batch}x4x6x8"])), rel=1e-12)


def test_leading_sizes_exported_alike_are_the_batch(tmp_path: Path) -> None:
    """The exporter gives each a name of its own; asked for apart, they are two."""

    class Apart(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Linear(4, 3), nn.Linear(6, 3)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.one(x), self.other(y)

    path = str(export(Apart(), ["2x4", "2x6"], tmp_path / "m.pt2"))
    for batch, other, flops in ((5, 5, 5 * 2 * 3 * (4 + 6)), (5, 7, 2 * 3 * (5 * 4 + 7 * 6))):
        graph = load_graph(path, (f"{batch}x4", f"{other}x6"))
        assert matmul_flops(graph, "forward", batch=batch) == flops
        assert matmul_flops(graph, "forward", batch=2 * batch) == flops + 2 * 3 * batch * (
            4 + (6 if other == batch else 0)
        )


def test_a_fixed_batch_says_so(tmp_path: Path) -> None:
    with torch.no_grad():
        program = torch.export.export(nn.Linear(4, 2), (torch.zeros(3, 4),))
    torch.export.save(program, tmp_path / "m.pt2")
    graph = load_program(str(tmp_path / "m.pt2"))
    assert graph.attrs["static"] == ("batch",)
    assert graph.symbols["batch"] == 3


def test_a_free_length_is_taken_as_exported_or_as_given(tmp_path: Path) -> None:
    free = ({0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=512)},)
    with torch.no_grad():
        program = torch.export.export(nn.Linear(4, 2), (torch.zeros(2, 7, 4),), dynamic_shapes=free)
    torch.export.save(program, tmp_path / "m.pt2")
    graph = load_program(str(tmp_path / "m.pt2"))
    assert any(value.startswith("7:") for _, value in graph.attrs["assumptions"])
    assert matmul_flops(graph, "forward", batch=3) == 3 * 7 * 4 * 2 * 2
    given = load_program(str(tmp_path / "m.pt2"), ("2x100x4",))
    assert matmul_flops(given, "forward", batch=3) == 3 * 100 * 4 * 2 * 2
    assert not given.attrs["assumptions"]


def test_only_json_members_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    plain = zipfile.ZipFile.open

    def watched(self: zipfile.ZipFile, name: Any, *args: Any, **kwargs: Any) -> Any:
        opened.append(getattr(name, "filename", name))
        return plain(self, name, *args, **kwargs)

    path = export(MODULES["conv"][0](), MODULES["conv"][1], tmp_path / "m.pt2")
    monkeypatch.setattr(zipfile.ZipFile, "open", watched)
    monkeypatch.setattr("pickle.loads", None)
    monkeypatch.setattr("pickle.Unpickler", None)
    monkeypatch.setattr("torch.load", None)
    load_program(str(path))
    assert opened
    assert all(re.search(r"\.json$", name) for name in opened)
