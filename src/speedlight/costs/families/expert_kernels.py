"""What the code behind a kernel's name decides of the experts' products: the height of its tiles, the rate it can reach.

Most are known by their times alone. Marlin's rule is its source's: the block of rows is the smallest of 8, 16, 32, 48 and 64 that
the mean rows of an expert fill by less than 0.9 (vLLM, ``fused_marlin_moe.py``), with the experts of the rank as the number of
experts but all tokens' picks as the rows, so that blocks are higher than needed when experts are split. It multiplies with
``mma.sync``, an Ampere SM's 2,048 16-bit FLOP a clock at most: measured it holds 950 to 1,140 on A100, H100 and B200, half of them
on a desktop's SM (int4 rows of the moe table), wherever wider instructions exist that it does not use. Units share a tile along what is
summed over. They add their parts by atomics from compute capability 9 on, and one after another under a lock before it, where bfloat16 has
none (in SGLang for mxfp4 everywhere; ``fused_marlin_moe.py`` of both, ``use_atomic_add``): one token and expert of 7168 × 256 take an
A100 90 us, one of 7168 × 2048 60 (:attr:`Code.locked`).

Triton and Marlin read a batch's rows where they lie, through a list of indices, and write each pick's row to its own place, so that a
sum over all picks follows. With experts split over ranks the rows of others' experts are written as zeros first (all rows by Marlin,
``intermediate_cache3.zero_()``: 0.9 ms of the 2.3 that an H100 takes for 16,384 tokens and 48 of 384 experts of 7168 × 64).
CUTLASS copies the rank's rows together. trtllm-gen's first product loads them by index (``routeAct`` of FlashInfer's
``trtllm_fused_moe_runner.cu``) and applies the activation itself (``fusedAct``, all but DeepSeek-style fp8): int4 rows of 7168 × 256 to 2048
lie on a line over their width whose start, 0.54 ms for 16,384 tokens on a B200, is what reading and adding up their picks takes. Rows
of a tile that is not full are loaded, too, and are dearer than those with tokens: 128 experts of 4096 × 2048 on each of two ranks of a
GB200 take 978 us for 3,072 tokens and 714 for 8,192, in one tile of 256 rows an expert either way. The last step of both
only looks at other ranks' picks: 0.2 ps for each pick and column on a B200.

A unit of Marlin writes a tile's sums out before it loads for the next (``write_result``, then ``start_pipes``; ``marlin_template.h``), so
that narrow experts, of whose second product a tile has one step or two, take up to 1.4 times what a kernel that goes on loading would.

Triton's experts look a tile up in a file for (experts of the rank, width of the rank, device). Where a stack brings none, 16-bit
products take tiles of 16 rows as long as a batch has no more tokens than the rank has experts and of 64 rows beyond (SGLang,
``fused_moe_triton_config.py``, ``get_default_config``; vLLM until 0.14). Times say so row by row: on an H100 4096 × 1536 / 8 of 128 takes
1.35 times as long for 160 tokens as for 128, with experts on two ranks as long for 80 as for 64 (there is a file for 64 experts of 1,536).

FlashInfer's CUTLASS experts run their first tile where nothing has tuned them, which on Hopper is one of 128 rows and few columns: times of
bf16 and fp8 rows stand still up to 128 rows an expert, step there, and are those of 108 and 222 TFLOP/s of whole tiles on an H100 and
an H200 alike, so that it is neither memory nor arithmetic that holds them back but rows read again for every few columns.
TensorRT-LLM tunes the same kernels.

Most choose a tile by an expert's mean rows. Some choose it by the picks of *all* ranks over the experts of *one*, as Marlin does, so that
times step along the tokens at places that move with the ranks (:data:`BY_RANK`; which do, and where, is read from times alone).
trtllm-gen's (FlashInfer's on server Blackwell): mxfp8 rows of 128 experts and 4 picks take 1.5 times as long from 128, 64, 32 tokens on with
experts on 8, 16, 32 ranks. Where nothing is tuned (SGLang, vLLM) the tile is the one below that which would hold an expert's rows: 16-bit
activations of the same experts on one rank take 380 us up to 8 rows, 690 from 9 to 32 (two tiles of 8, then of 16), 770 at 48 and 64 (two of 32),
1,145 at 96 (three: there is none taller); half of them on two ranks 208, 211 to 234, 410 and 605. TensorRT-LLM tunes them and takes
the one that holds the rows, up to 256. OpenAI's Triton kernels (vLLM, mxfp4 on Hopper) step at 16, 32 and 64 such rows, Intel's at 128,
TensorRT-LLM's 4-bit weights on Hopper at 16 and 64.

Stacks pad weights when they load them: gpt-oss's experts take as long with a width of 90 as with 180 in trtllm-gen, because either is
256; widths of 16 to 64 as long as one of 128.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..._foundation.arrays import Value, ceil, log2, minimum, where
from ...hardware.machine import Engine, Machine
from ..calibration.naming import INSTRUCTIONS, implementation
from ..calibration.samples import architecture_of, instructions_of
from .tile_files import has_file

MARLIN = "marlin"
TRITON = "triton"
CUTLASS = "cutlass"
PLAIN = "triton, tiles by rule"  # where there is no file of tiles
UNTUNED = "cutlass, first tile"
GEN, TUNED = "trtllm-gen, first tile", "trtllm-gen, tuned"
OAI = "oai-triton"
XPU = "xpu"
MIXED = "cutlass, 4-bit weights"
STEPS = 10.0  # log2 of the mean rows from which on nothing changes
FEW, MANY = STEPS + 1.0, STEPS + 2.0  # steps of the two tiles of the rule
FIRST = STEPS + 3.0  # step of the untuned tile
LEAST, LARGEST = 8.0, 128.0  # rows of a tile
ALIGNED = 16.0  # what a size must be a multiple of for Triton to load more than an element at once
IN_PLACE = (MARLIN, TRITON, PLAIN)  # codes that leave rows where they lie
COPIED = (CUTLASS, UNTUNED, MIXED)  # those that bring the rank's rows together
INDEXED = (GEN, TUNED)  # and those whose first product loads them by index
LOOKED_AT = 0.2  # of a pass over every pick: what the fit of both starts from
FULL = 0.9  # share of a block that Marlin fills at most before it takes the next
HOPPER, BLACKWELL = "Hopper-hbm", "Blackwell-hbm"  # :func:`..calibration.samples.architecture_of`
# Ada's capability is 8.9, so that its parts are added under a lock, too, but the turns of its 142 units are counted too high where
# little is summed over (one expert of 2048 × 512: 22, which would be 50 us), and none is measured: it is told without.
LOCKED = ("Ampere",)
SYNC_FLOPS = 2048.0  # 16-bit FLOP of mma.sync a clock and SM, the most any generation does


@dataclass(frozen=True, slots=True)
class Tiles:
    """Which tile a code takes for some rows.

    Attributes:
        below: powers of two under the one that holds the rows.
        least, most: rows of the lowest and of the tallest.
    """

    below: float = 0.0
    least: float = LEAST
    most: float = LARGEST


MEAN_ROWS = Tiles()
# Codes whose tile goes by all ranks' picks over one rank's experts, and GEN's formats whose tallest is another.
BY_RANK = {
    GEN: Tiles(below=1.0),
    TUNED: Tiles(most=256.0),
    OAI: Tiles(least=16.0),
    XPU: Tiles(most=256.0),
    MIXED: Tiles(least=16.0),
}
TALLEST = {"w4a16_mxfp4": 32.0, "int4_wo": 64.0, "fp8_block": 64.0}
MXFP4 = ("w4a16_mxfp4", "w4a8_mxfp4_mxfp8")


@dataclass(frozen=True, slots=True)
class Code:
    """What runs a rank's experts.

    Attributes:
        name: one of this module's, or what :func:`..calibration.naming.implementation` says; blank where nothing is known.
        hidden, width: what the sizes of weights are padded to multiples of.
        by_rank: its tiles, where they go by all ranks' picks over one rank's experts (:data:`BY_RANK`).
        locked: units that share a tile add their parts one after another.
    """

    name: str = ""
    hidden: float = 1.0
    width: float = 1.0
    by_rank: Tiles | None = None
    locked: bool = False

    @property
    def written(self) -> str:
        """The code without what it does differently here (:func:`..calibration.naming.implementation`)."""
        return self.name.split(",")[0]

    def padded(self, hidden: Value, width: Value) -> tuple[Value, Value]:
        """Sizes of the weights as loaded."""
        return ceil(hidden / self.hidden) * self.hidden, ceil(width / self.width) * self.width


def tile(mean: Value, ep: Value, code: Code) -> tuple[Value, Value]:
    """(step, rows of a tile) where experts of all ranks have ``mean`` rows on average."""
    if code.name == MARLIN:
        height: Value = 64.0 + 0.0 * mean
        for block in (48.0, 32.0, 16.0, 8.0):
            height = where(mean * ep < FULL * block, block, height)
        return np.ceil(log2(height)), height
    if code.name == UNTUNED:
        return FIRST + 0.0 * mean, LARGEST + 0.0 * mean
    rows, tiles = (mean, MEAN_ROWS) if code.by_rank is None else (mean * ep, code.by_rank)
    step = np.clip(np.ceil(log2(rows) - 1e-6) - tiles.below, 0.0, STEPS)
    return step, np.clip(np.exp2(step), tiles.least, tiles.most)


def ruled(tokens: Value, held: Value, width: Value, device: str, usual: tuple[Value, Value]) -> tuple[Value, Value]:
    """The same by Triton's rule, for a rank that holds ``held`` experts of a width; the usual ones where there is a file."""
    few, filed = tokens <= held, has_file(device, held, width)
    step, height = where(few, FEW, MANY), where(few, 16.0, 64.0)
    return where(filed, usual[0], step), where(filed, usual[1], height)


