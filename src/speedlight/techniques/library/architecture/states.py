"""Attention whose cache holds less by design: one value tensor for all layers, initial states, blocks of tokens."""

from __future__ import annotations

import dataclasses

from ....scenario.scenario import ModelRef, Program, Rewrite, Scenario
from ...caches import by_heads
from ...conditions import every, phases
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _layers(subject: Subject) -> int:
    return int(subject.graph.attrs.get("n_layers") or 1)


def _one_value(subject: Subject, settings: Settings) -> Scenario:
    n = _layers(subject)
    return with_rewrite(subject, "kv_width", kept=0.5, read=1.0, products=1.0, layers=(n - 1) / n)


SHARED_VALUES = register(Technique(
    name="shared-values",
    title="One value tensor for all layers (SVFormer)",
    family="architecture",
    mechanism="only keys are cached in every layer, values once: capacity falls to (L + 1)/2L, but each layer still reads keys and values, so a step's traffic stays",
    papers=("value-residual-learning-for-alleviating-attention-concentrat",),
    citation="Value residual learning, arXiv 2410.17897",
    edits=(Edit("graph", "kv width", _one_value),),
    refuse=by_heads,
))  # fmt: skip


def _states(subject: Subject, settings: Settings) -> Scenario:
    """Each layer reads one state a token instead of its keys and values; every head attends to the whole of it."""
    hidden = float(subject.graph.attrs["hidden"])
    keys, width = _widths(subject)
    n = _layers(subject)
    return with_rewrite(subject, "kv_width", kept=hidden / keys / n, read=hidden / keys, products=2 * hidden / width)


def _widths(subject: Subject) -> tuple[float, float]:
    """(cached numbers of a token and layer, widths of a head's key and value)."""
    from ...._foundation.expr import evaluate

    op = next(o for _, o in subject.graph.ops() if o.fn == "sdpa" and any(
        subject.graph.tensor(b, r.tensor).cls == "kv" for b, p in subject.graph.ops() if p is o for r in o.reads
    ))  # fmt: skip
    env = {name: float(d.size) for name, d in subject.graph.dims.items()}
    heads, key, value = (float(evaluate(op.dims[name], env)) for name in ("kv_heads", "qk_dim", "v_dim"))
    return heads * (key + value), key + value


INATTENTION = register(Technique(
    name="inattention",
    title="Attention to initial states only (InAttention)",
    family="architecture",
    mechanism="keys and values of all layers come from a token's initial state, which is cached once for all of them: bytes kept fall with the layers; reads and products are of the whole state",
    papers=("inattention",),
    citation="InAttention, arXiv 2410.07063",
    edits=(Edit("graph", "kv width", _states),),
    refuse=every(by_heads, lambda s, _: None if s.graph.attrs.get("hidden") else Refusal("its width is not known")),
))  # fmt: skip


def _blocks(subject: Subject, settings: Settings) -> Scenario:
    """Every step runs the token decoder in its block; one step in a block's length runs the block decoder over blocks."""
    scenario, program = subject.scenario, subject.program
    length = settings["block"]
    upper = _part(program.model, Rewrite("keep_layers", (("share", 0.5),)), Rewrite("kv_window", (("window", length),)))
    lower = _part(program.model, Rewrite("keep_layers", (("share", 0.5),)), Rewrite("bare"))
    w = program.workload
    over_blocks = dataclasses.replace(w, context=w.context / length)
    token = dataclasses.replace(program, model=upper)
    block = Program(lower, over_blocks, program.parallel, program.stack, "block-decoder", 1 / length, program.software)
    mine = tuple(token if p is program else p for p in scenario.programs)
    return scenario.replace(programs=(*mine, block), main=program.name)


def _part(model: ModelRef, *rewrites: Rewrite) -> ModelRef:
    return dataclasses.replace(model, rewrites=(*model.rewrites, *rewrites))


BLOCK_TRANSFORMER = register(Technique(
    name="block-transformer",
    title="Global-to-local layers over blocks of tokens (Block Transformer)",
    family="architecture",
    mechanism="the lower half of the layers runs once a block and attends over blocks, the upper half runs every token and attends inside its block: keys and values kept and read fall by about the block's length",
    papers=("block-transformer",),
    citation="Block Transformer, arXiv 2406.02657",
    parameters=(Parameter("block", 4, "tokens of a block", "token", low=2, high=64, trials=(8,)),),
    edits=(Edit("graph", "depth", _blocks),),
    refuse=every(phases("decode"), by_heads, lambda s, _: None if len(s.scenario.programs) == 1 else Refusal("several programs run in this question already")),
))  # fmt: skip
