"""What runs, kernel by kernel, under each stack: small cases counted by hand from the libraries' behaviour."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn

from speedlight._foundation.expr import compile_tape
from speedlight.frontends.torch_export import capture

from .nets import functions, kernels, moved, net


def test_eager_runs_a_kernel_for_each_call() -> None:
    assert functions(net("conv"), "torch-eager@2.6") == ["conv2d", "batch_norm", "relu"]


def test_a_compiler_keeps_the_convolution_and_makes_one_loop_of_the_rest() -> None:
    assert functions(net("conv", "nhwc"), "torch-compile@2.4") == ["conv2d", "relu"]
    found = kernels(net("conv", "nhwc"), "torch-compile@2.4")
    assert found[1].members == ("norm", "relu")


def test_a_compiler_copies_images_and_weights_to_channels_last_once_a_pass() -> None:
    assert sorted(functions(net("conv"), "torch-compile@2.4")) == [
        "conv2d",
        "relu",
        "to_channels_last",
        "to_channels_last",
    ]


def test_sixteen_bit_convolutions_are_transposed_on_the_way_in_and_out_unless_channels_last() -> None:
    assert functions(net("conv"), "torch-eager@2.6", "fp16") == [
        "cast", "cast", "to_channels_last", "to_channels_last", "conv2d", "from_channels_last", "batch_norm", "relu",
    ]  # fmt: skip
    assert functions(net("conv", "nhwc"), "torch-eager@2.6", "fp16") == ["cast", "cast", "conv2d", "batch_norm", "relu"]


def test_autocast_casts_what_its_lists_say() -> None:
    """A transformer layer: the residual stream stays fp32, products take fp16, norms and softmax give fp32."""
    found = [k for k in kernels(net("tokens"), "torch-eager@2.6", "fp16") if k.path.startswith("layers.")]
    layer = found[: len(found) // 4]
    casts = [k.name.removeprefix("layers.*.") for k in layer if k.fn == "cast"]
    assert casts == [
        "qkv.cast", "qkv.weight.cast", "qkv.bias.cast", "proj.weight.cast", "proj.bias.cast",
        "fc1.cast", "fc1.weight.cast", "fc1.bias.cast", "fc2.weight.cast", "fc2.bias.cast",
    ]  # fmt: skip
    products = [w.format for k in layer for w in k.work if w.unit == "matmul"]
    assert products == ["fp16"] * 5  # qkv, attention, proj, fc1, fc2


def test_weights_are_read_whole_by_their_casts_and_half_as_large_by_products() -> None:
    plain, mixed = (kernels(net("tokens"), "torch-eager@2.6", a) for a in (None, "fp16"))
    assert moved([k for k in mixed if k.name.endswith(".weight.cast")]) == pytest.approx(
        1.5 * sum(moved([]) + _weights(k) for k in plain if k.fn in ("linear", "conv2d"))
    )


def _weights(kernel: object) -> float:
    return sum(float(a.bytes.constant or 0) for a in kernel.accesses if a.tensor.endswith(".weight"))  # type: ignore[attr-defined]


def test_before_fused_attention_scores_pass_through_memory() -> None:
    old = Counter(functions(net("tokens"), "torch-eager@1.13"))
    new = Counter(functions(net("tokens"), "torch-eager@2.1"))
    assert new["sdpa"] == 4
    assert old["sdpa"] == 0
    assert old - new == Counter({"bmm": 8, "copy": 16, "mul": 4, "softmax": 4})


def test_a_residual_sum_fuses_with_the_norm_of_the_next_layer() -> None:
    """Across layers, too: the sums, norms and products of four layers are 1 + 4 · 8 + 1 kernels and a head."""
    found = kernels(net("tokens", "nhwc"), "torch-compile@2.9")
    names = Counter(k.fn for k in found)
    assert names == Counter({"conv2d": 1, "layer_norm": 9, "linear": 17, "sdpa": 4, "gelu": 4})
    assert not [k for k in found if k.fn == "add"]


def test_global_pooling_reduces_in_the_loop_that_makes_its_input() -> None:
    found = kernels(net("images", "nhwc"), "torch-compile@2.9")
    (pooled,) = [k for k in found if k.fn == "mean"]
    assert [m.rsplit(".", 1)[-1] for m in pooled.members] == ["norm2", "add", "relu_2", "mean"]


def test_rows_are_gathered_before_a_norm_over_channels() -> None:
    assert functions(net("modern"), "torch-eager@2.6").count("contiguous") == 1
    assert functions(net("modern", "nhwc"), "torch-eager@2.6").count("contiguous") == 0


def test_a_convolutions_bias_is_a_kernel_of_its_own_but_for_depthwise_ones() -> None:
    found = kernels(net("modern"), "torch-eager@2.6")
    assert [k.name for k in found if k.name.endswith(".bias")] == ["stem.bias"]
    cpu = kernels(net("modern"), "torch-eager@2.6/cpu")
    assert not [k.name for k in cpu if k.name.endswith(".bias")]


def test_engines_fold_batch_norms_and_take_activations_along() -> None:
    assert functions(net("conv"), "onnxruntime") == ["conv2d"]
    assert functions(net("conv"), "tensorrt") == ["to_channels_last", "conv2d"]
    (whole,) = kernels(net("conv", "nhwc"), "tensorrt")
    assert {a.tensor for a in whole.accesses} == {"input.x", "conv.weight", "norm.bias", "relu.out"}


def test_tf32_is_for_convolutions_alone_unless_asked() -> None:
    from speedlight.engine.questions.resolve import with_tf32
    from speedlight.stacks.stack import load_stack

    stack = load_stack("torch-eager@2.6")
    said = {on: [dict(with_tf32(stack, on).variant(f).multiply) for f in ("conv2d", "linear")] for on in (True, False)}
    assert [dict(stack.variant(f).multiply) for f in ("conv2d", "linear")] == [{"fp32": "tf32"}, {}]
    assert said == {True: [{"fp32": "tf32"}] * 2, False: [{}, {}]}


def test_compilers_that_reorder_no_loops_reduce_images_apart() -> None:
    """Channels last, a mean over positions runs across the loops that make its input: one kernel until 2.8, then none."""
    names = [functions(net("images", "nhwc"), f"torch-compile@{v}")[-3:] for v in ("2.4", "2.9", "2.9/cpu")]
    assert names == [["relu", "mean", "linear"], ["conv2d", "mean", "linear"], ["relu", "mean", "linear"]]


def test_what_torch_2_13_compiles_on_a_cpu() -> None:
    """Nodes that Inductor's scheduler was seen to leave after fusion (torch 2.13, fp32, CPU): 31 and 9."""
    assert len(functions(net("images"), "torch-compile@2.9/cpu")) == 31
    assert len(functions(net("modern"), "torch-compile@2.9/cpu")) == 9