def unaligned(width: Value, code: Code) -> Value:
    """1 where Triton loads elements one by one: along sizes that are no multiples of 16.

    The width of the rank is what the second product sums over. On an H100 2048 × 768 / 8 of 128 takes 1.12 ms for 16,384 tokens with a width
    of 96, 0.96 with 48 and 1.89 with 24; 2688 × 1856 / 6 takes 1.9 ms with 464, 3.6 with 232 and 2.5 with 116 (vLLM, bf16).
    """
    return where(np.asarray(width) % ALIGNED != 0.0, 1.0, 0.0) if code.name in (TRITON, PLAIN) else 0.0 * width


def reachable(peak: Value, engine: Engine, code: Code) -> Value:
    """The matrix units' rate that the code's instructions can reach."""
    return minimum(peak, engine.units * engine.clock_hz * SYNC_FLOPS) if code.name == MARLIN else peak


def code_of(kernel: str, framework: str, number_format: str, machine: Machine) -> Code:
    """The code behind a kernel's name; where none is named, what a framework runs experts with (blank: as any other)."""
    name = _named(kernel, framework, number_format, machine) if kernel else _usual(framework, number_format, machine)
    code = laid_out(name, framework, number_format, whole="sglang_mxfp4" not in kernel)
    return replace(code, locked=locks(name, framework, number_format, machine))


