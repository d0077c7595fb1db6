"""Many fine-tunes of one model on one machine: a base and a bit for each weight of each fine-tune, or whole copies."""

from __future__ import annotations

from ...conditions import decoding, every, inference
from ...edits import with_rewrite
from ...technique import Edit, Parameter, Technique, register

_COUNT = Parameter("count", 8, "fine-tunes served together", low=1, high=100000, trials=(32,))

BITDELTA = register(Technique(
    name="one-bit-deltas",
    title="One-bit deltas between fine-tunes (BitDelta)",
    family="formats",
    mechanism="the base is kept and read once; each fine-tune is the signs of its differences and a scale, 16 times fewer bytes, multiplied beside it",
    papers=("bitdelta",),
    citation="BitDelta, arXiv 2402.10193",
    parameters=(_COUNT,),
    edits=(Edit("graph", "tenants", lambda subject, settings: with_rewrite(subject, "fine_tunes", count=int(settings["count"]), delta="int1")),),
    refuse=every(inference, decoding),
    whatif=False,  # it answers how to serve many fine-tunes; of one model it is only a burden
))  # fmt: skip

COPIES = register(Technique(
    name="separate-fine-tunes",
    title="Fine-tunes as whole copies",
    papers=("bitdelta",),
    family="formats",
    mechanism="every fine-tune is a whole model: all of them are kept, and a step reads those that its sequences meet",
    parameters=(_COUNT,),
    edits=(Edit("graph", "tenants", lambda subject, settings: with_rewrite(subject, "fine_tunes", count=int(settings["count"]))),),
    refuse=every(inference, decoding),
    exact=True,
    whatif=False,  # what the others are compared with
))  # fmt: skip