def test_one_small_image_reaches_no_library_on_a_host() -> None:
    """16 x 32 x 32 numbers: one image of them is multiplied as it lies, two are reordered for oneDNN."""
    found = kernels(net("conv"), "torch-eager@2.9/cpu")
    times = {k.fn: [compile_tape([k.count]).run({"batch": b})[0] for b in (1.0, 2.0)] for k in found}
    assert times["to_channels_last"] == times["from_channels_last"] == [0.0, 1.0]
    assert times["conv2d"] == times["batch_norm"] == [1.0, 1.0]
    assert all(compile_tape([k.count]).run({"batch": 1.0})[0] for k in kernels(net("modern"), "torch-eager@2.9/cpu"))


class Dropping(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = x.unflatten(-1, (4, 16)).transpose(1, 2)
        return nn.functional.scaled_dot_product_attention(q, q, q, dropout_p=0.1 if self.training else 0.0)


def test_attention_that_drops_scores_is_written_out_on_a_host() -> None:
    trained = capture(Dropping, ["2x32x64"], train=True)
    assert functions(trained, "torch-eager@2.9") == ["sdpa"]
    on_host = functions(trained, "torch-eager@2.9/cpu")
    assert Counter(on_host)["bmm"] == 2
    assert on_host.index("softmax") < on_host.index("dropout") < len(on_host) - 1 - on_host[::-1].index("bmm")
    assert functions(capture(Dropping, ["2x32x64"]), "torch-eager@2.9/cpu") == ["sdpa"]
    assert "bmm" in functions(capture(Dropping, ["2x32x64"]), "torch-eager@1.13/cpu")
