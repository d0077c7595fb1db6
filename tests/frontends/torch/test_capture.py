"""What a captured graph says besides FLOPs: sizes, bytes, paths, classes, the batch, ways of tracing."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest
import torch
from torch import nn

from speedlight._foundation.errors import BadInput, MissingDependency
from speedlight.frontends.torch_export import capture, trace
from speedlight.graph import stats
from speedlight.graph.grammar import check

from .counting import captured, matmul_flops, timed, totals, value
from .modules import EXAMPLES, MODULES, GroupedCausal

RESNET = f"{EXAMPLES}/resnet.py:resnet50"


# the batch -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["conv", "unet", "grouped causal attention", "branches"])
def test_a_free_batch_evaluates_to_what_a_capture_at_that_size_finds(name: str) -> None:
    factory, inputs = MODULES[name]
    free = capture(factory, ["1x" + i.partition("x")[2] for i in inputs])
    fixed = capture(factory, ["8x" + i.partition("x")[2] for i in inputs], dynamic_batch=False)
    assert free.symbols["batch"] == 1
    assert free.attrs["static"] == ()
    assert fixed.attrs["static"] == ("batch",)
    assert totals(free, 8) == pytest.approx(totals(fixed), rel=1e-12)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
@pytest.mark.parametrize("told", [{"scale_factor": 2.0}, {"scale_factor": (1.5, 2.0)}, {"size": (9, 20)}])
def test_what_follows_an_interpolation_follows_the_batch(mode: str, told: dict[str, Any]) -> None:
    """Told by factors, C++ reads all sizes of its input as numbers: whatever came after held for the batch of the trace."""

    class Upsampled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 5, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(nn.functional.interpolate(self.conv.weight.mean() * x, mode=mode, **told))

    free = capture(Upsampled, ["1x4x6x8"])
    assert free.attrs["static"] == ()
    for batch in (1, 3):
        fixed = capture(Upsampled, [f"{batch}x4x6x8"], dynamic_batch=False)
        assert totals(free, batch) == pytest.approx(totals(fixed), rel=1e-12)


@pytest.mark.parametrize(
    ("mode", "shape"), [("linear", "4x9"), ("nearest", "4x9"), ("trilinear", "4x3x5x7"), ("nearest", "4x3x5x7")]
)
def test_interpolations_of_other_ranks(mode: str, shape: str) -> None:
    def upsampled(x: torch.Tensor) -> torch.Tensor:
        return nn.functional.interpolate(x, scale_factor=2.0, mode=mode) * 2

    class Upsampled(nn.Module):
        forward = staticmethod(upsampled)

    free, fixed = (capture(Upsampled, [f"{b}x{shape}"], dynamic_batch=b == 1) for b in (1, 3))
    assert free.attrs["static"] == ()
    assert totals(free, 3) == pytest.approx(totals(fixed), rel=1e-12)


def test_sizes_are_expressions_in_the_batch() -> None:
    graph = captured("resnet50")
    assert matmul_flops(graph, "forward", batch=7) == 7 * matmul_flops(graph, "forward", batch=1)


def test_a_module_that_fixes_its_batch_says_so() -> None:
    class Fixed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.view(4, 3, 5) * 2

    graph = capture(Fixed, ["4x15"])
    assert graph.attrs["static"] == ("batch",)
    assert graph.symbols["batch"] == 4


def test_only_inputs_led_by_the_batch_follow_it() -> None:
    class Biased(nn.Module):
        def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
            return x + bias

    graph = capture(Biased, ["4x15", "15"])
    sizes = {n: value(graph, t.elements, 10) for n, t in graph.shared.items()}
    assert sizes == {"input.x": 150, "input.bias": 15}


# bytes, operands, classes ----------------------------------------------------------------------------------------------


def test_resnet50_has_the_published_size() -> None:
    """25.56 M parameters, 4.1 GMAC, 11.1 M activations after convolutions (Radosavovic et al., arXiv 2003.13678)."""
    graph = captured("resnet50")
    assert stats.parameters(graph) == 25_557_032
    assert matmul_flops(graph, "forward") / 2e9 == pytest.approx(4.089, abs=5e-4)
    outputs = sum(
        value(graph, graph.tensor(b, o.writes[0].tensor).elements * b.count) for b, o in graph.ops() if o.kind == "conv"
    )
    assert outputs / 1e6 == pytest.approx(11.1, abs=0.05)


def test_resnet50_bytes_of_single_ops() -> None:
    graph = captured("resnet50")
    ops = {o.name: (b, o) for b, o in graph.ops()}

    def moved(name: str) -> float:
        block, op = ops[name]
        tensors = [graph.tensor(block, o.tensor) for o in (*op.reads, *op.writes)]
        return sum(value(graph, t.bytes) for t in tensors)

    assert moved("conv1") == 4 * (3 * 224 * 224 + 64 * 3 * 7 * 7 + 64 * 112 * 112)
    assert moved("bn1") == 4 * (2 * 64 * 112 * 112 + 4 * 64)
    assert moved("relu") == 4 * 2 * 64 * 112 * 112
    assert moved("maxpool") == 4 * 64 * (112 * 112 + 56 * 56) + 8 * 64 * 56 * 56  # its indices are 64-bit
    assert moved("fc") == 4 * (2048 + 2048 * 1000 + 1000 + 1000)


def test_convolution_dims() -> None:
    graph = captured("resnet50")
    (op,) = [o for _, o in graph.ops() if o.name == "conv1"]
    dims = {k: value(graph, v, 2) for k, v in op.dims.items()}
    assert dims == {
        "batch": 2, "in_channels": 3, "out_channels": 64, "groups": 1, "m": 2 * 112 * 112, "n": 64, "k": 147,
        "out_h": 112, "out_w": 112, "in_h": 224, "in_w": 224, "kernel_h": 7, "kernel_w": 7,
    }  # fmt: skip
    assert op.attrs["stride"] == (2, 2)
    assert op.attrs["padding"] == (3, 3)


def test_module_paths_and_leaf_names() -> None:
    graph = captured("resnet50")
    names = [o.name for _, o in graph.ops()]
    assert "layer2.0.downsample.0" in names
    assert "layer3.*.conv2" in names
    assert {o.path for _, o in graph.ops() if o.name == "layer1.0.add"} == {"layer1.0"}


def test_views_are_free_and_parts_are_parts() -> None:
    class Views(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x.transpose(1, 2).reshape(x.shape[0], -1)  # a copy: transposed
            a, b = y.view(x.shape[0], 2, -1).unbind(1)
            return (a * b).unsqueeze(1).expand(-1, 3, -1)

    graph = capture(Views, ["5x4x6"])
    ((_, copied), (block, multiplied)) = list(graph.ops())
    assert (copied.kind, multiplied.fn) == ("copy", "mul")
    assert value(graph, graph.tensor(block, multiplied.reads[0].tensor).elements) == 5 * 24
    assert multiplied.reads[0].elements is None  # both halves: the whole tensor, once
    assert value(graph, graph.tensor(block, multiplied.writes[0].tensor).elements) == 5 * 12


def test_a_slice_is_read_in_runs() -> None:
    class Slice(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[..., :4].exp()

    graph = capture(Slice, ["5x6x16"])
    (read,) = next(iter(graph.ops()))[1].reads
    assert read.access == "strided"
    assert value(graph, read.granule) == 4
    assert value(graph, read.elements) == 5 * 6 * 4


def test_in_place_calls_write_a_new_version() -> None:
    class InPlace(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x * 2
            y[:, 0] = 1.0
            return y.relu_()

    ops = [o for _, o in capture(InPlace, ["5x6"]).ops()]
    assert [o.fn for o in ops] == ["mul", "fill", "relu"]
    assert value_of(ops[1].writes[0].elements) == 5
    assert ops[2].reads[0].tensor == ops[1].writes[0].tensor != ops[0].writes[0].tensor
    assert ops[2].attrs["in_place"]


def value_of(expr: Any) -> float:
    from speedlight._foundation.expr import evaluate

    return evaluate(expr, {"batch": 5})


def test_classes_and_gradients() -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
            self.norm = nn.BatchNorm1d(4)
            self.a.requires_grad_(False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.b(self.a(x)))

    graph = capture(Frozen, ["3x4"])
    block = graph.blocks[0]
    tensors = {**block.tensors, **graph.shared}
    assert graph.shared["input.x"].cls == "input"
    assert (tensors["a.weight"].cls, tensors["norm.running_mean"].cls) == ("weight", "constant")
    assert not tensors["a.weight"].needs_grad
    assert not tensors["a.out"].needs_grad
    assert tensors["b.out"].needs_grad


def test_tied_weights_are_one_tensor() -> None:
    graph = captured("gpt2")
    assert "transformer.wte.weight" in graph.shared
    assert "lm_head.weight" not in graph.shared


def test_unread_parameters_are_kept_all_the_same() -> None:
    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.Linear(4, 4), nn.Linear(40, 40)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)

    assert stats.parameters(capture(Spare, ["3x4"])) == 20 + 1640


def test_dtype_converts_weights_and_inputs() -> None:
    graph = capture(f"{EXAMPLES}/mlp.py:mlp", ["2x784"], dtype="bf16")
    assert graph.attrs["dtype"] == "bf16"
    assert {t.dtype for t in (*graph.blocks[0].tensors.values(), *graph.shared.values())} == {"bf16"}
    assert next(iter(graph.ops()))[1].work[0].format == "bf16"


def test_training_mode_drops_and_computes_statistics() -> None:
    def factory() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.1))

    quiet, train = capture(factory, ["2x3x8x8"]), capture(factory, ["2x3x8x8"], train=True)
    assert [o.fn for _, o in quiet.ops()] == ["conv2d", "batch_norm"]
    fns = [o.fn for _, o in train.ops()]
    assert fns[-1] == "dropout"
    norm = next(o for _, o in train.ops() if o.fn == "batch_norm")
    assert norm.attrs["training"]
    assert norm.reads[0].reuse.constant == 2
    assert {"1.running_mean", "1.running_var"} <= {w.tensor for w in norm.writes}


def test_unknown_calls_are_named() -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.inv(x)

    graph = capture(Odd, ["2x4x4"])
    assert graph.attrs["unknown_ops"] == ("aten::linalg_inv_ex",)
    assert [o.kind for _, o in graph.ops()] == ["other"]


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (lambda x: x.sort(-1).values, "sort"), (lambda x: x.topk(3).values, "sort"), (lambda x: x.cumsum(-1), "scan"),
        (lambda x: torch.fft.rfft(x).abs(), "fft"), (lambda x: x.softmax(-1), "softmax"), (lambda x: x.mean(-1), "reduction"),
        (lambda x: x[:, [0, 2, 1]], "gather"), (lambda x: x.gather(1, torch.zeros(5, 2, 6, dtype=torch.int64)), "gather"),
        (lambda x: nn.functional.interpolate(x, scale_factor=2), "gather"), (lambda x: x.roll(1, -1), "copy"),
        (lambda x: nn.functional.layer_norm(x, (6,)), "norm"), (lambda x: nn.functional.max_pool1d(x, 2), "reduction"),
        (lambda x: nn.functional.pad(x, (1, 1)), "copy"), (lambda x: torch.stack([x, x]), "copy"),
        (lambda x: x.double(), "copy"), (lambda x: x.masked_fill(x > 0, 0.0), "elementwise"),
    ],
)  # fmt: skip
def test_kinds(function: Any, kind: str) -> None:
    class Wrapped(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return function(x)

    graph = check(capture(Wrapped, ["5x4x6"], dynamic_batch=False))
    assert kind in [o.kind for _, o in graph.ops()]
    assert graph.attrs["unknown_ops"] == ()


# ways of tracing -------------------------------------------------------------------------------------------------------


def refuses(*_: Any, **__: Any) -> None:
    raise RuntimeError("no export today")


@pytest.mark.parametrize("by_export", [True, False])
def test_regions_without_gradients_and_with_autocast_run_inline(
    by_export: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not by_export:
        monkeypatch.setattr(trace, "exported", refuses)

    class Regions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                y = self.layer(x)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.layer(y)

    for train in (False, True):
        graph = capture(Regions, ["3x4"], train=train)
        linears = [o for _, o in graph.ops() if o.fn == "linear"]
        assert [o.work[0].format for o in linears] == ["fp32", "bf16"]
        assert {o.path for o in linears} == {"layer"}


def test_of_a_condition_the_first_branch_is_taken_and_reported() -> None:
    class Condition(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cond(x.sum() > 0, lambda y: y @ y, lambda y: y + 1, (x,))

    graph = capture(Condition, ["4x4"], dynamic_batch=False)
    assert [o.fn for _, o in graph.ops()] == ["sum", "gt", "mm"]
    assert "cond" in graph.attrs["unknown_ops"][0]


def test_a_live_module_is_left_as_it_was() -> None:
    module = GroupedCausal().train()
    before = {n: (id(p), p.clone()) for n, p in module.named_parameters()}
    graph = capture(module, ["2x10x64"], dtype="bf16")
    assert module.training
    assert graph.attrs["dtype"] == "bf16"
    for name, parameter in module.named_parameters():
        assert id(parameter) == before[name][0]
        assert torch.equal(parameter, before[name][1])


def test_constructors_may_look_at_small_numbers() -> None:
    class Depths(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rates = [x.item() for x in torch.linspace(0, 0.1, 12)]
            self.weight = nn.Parameter(torch.empty(512, 512))
            nn.init.trunc_normal_(self.weight, std=0.02)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight * self.rates[-1]

    assert stats.parameters(capture(Depths, ["3x512"])) == 512 * 512


def test_what_user_code_prints_stays_off_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    def factory() -> nn.Module:
        print("loading")
        return nn.Linear(4, 4)

    capture(factory, ["1x4"])
    assert capsys.readouterr().out == ""


def test_without_torch_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependency, match="torch"):
        capture(RESNET, ["1x3x224x224"])


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, speedlight.frontends.torch_export, speedlight.graph.backward; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_resnet50_takes_seconds() -> None:
    assert timed("resnet50")[1] < 5


def test_seven_billion_parameters_need_no_memory() -> None:
    """Layers of a 7B model: 0.9 G parameters here, 3.5 GB; 32 layers take 10 s and 0.4 GB."""
    import resource

    from .modules import hugging

    factory = hugging(
        "LlamaForCausalLM", "LlamaConfig", hidden_size=4096, intermediate_size=11008, num_hidden_layers=3,
        num_attention_heads=32, vocab_size=32000,
    )  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    graph = capture(factory, ["1x512:int64"])
    assert stats.parameters(graph) == 869_298_176
    assert time.process_time() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # kB
    assert [b.count.constant for b in graph.blocks] == [1, 3, 1]


def test_unequal_layers_stay_flat() -> None:
    def factory() -> nn.Module:
        return nn.Sequential(*[nn.Linear(8 + i, 9 + i) for i in range(5)])

    assert len(capture(factory, ["1x8"]).blocks) == 1


def test_two_inputs_of_the_same_name_are_refused() -> None:
    with pytest.raises(BadInput, match="twice"):
        capture(MODULES["mlp"][0], ["x=1x3", "x=1x3"])
