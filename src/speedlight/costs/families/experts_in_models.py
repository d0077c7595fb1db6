"""The fused expert MLP of a model as the moe fit sees it: one kernel from routed tokens to their weighted sum.

Only where the stack runs it as one (``fused_moe`` in its file): the rows measure the whole, so that nothing inside is
priced apart. The load is the graph's: rows and distinct experts expected of the selection, spread evenly over them; the
weights come cold.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value, ceil, maximum, minimum
from ..._foundation.formats import number_format
from ..._foundation.provenance import Assumption
from ...hardware.machine import Machine, OperatingPoint
from ...lowering.kernels import Kernel, KernelValues
from ..calibration.samples import View
from ..calibration.seen import SEERS, Seen, framework_of
from ..cost import Conditions, Cost
from .expert_kernels import ALIGNED, GEN, PLAIN, Code, unaligned, usual_code, without_gate
from .expert_load import TILES, Load
from .expert_mlp import FAMILY, FORMATS, GROUPS, PASSES, Experts, view
from .in_models import at_point, least_footprint, once, unless_resident
from .tile_files import has_file

# Experts with rows are an expectation, a little fewer than there are: eight rows each of 32 would be 8.002 of 31.99 and take two tiles of eight.
SLACK = 0.01
UNTUNED_TILES = Assumption(
    "experts' tiles", "trtllm-gen's as FlashInfer takes them untuned: the one below an expert's rows", "measured",
    "steps of the moe table's rows; an engine that tunes FlashInfer when it starts may take taller ones",
)  # fmt: skip
RULE = "SGLang's rule where it brings no tuned tiles; its script benchmark/kernels/fused_moe_triton makes such a file"


def format_of(kernel: Kernel) -> str | None:
    """The table's name of the experts' formats, or None where it has none."""
    weights, activations = (number_format(str(kernel.attrs[n])).name for n in ("weights", "activations"))
    stored = FORMATS["int4_wo"][0] if weights.startswith("int4") else "bf16" if weights == "fp16" else weights
    used = "bf16" if activations == "fp16" else activations
    return next((name for name, pair in FORMATS.items() if pair == (stored, used)), None)


@SEERS.register("grouped_linear")
def see(
    kernel: Kernel, values: KernelValues, machine: Machine, point: OperatingPoint, conditions: Conditions, cost: Cost
) -> Seen | None:
    """The view of the whole expert MLP, or None for grouped products that run one by one."""
    facts = kernel.attrs
    if kernel.phase != "forward" or "experts" not in facts or not _whole(kernel):
        return None
    named = format_of(kernel)
    if named is None:
        return None
    weights, activations = FORMATS[named]
    if named == "int4_wo":  # the model's groups may be of another size
        weights = number_format(str(facts["weights"])).name
    gated = 1.0 if facts["gated"] else 0.0
    experts, width = float(facts["experts"]), float(facts["width"])
    framework = framework_of(kernel.library, FAMILY.name, named)
    code = usual_code(framework, named, machine)
    if not facts["gated"]:
        code = without_gate(code, machine)

    def look(at: KernelValues) -> View:
        d = at.dims
        part = Experts(
            maximum(d["tokens"], 1.0), d["k"], d["n"], float(facts["picks"]), experts, width / d["n"],
            experts / d["items"], gated, weights, activations,
        )  # fmt: skip
        return view(part, load_of(d), 1.0, machine, code, least_footprint(machine, conditions))

    def coords(at: KernelValues, under: Conditions) -> Mapping[str, Value]:
        return unless_resident(again(at).coords, machine, under)

    first, again = once(look, values)
    terms = at_point(first.terms, point, conditions, ("memory", "chain", "turns", "fill", *PASSES))
    resources = {
        **dict.fromkeys(("matmul", "padded", "rounds", "expand"), "matmul"), "memory": machine.main.resource,
        **dict.fromkeys(("stream", *PASSES), "cache"),
    }  # fmt: skip
    notes = (*tiles_of(values, code, framework, machine), *width_of(values, code), *loaded_as(values, code))
    key = {"format": named, "op": GROUPS[named], "code": code.written}
    return Seen(FAMILY.name, terms, coords, key, resources, notes=notes)


def tiles_of(values: KernelValues, code: Code, framework: str, machine: Machine) -> tuple[Assumption, ...]:
    """What is to be said of tiles: untuned ones, and those that no file names (for a rank's experts and their width)."""
    if code.name == GEN:
        return (UNTUNED_TILES,)
    held, width = values.dims["items"], values.dims["n"]
    if code.name != PLAIN or framework != "sglang":
        return ()
    if np.ndim(held) or np.ndim(width) or has_file(machine.device_id, held, width):
        return ()
    said = f"no file for {held:g} experts of {width:g}: 16 rows up to {held:g} tokens, 64 beyond"
    return (Assumption("experts' tiles", said, "published", RULE),)


def width_of(values: KernelValues, code: Code) -> tuple[Assumption, ...]:
    """What is to be said of a width on the rank that Triton cannot load at once."""
    width = values.dims["n"]
    if np.ndim(width) or not unaligned(width, code):
        return ()
    said = f"{width:g} on a rank, no multiple of {ALIGNED:g}: Triton loads element by element"
    return (Assumption("experts' width", said, "measured", "twice the time of a multiple in the moe table's rows"),)


def loaded_as(values: KernelValues, code: Code) -> tuple[Assumption, ...]:
    """What is to be said of sizes that the stack pads when it loads the weights."""
    hidden, width = values.dims["k"], values.dims["n"]
    deep, broad = code.padded(hidden, width)
    if np.ndim(hidden) or np.ndim(width) or (deep, broad) == (hidden, width):
        return ()
    said = f"{hidden:g} × {width:g} on a rank, loaded as {deep:g} × {broad:g}"
    return (
        Assumption("experts' padding", said, "measured", "widths padded alike take one time in the moe table's rows"),
    )


def load_of(d: Mapping[str, Value]) -> Load:
    """What falls on a rank, from the grouped product's sizes: rows over the experts that have any, evenly."""
    distinct = maximum(d["batch"], 1e-9)
    rows = maximum(d["m"] * distinct, 1e-9)
    distinct = minimum(maximum(distinct, minimum(rows, 1.0)), rows)
    mean = rows / distinct
    tiles = {t: maximum(distinct * ceil(mean / t - SLACK), rows / t) for t in TILES}
    return Load(distinct, rows, tiles, distinct, rows)


def _whole(kernel: Kernel) -> bool:
    """Whether the kernel runs every product of the experts, and the sum over a token's picks."""
    products = [name for name in kernel.members if ".experts." in name and name.endswith("_proj")]
    return len(products) == (3 if kernel.attrs["gated"] else 2) and any(n.endswith(".combine") for n in kernel.members)
