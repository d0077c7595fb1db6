"""One iteration of post-training with reinforcement: sample answers, judge them, train on them, hand the new weights back.

An iteration of P prompts with G samples each has four parts:

* *rollout*: P · G requests that all come at once, through the serving simulator, so that the tail of long answers, the room for keys and
  values and beginnings shared by a prompt's samples are in it;
* *passes*: forward passes over all samples (reference model, critic, reward model), each a question of its own;
* *training*: ⌈P · G · epochs / batch⌉ optimizer steps over whole samples;
* *sync*: the new weights into the rollout's engines (:mod:`.sync`).

Colocated, the parts follow one another on the same devices, and what the trainer keeps (weights, gradients, optimizer states) either stays
beside the engine, whose cache is then smaller, or goes to the host and comes back. Split, rollout and training have devices of their own,
and with a lag of one iteration they run at the same time: the samples trained on are then those of the policy before
(one-step off-policy), which is printed and whose effect on quality is not predicted:

    colocated, or split without lag:  T = rollout + passes + training + sync (+ swaps)
    split with lag:                   T = max(rollout, passes + training) + sync
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..._foundation.errors import BadInput
from ..._foundation.provenance import Assumption
from ...scenario.scenario import Scenario
from ...scenario.serving import Load, Serving
from ..answers.prediction import Prediction, plain
from ..predict import predict
from ..serving.engine_memory import REPORTED
from ..serving.simulate import Answer, answer, requests_of
from .sync import Way, sync_seconds, to_host_seconds

OURS_OF_TRAINING = ("weights", "gradients", "optimizer")  # what a trainer keeps between two steps


@dataclass(frozen=True)
class Loop:
    """The question.

    Attributes:
        rollout: what samples: a question whose ``serving`` has the engines; its load's lengths are those of a sample.
        trainer: one optimizer step: a question of phase ``train``; its sequence length is set to a sample's.
        prompts, samples: of an iteration, and answers to each prompt.
        passes: (name, question) of forward passes over the samples.
        reward_seconds: of judging all samples by other means (rules, a sandbox), beside nothing.
        epochs: times that every sample is trained on.
        split: rollout and training on devices of their own.
        lag: iterations that the rollout's weights are behind: 0, or 1 where split.
        keep: of colocated: the trainer's states stay on the device while answers are sampled.
        way: how weights travel.
    """

    rollout: Scenario
    trainer: Scenario
    prompts: int
    samples: int = 1
    passes: tuple[tuple[str, Scenario], ...] = ()
    reward_seconds: float = 0.0
    epochs: float = 1.0
    split: bool = False
    lag: int = 0
    keep: bool = False
    way: Way = Way()

    def __post_init__(self) -> None:
        if self.prompts < 1 or self.samples < 1 or self.epochs <= 0 or self.reward_seconds < 0:
            raise BadInput(
                f"{self.prompts} prompts of {self.samples} samples, {self.epochs} epochs, {self.reward_seconds} s of reward",
                expected="at least one prompt and sample, epochs above 0, seconds from 0 on",
            )
        if self.lag not in (0, 1) or (self.lag and not self.split):
            raise BadInput(
                f"a lag of {self.lag} iterations", expected="0, or 1 with devices of the rollout's own (split)"
            )
        if self.rollout.serving is None or self.trainer.program.workload.phase != "train":
            raise BadInput(
                "a loop without engines or a training step",
                expected="a rollout with `serving`, a trainer of phase train",
            )

    @property
    def count(self) -> int:
        """Samples of an iteration."""
        return self.prompts * self.samples


@dataclass(frozen=True)
class LoopAnswer:
    """What an iteration takes.

    Attributes:
        time: seconds of an iteration, in steady state.
        parts: seconds of ``rollout``, ``passes`` (by name), ``training``, ``sync``, ``swap``; see the module docstring for how they add.
        devices: by ``rollout`` and ``trainer``; ``all``: those in use (colocated: the larger).
        served: the rollout, as the simulator saw it; step: one optimizer step.
        updates: optimizer steps of an iteration.
        tail: share of the rollout's seconds in which more than half of the samples are done.
    """

    loop: Loop
    time: float
    parts: Mapping[str, float]
    passes: Mapping[str, float]
    devices: Mapping[str, int]
    served: Answer
    step: Prediction
    updates: int
    tail: float
    assumptions: tuple[Assumption, ...] = field(default=())

    @property
    def samples_per_second(self) -> float:
        return self.loop.count / self.time

    @property
    def tokens_per_second(self) -> float:
        """Prompt and answer tokens trained on."""
        requests = self.served.run.requests
        return float(requests.prompt.sum() + requests.output.sum()) / self.time

    @property
    def busy(self) -> dict[str, float]:
        """Share of an iteration in which each side works; its own parts and the sync."""
        own = {"rollout": self.parts["rollout"], "trainer": self.parts["passes"] + self.parts["training"]}
        rest = self.parts["sync"] + self.parts["swap"]
        if not self.loop.split:
            return {"rollout": 1.0, "trainer": 1.0}
        return {side: (seconds + rest) / self.time for side, seconds in own.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain data, SI units."""
        return plain({  # type: ignore[no-any-return]
            "model": dict(self.step.model), "layout": "split" if self.loop.split else "colocated", "lag": self.loop.lag,
            "prompts": self.loop.prompts, "samples": self.loop.samples, "epochs": self.loop.epochs, "updates": self.updates,
            "time": self.time, "parts": dict(self.parts), "passes": dict(self.passes), "busy": self.busy, "tail": self.tail,
            "samples_per_second": self.samples_per_second, "tokens_per_second": self.tokens_per_second,
            "tokens_per_second_per_device": self.tokens_per_second / self.devices["all"], "devices": dict(self.devices),
            "rollout": self.served.metrics, "kv": self.served.facts["kv"], "step": self.step.to_dict(ops=False),
            "assumptions": [a.to_dict() for a in self.assumptions],
        })  # fmt: skip


