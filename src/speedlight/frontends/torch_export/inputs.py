"""Input shapes as users write them: ``1x3x224x224``, ``1x128:int64``, ``attention_mask=1x128:bool``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from ..._foundation.errors import BadInput
from ..._foundation.formats import number_format

EXPECTED = "sizes joined by x and optionally a dtype: 1x3x224x224, 1x128:int64 or mask=1x128:bool"
MOST_DIMS = 12
MOST_ELEMENTS = 2**42  # 4 TiB of bytes: no single input of a step is larger, but typing errors are

# The formats PyTorch has an input dtype for, by its own names.
TORCH_DTYPES = {
    "fp64": "float64", "fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "int64": "int64", "int32": "int32",
    "int16": "int16", "int8": "int8", "uint8": "uint8", "bool": "bool", "complex64": "complex64",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class InputShape:
    """One tensor argument of a module's ``forward``.

    Attributes:
        shape: sizes, the batch first.
        dtype: number format, or None for the module's own.
        name: parameter of ``forward``; None for the next positional one.
    """

    shape: tuple[int, ...]
    dtype: str | None = None
    name: str | None = None


def parse_input(text: str) -> InputShape:
    """Read one ``--input``.

    Raises:
        BadInput: naming the part that cannot be read.
    """
    if not isinstance(text, str) or not text.strip():
        raise BadInput(f"the input {text!r} is empty", expected=EXPECTED)
    if len(text) > 400:
        raise BadInput(f"an input of {len(text)} characters", expected=EXPECTED)
    name, equals, rest = text.strip().rpartition("=")
    if equals and not name.isidentifier():
        raise BadInput(f"the input name {name!r} in {text!r} is no parameter name", expected=EXPECTED)
    sizes, colon, dtype = rest.partition(":")
    if colon and not dtype:
        raise BadInput(f"the dtype of {text!r} is missing", expected=EXPECTED)
    shape = tuple(_size(part, text) for part in sizes.split("x"))
    if len(shape) > MOST_DIMS:
        raise BadInput(f"{text!r} has {len(shape)} dimensions", expected=f"at most {MOST_DIMS}")
    if prod(shape) > MOST_ELEMENTS:
        raise BadInput(f"{text!r} has {prod(shape):.3g} elements", expected=f"at most 2^42 ({MOST_ELEMENTS:.3g})")
    return InputShape(shape, _dtype(dtype, text) if colon else None, name or None)


def _size(part: str, text: str) -> int:
    digits = part.strip()
    if digits.startswith("-") and digits[1:].isdigit():
        raise BadInput(f"the size {digits} in {text!r} is negative", expected="sizes of at least 1")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise BadInput(f"the size {part!r} in {text!r} is no whole number", expected=EXPECTED)
    if int(digits) == 0:
        raise BadInput(f"a size in {text!r} is 0", expected="sizes of at least 1")
    return int(digits)


def _dtype(name: str, text: str) -> str:
    canonical = number_format(name).name
    if canonical not in TORCH_DTYPES:
        raise BadInput(
            f"PyTorch has no tensors of {canonical} for the input {text!r}",
            expected="one of " + ", ".join(TORCH_DTYPES),
        )
    return canonical


def parse_inputs(texts: Sequence[str]) -> tuple[InputShape, ...]:
    """Read every ``--input``; named ones come after positional ones, as in a Python call."""
    if isinstance(texts, str):
        texts = (texts,)
    if not texts:
        raise BadInput("no input shape was given", expected=EXPECTED, hint="add --input 1x3x224x224")
    found = tuple(parse_input(t) for t in texts)
    names = [s.name for s in found if s.name is not None]
    if len(set(names)) != len(names):
        raise BadInput(f"an input name is given twice: {', '.join(names)}", expected="each name once")
    if any(s.name is None and before.name is not None for before, s in pairwise(found)):
        raise BadInput("a positional input follows a named one", expected="positional inputs first")
    return found
