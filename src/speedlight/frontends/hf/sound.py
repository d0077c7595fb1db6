"""Audio's way in: convolutions over time, from spectrogram frames (Whisper) or raw samples (wav2vec 2.0) to positions."""

from __future__ import annotations

from ..._foundation.expr import Expr, const, group_sum
from ...graph.builder import COUNT, NEW, TOKENS, BlockBuilder
from ...graph.ir import Operand, Tensor, Work
from .arch import Convolution, Sound
from .parts import Context, linear


def sound_embedding(ctx: Context, b: BlockBuilder, s: Sound, hidden: int) -> str:
    """Frames or samples → encoder positions (arXiv 2212.04356 §2.2; arXiv 2006.11477 §2, appendix A)."""
    lengths = _lengths(s)
    x, channels = "audio", s.channels
    b.tensors[x] = Tensor(x, group_sum(COUNT * lengths[0]) * channels, b.dtype, "input", needs_grad=False)
    for index, (layer, length) in enumerate(zip(s.layers, lengths[1:], strict=True)):
        x = _convolve(b, f"conv{index + 1}", x, layer, channels, group_sum(COUNT * length), s.act)
        channels = layer.channels
    if s.projected:
        x = b.norm("feature_projection.layer_norm", "layer_norm", x, TOKENS, channels, bias=True)
        x = linear(ctx, b, "feature_projection.projection", x, hidden, channels, bias=True)
    if s.position_kernel:
        return _position_convolution(b, s, x, hidden)
    if s.positions:
        rows = b.weight("embed_positions.weight", s.positions * hidden)
        x = b.elementwise("embed_positions.add", "add", [x], TOKENS * hidden, weights=[rows])
    return x


def _lengths(s: Sound) -> list[Expr]:
    """Of one sequence: the input's length and each layer's output, from the positions that are asked for backwards."""
    found: list[Expr] = [NEW]
    for layer in reversed(s.layers):
        after = found[0]
        found.insert(0, after * layer.stride if s.padded else (after - 1) * layer.stride + layer.kernel)
    return found


def _convolve(b: BlockBuilder, name: str, x: str, layer: Convolution, channels: int, rows: Expr, act: str) -> str:
    inputs = channels * layer.kernel
    weights = [b.weight(f"{name}.weight", layer.channels * inputs)]
    if layer.bias:
        weights.append(b.weight(f"{name}.bias", layer.channels))
    out = b.activation(f"{name}.out", rows * layer.channels)
    b.op(
        name, "conv", "conv1d", reads=(Operand(x), *[Operand(w) for w in weights]), writes=(Operand(out),),
        work=(Work("matmul", 2 * rows * layer.channels * inputs, b.dtype),),
        dims={"m": rows, "n": const(layer.channels), "k": const(inputs), "batch": const(1)},
        attrs={"kernel": layer.kernel, "stride": layer.stride, "in_channels": channels, "out_channels": layer.channels,
               "groups": 1},
    )  # fmt: skip
    if layer.norm != "none":
        fn = "group_norm" if layer.norm == "group" else "layer_norm"
        out = b.norm(f"{name}.norm", fn, out, rows, layer.channels, bias=True)
    return b.elementwise(f"{name}.act", act, [out], rows * layer.channels)


def _position_convolution(b: BlockBuilder, s: Sound, x: str, hidden: int) -> str:
    """A grouped convolution over neighbours, its weight normed over time (one scale a tap), added to its input."""
    inside = hidden // s.position_groups
    weights = [b.weight("pos_conv.weight", hidden * inside * s.position_kernel), b.weight("pos_conv.bias", hidden),
               b.weight("pos_conv.scale", s.position_kernel)]  # fmt: skip
    # Padding by half the kernel on both sides leaves one output too many where the kernel is even; it is cut off after.
    rows = TOKENS if s.position_kernel % 2 else TOKENS + group_sum(COUNT)
    out = b.activation("pos_conv.out", rows * hidden)
    k = inside * s.position_kernel
    b.op(
        "pos_conv", "conv", "conv1d", reads=(Operand(x), *[Operand(w) for w in weights]), writes=(Operand(out),),
        work=(Work("matmul", 2 * rows * hidden * k, b.dtype),),
        dims={"m": rows, "n": const(inside), "k": const(k), "batch": const(s.position_groups)},
        attrs={"kernel": s.position_kernel, "stride": 1, "in_channels": hidden, "out_channels": hidden,
               "groups": s.position_groups},
    )  # fmt: skip
    active = b.elementwise("pos_conv.act", s.act, [Operand(out, TOKENS * hidden)], TOKENS * hidden)
    return b.elementwise("pos_conv.add", "add", [active, x], TOKENS * hidden)


def positions_of(s: Sound, samples: Expr) -> Expr:
    """Encoder positions of so many samples: one for each full reach of the convolutions, a stride apart."""
    reach, stride = 1, 1
    for layer in s.layers:
        reach, stride = reach + (layer.kernel - 1) * stride, stride * layer.stride
    return (samples - reach) // stride + 1
