"""A network's first layers on a small device, the rest on a server: what crosses is the tensor at the cut."""

from __future__ import annotations

import dataclasses

from ...._foundation.arrays import Value
from ...._foundation.expr import evaluate
from ....engine.steps.phase import free_symbols
from ....graph.rewrite import rewrite
from ....graph.stats import unsharded
from ....hardware.catalogue import machine_ids
from ....scenario.scenario import Edge, Rewrite, Scenario
from ....workload.workload import single_step
from ...conditions import every, inference
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _split(subject: Subject, settings: Settings) -> Scenario:
    share, program = settings["share"], subject.program
    head, tail = (
        dataclasses.replace(subject.model, rewrites=(*subject.model.rewrites, Rewrite("part", (("start", a), ("stop", b)))))
        for a, b in ((0.0, share), (share, 1.0))
    )  # fmt: skip
    near = dataclasses.replace(program, model=head, name="near", machine=settings["machine"], stack=None, software={})
    edge = Edge(
        "near", program.name, _crossing(subject, share) * settings["narrowed"], f"{settings['mbit_s']:g} Mbit/s"
    )
    far = dataclasses.replace(program, model=tail)
    return subject.scenario.replace(programs=(near, far), edges=(edge,), main=program.name)


def _crossing(subject: Subject, share: float) -> Value:
    """Bytes of the tensors that the first part hands on."""
    graph = rewrite(subject.graph, "part", (("start", 0.0), ("stop", share)))
    last = graph.blocks[-1]
    env = {**free_symbols(graph, subject.workload), **unsharded(graph), **single_step(subject.workload).env()}
    sizes = [evaluate(last.tensors[name].bytes, env) for name in last.outputs if name in last.tensors]
    total: Value = 0.0
    for size in sizes:
        total = total + size
    return total


def _refuse(subject: Subject, settings: Settings) -> Refusal | None:
    if len(subject.scenario.programs) > 1 or subject.workload.places:
        return Refusal("it is about one model that lies on its device", "a single program without --offload")
    if subject.phase not in ("forward", "prefill"):
        return Refusal("a cut is crossed once, with all of a batch's positions", "--phase forward or prefill")
    if settings["machine"] not in machine_ids():
        return Refusal(f"no machine is called {settings['machine']}", "an id of `speedlight devices`")
    if any(subject.sharded(axis) for axis in ("tp", "pp", "ep", "cp")):
        return Refusal("the server's part is laid over one device by this version", "--tp 1 --pp 1")
    if len(subject.graph.blocks) < 2:
        return Refusal("the model is one block: there is no place to cut", "a network of several layers")
    return None


SPLIT = register(Technique(
    name="split-computing",
    title="Split computing: first layers on the device, the rest on a server",
    family="edge",
    mechanism="a small device runs the first layers and sends the tensor at the cut over a radio; a bottleneck there sends less",
    papers=("split-computing-for-complex-object-detectors", "bottlefit",
            "neural-compression-and-filtering-for-edge-assisted-real-time"),
    citation="Matsubara et al., arXiv 2007.13312, 2201.02693",
    parameters=(
        Parameter("share", 0.25, "share of the work done on the device", low=0.01, high=0.99, trials=(0.5,)),
        Parameter("machine", "jetson-orin-nano-8gb", "id of the device"),
        Parameter("mbit_s", 100.0, "of the radio", "Mbit/s", low=0.001),
        Parameter("narrowed", 1.0, "bytes sent over those of the tensor at the cut", low=1e-4, high=1.0, trials=(0.1,)),
    ),
    edits=(Edit("placement", "programs", _split),),
    refuse=every(inference, _refuse),
    whatif=False,
))  # fmt: skip
