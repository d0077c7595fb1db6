"""The fused expert MLP of one rank: permute, grouped gate+up products, activation, grouped down products, finalise.

Terms, in seconds at the machine's rates:

- ``matmul``: FLOPs of the rows that fell on this rank, at the rate the code's instructions reach.
- ``padded``: the same with rows and columns in whole tiles; ``rounds``: the tiles dealt to the units in whole rounds.
- ``memory``: weights of the distinct experts touched, and the products' operands, through main memory once.
- ``stream``: weights once for every tile of rows, as the units take them in; ``expand``: the same where they must be made 16-bit first.
- ``tokens``, ``gather``, ``middle``, ``combine``: the passes over tokens (quantised where activations are narrow, results written) and
  over the rank's rows before, between and after the products (one pick a token needs no sum).
- ``every_middle``, ``every_combine``: the last two over every pick of every token, also where other ranks hold its expert. Triton's and
  Marlin's kernels do that: with experts split over 32 ranks, int4 rows on an H100 take 1.8 ms longer than their products. ``zeros``: what they
  write for picks of other ranks' experts. Codes differ in which passes they make (:func:`.expert_kernels.passes`).
- ``turns``: waits of units that add their parts of one tile one after another (:attr:`.expert_kernels.Code.locked`).
- ``empty``: rows without a token that a tile loads all the same (:func:`.expert_kernels.hollow`), in the first product's rounds.
- ``scattered``: the second product's operands, element by element, where the rank's width is no multiple of what Triton loads at once
  (:func:`.expert_kernels.unaligned`): a row takes as long as some steps whatever its width (excess on an H100 over multiples of 16 near them: 2.5, 1.7,
  1.3 ms for 98,304 rows of 232, 116 and 58 columns).
- ``launch``: launches, each the device's floor or some clocks; more of them where a framework looks experts up that are split (vLLM's
  Triton kernels take 24 us at least on an H100, 33 with experts split over ranks, SGLang's 21 and 22), and where a token picks many
  (trtllm-gen's take 14 us at least on a B200 for 8 of 256, 18 to 22 for 22 of 512).
- ``chain``: the steps along what is summed over of one tile of each product, each a wait for memory where loads are not ahead of the
  multiplications (what a product's *pipeline* is, :mod:`.gemm`). One expert of 6144 × 3072 takes 80 us in Triton's tiles on a B200, whose
  memory brings it in 15; in steps of 32 instead of 64 (the rule's tile for more tokens) 140.
- ``fill``: the rounds of tiles, each with a start before its first product and an end after its last: what a rank's narrow experts, cut 16 or 32
  ways, are made of. ``drain``: a tile's sums written before the next is loaded for (:func:`.expert_kernels.one_by_one`).
- ``route``: choosing each token's experts, whatever its width: in trtllm-gen's kernels on a B200 3 ns a token, to which every column adds 1 ps.

Weights count with the sizes they are loaded with.

A tile is mostly (:mod:`.expert_kernels`) as high as the power of two above an expert's mean rows (``step``), whatever the rows of each:
times step there (DeepSeek-style fp8 on B200 takes 1.27 times as long from 9 rows on as up to 8). ``step`` is a whole number, so that a table over it is a list.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from ..._foundation.arrays import Value, ceil, maximum, minimum, where
from ..._foundation.formats import bytes_per_element, multiply_format, number_format
from ...hardware.machine import Machine, OperatingPoint
from ..calibration.blocks import Axis, Block
from ..calibration.samples import Family, View
from ..price import peak_for
from .expert_kernels import (
    FIRST,
    PLAIN,
    Code,
    hollow,
    one_by_one,
    passes,
    reachable,
    ruled,
    tile,
    unaligned,
    without_gate,
)
from .expert_load import Load
from .in_models import launch_seconds, memory_latency
from .module_terms import streamed
from .warm import fetched

# The table's formats: (weights, activations as multiplied). int4_wo's groups are not said: they are of 32, since what half a width saves is brought in
# at 1.39 TB/s on an RTX PRO 6000 if they were of 128, 1.52 of 32, and other formats' at 1.49 to 1.53; on an H100 at 2.70 to 2.77 or 2.95 to
# 3.02, others' at 2.96 to 3.17; on an A100 at 1.67 or 1.82, bf16's at 1.79 (studies/2026-11-moe.md).
FORMATS = {
    "bfloat16": ("bf16", "bf16"), "fp8": ("fp8", "fp8"), "fp8_block": ("fp8_block", "fp8"), "nvfp4": ("nvfp4", "nvfp4"),
    "int4_wo": ("int4_g32", "bf16"), "w4a16_mxfp4": ("mxfp4", "bf16"), "w4a8_mxfp4_mxfp8": ("mxfp4", "mxfp8"),
}  # fmt: skip
# Formats fitted together: what is multiplied (few shapes are measured of weights that are expanded first).
GROUPS = {
    "bfloat16": "bf16", "fp8": "fp8", "fp8_block": "fp8", "w4a8_mxfp4_mxfp8": "fp8", "nvfp4": "fp4",
    "int4_wo": "bf16", "w4a16_mxfp4": "bf16",
}  # fmt: skip

USUAL = Code()
CODE = ("implementation",)
ARCHITECTURE = ("architecture", "framework", "implementation", "format")
DEVICE = ("device", "framework", "version", "kernel", "format")

FLAT = 3.0  # few shapes are measured: beyond them tables go on level
USUAL_TILE = 64.0  # rows of a tile that kernels rarely pass
PORT = 64.0  # bytes a unit takes from the last cache in a clock
EXPANDED = 16.0  # weights a unit expands in a clock: what the fit starts from (TensorRT-LLM holds 10, Marlin up to 26)
SIDE = 128.0  # columns of a tile
LOADED = 32.0  # of what is summed over, a step's loads, masked or not
ROUTED = 512.0  # clocks of a unit to route a token: what the fit starts from
SCATTERED = 2.0  # elements a unit takes in a clock one by one: what the fit starts from
FILL = 0.25  # of a wait for memory, what a round of tiles starts and ends with: what the fit starts from
# Clocks of a launch: floors of gemm's rows alone say 2.0, 2.0, 1.4 and 1.4 us on A100, H100, B200 and RTX PRO 6000, where the least times of
# Triton's bf16 experts are 28, 21, 21 and 18 (at 1.41, 1.98, 1.97 and 2.6 GHz), of TensorRT-LLM's (4096 × 1536) 44, 31, 26 and 29.
STARTED = 4000.0
DRAINED = 1.5  # sums a unit writes in a clock: what the fit starts from
GATHERED = 32.0  # bytes of empty rows a unit loads in a clock: what the fit starts from
FLOOR = 4.0  # steps that loading a row element by element takes whatever its width
INTEGER = -4.0  # place of integers among formats
TURN = 2.0  # waits for memory to add to what another unit left: what the fit starts from
DEEP = 64.0  # of what is summed over, a tile takes at once
M, M3 = Axis("m", 0, 14), Axis("m", 0, 15, 3)
T2 = Axis("t", 0, 14, 2)
H, F2 = Axis("h", 10, 13), Axis("f", 4, 14, 2)
E2, K = Axis("e", 4, 10, 2), Axis("k", 0, 5)
WAVES, CACHE = Axis("wide", -8, 8), Axis("cache", -8, 7)
ROWS = Axis("rows", 0, 20, 2)
ONE = Axis("one", 0, 1)
SPLIT = Axis("split", 0, 1)
STEP = Axis("step", 0, FIRST)


def surface(per: tuple[str, ...], ridge: float) -> tuple[Block, ...]:
    """What is particular to a class."""
    found = (
        Block("total", (Axis("mean", -8, 12, 0.5), Axis("ep", 0, 8, 2), Axis("even", 0, 1)), per, (0.1, 0.3, 0.3)),
        Block("total", (Axis("mean", -8, 12, 0.5), F2), per, (0.1, 0.3)),
        Block("total", (STEP, F2), per, (0.01, 0.3)),
        # Steps of codes whose tile goes by all ranks' picks over one rank's experts.
        Block("total", (Axis("avg", -8, 16, 1), Axis("mean", -8, 12, 2)), per, (0.1, 0.3)),
        Block("total", (Axis("mean", -8, 12, 2), F2, H), per, (0.1, 0.3, 0.3)),
        Block("total", (Axis("d", 0, 9), M), per, (0.1, 0.1)),
        Block("total", (Axis("flops", 20, 44, 2), Axis("bytes", 16, 34, 2)), per, (0.1, 0.1)),
    )
    return tuple(dataclasses.replace(block, ridge=ridge, flat=FLAT) for block in found)


# Passes around the products: over tokens, over the rank's rows, over every pick of every token.
PASSES = ("tokens", "gather", "middle", "combine", "every_middle", "every_combine", "zeros")
# How strongly each must disagree with what is more common.
RIDGES = ((CODE, 0.2), ((*CODE, "format"), 0.3), (ARCHITECTURE, 0.6))
PASS = 10.0  # and how strongly a pass must, with bytes that are counted nearly exactly
# What an implementation, and an architecture's version of it, bend.
EACH = (
    ("matmul", M3), ("padded", STEP), ("rounds", STEP), ("stream", STEP), ("expand", STEP), ("chain", STEP),
    ("memory", Axis("cache", -8, 8, 4)), ("memory", STEP),
    ("launch", Axis("rows", 0, 20, 10)),
    ("turns", ONE), ("fill", ONE), ("drain", ONE), ("empty", STEP), ("route", ONE), ("scattered", ONE),
    *((term, ONE) for term in PASSES),
)  # fmt: skip
FAMILY = Family(
    name="moe",
    parallel=("matmul", "padded", "rounds", "memory", "stream", "expand"),
    serial=("launch", "chain", "turns", "fill", "drain", "empty", "route", "scattered", *PASSES),
    power=2.5,
    shared=(
        Block("matmul", (M, F2), (), (0.3, 0.3)),
        Block("matmul", (H,), (), (0.3,)),
        Block("padded", (STEP, F2), (), (0.01, 0.3)),
        Block("rounds", (STEP, F2), (), (0.01, 0.3)),
        Block("stream", (STEP, F2), (), (0.01, 0.3)),
        Block("stream", (WAVES,), (), (0.3,)),
        Block("expand", (STEP,), (), (0.01,)),
        Block("chain", (STEP,), (), (0.01,)),
        Block("fill", (ONE,), (), (0.3,)),
        Block("drain", (ONE,), (), (0.3,)),
        Block("empty", (STEP,), (), (0.01,)),
        Block("turns", (ONE,), (), (0.3,)),
        Block("route", (ONE,), (), (0.3,)),
        Block("scattered", (ONE,), (), (0.3,)),
        Block("memory", (CACHE,), (), (0.3,)),
        Block("memory", (STEP,), (), (0.01,)),
        Block("memory", (WAVES, H), (), (0.3, 0.3)),
        Block("memory", (Axis("tall", -6, 10, 2), F2), (), (0.3, 0.3)),
        Block("launch", (Axis("rows", 0, 20, 4),), (), (0.3,)),
        # What an expert and a pick add is their code's: of all codes together those of few experts would be told of those of many.
        *(
            Block("launch", (axis,), per, (0.3,), ridge, 1.0)
            for axis in (E2, K)
            for per, ridge in ((CODE, 0.3), (ARCHITECTURE, 0.6))
        ),
        Block("launch", (SPLIT,), ("framework", "implementation"), (0.3,), 0.2),
        *(Block(term, (T2,), (), (0.3,), PASS) for term in ("tokens", "every_middle", "every_combine", "zeros")),
        *(Block(term, (ROWS,), (), (0.3,), PASS) for term in ("gather", "middle", "combine")),
        *(
            Block(term, (axis,), per, (0.01 if axis is STEP else 0.3,), ridge)
            for per, ridge in RIDGES
            for term, axis in EACH
        ),
    ),
    local=(surface(ARCHITECTURE, 0.03), surface(DEVICE, 0.1)),
    spread=(Block("total", (T2, H), (), (0.3, 0.3), 1e-6),),
    partition=("op",),
    choice=("scale", "gated", "ep", "tp", "k"),
    counted=("matmul", "padded", "rounds", "memory"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Experts:
    """Sizes of one rank's expert MLP.

    Attributes:
        tokens: tokens of the batch whose picks may fall on the rank.
        hidden, inter: input width, and inner width on this rank.
        picks, experts: top-k of E.
        tp, ep: how experts' widths, and experts, are split.
        gated: 1 where there is a gate matrix.
        weights, activations: formats.
    """

    tokens: Value
    hidden: Value
    inter: Value
    picks: Value
    experts: Value
    tp: Value
    ep: Value
    gated: Value
    weights: str
    activations: str


def view(part: Experts, found: Load, even: float, machine: Machine, code: Code = USUAL, least: Value = 0.0) -> View:
    """The view of one rank's experts under a load.

    Args:
        even: 1 where the load is balanced.
        code: what runs it (:mod:`.expert_kernels`).
        least: operands count as at least this many times the last cache (:func:`.warm.fetched`).
    """
    engine = machine.engine
    cache = machine.last_cache
    capacity = cache.capacity_bytes if cache is not None else 1.0
    peak = peak_for(machine, "matmul", multiply_format(part.weights, part.activations), None, OperatingPoint()).flops
    rate = reachable(peak, engine, code)
    h, f, t = part.hidden, part.inter, part.tokens
    matrices = 2.0 + part.gated
    wide = 1.0 + part.gated  # first product's outputs per inner column
    distinct, rows = found.distinct, found.rows
    element = h * f * matrices
    activation = bytes_per_element(part.activations)
    operands = rows * (h * activation + wide * f * 2.0 + f * activation + h * 2.0)
    flops = 2.0 * rows * element
    mean_all = t * part.picks / part.experts

    def run_by(own: Code) -> tuple[Value, ...]:
        usual = tile(mean_all, part.ep, own)
        held = maximum(part.experts / part.ep, 1.0)
        step, height = ruled(t, held, f, machine.device_id, usual) if own.name == PLAIN else usual
        return step, height, unaligned(f, own), *passes(own, part.weights, part.ep), *own.padded(h, f)

    found_by, other = run_by(code), without_gate(code, machine)
    if other != code:
        pairs = zip(found_by, run_by(other), strict=True)
        found_by = tuple(where(part.gated > 0.5, gated, without) for gated, without in pairs)
    step, height, loose, gathered, apart, looked_at, zeros, deep, broad = found_by  # deep × broad: as loaded
    loaded = deep * broad * matrices
    weight = loaded * bytes_per_element(part.weights)
    weights = distinct * weight
    low = height if code.by_rank is not None else where(step == FIRST, height, np.minimum(height, USUAL_TILE))
    clocks = engine.units * engine.clock_hz
    tiles, many = tiles_of(found, height), tiles_of(found, low)
    first, second = ceil(wide * broad / SIDE), ceil(deep / SIDE)  # tiles along the outputs of the two products
    waves = ceil(tiles * first / engine.units), ceil(tiles * second / engine.units)
    rounds = waves[0] * deep + waves[1] * broad
    unfilled = 1.0 - minimum(rows / (many * low), 1.0)
    in_turn = turns(tiles * first, deep, engine.units) + turns(tiles * second, broad, engine.units)
    terms = {
        "matmul": flops / rate,
        "padded": 2.0 * many * low * (deep * first + broad * second) * SIDE / rate,
        "rounds": 2.0 * rounds * height * SIDE * engine.units / rate,
        "stream": many * weight / (clocks * PORT),
        "expand": many * loaded / (clocks * EXPANDED) * expanded(part),
        "memory": fetched(weights + operands, machine, least=least),
        "launch": maximum(launch_seconds(machine), STARTED / engine.clock_hz),
        "scattered": (many * h + rows * second) * (ceil(f / LOADED) + FLOOR) * LOADED / (clocks * SCATTERED) * loose,
        "route": t * ROUTED / clocks,
        "fill": FILL * (1.0 + one_by_one(code)) * (waves[0] + waves[1]) * memory_latency(machine),
        "drain": one_by_one(code) * (waves[0] + waves[1]) * height * SIDE / (engine.clock_hz * DRAINED),
        "empty": hollow(code) * unfilled * waves[0] * height * deep * activation / (engine.clock_hz * GATHERED),
        "turns": TURN * memory_latency(machine) * code.locked * in_turn,
        "chain": (h + f) / DEEP * memory_latency(machine) + 0.0 * t,
    }
    moved = {
        "tokens": t * h * (2.0 + (2.0 + activation if activation < 2.0 else 0.0)),
        "gather": gathered * rows * h * 2.0 * activation,
        "middle": apart * rows * 2.0 * (wide * f * 2.0 + f * activation),
        "combine": rows * h * 2.0 * (part.picks > 1.0),
        "every_middle": apart * looked_at * t * part.picks * (wide * f * 2.0 + f * activation),
        "every_combine": looked_at * t * part.picks * h * 2.0 * (part.picks > 1.0),
        "zeros": t * part.picks * h * 2.0 * zeros,
    }
    terms.update({name: streamed(machine, size) for name, size in moved.items()})
    mean = rows / distinct
    coords = {
        "one": 0.0 * t, "step": step, "t": np.log2(t), "m": np.log2(mean), "mean": np.log2(mean_all), "avg": np.log2(mean_all * part.ep),
        "rows": np.log2(rows),
        "h": np.log2(h), "f": np.log2(f), "e": np.log2(part.experts), "k": np.log2(part.picks), "d": np.log2(distinct),
        "ep": np.log2(part.ep), "tp": np.log2(part.tp), "even": even + 0.0 * t, "gated": part.gated,
        "split": where(part.ep > 1.0, 1.0, 0.0) + 0.0 * t,
        "scale": scale_bits(part.weights) + 0.0 * t,
        "wide": np.log2(tiles * first / engine.units), "tall": np.log2(tiles * second / engine.units),
        "cache": np.log2((weights + operands) / capacity), "flops": np.log2(flops), "bytes": np.log2(weights + operands),
    }  # fmt: skip
    return View(terms, coords, limit(part, found, machine, peak, capacity))


def turns(tiles: Value, depth: Value, units: float) -> Value:
    """Units that share a tile, but the first: tiles' steps along what is summed over are dealt to all units evenly."""
    steps = ceil(depth / DEEP)
    return maximum(steps / ceil(tiles * steps / units) - 1.0, 0.0)


