"""What gradient compressors share: bits of the uncompressed gradients, and who can be compressed."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...._foundation.formats import number_format
from ...subject import Subject
from ...technique import Refusal, Settings


def gradient_bits(subject: Subject) -> float:
    """Bits of a gradient as the layout would send it: as stated, else the weights' own format."""
    stated = subject.training.gradients
    if stated is not None:
        return float(number_format(stated).bits)
    widths = [
        number_format(t.dtype).bits for b in subject.graph.blocks for t in b.tensors.values() if t.cls == "weight"
    ]
    return float(max(widths, default=16.0))


def unsharded(subject: Subject, settings: Settings) -> Refusal | None:
    """Error feedback and local steps need whole gradients on every replica."""
    if np.any(np.asarray(subject.parallel.zero) > 0):
        return Refusal("every replica must have the whole gradient, ZeRO leaves it a share", "--zero 0")
    return None


def narrower(bits: Any, subject: Subject) -> Refusal | None:
    own = gradient_bits(subject)
    if np.all(np.asarray(bits) < own):
        return None
    return Refusal(f"gradients travel in {own:g} bits already")