def usual_code(framework: str, number_format: str, machine: Machine) -> Code:
    """The code a framework runs experts with where no kernel is named."""
    return code_of("", framework, number_format, machine)


def _named(kernel: str, framework: str, number_format: str, machine: Machine) -> str:
    kind = architecture_of(machine)
    name = implementation(kernel, instructions_of(machine), number_format)
    if name in ("trtllm-gen", "min-latency"):
        return TUNED if framework == "trtllm" else GEN
    if number_format == "w4a16_mxfp4" and framework == "trtllm":
        return MIXED if kind == HOPPER else name
    if name == CUTLASS and framework != "trtllm" and number_format in ("bfloat16", "fp8") and kind == HOPPER:
        return UNTUNED
    if name == TRITON and number_format == "bfloat16" and (framework == "sglang" or kernel == "vllm_fused_moe"):
        return PLAIN
    return "" if name == XPU and number_format not in MXFP4 else name


def laid_out(name: str, framework: str, number_format: str, whole: bool = True) -> Code:
    """A code with its tiles and what a stack pads weights to for it.

    trtllm-gen takes whole columns of 128, but for vLLM's 8- and 4-bit activations (64 and 128 columns differ there). mxfp4 is padded by how gpt-oss
    is loaded: vLLM and SGLang bring both sizes to multiples of 256 for trtllm-gen (``whole``; SGLang's other class for mxfp4 does not), vLLM
    the width to 128 for the others, TensorRT-LLM to 128 (its hidden sizes to 256 is assumed: 2880 is all there is). Other hidden sizes
    that are no such multiples are not measured.
    """
    tiles = BY_RANK.get(name)
    if tiles is not None and name == GEN:
        tiles = replace(tiles, most=TALLEST.get(number_format, tiles.most))
    hidden = width = 1.0
    if number_format in MXFP4:
        if framework == "trtllm":
            hidden, width = 256.0, 128.0
        elif name == GEN:
            hidden = width = 256.0 if whole else 128.0
        elif name in (MARLIN, OAI):
            hidden, width = (256.0 if name == MARLIN else 1.0), 128.0
    elif name == GEN:
        width = 128.0 if framework == "sglang" or number_format == "bfloat16" else 64.0
    return Code(name, hidden, width, tiles)