def expanded(part: Experts) -> float:
    """1 where weights are expanded to 16-bit activations' format before they are multiplied."""
    narrow, wide = (number_format(name).native_bits for name in (part.weights, part.activations))
    return 1.0 if narrow < wide and wide >= 16 else 0.0


def tiles_of(found: Load, height: Value) -> Value:
    """Tiles of a height that the rank's rows take."""
    result: Value = 0.0
    for tall, count in found.tiles.items():
        result = where(height == float(tall), count, result)
    return result


def scale_bits(name: str) -> float:
    """log2 of the bits a weight's share of scales takes: tells formats of one multiplier apart (kernels are chosen by it).

    Integers of any groups have a place of their own, since the same kernels run them.
    """
    found = number_format(name)
    if found.kind == "int":
        return INTEGER
    return float(np.log2(max(found.bits - found.native_bits, 2.0**-12)))


def limit(part: Experts, found: Load, machine: Machine, peak: Value, capacity: Value) -> Value:
    """Seconds physics allows: the least rows at the peak, or the weights they need and the tokens' way in and out.

    A repeated benchmark may keep up to the cache's capacity resident from call to call, as in residency.py.
    """
    element = part.hidden * part.inter * (2.0 + part.gated)
    touched = found.least_distinct * element * bytes_per_element(part.weights)
    cold = touched * (1.0 - minimum(1.0, capacity / maximum(touched, 1.0)))
    return maximum(2.0 * found.least_rows * element / peak, cold / machine.main.bandwidth)
