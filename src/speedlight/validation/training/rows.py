"""Rows as questions: what a row states in its own words → model, formats, layout, stack; what it leaves open stays open.

Nothing here looks at a measured column.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..._foundation.errors import BadInput, UnknownName
from ...hardware.catalogue import load_machine
from ...scenario.scenario import ModelRef, Parallel, Program, Rewrite, Scenario
from ...workload.workload import Group, Training, Workload
from .flops import PACKED
from .models import model_of, number
from .sources import Source, source_of

# A device → the box its owners put it in; a device that is missing here stands alone, joined by its own link.
BOXES = {
    "a100-sxm-40gb": "dgx-a100-40gb", "a100-sxm-80gb": "dgx-a100-80gb", "h100-sxm-80gb": "dgx-h100",
    "h200-sxm-141gb": "dgx-h200", "b200-sxm-180gb": "dgx-b200", "b300-sxm-288gb": "dgx-b300",
    "gb200-186gb": "gb200-nvl72", "gb300-288gb": "gb300-nvl72", "h100-sxm-96gb-500w": "grand-teton-h100",
    "v100-sxm2-32gb": "dgx-1-v100-32gb",
}  # fmt: skip

# Words of the precision column, first match; the formats of linear layers beside bf16 everything.
PRECISIONS = (
    (r"nvfp4", "nvfp4"), (r"mxfp8|fp8-mx", "mxfp8"), (r"fp8", "fp8"), (r"tf32", "tf32"), (r"bf16", "bf16"), (r"amp", "amp"),
    (r"fp32$", "fp32"), (r"fp16", "fp16"),
)  # fmt: skip

# Software → stack, first match.
STACKS = (
    (r"Megatron-LM \(April 2021\)", "megatron@2021.04"), (r"Megatron-LM", "megatron@2022.05"),
    (r"Megatron-Core", "megatron@2024.07"), (r"Megatron-Bridge, NeMo (\d+)\.(\d+)", "megatron@20{0}.{1}"),
    (r"NeMo (?:NeMo)?(\d+)\.(\d+)", "megatron@20{0}.{1}"), (r"torchtitan .*(2025|2\.8)", "torchtitan@2025.06"),
    (r"torchtitan", "torchtitan@2024.12"),
    (r"llm-foundry", "llm-foundry@0.3"), (r"MaxText", "maxtext@2024.03"), (r"DeepSpeed", "deepspeed@0.14"),
    (r"PyTorch/DALI|PyTorch NGC", "deeplearningexamples@20.06"),
    (r"max-autotune|reduce-overhead", "transformers-graphs@5.0"), (r"torch\.compile", "transformers-compiled@5.0"),
    (r"eager", "transformers@5.0"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """A row's question with its open choices.

    Attributes:
        source: whose row it is; ``model`` its source for the engine.
        devices, batch, seq_len: of one step.
        recompute: stated, or None; ``micro_batch`` and ``virtual`` too.
        layers: of each stage, that are computed again; None for all.
        work: share of a full step's FLOPs that the source counts (LoRA: no weight gradients, 4 of 6 N).
        inferred: fields that a rule fills.
    """

    source: Source
    model: str
    devices: int
    batch: float
    seq_len: float
    parallel: Parallel
    stack: str
    machine: str
    device: str
    precision: str
    compiled: bool
    task: str
    recompute: str | None
    layers: int | None
    micro_batch: float | None
    virtual: float | None
    optimizer: str
    overlap_tp: bool
    inferred: tuple[str, ...]

    @property
    def replica_batch(self) -> float:
        """Sequences of one step that one replica works on."""
        return self.batch / float(self.parallel.dp)

    @property
    def dtype(self) -> str:
        """What lies in memory: apex' mixed precision (O2) keeps a language model's weights in 16 bit, autocast a CNN's in 32."""
        if self.precision in ("fp32", "tf32") or (self.precision == "amp" and self.images):
            return "fp32"
        return "fp16" if self.precision in ("fp16", "amp") else "bf16"

    @property
    def images(self) -> bool:
        return self.task.startswith("ImageNet")

    @property
    def packed(self) -> bool:
        return self.task.startswith("finetuning")

    def scenario(self, recompute: str, micro_batch: float) -> Scenario:
        """The question with its choices made."""
        fp = self.precision
        low = fp in ("fp8", "mxfp8", "nvfp4", "fp8_block")
        groups: tuple[Group, ...] = ()
        if self.packed:
            groups = (Group(micro_batch * self.seq_len / PACKED, PACKED, 0),)
        for length, share in self.source.filled:
            if length == self.seq_len:
                groups = (Group(micro_batch, self.seq_len * share, 0),)
        training = Training(
            optimizer=self.optimizer, recompute=recompute, micro_batch=micro_batch,
            recompute_layers=self.layers if recompute == "full" else None,
            schedule="interleaved" if (self.virtual or 1) > 1 else "1f1b", virtual=self.virtual or 1,
            master="none" if self.source.name == "stas" or self.dtype == "fp32" else "fp32",
            gradients="fp32" if self.source.gradients == "fp32" and self.dtype != "fp32" else None,
            states="bf16" if self.source.name == "stas" else "fp32",
        )  # fmt: skip
        workload = Workload("train", self.batch, 1 if self.images else self.seq_len, groups=groups, training=training)
        ref = ModelRef(
            self.model,
            rewrites=(Rewrite("frozen"),) if "lora" in self.task.lower() else (),
            dtype=self.dtype,
            weights=fp if low else None, activations=fp if low else None,
            autocast="fp16" if fp == "amp" and self.images else None,
            tf32="on" if fp == "tf32" else "off" if fp == "fp32" and not self.images else None,
        )  # fmt: skip
        program = Program(ref, workload, self.parallel, self.stack)
        return Scenario((program,), self.machine)