def locks(name: str, framework: str, number_format: str, machine: Machine) -> bool:
    """Whether a code adds the parts of a tile under a lock."""
    no_atomics = architecture_of(machine).startswith(LOCKED)
    return name == MARLIN and (no_atomics or (framework == "sglang" and number_format in MXFP4))


def passes(code: Code, weights: str, ep: Value) -> tuple[Value, Value, Value, Value]:
    """What a code adds to the products, experts being split over ``ep`` ranks.

    Returns:
        (1 where it brings the rank's rows together, 1 where the activation is a pass of its own, share of a pass that every pick of every
        token takes, share of all picks' rows that are written as zeros); a code of which nothing is known makes every pass, and no zeros.
    """
    if code.name == MARLIN:
        return 0.0, 1.0, 1.0, where(ep > 1.0, 1.0, 0.0)
    if code.name in IN_PLACE:
        return 0.0, 1.0, 1.0, 1.0 - 1.0 / ep
    elsewhere = LOOKED_AT * (1.0 - 1.0 / ep)
    if code.name in INDEXED:
        return 0.0, 1.0 if weights == "fp8_block" else 0.0, elsewhere, 0.0
    return 1.0, 1.0, elsewhere if code.name in COPIED else 1.0, 0.0


def one_by_one(code: Code) -> float:
    """1 where a unit ends a tile before it loads for the next."""
    return 1.0 if code.name == MARLIN else 0.0


def hollow(code: Code) -> float:
    """1 where rows of a tile that hold no token are loaded all the same."""
    return 1.0 if code.name in INDEXED else 0.0


def without_gate(code: Code, machine: Machine) -> Code:
    """What runs experts without a gate where a code runs those with one: FlashInfer's CUTLASS kernels for SGLang's Triton, from Hopper on."""
    kind = architecture_of(machine)
    if code.name != PLAIN or kind.startswith("Ampere"):
        return code
    return Code(UNTUNED if kind == HOPPER else CUTLASS)


def _usual(framework: str, number_format: str, machine: Machine) -> str:
    kind = architecture_of(machine)
    if machine.vendor != "nvidia":
        return XPU if number_format in MXFP4 else ""
    if framework == "trtllm":
        if number_format == "w4a16_mxfp4" and kind == HOPPER:
            return MIXED
        return TUNED if number_format == "w4a8_mxfp4_mxfp8" and kind == BLACKWELL else ""
    if framework not in ("sglang", "vllm"):
        return ""
    if number_format == "int4_wo" and (framework == "vllm" or kind != BLACKWELL):
        return MARLIN
    if kind == BLACKWELL:
        return GEN
    if number_format == "bfloat16":
        by_rule = framework == "sglang" or kind.startswith("Ampere")
        return PLAIN if by_rule else TRITON if kind == HOPPER else ""
    if number_format == "fp8":
        return UNTUNED if framework == "vllm" and kind == HOPPER else ""
    if number_format == "w4a16_mxfp4":
        return MARLIN if kind not in INSTRUCTIONS else OAI if framework == "vllm" else ""
    return ""
