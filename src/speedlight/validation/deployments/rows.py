"""Rows of the deployments table as questions: which checkpoint, machine, engine, layout, load.

What a row leaves open is inferred and said so (``notes``):

* Degrees. Some sources record the product of a tensor- and an expert-parallel degree as ``tp_size`` (64 for tp 8 with
  ep 8 on eight GPUs: its figures equal those of the row that says 8), and one records the attention-parallel degree twice.
  Degrees that do not divide the model, as of whole racks, are read as attention replicated on every rank.
* Batch. ``batch_size`` is of one engine's attention rank; where ``concurrency`` is a multiple of it, as many engines shared
  the clients.
* Formats. ``precision`` names a checkpoint: the published one of that width where we know it, else the model's own with its
  linear layers in that format.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..._foundation.errors import SpeedlightError, UnknownName
from ...frontends.hf.config import Config
from ...frontends.hf.families.common import mtp_modules
from ...frontends.hf.load import load_hf
from ...frontends.zoo import zoo_entry, zoo_ids
from ...hardware.catalogue import index, load_machine
from ...hardware.machine import Machine
from ...placement.serving import Layout
from ...scenario.scenario import ModelRef
from ..suite import Columns

# Engines as the table names them → our stacks.
STACKS = {"trtllm": "tensorrt-llm", "vllm": "vllm", "sglang": "sglang"}
# Engines whose recipes store the cache in fp8 with checkpoints of 8 bits and fewer; the others keep what the checkpoint says.
NARROW_CACHE = ("trtllm", "sglang")
NARROW = ("fp8", "fp4")
WIDTHS = {"fp4": 4, "int4": 4, "fp8": 8}
WIDEST_CUT = 8  # parts that an expert's width is cut into at most, where attention is replicated
SUFFIXES = ("-fp8-static-pertensor", "-nvfp4", "-fp8")


@dataclass(frozen=True, slots=True)
class Pool:
    """One kind of worker of a deployment.

    Attributes:
        layout: degrees of a worker, whole numbers.
        batch: sequences on one attention rank; None where not known.
        workers: how many; None where not known.
    """

    layout: Layout
    batch: int | None
    workers: int | None


@dataclass(frozen=True, slots=True)
class Deployment:
    """A row as a question.

    Attributes:
        status: ``ok``, ``inferred:…`` or why there is no answer.
        campaign: (engine, machine, version, date): rows measured together share what is recorded nowhere.
        client: ``sweep`` (vendor's sweeps: requests of one length) or ``bench`` (lengths vary, ten requests a client).
        pools: one (aggregated), or prefill and decode workers.
        clients: requests in flight for one engine (aggregated), or for the deployment.
    """

    status: str
    model: ModelRef = ModelRef("")
    machine: str = ""
    engine: str = ""
    campaign: tuple[str, ...] = ()
    client: str = "bench"
    pools: tuple[Pool, ...] = ()
    clients: int = 0
    isl: int = 0
    osl: int = 0


def deployments(inputs: Columns, rows: int) -> list[Deployment]:
    """Every row; none makes it fail."""
    return [deployment({n: c[i] for n, c in inputs.items()}) for i in range(rows)]


def deployment(row: Mapping[str, Any]) -> Deployment:
    """One row."""
    sizes = {}
    for name in ("isl", "osl"):
        value = _number(row.get(name))
        if value is None or not 1 <= value < 2**24:
            return Deployment(f"invalid:{name}")
        sizes[name] = int(value)
    engine = _text(row.get("backend"))
    if engine not in STACKS:
        return Deployment(f"unsupported:backend {engine[:40]}")
    mode = _text(row.get("mode")) or "agg"
    if mode not in ("agg", "disagg"):
        return Deployment("invalid:mode")
    try:
        machine = system_of(_text(row.get("system")))
    except SpeedlightError:
        return Deployment("unknown-device")
    try:
        precision = _text(row.get("precision"))
        model = checkpoint(_text(row.get("model_path")), precision, _text(row.get("gemm_quant_mode")))
        if _starts(formats_of(model.source), "mxfp4") and block_scaled(machine):
            model = dataclasses.replace(model, activations="mxfp8")
        if precision in NARROW and engine in NARROW_CACHE:
            model = dataclasses.replace(model, kv="fp8")
    except SpeedlightError:
        return Deployment("unknown-model")
    notes: list[str] = []
    prefixes = ("",) if mode == "agg" else ("prefill_", "decode_")
    pools = tuple(_pool(row, prefix, notes) for prefix in prefixes)
    clients = _number(row.get("concurrency"))
    batch = pools[-1].batch
    if clients is None and batch is None:
        return Deployment("invalid:concurrency")
    layout = pools[-1].layout
    if clients is None:
        notes.append("concurrency")
        clients = batch * layout.adp * (pools[-1].workers or 1)
    if mode == "agg":
        clients = _of_one_engine(int(max(clients, 1)), batch, layout, notes)
    elif any(pool.workers is None for pool in pools):
        notes.append("workers")
    status = "ok" if not notes else "inferred:" + ",".join(dict.fromkeys(notes))
    source = _text(row.get("silicon_data_source"))
    bench = bool(re.match(r"db-dump|source_file=(\d{4}-\d{2}-\d{2}|kimi)", source))
    campaign = (engine, machine, _text(row.get("backend_version")), _text(row.get("measured_on")))
    return Deployment(
        status, model, machine, engine, campaign, "bench" if bench else "sweep", pools, int(max(clients, 1)), **sizes
    )


def _of_one_engine(clients: int, batch: int | None, layout: Layout, notes: list[str]) -> int:
    """Clients of one engine, where several shared them."""
    if batch is None:
        notes.append("batch")
        return clients
    share = int(batch * layout.adp)
    if "layout" not in notes and clients > share and clients / share >= 1.5:
        notes.append("replicas")
        return share
    return clients


def _pool(row: Mapping[str, Any], prefix: str, notes: list[str]) -> Pool:
    names = ("tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
    stated = [_number(row.get(prefix + name)) for name in names]
    degrees = [int(v) if v is not None and v >= 1 else 1 for v in stated]
    if stated[1] is None or stated[1] < 1:
        notes.append("attention_dp")
        experts = degrees[2] * degrees[3]
        if experts > degrees[0] and experts % degrees[0] == 0:
            degrees[1] = experts // degrees[0]  # experts on more ranks than attention's: it is replicated
    layout, changed = read_layout(degrees[0], degrees[1], degrees[2], degrees[3])
    if changed:
        notes.append("layout")
    counts = [_number(row.get(prefix + n)) for n in ("batch_size", "num_workers")]
    batch, workers = (int(v) if v is not None and v >= 1 else None for v in counts)
    return Pool(layout, batch, workers)


def read_layout(tp: int, adp: int, moe_tp: int, moe_ep: int) -> tuple[Layout, bool]:
    """Degrees that fill one worker, from those recorded, and whether they had to be changed."""
    before = (tp, adp, moe_tp, moe_ep)
    if adp > 1 and tp > 1:
        tp, adp = 1, max(tp, adp)
        moe_tp, moe_ep = (1, adp) if moe_ep > 1 else (adp, 1)
    elif moe_tp == moe_ep > 1 and tp * adp == moe_tp * moe_ep:
        tp, adp = (moe_ep, 1) if tp > adp else (1, moe_ep)
        moe_tp = 1
    ranks = tp * adp
    if adp > WIDEST_CUT and moe_tp == ranks:  # whole racks of replicated attention spread experts, whatever is recorded
        moe_tp, moe_ep = 1, ranks
    if moe_tp * moe_ep != ranks:
        moe_ep = moe_ep if ranks % moe_ep == 0 else 1
        moe_tp = ranks // moe_ep
    dense = before[2:] == (1, 1)
    return Layout(tp, adp, moe_tp, moe_ep), (tp, adp) != before[:2] or (not dense and (moe_tp, moe_ep) != before[2:])


@lru_cache(maxsize=64)
def system_of(name: str) -> str:
    """The machine a system's name means: the box its GPU usually sits in.

    Raises:
        UnknownName: for a name no machine has.
    """
    machine: Machine = load_machine(name, table=True)
    if machine.n_devices > 1:
        return machine.id
    for candidate in sorted(index()["files"]):
        if candidate.startswith(("dgx-", "hgx-", "gb")) and candidate != machine.id:
            box = load_machine(candidate)
            if box.n_devices > 1 and box.device_id == machine.device_id:
                return str(candidate)
    return machine.id


@lru_cache(maxsize=256)
def checkpoint(model: str, precision: str, products: str) -> ModelRef:
    """The checkpoint of a model in a precision.

    Args:
        model: its path; ``precision``: ``fp8``, ``fp4``, ``int4`` or nothing; ``products``: the format of its products.

    Raises:
        UnknownName: for a model no configuration describes.
    """
    entry = zoo_entry(model)
    if entry is None:
        raise UnknownName("model", model, ())
    own = str(entry["id"])
    width = WIDTHS.get(precision)
    if width is None:
        return ModelRef(own)
    formats = formats_of(own)
    narrow = {4: ("nvfp4", "mxfp4", "int4"), 8: ("fp8", "mxfp8", "int8")}
    if any(str(f).startswith(narrow[width]) for f in formats) and (precision != "fp4" or not _starts(formats, "int4")):
        return ModelRef(own)
    if _starts(formats, "mxfp4"):
        return ModelRef(own)
    base = next((own.removesuffix(s) for s in SUFFIXES if own.endswith(s)), own)
    wanted = {"fp4": ("-nvfp4",), "fp8": ("-fp8-static-pertensor", "-fp8") if products == "fp8" else ("-fp8",)}
    for suffix in wanted.get(precision, ()):
        if zoo_entry(base + suffix) is not None:
            return ModelRef(base + suffix)
    if precision == "fp4":
        for name in zoo_ids():  # a later release of the same architecture
            if name.startswith(base) and name.endswith("-nvfp4") and _alike(entry, zoo_entry(name) or {}):
                return ModelRef(name)
        return ModelRef(own, weights="nvfp4", activations="nvfp4", kv="fp8")
    return ModelRef(own, weights={"fp8": "fp8_block" if products == "fp8_block" else "fp8"}.get(precision, "int4"))


@lru_cache(maxsize=64)
def formats_of(model: str) -> frozenset[str]:
    """Formats of a checkpoint's linear layers, by its configuration."""
    entry = zoo_entry(model)
    stated = load_hf(Config(entry["config"], model))[1] if entry else None
    if stated is None:
        return frozenset()
    named = (stated.weights, stated.experts, *(rule.weights for rule in stated.rules))
    return frozenset(name for name in named if name is not None)


@lru_cache(maxsize=64)
def drafts(model: ModelRef) -> bool:
    """Whether the checkpoint has heads that draft further tokens (multi-token prediction)."""
    entry = zoo_entry(model.source)
    return entry is not None and mtp_modules(Config(entry["config"], model.source).text()) > 0


@lru_cache(maxsize=64)
def block_scaled(machine: str) -> bool:
    """Whether matrix units multiply 4-bit formats with scales of blocks: engines then quantise what meets MXFP4 weights to
    MXFP8 on the way (TensorRT-LLM's and FlashInfer's ``w4a8_mxfp4_mxfp8`` kernels); without such units they expand the weights.
    """
    return any(
        peak.unit == "matmul" and peak.format == "fp4" for e in load_machine(machine).engines for peak in e.peaks
    )


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    facts = ("model_type", "hidden_size", "num_hidden_layers", "n_routed_experts", "intermediate_size")
    return all(one["config"].get(f) == other["config"].get(f) for f in facts)


def _starts(formats: Iterable[str], word: str) -> bool:
    return any(str(f).startswith(word) for f in formats)


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None
