"""Drafts and their verification as programs (Leviathan et al., arXiv 2211.17192).

Of k drafts, each accepted with probability a where all before it were, and one token the verification itself yields,

    E = (1 − a^(k+1)) / (1 − a)                                      (eq. 1)

tokens are kept. A token of output thus costs 1/E verifications of k + 1 tokens and k/E steps of whatever drafts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .._foundation.arrays import Value
from ..scenario.scenario import ModelRef, Parallel, Program, Scenario
from .conditions import Condition, decoding, every
from .subject import Subject
from .technique import Parameter, Refusal, Settings

SLOT = "speculation"

ACCEPTANCE = Parameter(
    "acceptance", 0.7, "share of drafts accepted where all before were", low=0.0, high=0.999, trials=(0.8,)
)


def drafts(default: int, *trials: int) -> Parameter:
    """How many tokens are drafted."""
    return Parameter(
        "drafts", default, "tokens drafted before each verification", "token", low=1, high=512, trials=trials
    )


def kept(acceptance: Value, many: Value) -> Value:
    """E, the expected number of tokens a verification adds."""
    return (1 - acceptance ** (many + 1)) / (1 - acceptance)


def _plain(subject: Subject, settings: Settings) -> Refusal | None:
    w = subject.workload
    if w.groups or len(subject.scenario.programs) > 1:
        return Refusal("the question states its own sequence groups or programs", "a plain decode or generate")
    return None


speculates: Condition = every(decoding, _plain)


def verified(subject: Subject, new: Value, outputs: Value) -> Scenario:
    """The question's steps with ``new`` tokens a sequence, of which ``outputs`` are kept."""
    return subject.scenario.with_workload(new=new, outputs=outputs)


def with_drafts(
    subject: Subject, made: Sequence[tuple[ModelRef, Value]], new: Value, outputs: Value, *, own: Sequence[bool] = (False,),
    parallel: Parallel | None = None,
) -> Scenario:  # fmt: skip
    """Verification with models that draft before it.

    Args:
        made: (model, steps of it a verification needs), in order.
        new, outputs: tokens the question's own model computes a step, and keeps.
        own: of each whether it is the question's own model, whose weights and cache it uses; else it reads prompts itself.
        parallel: layout of the drafting models; the question's own by default.
    """
    main = subject.program
    w = main.workload
    programs: list[Program] = []
    for index, (model, steps) in enumerate(made):
        name = "draft" if len(made) == 1 else f"draft_{index + 1}"
        drafting = dataclasses.replace(w, outputs=outputs / steps)
        if own[index] and w.phase == "generate":  # the prompt's keys and values are there
            drafting = dataclasses.replace(drafting, reused=w.isl - 1)
        programs.append(
            dataclasses.replace(
                main, name=name, model=model, parallel=parallel or main.parallel, workload=drafting,
                shares=main.name if own[index] else "",
            )
        )  # fmt: skip
    then = dataclasses.replace(main, workload=dataclasses.replace(w, new=new, outputs=outputs))
    return subject.scenario.replace(programs=(*programs, then), main=main.name)
