"""Drafts that no model makes: n-grams of the text itself, or of earlier guesses."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every
from ...speculation import SLOT, drafts, kept, speculates, verified
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _looked_up(subject: Subject, settings: Settings) -> Scenario:
    """Where nothing matches, a step is as it would be; the pass is as wide as it may have to be."""
    k = settings["drafts"]
    return verified(subject, k + 1, 1 + settings["matches"] * (kept(settings["acceptance"], k) - 1))


LOOKUP = register(Technique(
    name="prompt-lookup",
    title="Prompt look-up (n-gram drafts)",
    family="decoding",
    mechanism="what followed the last few tokens earlier in the text is the draft: nothing runs to make it, and it is verified in one pass",
    citation="prompt-lookup decoding; the n-gram method of vLLM's speculative decoding",
    parameters=(
        drafts(8, 3),
        Parameter("matches", 0.5, "share of steps in which something matches", low=0.0, high=1.0),
        Parameter("acceptance", 0.6, "share of drafts accepted where all before were", low=0.0, high=0.999),
    ),
    edits=(Edit("schedule", SLOT, _looked_up),),
    refuse=every(speculates),
    exact=True,
))  # fmt: skip


def _ahead(subject: Subject, settings: Settings) -> Scenario:
    """(N − 1) tokens of each of W windows and of each of G candidates."""
    new = (settings["windows"] + settings["candidates"]) * (settings["ngram"] - 1) + 1
    return verified(subject, new, settings["tokens"])


LOOKAHEAD = register(Technique(
    name="lookahead-decoding",
    title="Lookahead decoding (Jacobi windows)",
    family="decoding",
    mechanism="each pass guesses n-grams in several windows ahead and verifies earlier guesses: FLOPs instead of passes over the weights",
    citation="Lookahead Decoding, arXiv 2402.02057",
    parameters=(
        Parameter("windows", 15, "windows ahead, W", low=1, high=256, trials=(7,)),
        Parameter("candidates", 15, "candidates verified at once, G", low=1, high=256, trials=(7,)),
        Parameter("ngram", 5, "length of an n-gram, N", low=2, high=16),
        Parameter("tokens", 1.8, "tokens kept of a pass", low=1.0, trials=(2.2,)),
    ),
    edits=(Edit("schedule", SLOT, _ahead),),
    refuse=every(speculates),
    exact=True,
))  # fmt: skip
