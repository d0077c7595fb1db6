"""Pipeline schedules by name: in which order a rank's passes run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....scenario.scenario import Scenario
from ...conditions import every, piped, runs
from ...edits import with_training
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register

CHUNKS = {"zb-v": 2}  # stages a rank where the schedule fixes them


def _to(schedule: str, virtual: str = "") -> Callable[[Subject, Settings], Scenario]:
    def change(subject: Subject, settings: Settings) -> Scenario:
        chosen = schedule.format(**settings)
        return with_training(subject, schedule=chosen, virtual=settings[virtual] if virtual else CHUNKS.get(chosen, 1))

    return change


def _schedule(name: str, schedule: str, virtual: str = "", **facts: Any) -> Technique:
    change = _to(schedule, virtual)

    def already(subject: Subject, settings: Settings) -> Refusal | None:
        same = subject.training.schedule == schedule.format(**settings) and not virtual
        return Refusal("its passes run in this order already") if same else None

    return register(Technique(
        name=name, family="parallel", edits=(Edit("schedule", "schedule", change),),
        refuse=every(piped, already, runs(change)), **facts,
    ))  # fmt: skip


GPIPE = _schedule(
    "gpipe-schedule", "gpipe", title="GPipe: all forwards, then all backwards", exact=True,
    mechanism="every micro-batch's activations are held until the backward passes begin; messages cost their fill only",
    citation="Huang et al., arXiv 1811.06965",
)  # fmt: skip
ONE_F_ONE_B = _schedule(
    "one-f-one-b", "1f1b", title="1F1B with a flush", exact=True,
    mechanism="a rank starts backward passes as soon as it can, so that it holds one micro-batch a stage behind it",
    papers=("pipedream",), citation="Narayanan et al., arXiv 2104.04473 §2.2.1",
)  # fmt: skip
PIPEDREAM = _schedule(
    "pipedream", "pipedream", title="PipeDream: 1F1B without a flush, weights in versions",
    mechanism="steps follow one another without draining the pipeline; every rank keeps as many versions of its weights as micro-batches are under way, whose gradients are that stale",
    papers=("pipedream",), citation="Harlap et al., arXiv 1806.03377",
)  # fmt: skip
INTERLEAVED = _schedule(
    "interleaved-pipeline", "interleaved", "chunks", title="Interleaved 1F1B", exact=True,
    mechanism="every rank holds several chunks of the model, so that fill and drain shorten by as much and messages grow by as much",
    papers=("efficient-large-scale-language-model-training-on-gpu-cluster",), citation="Narayanan et al., arXiv 2104.04473 §2.2.2",
    parameters=(Parameter("chunks", 2, "chunks of the model a rank", low=2, trials=(4,)),),
)  # fmt: skip
ZERO_BUBBLE = _schedule(
    "zero-bubble", "{order}", title="Zero-bubble pipelines (split backward)", exact=True,
    mechanism="gradients of weights wait for nobody, so they are put off into the drain (zb-h1), with twice the activations into the fill too (zb-h2), or with two chunks a rank, down and up again, into both (zb-v)",
    papers=("2bp",), citation="Qi et al., arXiv 2401.10241",
    parameters=(Parameter("order", "zb-h1", "which of the orders", choices=("zb-h1", "zb-h2", "zb-v"), trials=("zb-h2", "zb-v")),),
)  # fmt: skip
TWO_STAGE = _schedule(
    "two-stage-backpropagation", "zb-h1", title="2BP: backward in two stages", exact=True,
    mechanism="the backward pass is cut into gradients of inputs, which the stage before waits for, and of weights, which fill the bubble",
    papers=("2bp",), citation="2BP, arXiv 2405.18047",
)  # fmt: skip
CHIMERA = _schedule(
    "chimera", "chimera", title="Chimera: two pipelines, both ways", exact=True,
    mechanism="two copies of the model run down and up the ranks, half the micro-batches each, so that one fills the other's holes; weights are held twice",
    papers=("bitpipe",), citation="Li and Hoefler, arXiv 2107.06925",
)  # fmt: skip
VOCABULARY = _schedule(
    "vocabulary-parallel-pipeline", "vocabulary", title="Vocabulary parallelism over pipeline ranks", exact=True,
    mechanism="embedding and head are dealt to all ranks, whose shares run between a micro-batch's last forward and first backward pass; the last layer's result goes to all of them",
    papers=("balancing-pipeline-parallelism-with-vocabulary-parallelism",), citation="Yeung et al., arXiv 2411.05288",
)  # fmt: skip
