"""What people say of a question (a model, a machine, sizes, formats, degrees) → the frozen scenario."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..._foundation.errors import BadInput
from ..._foundation.formats import number_format
from ...frontends.source import load_graph
from ...graph.ir import Graph
from ...hardware.cluster import with_nodes
from ...hardware.machine import OperatingPoint
from ...scenario.scenario import ModelRef, Parallel, Rewrite, Scenario
from ...workload.places import places_of
from ...workload.words import offload_of, recompute_of, schedule_of
from ...workload.workload import Training, Workload
from .asked import DENOISER, programs_of

DEFAULT_MODELS_DIR = Path("../shared/models")


def make_scenario(
    model: str,
    machine: str,
    *,
    phase: str | None = None,
    batch: Any = None,
    isl: Any = None,
    osl: Any = None,
    context: Any = None,
    new: Any = 1,
    outputs: Any = 1,
    reused: Any = 0,
    dtype: str | None = None,
    weights: str | None = None,
    activations: str | None = None,
    kv: str | None = None,
    mtp: int = 0,
    autocast: str | None = None,
    layout: str | None = None,
    tf32: str | None = None,
    tp: Any = 1,
    pp: Any = 1,
    dp: Any = 1,
    ep: Any = 1,
    cp: Any = 1,
    zero: Any = 0,
    sp: Any = 0,
    etp: Any = None,
    shard: Any = None,
    context_kind: str = "ring",
    first: Any = None,
    last: Any = None,
    stages: Sequence[int] = (),
    stack: str | None = None,
    power: Any = None,
    inputs: Sequence[str] = (),
    symbols: Mapping[str, Any] | None = None,
    optimizer: str = "adamw",
    recompute: Any = "none",
    micro_batch: Any = None,
    schedule: str | None = None,
    virtual: Any = None,
    master: str | None = None,
    gradients: str | None = None,
    states: str | None = None,
    offload: Sequence[Any] = (),
    lora: int | None = None,
    moe_load: str = "balanced",
    overrides: Mapping[str, Any] | None = None,
    models_dir: str | None = None,
    machines_dir: str | None = None,
    steps: Any = None,
    guidance: bool | str | None = None,
    height: Any = None,
    width: Any = None,
    frames: Any = None,
    images: Any = None,
    seconds: Any = None,
    nodes: int = 1,
) -> Scenario:
    """The question as a frozen record.

    Args:
        model: a bundled or hub id, a path to a configuration or to an ops file, or ``file.py:factory``.
        machine: an id (``h100-sxm-80gb``), a file of your own, or ``here``; ``dgx-h100x16`` is sixteen of them.
        nodes: so many boxes of it, joined by their network ports.
        phase: ``forward``, ``prefill``, ``decode``, ``generate`` or ``train``; by default ``generate`` for models that
            generate tokens, else ``forward``. A diffusion model's ``forward`` is one denoising step, its ``generate`` the
            whole pipeline.
        batch: sequences (or images) per replica; the global batch when training.
        isl, osl, context: prompt, output and cached tokens per sequence; of an encoder–decoder isl is the source.
        new, outputs: tokens a decode step computes for each sequence (drafts to verify and one), and how many it adds.
        reused: tokens of each prompt whose keys and values are there already.
        steps, guidance: denoising steps, and whether each runs with and without the prompt (``True``, ``on``, ``off``).
        height, width, frames: pixels and pictures of what is generated, or of the images of a prompt.
        images: pictures in each prompt; seconds: of audio in each recording.
        dtype, weights, activations, kv: number formats.
        mtp: draft passes of the model's multi-token prediction modules that a step runs.
        autocast: ``fp16`` or ``bf16``: the forward pass runs in PyTorch's mixed precision (``dtype="amp"`` is short for fp16,
            ``"amp-bf16"`` for bf16).
        layout: how a captured module's images lie: ``nchw`` or ``nhwc`` (``channels_last``).
        tf32: ``on`` or ``off``: whether fp32 products and convolutions are multiplied in TF32; by default as the stack
            has it (PyTorch: convolutions yes, products no).
        tp, pp, dp, ep, cp, zero, sp, etp, shard, first, last, stages: degrees of the mesh axes and what they divide
            (:class:`...scenario.scenario.Parallel`); ``context_kind`` is its ``context``.
        optimizer, micro_batch, master, gradients, states: how a training step runs (:class:`...workload.workload.Training`).
        recompute: ``none``, ``selective``, ``full`` or how many layers of each stage are computed again.
        schedule: ``gpipe``, ``1f1b``, ``interleaved:v``, ``zero-bubble`` …; ``virtual`` is its v where it is an array.
        lora: rank of low-rank adapters that train beside frozen weights.
        offload: when training ``optimizer:host``, ``weights:disk`` …; in inference ``weights:host:0.5``, ``kv:host:1:computed``
            (class, tier, share kept there, way: :mod:`speedlight.workload.places`).
        symbols: values of an ops file's symbols and of a captured module's free dimensions.
        power: power limit in watts per device.
        overrides: machine figures by dotted path, e.g. ``{"tiers.hbm.bandwidth": 4e12}``.

    Every number may be a NumPy array: the answer's numbers are then arrays of the broadcast shape.
    """
    if models_dir is None and DEFAULT_MODELS_DIR.is_dir():
        models_dir = str(DEFAULT_MODELS_DIR)
    dtype, autocast = _mixed(dtype, autocast)
    order = _layout(layout)
    if tf32 not in (None, "on", "off"):
        raise BadInput(f"TF32 {tf32!r}", expected="on or off")
    ref = ModelRef(
        model, tuple(inputs), dtype, weights, activations, kv, models_dir, mtp=mtp, autocast=autocast, layout=order,
        tf32=tf32, rewrites=() if lora is None else (Rewrite("lora", (("rank", lora),)),),
    )  # fmt: skip
    extra = {"steps": steps, "height": height, "width": width, "frames": frames, "images": images, "seconds": seconds,
             "guidance": _switch(guidance)}  # fmt: skip
    extra = {k: v for k, v in extra.items() if v is not None}
    graph = load_graph(
        model, ref.inputs, dtype, weights, activations, kv, models_dir, mtp, order, train=phase == "train"
    )
    if phase is None:
        phase = "generate" if graph.attrs.get("generates") else "forward"
    if isl is None:
        isl = graph.attrs.get("tokens_per_sequence")  # an image is so many patches
    if batch is None:
        batch = graph.symbols.get("batch")  # a captured module runs at the batch of its example input
    named = dict(symbols or {})
    if "batch" in named:
        batch = named.pop("batch")
    sizes = {"batch": batch, "isl": isl, "osl": osl, "context": context}
    given = {k: v for k, v in sizes.items() if v is not None}
    if phase == "decode" and context is None and isl is not None and "prompt" not in graph.attrs:
        given["context"] = isl
    policy, stages_a_rank = schedule_of(schedule)
    kind, layers = recompute_of(recompute)
    training = Training(
        optimizer, kind, micro_batch, layers, policy, stages_a_rank if virtual is None else virtual, master or "fp32",
        gradients, states or "fp32", offload_of(offload) if phase == "train" else (),
    )  # fmt: skip
    places = () if phase == "train" else places_of(offload)
    workload = Workload(
        phase=phase,
        **given,
        new=new,
        outputs=outputs,
        reused=reused,
        symbols=named,
        training=training,
        moe_load=moe_load,
        places=places,
    )
    parallel = Parallel(tp, ep, dp, pp, cp, zero, shard, sp, etp, context_kind, first, last, tuple(stages))

    def another(name: str) -> Graph:
        return load_graph(name, dtype=dtype, models_dir=models_dir)

    programs = programs_of(graph, ref, workload, parallel, stack, extra, given, another)
    return Scenario(
        programs,
        with_nodes(machine, nodes),
        overrides or {},
        OperatingPoint(power_w=power),
        machines_dir=machines_dir,
        main=DENOISER if len(programs) > 1 else "",
    )


_LAYOUTS = {"nchw": None, "contiguous": None, "nhwc": "channels_last", "channels_last": "channels_last"}


def _layout(name: str | None) -> str | None:
    """``channels_last`` or None.

    Raises:
        BadInput: for any other name.
    """
    key = "nchw" if name is None else str(name).lower().replace("-", "_")
    if key not in _LAYOUTS:
        raise BadInput(f"the layout {name!r} is not known", expected="one of " + ", ".join(_LAYOUTS))
    return _LAYOUTS[key]


def _mixed(dtype: str | None, autocast: str | None) -> tuple[str | None, str | None]:
    """(number format of the module, low format of autocast); ``amp``, ``amp-fp16`` and ``amp-bf16`` are dtypes people say.

    Raises:
        BadInput: for formats autocast does not have, and where both ways of saying it differ.
    """
    said = None
    if dtype is not None and str(dtype).lower().partition("-")[0] == "amp":
        said = str(dtype).lower().partition("-")[2] or "fp16"
        dtype = None
    found = [number_format(f).name for f in (said, autocast) if f is not None]
    if any(f not in ("fp16", "bf16") for f in found) or len(set(found)) > 1:
        raise BadInput(f"autocast to {' and '.join(dict.fromkeys(found))}", expected="fp16 or bf16")
    return dtype, found[0] if found else None


def _switch(value: bool | str | None) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    if str(value).lower() not in ("on", "off"):
        raise BadInput(f"guidance is {value!r}", expected="on or off")
    return str(value).lower() == "on"
