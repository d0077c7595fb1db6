"""The decoder of latents in tiles."""

from __future__ import annotations

import dataclasses

from ....scenario.scenario import Program, Scenario
from ...conditions import every, inference
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register
from .pipeline import whole


def _tiled(subject: Subject, settings: Settings) -> Scenario:
    tiles, overlap = settings["tiles"], settings["overlap"]
    if tiles == 1:
        return subject.scenario

    def cut(program: Program) -> Program:
        if program.name != "vae":
            return program
        symbols = dict(program.workload.symbols)
        for side in ("height", "width"):
            symbols[side] = symbols[side] / tiles * (1 + overlap)
        return dataclasses.replace(
            program, repeats=program.repeats * tiles * tiles, workload=dataclasses.replace(program.workload, symbols=symbols)
        )  # fmt: skip

    return subject.scenario.replace(programs=tuple(cut(p) for p in subject.scenario.programs))


def _decodes(subject: Subject, settings: Settings) -> Refusal | None:
    if any(p.name == "vae" for p in subject.scenario.programs):
        return None
    return Refusal(
        "no decoder of latents runs in this question",
        "--phase generate of a model whose decoder is known, such as sd-1.5",
    )


TILING = register(Technique(
    name="vae-tiling",
    title="Latents decoded in overlapping tiles",
    family="diffusion",
    mechanism="the decoder sees one tile of the latents at a time: its activations shrink with the tile, its work grows by the overlap",
    citation="diffusers, enable_vae_tiling",
    parameters=(
        Parameter("tiles", 2, "tiles along each side", low=1, high=16, trials=(4,), neutral=1),
        Parameter("overlap", 0.25, "share by which tiles overlap", low=0.0, high=1.0),
    ),
    edits=(Edit("workload", "decoder", _tiled),),
    refuse=every(inference, whole, _decodes),
))  # fmt: skip
