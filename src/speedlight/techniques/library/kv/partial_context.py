"""Two layers in three see a window, one in three everything."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...caches import seen_whole
from ...conditions import every, generates
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _partial(subject: Subject, settings: Settings) -> Scenario:
    return with_rewrite(subject, "kv_window", window=settings["window"], layers=1 - settings["full"])


PARTIAL = register(Technique(
    name="hybrid-window-layers",
    title="Full attention in a share of the layers, windows in the rest (LongGen)",
    family="kv",
    mechanism="most layers see a window with sinks: they hold and read a fixed part of the cache and skip most of attention's FLOPs, in training too",
    papers=("a-little-goes-a-long-way",),
    citation="A Little Goes a Long Way (LongGen), arXiv 2410.01485",
    parameters=(
        Parameter("full", 1 / 3, "share of layers that see everything", low=0.0, high=1.0, neutral=1.0,
                  source="A Little Goes a Long Way, abstract: 1/3 full and 2/3 efficient layers"),
        Parameter("window", 2048, "tokens the others see, sinks included", "token", low=1, trials=(1024,)),
    ),
    edits=(Edit("graph", "kv tokens", _partial),),
    refuse=every(generates, seen_whole),
))  # fmt: skip
