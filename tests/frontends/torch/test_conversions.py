"""Conversions that a module's own code calls: nothing in fp32, formats in mixed precision."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from speedlight.frontends.torch_export import capture  # noqa: E402
from speedlight.graph.grammar import check  # noqa: E402
from speedlight.graph.ir import Graph  # noqa: E402
from speedlight.graph.recast import recast  # noqa: E402
from speedlight.graph.rewrite.conversions import settled, speaks  # noqa: E402
from speedlight.lowering.prepare import as_written  # noqa: E402
from speedlight.stacks.stack import load_stack  # noqa: E402

EAGER = "torch-eager@2.9"


class Rooted(nn.Module):
    """A norm written out, as filter response norms are: its statistics in fp32, the rest in what came."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = x.float().square().mean(dim=(2, 3), keepdim=True).add(1e-5).rsqrt().to(x.dtype)
        return x * scale


class Outside(nn.Module):
    """A norm that turns the region off and takes what comes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cuda", enabled=False):
            return x * torch.rsqrt(x.pow(2).mean(dim=1, keepdim=True) + 1e-5)


class Asking(nn.Module):
    """Code that converts more inside a region than outside."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.is_autocast_enabled("cuda"):
            x = x.to(torch.float32)
        return x.float().square().to(x.dtype)


def net(norm: type[nn.Module]) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), norm(), nn.Conv2d(8, 4, 3))


def amp(graph: Graph) -> Graph:
    return check(as_written(graph, load_stack(EAGER), "fp16"))


def formats(graph: Graph, fn: str, path: str = "1") -> list[tuple[tuple[str, ...], str]]:
    """Formats of arguments and result of a module's calls of one function."""
    return [
        (tuple(graph.tensor(b, r.tensor).dtype for r in op.reads), graph.tensor(b, op.writes[0].tensor).dtype)
        for b, op in graph.ops()
        if op.fn == fn and op.path == path
    ]


@pytest.mark.parametrize("quick", [True, False])
def test_conversions_decide_formats_in_a_region(quick: bool) -> None:
    """The convolution's fp16 result is scaled in fp16; without the module's own conversions it would be in fp32."""
    graph = capture(lambda: net(Rooted), ["2x3x16x16"], quick=quick)
    assert speaks(graph)
    made = amp(graph)
    assert formats(made, "mul") == [(("fp16", "fp16"), "fp16")]
    assert formats(made, "mean") == [(("fp32",), "fp32")]


@pytest.mark.parametrize("quick", [True, False])
def test_in_fp32_they_are_nothing(quick: bool) -> None:
    graph = capture(lambda: net(Rooted), ["2x3x16x16"], quick=quick)
    plain = as_written(graph, load_stack(EAGER))
    assert [op.fn for _, op in check(plain).ops()] == ["conv2d", "pow", "mean", "add", "rsqrt", "mul", "conv2d"]
    assert not speaks(plain)
    assert settled(plain) is plain


def test_an_island_of_fp32_in_a_network_of_fp16() -> None:
    """``module.half()``: the square and its mean stay in fp32, what leaves the norm does not."""
    half = as_written(recast(capture(lambda: net(Rooted), ["2x3x16x16"]), "fp16"), load_stack(EAGER))
    assert formats(half, "pow") == [(("fp32",), "fp32")]
    assert formats(half, "mul") == [(("fp16", "fp16"), "fp16")]
    assert {half.tensor(b, w.tensor).dtype for b, op in half.ops() for w in op.writes if op.fn == "conv2d"} == {"fp16"}


@pytest.mark.parametrize("quick", [True, False])
def test_a_region_turned_off_takes_what_comes(quick: bool) -> None:
    """Powers and roots are fp32 inside a region; outside they are what comes."""
    made = amp(capture(lambda: net(Outside), ["2x3x16x16"], quick=quick))
    assert formats(made, "pow") == [(("fp16",), "fp16")]
    assert formats(made, "rsqrt") == [(("fp16",), "fp16")]


def test_code_that_asks_for_the_region_is_captured_as_it_runs_without() -> None:
    """Its conversions are not the same in both calls, so nothing is said of them."""
    graph = capture(lambda: net(Asking), ["2x3x16x16"], quick=True)
    assert not speaks(graph)
    assert formats(as_written(graph, load_stack(EAGER)), "pow") == [(("fp32",), "fp32")]


def test_most_modules_say_nothing_and_are_called_once() -> None:
    calls = []

    class Counted(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            calls.append(x.device.type)
            return x * 2

    capture(lambda: net(Counted), ["2x3x16x16"], quick=True)
    assert calls == ["meta"]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.sampled_from(["float", "like", "relu", "double"]), min_size=1, max_size=6))
def test_formats_are_those_of_pytorch(steps: list[str]) -> None:
    """Whatever chain of conversions a module calls, its results have the formats that PyTorch's own autocast gives them."""
    seen: list[str] = []

    class Chain(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x
            for step in steps:
                y = y.float() if step == "float" else y.to(x.dtype) if step == "like" else y * 2
                y = y + y.float() if step == "double" else torch.relu(y)
                seen.append(str(y.dtype))
            return y

    graph = capture(lambda: net(Chain), ["2x3x16x16"], quick=True)
    if not speaks(graph):
        return
    theirs = [name.removeprefix("torch.").replace("float", "fp") for name in seen[len(steps) : 2 * len(steps)]]
    made = amp(graph)
    ours = [
        made.tensor(b, op.writes[0].tensor).dtype
        for b, op in made.ops()
        if op.path == "1" and op.fn in ("relu", "add") and op.fn != "cast"
    ]
    assert ours == theirs
