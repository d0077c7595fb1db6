"""What eager PyTorch does in a training step beside what the network says, and how its backward kernels walk through memory."""

from __future__ import annotations

import dataclasses
from collections import Counter
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from speedlight.costs.families.module_views import texts_of
from speedlight.costs.price import price
from speedlight.frontends.torch_export import capture
from speedlight.graph.backward import add_optimizer, differentiate
from speedlight.graph.backward.training_mode import training_mode
from speedlight.graph.ir import Graph
from speedlight.graph.rewrite import rewrite
from speedlight.hardware.catalogue import load_machine
from speedlight.lowering.kernels import IN_FLIGHT, WALKS, Kernel
from speedlight.lowering.lower import lower
from speedlight.lowering.prepare import as_written

from .nets import stack


class Chain(nn.Module):
    """Convolutions, norms of the batch and activations that overwrite what they read."""

    def __init__(self, width: int, activation: str) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, width, 3, padding=1, bias=False), nn.Conv2d(width, width, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.act1, self.act2 = (getattr(nn, activation)(inplace=True) for _ in range(2))
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act1(self.norm1(self.first(x)))
        return self.head(self.act2(self.norm2(self.second(x))).mean((2, 3)))


@cache
def chain(width: int = 16, activation: str = "SiLU", layout: str = "nchw") -> Graph:
    return capture(lambda: Chain(width, activation), ["2x3x32x32"], channels_last=layout == "nhwc")


def step(graph: Graph, name: str = "torch-eager@2.6", autocast: str | None = "fp16") -> list[Kernel]:
    """Kernels of a training step."""
    found = stack(name)
    complete = add_optimizer(differentiate(as_written(training_mode(graph), found, autocast)), "sgd_momentum")
    return [k for block in lower(complete, found).blocks for k in block.kernels]


def names(found: list[Kernel], phase: str = "") -> Counter[str]:
    return Counter(k.fn for k in found if not phase or k.phase == phase)


@pytest.mark.parametrize(
    ("activation", "copies"), [("SiLU", 2), ("Hardswish", 2), ("ReLU6", 2), ("ReLU", 0), ("LeakyReLU", 0)]
)
def test_what_is_overwritten_is_copied_where_its_derivative_needs_it(activation: str, copies: int) -> None:
    """As the profiler sees torch do it: a clone for each SiLU in place, none for ReLU, whose result is enough."""
    graph = chain(activation=activation)
    assert names(step(graph), "forward")["copy"] == copies
    assert names(step(graph, "torch-eager@2.6/cpu", None), "forward")["copy"] == copies
    found = stack("torch-eager@2.6")
    assert "copy" not in {
        k.fn for block in lower(as_written(graph, found, "fp16"), found).blocks for k in block.kernels
    }


def test_copies_are_no_work_of_the_network() -> None:
    """The same tensors are saved, what is overwritten is the copy, and no bytes are asked of a good kernel."""
    graph = differentiate(training_mode(chain()))
    made = rewrite(graph, "keep_overwritten", {"functions": ["silu"]})
    assert made.attrs["saved"] == graph.attrs["saved"]
    assert rewrite(made, "keep_overwritten", {"functions": ["silu"]}) is made
    assert rewrite(graph, "keep_overwritten", {"functions": ["relu"]}) is graph
    copies = [op for _, op in made.ops() if op.fn == "copy"]
    assert len(copies) == 2
    assert all(op.attrs["library_copy"] for op in copies)


def test_a_weights_gradient_reads_images_as_they_lie() -> None:
    """Its second operand is the layer's input, not its filter: channels last nothing is transposed, row by row both images are."""
    assert names(step(chain(layout="nhwc")))["to_channels_last"] == 0
    backward = [k for k in step(chain()) if k.fn == "to_channels_last" and ".wgrad" in k.name]
    assert len(backward) == 4


def test_filters_of_single_points_multiply_images_as_they_lie() -> None:
    """Row by row, a 3×3 convolution has its image and result transposed, a 1×1 one neither, nor for its image's gradient; the gradient of
    its filter sums over images and has both."""
    chains = step(chain())
    points = {k.path for k in chains if k.fn == "conv2d" and k.dims["kernel_h"].constant == 1}
    assert points
    moved = [k for k in chains if k.fn in ("to_channels_last", "from_channels_last")]
    assert {k.name.rpartition(".")[0].rpartition(".")[2] for k in moved if k.path in points} == {"wgrad"}
    others = {k.path for k in chains if k.fn == "conv2d"} - points
    assert {k.path for k in moved if k.phase == "forward"} == others


def test_norms_of_inference_are_other_kernels_row_by_row() -> None:
    """Known statistics applied to planes, or channels last; only the first are noted."""
    found = stack("torch-eager@2.6")
    for layout, expected in (("nchw", {"batch_norm_by_plane"}), ("nhwc", {"batch_norm"})):
        program = lower(as_written(chain(layout=layout), found, "fp16"), found)
        kernels = [k for block in program.blocks for k in block.kernels if k.fn == "batch_norm"]
        assert {texts_of(k)["op"] for k in kernels} == expected


@pytest.mark.parametrize("width", [16, 48])
def test_norms_row_by_row_walk_a_channel_a_block(width: int) -> None:
    for kernel in step(chain(width)):
        if kernel.fn in ("batch_norm", "batch_norm_backward"):
            assert kernel.dims[WALKS].constant == width
    for kernel in step(chain(width, layout="nhwc")):
        assert WALKS not in kernel.dims


@given(walks=st.integers(1, 4096), in_flight=st.floats(64, 2**20), batch=st.integers(1, 64))
@settings(max_examples=50, deadline=None)
def test_memory_waits_for_too_few_bytes_in_flight(walks: int, in_flight: float, batch: int) -> None:
    """Bytes in flight over its latency are a rate, and no kernel is faster than that or than memory."""
    machine = load_machine("rtx-3090")
    main = machine.main
    assert main.latency_s
    program = lower(differentiate(training_mode(chain())), stack("torch-eager@2.6"))
    numbers = [values for _, values in program.evaluate({"batch": float(batch)}, [])]
    kernel, values = next(
        pair for block, own in zip(program.blocks, numbers, strict=True) for pair in zip(block.kernels, own, strict=True)
        if pair[0].fn == "batch_norm_backward"
    )  # fmt: skip
    few, many = ({**values.dims, WALKS: float(w), IN_FLIGHT: b} for w, b in ((walks, in_flight), (1e9, 1e9)))
    slow, fast = (price(kernel, dataclasses.replace(values, dims=dims), machine) for dims in (few, many))
    rate = min(walks * in_flight / main.latency_s, main.bandwidth)
    assert slow.busy[main.resource] == pytest.approx(fast.busy[main.resource] * main.bandwidth / rate)
    assert slow.limit == fast.limit


def test_the_optimizer_of_old_adds_to_gradients_it_set_to_zero() -> None:
    """Passes over parameters, momentum and gradients: 12 tensor by tensor (1.13), 8 in lists; five kernels a tensor, and three."""
    moved = {}
    for name in ("torch-eager@1.13", "torch-eager@2.6"):
        (kernel,) = [k for k in step(chain(), name) if k.fn == "sgd_momentum"]
        moved[name] = sum(float(a.bytes.constant or 0) for a in kernel.accesses), float(kernel.launches.constant or 0)
    parameters = 3 * 16 * 9 + 16 * 16 + 4 * 16 + 160 + 10
    assert moved["torch-eager@1.13"][0] == pytest.approx(4 * 12 * parameters, rel=1e-3)
    assert moved["torch-eager@2.6"][0] == pytest.approx(4 * 8 * parameters)
    assert [launches for _, launches in moved.values()] == [5 * 8, 3]