def row_of(cells: Mapping[str, Any]) -> Row:
    """A row of the table, blanks as empty texts.

    Raises:
        BadInput: for a size or a layout that makes no sense, naming the column.
        UnknownName: for a model, a machine or a source nobody knows.
        Unsupported: for a task this version cannot price.
    """
    source = source_of(str(cells.get("case_id", "")))
    model = model_of(cells)
    device = load_machine(str(cells.get("gpu", "")), table=True).device_id
    devices = whole(cells, "n_gpus")
    machine = machine_of(device, devices)
    tp, pp, cp = (int(number(cells, n) or 1) for n in ("tp", "pp", "cp"))
    inner = tp * pp * cp
    if devices % inner:
        raise BadInput(f"n_gpus {devices} over tp {tp} · pp {pp} · cp {cp}", expected="a multiple")
    dp = devices // inner
    task = str(cells.get("task", ""))
    inferred: list[str] = []
    micro = number(cells, "micro_batch")
    virtual = 2.0 if str(cells.get("vpp", "")).strip() == "interleaved" else number(cells, "vpp")
    if local := re.match(r"local (\d+)", str(cells.get("micro_batch", ""))):
        # torchtitan's default: as many micro-batches as stages, of all ranks together (--experimental.pipeline_parallel_microbatches)
        micro = max(1.0, float(local[1]) // (pp * (virtual or 1)))
    batch = number(cells, "global_batch")
    accumulated = number(cells, "grad_accum")
    if batch is None and micro is not None:
        batch = micro * dp * (accumulated or 1)
    if batch is None and task.startswith("ImageNet"):
        batch, micro = 256.0 * dp, 256.0
        inferred.append("batch")
    if batch is None:
        raise BadInput("no batch", expected="global_batch, or micro_batch")
    if batch < dp and batch * inner * 2 <= devices * 2:  # printed degrees leave ranks over: they divide the sequence
        cp, dp = cp * dp // int(batch), int(batch)
        inferred.append("cp")
    precision = precision_of(cells)
    zero, shard = sharding_of(cells, source, dp)
    stated = str(cells.get("recompute", ""))
    recompute, share = recompute_of(stated)
    layers = None if share is None else math.ceil(share * (number(cells, "layers") or 0) / pp)
    for name, value in (("recompute", recompute), ("micro_batch", micro)):
        if value is None:
            inferred.append(name)
    sp = 1 if tp > 1 and (str(cells.get("sequence_parallel", "")).startswith("yes") or source.sequence_parallel) else 0
    if str(cells.get("sequence_parallel", "")).startswith("no"):
        sp = 0
    parallel = Parallel(tp=tp, pp=pp, cp=cp, dp=dp, ep=int(number(cells, "ep") or 1), zero=zero, shard=shard, sp=sp)
    return Row(
        source, model, devices, batch, number(cells, "seq_len") or 1.0, parallel, stack_of(cells),
        machine, device, precision, "compile" in str(cells.get("precision", "")) + str(cells.get("software", "")), task,
        recompute, layers, micro, virtual, optimizer_of(task), "async" in str(cells.get("precision", "")).lower(),
        tuple(inferred),
    )  # fmt: skip


def machine_of(device: str, devices: int) -> str:
    """So many boxes of a device's kind as the devices fill."""
    box = BOXES.get(device)
    if box is None:
        return device
    nodes = -(-devices // load_machine(box).n_devices)
    return box if nodes == 1 else f"{box} x {nodes}"


def whole(cells: Mapping[str, Any], name: str) -> int:
    value = number(cells, name)
    if value is None or value != int(value):
        raise BadInput(f"{name} is {cells.get(name)!r}", expected="a positive whole number")
    return int(value)


def precision_of(cells: Mapping[str, Any]) -> str:
    """The format of linear layers; of two in one cell the row's note says which it is."""
    said = str(cells.get("precision", "")).lower()
    for pattern, name in PRECISIONS:
        if re.search(pattern, said):
            finer = name == "fp8" and "this row is b" in str(cells.get("notes", ""))
            return ("fp8_block" if "H100" in str(cells.get("gpu", "")) else "mxfp8") if finer else name
    raise BadInput(f"precision is {cells.get('precision')!r}", expected="bf16, fp16, fp8, mxfp8, nvfp4, tf32 or fp32")


def recompute_of(said: str) -> tuple[str | None, float | None]:
    """(kind, share of layers) as stated; None where nothing is."""
    text = said.lower()
    if not text:
        return None, None
    if text.startswith("none"):
        return "none", None
    if text.startswith("full"):
        return "full", None
    if "layer" in text:
        return "full", 0.5  # every other layer
    if re.search(r"\bop\b|per-op", text):
        return "operators", None
    if text.startswith(("selective", "minimal")):
        return "selective", None
    raise BadInput(f"recompute is {said!r}", expected="none, selective … or full")


def sharding_of(cells: Mapping[str, Any], source: Source, dp: int) -> tuple[int, int | None]:
    """(ZeRO stage, ranks of a shard or None for all replicas)."""
    said = str(cells.get("zero_stage_or_fsdp", ""))
    text = said.lower()
    if not text:
        return source.zero, None
    if text.strip() in ("0", "0.0", "none"):
        return 0, None
    if "zero-2" in text:
        return 2, None
    if "fsdp over ici" in text:
        inner = re.search(r"\((\d+)(?:/(\d+))?", text)
        shard = int(inner[1]) // int(inner[2] or 1) if inner else dp
        return 3, shard if shard < dp else None
    if "fsdp=0" in text or "distributed optimizer" in text:
        return 1, None
    if "fsdp" in text or "zero-3" in text:
        return 3, None
    if "zero-1" in text:
        return 1, None
    raise BadInput(f"zero_stage_or_fsdp is {said!r}", expected="a ZeRO stage or FSDP")


def stack_of(cells: Mapping[str, Any]) -> str:
    """The stack of a row's software; of torchtitan's two by whether the row says it was compiled."""
    software = str(cells.get("software", ""))
    for pattern, name in STACKS:
        match = re.search(pattern, software)
        if match:
            eager = name.startswith("torchtitan") and "compile" not in str(cells.get("precision", ""))
            return "torchtitan-eager@2024.12" if eager else name.format(*match.groups())
    raise UnknownName("training software", software, [n for _, n in STACKS])


def optimizer_of(task: str) -> str:
    if task == "fwd+bwd":
        return "none"
    return "sgd_momentum" if task.startswith("ImageNet") else "adamw"
