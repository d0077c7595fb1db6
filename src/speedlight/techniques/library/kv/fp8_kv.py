"""Keys and values kept in 8 bits."""

from __future__ import annotations

from ...conditions import every, generates, inference
from ...edits import with_model
from ...technique import Edit, Parameter, Technique, register

KV_FORMAT = register(Technique(
    name="kv-quantization",
    title="KV cache in fewer bits",
    family="kv",
    mechanism="cached keys and values are kept and read in a narrower format; attention computes in the activations' format",
    citation="KVQuant, arXiv 2401.18079",
    parameters=(Parameter("format", "fp8", "format of cached keys and values", choices=("fp8", "int8", "int4"), trials=("int4",)),),
    edits=(Edit("graph", "kv", lambda subject, settings: with_model(subject, kv=settings["format"])),),
    refuse=every(inference, generates),
))  # fmt: skip
