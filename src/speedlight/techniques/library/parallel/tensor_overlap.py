"""Tensor-parallel messages beside computation: in halves of a batch or a sequence, or in pieces of the products."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, phases, tensor_parallel, training
from ...edits import with_wire
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register

_UNITS = Parameter("units", 0.1, "share of the compute units that messages hold", low=0.0, high=0.5)


def _halves(subject: Subject, settings: Settings) -> Scenario:
    return with_wire(subject, "tensor", beside="half", units=settings["units"])


def _tiles(subject: Subject, settings: Settings) -> Scenario:
    return with_wire(subject, "tensor", beside="product", parts=settings["parts"], units=settings["units"])


def _whole_model(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.sharded("pp"):
        return Refusal("a pipeline's micro-batches are not cut in halves here", "without --pp")
    return None


def _transformer(subject: Subject, settings: Settings) -> Refusal | None:
    return None if subject.transformer else Refusal("the model is no transformer")


ISO = register(Technique(
    name="sequence-halves-overlap",
    title="ISO: two parts of a sequence take turns",
    family="parallel",
    mechanism="a prompt is cut in two parts, one of which computes while the other's partial sums are added up; weights are read twice",
    papers=("iso",),
    citation="Xiao and Su, arXiv 2409.11155",
    parameters=(_UNITS,),
    edits=(Edit("placement", "wire:tensor:when", _halves),),
    refuse=every(phases("prefill"), _transformer, tensor_parallel, _whole_model),
    exact=True,
))  # fmt: skip

DOMINO = register(Technique(
    name="domino",
    title="Domino: two halves of a batch take turns",
    family="parallel",
    mechanism="a micro-batch is cut in two halves; one computes while the other's partial sums are added up, forward and backward",
    citation="Wang et al., arXiv 2409.15241",
    parameters=(_UNITS,),
    edits=(Edit("placement", "wire:tensor:when", _halves),),
    refuse=every(training, _transformer, tensor_parallel),
    exact=True,
))  # fmt: skip

BATCH_HALVES = register(Technique(
    name="batch-halves-overlap",
    title="Two half batches take turns (nano-batches of tensor parallelism)",
    family="parallel",
    mechanism="the requests of a decode step are cut in two halves, one of which computes while the other's partial sums are added up; weights are read twice",
    papers=("iso",),
    citation="Zhu et al., NanoFlow, arXiv 2408.12757",
    parameters=(_UNITS,),
    edits=(Edit("placement", "wire:tensor:when", _halves),),
    refuse=every(phases("decode"), _transformer, tensor_parallel, _whole_model),
    exact=True,
))  # fmt: skip

TILES = register(Technique(
    name="fused-tile-communication",
    title="Messages tile by tile with their products (T3, FLUX)",
    family="parallel",
    mechanism="each tile of a product is sent as it is written, by the copy engines or the memory's own tracking: all but one tile's message hides under the product",
    papers=("t3",),
    citation="Pati et al., arXiv 2401.16677; Chang et al., arXiv 2406.06858",
    parameters=(
        Parameter("parts", 16.0, "pieces of a product", low=1, trials=(64.0,)),
        Parameter("units", 0.0, "share of the compute units that messages hold", low=0.0, high=0.5),
    ),
    edits=(Edit("placement", "wire:tensor:when", _tiles),),
    refuse=every(_transformer, tensor_parallel, _whole_model),
    exact=True,
))  # fmt: skip

DECOMPOSED = register(Technique(
    name="decomposed-collectives",
    title="Collectives decomposed with their products (collective matmul, async tensor parallelism)",
    family="parallel",
    mechanism="a product is cut into as many pieces as ranks, each sent while the next is computed by ordinary kernels",
    citation="Wang et al., ASPLOS 2023, Overlap Communication with Dependent Computation via Decomposition",
    parameters=(Parameter("parts", 4.0, "pieces of a product", low=1, trials=(2.0, 8.0)), _UNITS),
    edits=(Edit("placement", "wire:tensor:when", _tiles),),
    refuse=every(_transformer, tensor_parallel, _whole_model),
    exact=True,
))  # fmt: skip