def iteration(loop: Loop) -> LoopAnswer:
    """What one iteration of a loop takes.

    Raises:
        BadInput: where the trainer does not fit, colocated engines find no room beside it, or a load is no batch of samples.
        As :func:`..serving.simulate.answer` and :func:`..predict.predict` otherwise.
    """
    load = _load(loop)
    assert loop.rollout.serving is not None
    asked_for = requests_of(load, loop.rollout.serving.engines.block_size)
    if len(asked_for) != loop.count:
        raise BadInput(f"a trace of {len(asked_for)} requests for {loop.count} samples", expected="at least as many")
    length = round(float((asked_for.prompt + asked_for.output).mean()))
    step = predict(loop.trainer.with_workload(isl=length))
    if not bool(step.fits):
        raise BadInput(
            f"the trainer needs {float(step.memory.total) / 1e9:.1f} GB of {float(step.memory.capacity) / 1e9:.1f} GB a device",
            expected="a training step that fits", hint="--train with zero=3, recompute=full, a smaller micro_batch or tp",
        )  # fmt: skip
    kept = sum(float(step.memory.by_class.get(name, 0.0)) for name in OURS_OF_TRAINING)
    asked = loop.rollout.replace(serving=Serving(load, _engines(loop, step, kept)))
    served = answer(asked)
    trained, sampling = _world(loop.trainer), int(served.deployment.devices)
    if not loop.split and sampling > trained:
        raise BadInput(
            f"{sampling} devices of the rollout on {trained} of the trainer", expected="no more, colocated", hint="--split, fewer --replicas"
        )  # fmt: skip
    each = {name: _pass_seconds(question, loop, length, trained) for name, question in loop.passes}
    updates = math.ceil(loop.count * loop.epochs / _batch(loop.trainer) - 1e-9)
    travels = sync_seconds(loop.way, loop.trainer, served, trained, split=loop.split)
    swap = 0.0 if loop.split or loop.keep else 2.0 * to_host_seconds(loop.rollout, kept)
    parts = {
        "rollout": float(served.run.reached), "passes": sum(each.values()) + loop.reward_seconds,
        "training": updates * float(step.time), "sync": travels.seconds, "swap": swap,
    }  # fmt: skip
    behind = parts["passes"] + parts["training"]
    together = max(parts["rollout"], behind) if loop.lag else parts["rollout"] + behind
    devices = {"rollout": sampling, "trainer": trained}
    devices["all"] = sampling + trained if loop.split else max(sampling, trained)
    return LoopAnswer(
        loop, together + parts["sync"] + swap, parts, {**each, **({"reward": loop.reward_seconds} if loop.reward_seconds else {})},
        devices, served, step, updates, _tail(served), (*travels.assumptions, *_assumed(loop, length, kept), *served.assumptions),
    )  # fmt: skip


