"""Words of a command line or a call → the question of a post-training loop."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

from ..._foundation.errors import BadInput
from ...scenario.scenario import Scenario
from ..questions.question import make_scenario
from ..serving.simulate import asked
from .loop import Loop
from .sync import Way

MADE_ELSEWHERE = ("isl", "osl", "phase", "context")  # of a training step or a pass: a sample's
BATCH = 8  # sequences of a forward pass that judges samples, a replica


def loop_of(
    model: str, machine: str, *, prompts: int, samples: int = 1, train: Mapping[str, Any], judges: Mapping[str, Any] | None = None,
    trainer: str = "", reward: float = 0.0, epochs: float = 1.0, split: bool = False, lag: int = 0, keep_states: bool = False,
    sync_link: float = 0.0, **options: Any,
) -> Loop:  # fmt: skip
    """A loop from plain words.

    Args:
        model, machine: the policy, and what samples (and trains, unless ``trainer`` names another machine).
        prompts, samples, reward, epochs, split, lag, keep_states: as :class:`.loop.Loop` has them (``keep``; ``reward_seconds``).
        train: of one optimizer step, in :func:`make_scenario`'s words: ``batch`` (samples), ``dp``, ``zero``, ``micro_batch`` …
        judges: by name, models that pass over every sample once forward (``{"reference": ""}`` is the policy's own): a name, or words
            of :func:`make_scenario` with ``model`` among them.
        trainer: machine of the training step and the passes.
        sync_link: bytes a second of a device on which new weights travel; 0 for the machine's own.
        options: of the rollout: lengths, engines and :func:`make_scenario`'s, as ``simulate`` takes them.

    Raises:
        BadInput: for a training step without a batch, lengths stated twice; as :class:`Loop` and :func:`make_scenario`.
    """
    if "batch" not in train:
        raise BadInput(
            "a training step without a batch", expected="train with batch, like --train batch=512,dp=8,zero=3"
        )
    serving, rest = asked(options)
    rest["phase"] = "decode"
    rollout = make_scenario(model, machine, **rest).replace(serving=serving)
    shared: dict[str, Any] = {k: rest[k] for k in ("models_dir", "machines_dir") if k in rest}
    there = trainer or machine
    step = _own("train", model, there, train, "train", shared)
    passes = []
    for name, how in (judges or {}).items():
        words = {"model": how} if isinstance(how, str) else dict(how)
        judge = str(words.pop("model", "") or model)
        passes.append((name, _own(name, judge, there, {"batch": BATCH, **words}, "forward", shared)))
    return Loop(
        rollout, step, prompts, samples, tuple(passes), reward, epochs, split or bool(trainer), lag, keep_states,
        Way(bandwidth=sync_link),
    )  # fmt: skip


def _own(
    name: str, model: str, machine: str, words: Mapping[str, Any], phase: str, shared: Mapping[str, Any]
) -> Scenario:  # fmt: skip
    for word in MADE_ELSEWHERE:
        if word in words:
            raise BadInput(
                f"{name}: {word}", expected="none: its sequences are the rollout's samples", hint="--isl and --osl"
            )
    known = signature(make_scenario).parameters
    for word in words:
        if word not in known:
            raise BadInput(f"{name}: {word}", expected="words of explain: batch, dp, zero, micro_batch, recompute …")
    return make_scenario(model, machine, phase=phase, **{**shared, **words})


def words_of(text: str) -> dict[str, Any]:
    """``dp=8,zero=3,recompute=full`` as words; numbers become numbers.

    Raises:
        BadInput: for what is no ``name=value``.
    """
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, separator, value = part.partition("=")
        if not separator or not name.strip() or not value.strip():
            raise BadInput(
                f"{part!r} in {text!r}", expected="name=value, joined by commas", hint="batch=512,dp=8,zero=3"
            )
        found[name.strip().replace("-", "_")] = _number(value.strip())
    return found


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
