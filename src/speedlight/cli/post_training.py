"""``simulate --train``: the load is the samples of a post-training loop, and the answer an iteration of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from .._foundation.errors import BadInput
from . import options
from .output import answered, show

loop = options.group(
    click.option("--train", metavar="K=V,…", help="Post-training: the optimizer step, in explain's words (batch=512,dp=8,zero=3,micro_batch=2)."),
    click.option("--prompts", type=int, help="Prompts of an iteration."),
    click.option("--samples", type=int, default=1, help="Answers to each prompt."),
    click.option("--judge", "judges", multiple=True, metavar="NAME[=MODEL][:K=V,…]", help="A forward pass over all samples (reference, critic, reward); repeatable."),
    click.option("--reward", type=float, default=0.0, metavar="S", help="Seconds to judge all samples by other means."),
    click.option("--epochs", type=float, default=1.0, help="Times each sample is trained on."),
    click.option("--split", is_flag=True, help="Rollout and training on devices of their own."),
    click.option("--trainer", default="", metavar="MACHINE", help="What trains, where another machine (implies --split)."),
    click.option("--lag", type=int, default=0, help="1: the rollout runs beside the training, one iteration behind (--split)."),
    click.option("--keep-states", is_flag=True, help="The trainer's states stay beside the engine while it samples."),
    click.option("--sync-link", metavar="B/S", help="Bandwidth of a device for new weights."),
)  # fmt: skip

OURS = (
    "train",
    "prompts",
    "samples",
    "judges",
    "reward",
    "epochs",
    "split",
    "trainer",
    "lag",
    "keep_states",
    "sync_link",
)


def taken(given: dict[str, Any]) -> dict[str, Any]:
    """The loop's options, taken out of the others; empty where none was given.

    Raises:
        BadInput: for a loop's options without ``--train``, or the other way round.
    """
    own = {name: given.pop(name) for name in OURS}
    stated = [n for n in OURS if own[n] not in (None, (), "", False, 0, 0.0, 1, 1.0)]
    if own["train"] is None:
        if stated:
            raise BadInput(
                f"--{stated[0].replace('_', '-').replace('judges', 'judge')} without --train",
                expected="--train batch=N,… beside it",
            )
        return {}
    if own["prompts"] is None:
        raise BadInput("--train without --prompts", expected="the prompts of an iteration")
    return own


def run(model: str, on: str | None, own: Mapping[str, Any], json_to: str | None, given: Mapping[str, Any]) -> int:
    """Answer for one iteration."""
    from .._foundation.quantity import parse_quantity
    from ..api import post_training
    from ..engine.post_training.question import words_of
    from ..serving.compiled import to_compile

    if on is None:
        raise BadInput("no machine is given", expected="--on MACHINE", hint="`speedlight devices` lists them")
    if to_compile():
        print("compiling the event loop, once: about half a minute", file=sys.stderr, flush=True)
    words = {k: v for k, v in own.items() if k not in ("train", "judges", "sync_link")}
    link = parse_quantity(own["sync_link"], "B/s") if own["sync_link"] else 0.0
    found = post_training(
        model, on, train=words_of(own["train"]), judges=dict(_judge(text) for text in own["judges"]), sync_link=link, **words, **given
    )  # fmt: skip
    if answered(found.to_dict(), json_to):
        from ..report.post_training import render_loop

        show(render_loop(found))
    return 0


def _judge(text: str) -> tuple[str, dict[str, Any]]:
    """``critic=llama-3.1-8b:batch=16,tp=2`` as a name and words."""
    from ..engine.post_training.question import words_of

    head, _, rest = text.partition(":")
    name, _, model = head.partition("=")
    if not name.strip():
        raise BadInput(f"--judge {text}", expected="NAME, NAME=MODEL or NAME=MODEL:batch=8,…")
    return name.strip(), {"model": model.strip(), **(words_of(rest) if rest else {})}