def _load(loop: Loop) -> Load:
    """All samples of an iteration at once; samples of a prompt begin alike."""
    assert loop.rollout.serving is not None
    load = loop.rollout.serving.load
    if load.rate is not None or load.concurrency is not None or load.turns > 1:
        raise BadInput(
            "a rollout with a rate, clients or turns", expected="lengths only: all samples are asked for at once"
        )
    shared, groups = (
        (load.isl, loop.prompts) if loop.samples > 1 and load.arrivals is None else (load.shared, load.groups)
    )
    return dataclasses.replace(load, concurrency=loop.count, requests=loop.count, shared=shared, groups=groups)


def _batch(trainer: Scenario) -> float:
    return float(np.asarray(trainer.program.workload.batch))


def _engines(loop: Loop, step: Prediction, kept: float) -> Any:
    """The rollout's engines; beside a trainer that stays they have its part of the memory less."""
    assert loop.rollout.serving is not None
    engines = loop.rollout.serving.engines
    if loop.split or not loop.keep:
        return engines
    left = engines.memory_utilisation - kept / (float(step.memory.capacity) * REPORTED)
    if left <= 0:
        raise BadInput(
            f"{kept / 1e9:.1f} GB that the trainer keeps leave an engine nothing", expected="room beside the trainer",
            hint="leave out --keep-states, or --split",
        )  # fmt: skip
    return dataclasses.replace(engines, memory_utilisation=left)


def _world(question: Scenario) -> int:
    """Devices that a question's layout uses."""
    degrees = question.program.parallel
    return int(np.prod([np.asarray(getattr(degrees, name)) for name in ("tp", "cp", "dp", "pp")]))


def _pass_seconds(question: Scenario, loop: Loop, length: int, devices: int) -> float:
    """Seconds of a forward pass over all samples, dealt to the replicas that so many devices hold, its batch at a time."""
    batch = _batch(question) * float(np.asarray(question.program.parallel.dp))
    one = predict(question.with_workload(phase="forward", isl=length))
    replicas = max(devices // _world(question), 1)
    return math.ceil(loop.count / (batch * replicas) - 1e-9) * float(one.time)


def _tail(served: Answer) -> float:
    """Share of the rollout in which more than half of its samples are done."""
    finished = served.run.finished[np.isfinite(served.run.finished)]
    return float(1.0 - np.median(finished) / served.run.reached) if len(finished) else 0.0


def _assumed(loop: Loop, length: int, kept: float) -> Sequence[Assumption]:
    found = [
        Assumption("length of a trained sample", length, "derived", "mean prompt and answer: samples are packed, none is padded"),
        Assumption("order of the parts", "rollout beside training, one iteration behind" if loop.lag else "one after the other", "assumed",
                   "no part streams into the next"),
    ]  # fmt: skip
    if not loop.split:
        where = "stays on the device" if loop.keep else "goes to the host and back"
        found.append(
            Assumption("what the trainer keeps", kept, "derived", f"bytes a device; {where} while answers are sampled")
        )
    return found
