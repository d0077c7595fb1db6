"""What is asked of a model: a phase, sizes, and the steps they amount to (DESIGN decision 7).

A step is a list of sequence groups ``(count, new, cached)``: prefill is (batch, isl, 0), decode (batch, 1, context),
speculative verification (batch, k + 1, context); a chunked-prefill mix has several. Every number may be an array.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from .._foundation.errors import BadInput
from .places import Place

Value = Any  # float or numpy array

PHASES = ("forward", "prefill", "decode", "generate", "train")


@dataclass(frozen=True, slots=True)
class Group:
    """``count`` sequences with ``new`` tokens to compute on top of ``cached`` ones each."""

    count: Value
    new: Value
    cached: Value

    def env(self) -> dict[str, Value]:
        return {"count": self.count, "new": self.new, "cached": self.cached}


@dataclass(frozen=True, slots=True)
class Training:
    """How a training step is run.

    Attributes:
        optimizer: ``adamw``, ``adam``, ``sgd``, ``sgd_momentum``, ``lion``; ``none`` for a forward and backward pass alone.
        recompute: ``none``, ``selective`` (attention only), ``operators`` (all but attention and every other product) or
            ``full``.
        micro_batch: sequences per forward and backward pass of one replica; None for its whole share of the batch, in a
            pipeline for one.
        recompute_layers: layers of each stage that are computed again; None for all of them.
        schedule: ``gpipe``, ``1f1b``, ``interleaved``, ``zero-bubble`` … (:mod:`speedlight.schedule`).
        virtual: stages that each pipeline rank holds (``interleaved:v``).
        master: format of the copy of 16-bit weights that the optimizer updates; ``none`` to update them in place.
        gradients: format gradients are kept and reduced in; None for the weights' own.
        states: format of the optimizer's states.
        offload: (class, tier) pairs: ``optimizer``, ``gradients``, ``weights``, ``activations`` kept in ``host`` or ``disk``.
        update_here: share of offloaded optimizer states that come to the device, are updated there and go back, beside the host's
            update of the rest.
    """

    optimizer: str = "adamw"
    recompute: str = "none"
    micro_batch: Value | None = None
    recompute_layers: Value | None = None
    schedule: str = "1f1b"
    virtual: Value = 1
    master: str = "fp32"
    gradients: str | None = None
    states: str = "fp32"
    offload: tuple[tuple[str, str], ...] = ()
    update_here: Value = 0.0


@dataclass(frozen=True, slots=True)
class Workload:
    """The question's sizes.

    Attributes:
        phase: ``forward`` (a batch, nothing cached, all logits), ``prefill``, ``decode`` (one step), ``generate``
            (prefill, then osl − 1 decode steps) or ``train`` (one optimizer step).
        batch: sequences (or images) per model replica in flight; the global batch for training.
        isl: prompt tokens per sequence; the sequence length in ``forward`` and ``train``.
        osl: output tokens per sequence (``generate``).
        context: tokens already cached per sequence (``decode``).
        groups: explicit sequence groups of one step; overrides batch, isl and context.
        new: tokens a decode step computes for each sequence: 1, or k + 1 to verify k drafts.
        outputs: tokens it adds to each sequence: 1, or the expected number of accepted drafts and one; below 1 where a token takes
            several steps (k drafts for every E tokens: E/k). A call of ``decode`` is what adds one token to each sequence,
            1/outputs steps; with explicit groups it is the step.
        reused: tokens of each prompt whose keys and values are there already (a prefix hit).
        symbols: values of a captured module's own free dimensions.
        training: see :class:`Training`; used in ``train`` only.
        moe_load: distribution of tokens over experts: ``balanced``, ``uniform`` or ``power:a``, a capacity behind it
            (:mod:`speedlight.graph.expert_spread`).
        places: what inference keeps outside the device (:mod:`.places`); a training step's is in ``training``.
    """

    phase: str = "forward"
    batch: Value = 1
    isl: Value = 1024
    osl: Value = 128
    context: Value = 1024
    groups: tuple[Group, ...] = ()
    new: Value = 1
    outputs: Value = 1
    reused: Value = 0
    symbols: Mapping[str, Value] = field(default_factory=dict)
    training: Training = Training()
    moe_load: str = "balanced"
    places: tuple[Place, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "symbols", MappingProxyType(dict(self.symbols)))
        if self.phase not in PHASES:
            raise BadInput(f"phase {self.phase!r}", expected="one of " + ", ".join(PHASES))


@dataclass(frozen=True, slots=True)
class Step:
    """One engine step, ready to bind: its groups and token symbols.

    Attributes:
        name: ``prefill``, ``decode``, ``forward`` or ``train``.
        repeats: how often it runs (gradient accumulation).
        divided: ranks that divide each sequence's tokens (context parallelism); groups are of whole sequences.
    """

    name: str
    groups: tuple[Group, ...]
    caching: int
    training: int
    all_logits: bool
    repeats: Value = 1
    divided: Value = 1

    @property
    def sort(self) -> str:
        """What decides a stack's kernels: its name, but ``verify`` for a decode step of several tokens a sequence."""
        return "verify" if self.name == "decode" and self.all_logits else self.name

    def env(self) -> dict[str, Value]:
        """Values of the step symbols of :mod:`speedlight.graph.ir`."""
        tokens = sum(g.count * g.new for g in self.groups)
        tokens = tokens / self.divided if np.ndim(self.divided) or self.divided != 1 else tokens
        seqs = sum(g.count for g in self.groups)
        return {
            "tokens": tokens, "seqs": seqs, "logits": tokens if self.all_logits else seqs,
            "groups": len(self.groups), "caching": self.caching, "training": self.training,
        }  # fmt: skip


def prefill_step(batch: Value, isl: Value, reused: Value = 0) -> Step:
    """A prompt of ``isl`` tokens of each sequence, of which ``reused`` are cached."""
    return Step("prefill", (Group(batch, isl - reused, reused),), 1, 0, False)


def decode_step(batch: Value, context: Value, new: Value = 1) -> Step:
    """``new`` tokens of each sequence on top of ``context`` cached ones; several are there to be verified, each by its logits."""
    several = bool(np.ndim(new)) or new != 1
    return Step("decode", (Group(batch, new, context),), 1, 0, several)


def single_step(workload: Workload) -> Step:
    """The step of every phase but ``generate``."""
    w = workload
    if w.phase == "generate":
        raise ValueError("generate has two kinds of step")
    if w.phase == "decode":
        return _grouped(decode_step(w.batch, w.context, w.new), w)
    if w.phase == "prefill":
        return _grouped(prefill_step(w.batch, w.isl, w.reused), w)
    if w.phase == "train":
        micro = w.batch if w.training.micro_batch is None else w.training.micro_batch
        return Step("train", w.groups or (Group(micro, w.isl, 0),), 0, 1, True, repeats=w.batch / micro)
    return Step("forward", w.groups or (Group(w.batch, w.isl, 0),), 0, 0, True)


def _grouped(step: Step, workload: Workload) -> Step:
    """The step with the question's explicit sequence groups, where it states some."""
    return replace(step, groups=workload.groups, all_logits=False) if workload.groups else step
