"""From the sizes a person gives to the programs they amount to: sources, pictures, clips, recordings, denoising steps.

A graph says which further sizes may be asked for and what they are unless stated (``attrs["asked"]``), how many positions
a sequence then has (``length``), how an encoder–decoder starts (``prompt``) and what runs around it (``pipeline``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..._foundation.errors import BadInput
from ..._foundation.expr import evaluate
from ...graph.ir import Graph
from ...scenario.scenario import ModelRef, Parallel, Program
from ...workload.workload import Workload

EXTRA = ("steps", "guidance", "height", "width", "frames", "images", "seconds")
DENOISER = "denoise"


def programs_of(
    graph: Graph, ref: ModelRef, workload: Workload, parallel: Parallel, stack: str | None, extra: Mapping[str, Any],
    given: Mapping[str, Any], load: Callable[[str], Graph],
) -> tuple[Program, ...]:  # fmt: skip
    """The programs a question amounts to: one, or a denoiser between its text encoders and its decoder.

    Args:
        graph: the model's.
        workload: the phase and the sizes as far as stated; what depends on the model is filled in.
        extra: further sizes stated, of :data:`EXTRA`.
        given: which of batch, isl, osl and context were stated.
        load: the graph of another bundled model.

    Raises:
        BadInput: for a size the model does not have.
    """
    sizes = _extra_sizes(graph, extra)
    around = graph.attrs.get("pipeline")
    whole = workload.phase == "generate" and around is not None
    if not whole and any(name in extra for name in ("steps", "guidance")):
        name = next(n for n in ("steps", "guidance") if n in extra)
        raise BadInput(f"--{name} without a whole pipeline", expected="--phase generate of a diffusion model")
    main = Program(ref, _sized(graph, workload, sizes, extra, given), parallel, stack)
    if not whole or around is None:
        return (main,)
    passes = 2 if sizes["guidance"] else 1
    once = replace(main.workload, phase="forward")
    programs: list[Program] = []
    for name, tokens in around["encoders"]:
        phase = "prefill" if load(name).attrs.get("generates") else "forward"  # of a decoder no text is wanted
        read = Workload(phase, batch=workload.batch, isl=tokens)
        label = "text_encoder" + (f"_{len(programs) + 1}" if programs else "")
        programs.append(Program(_other(ref, name), read, parallel, stack, label, passes))
    symbols = {**once.symbols, "passes": passes}
    programs.append(replace(main, workload=replace(once, symbols=symbols), name=DENOISER, repeats=sizes["steps"]))
    if around["decoder"]:
        sides = {"height": sizes["height"], "width": sizes["width"], "encode": 0, "decode": 1}
        drawn = Workload("forward", batch=workload.batch, isl=1, symbols=sides)
        programs.append(Program(_other(ref, around["decoder"]), drawn, Parallel(), stack, "vae"))
    return tuple(programs)


def _other(ref: ModelRef, name: str) -> ModelRef:
    """Another bundled model, in the formats asked for the whole."""
    return ModelRef(name, dtype=ref.dtype, models_dir=ref.models_dir)


def _extra_sizes(graph: Graph, extra: Mapping[str, Any]) -> dict[str, Any]:
    known: Mapping[str, Any] = graph.attrs.get("asked", {})
    for name, value in extra.items():
        if name not in known:
            can = ", ".join(f"--{n}" for n in known)
            raise BadInput(
                f"{graph.name} has no --{name}", expected=can or "no such size", hint="speedlight explain --help"
            )
        if name == "guidance":
            continue
        array = np.asarray(value)
        if (
            array.dtype.kind not in "iuf"
            or array.size == 0
            or not np.all(np.isfinite(array))
            or np.any(array < _LEAST[name])
        ):
            raise BadInput(f"{name} is {value!r}", expected=f"a number of at least {_LEAST[name]}")
    return {**known, **extra}


_LEAST = {"steps": 1, "height": 8, "width": 8, "frames": 1, "images": 0, "seconds": 0.01}


def _sized(
    graph: Graph, workload: Workload, sizes: Mapping[str, Any], extra: Mapping[str, Any], given: Mapping[str, Any]
) -> Workload:
    """The workload with what the model's own sizes make of it."""
    attrs = graph.attrs
    symbols = {name: sizes[name] for name in graph.symbols if name in extra}
    changes: dict[str, Any] = {}
    if "prompt" in attrs:
        return _encoder_decoder(graph, workload, sizes, extra, given, symbols)
    length = attrs.get("length")
    if length is not None:
        positions = evaluate(length, {k: v for k, v in sizes.items() if k != "guidance"})
        if attrs.get("beside"):  # pictures come on top of the prompt's own tokens
            changes["isl"] = workload.isl + positions
            if workload.phase == "decode" and "context" not in given:
                changes["context"] = workload.context + positions
        elif "isl" not in given:
            changes["isl"] = _whole(positions)
    if workload.phase == "generate" and attrs.get("pipeline") is not None:
        changes["osl"] = 1
    return replace(workload, symbols={**workload.symbols, **symbols}, **changes)


def _encoder_decoder(
    graph: Graph, workload: Workload, sizes: Mapping[str, Any], extra: Mapping[str, Any], given: Mapping[str, Any],
    symbols: Mapping[str, Any],
) -> Workload:  # fmt: skip
    """isl is the source's length; the decoder starts with its own prompt (or, read at once, with the whole target)."""
    source = given.get("isl", graph.symbols["source"])
    rate, most = graph.attrs["source_per_second"], graph.symbols["source"]
    batch = workload.batch
    if rate:
        window = float(most or 1) / rate
        seconds = extra.get("seconds", window)
        batch, source = batch * np.ceil(np.asarray(seconds) / window), most  # whole windows, padded
        batch = batch if np.ndim(batch) else int(batch)
    target: Any = graph.attrs["prompt"]
    if workload.phase in ("forward", "train"):
        target = given.get(
            "osl", min(graph.attrs.get("max_context") or source, source) if np.ndim(source) == 0 else source
        )
    changes: dict[str, Any] = {"isl": target, "batch": batch}
    if workload.phase == "decode" and "context" not in given:
        changes["context"] = workload.osl
    return replace(workload, symbols={**workload.symbols, **symbols, "source": source}, **changes)


def _whole(value: Any) -> Any:
    """Positions are whole: a side that does not divide is padded."""
    rounded = np.ceil(np.asarray(value) - 1e-9)
    return rounded if np.ndim(rounded) else int(rounded)


__all__ = ["DENOISER", "EXTRA", "programs_of"]
