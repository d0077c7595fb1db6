"""A window with attention sinks, in the prompt too."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...caches import cached, seen_whole
from ...conditions import every
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _windowed(subject: Subject, settings: Settings) -> Scenario:
    return with_rewrite(subject, "kv_window", window=settings["window"] + settings["sinks"])


SINKS = register(Technique(
    name="kv-window-sinks",
    title="Sliding window with attention sinks (StreamingLLM)",
    family="kv",
    mechanism="every layer sees the first few tokens and the latest ones: nothing grows with the context any more",
    citation="StreamingLLM, arXiv 2309.17453",
    parameters=(
        Parameter("window", 2044, "latest tokens seen", "token", low=1, trials=(1020, 4092)),
        Parameter("sinks", 4, "first tokens seen", "token", low=0),
    ),
    edits=(Edit("graph", "kv tokens", _windowed),),
    refuse=every(cached, seen_whole),
))  # fmt: skip
