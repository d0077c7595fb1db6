"""A module with and without a technique, run in turn: seconds of each, their ratio, memory, and how far the outputs differ."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..bench.accelerator import on_cuda, waiting
from ..bench.allocator import kept
from ..bench.timing import LEAST
from ..modules.run import peak
from ..modules.subject import Recipe, floats, made, passes

ROUND_S = 0.05  # of one side before the other's turn
QUARTILE, DRAWS = 0.25, 400
CLOSE = 2e-4  # of the largest output: what exact methods may differ by in fp32
# The same where products and convolutions of fp32 are multiplied with 10 bits behind the point, as GPUs may.
CLOSE_TF32 = 1e-2
CLOSE_BY_BITS = {"float16": 0.02, "bfloat16": 0.05, "float64": 1e-9}


@dataclass(frozen=True, slots=True)
class Difference:
    """How far results with a technique are from those without.

    Attributes:
        of: ``outputs``, or ``gradients`` of a training step.
        largest: difference over the largest value; None for results of other shapes.
        rms: root of the squared differences over that of the squared values; likewise.
        same: share of samples whose largest output is the same one, for outputs that look like scores of classes; else None.
        close: the largest difference is rounding's, by the module's own format.
    """

    of: str
    largest: float | None
    rms: float | None
    same: float | None
    close: bool


@dataclass(frozen=True)
class Beside:
    """Both sides as they ran here.

    Attributes:
        before, after: seconds of a step, the lower quartile over rounds: other processes lengthen times and never shorten them.
        speedup: before over after; ``low`` and ``high`` are its 95 % interval, by drawing rounds again.
        rounds: (before, after) of each.
        peak_before, peak_after: bytes.
        difference: None where the two sides do other work (another batch).
    """

    before: float
    after: float
    speedup: float
    low: float
    high: float
    rounds: tuple[tuple[float, float], ...]
    peak_before: int
    peak_after: int
    difference: Difference | None


def beside(before: Recipe, after: Recipe, seconds: float = 4.0, *, compare: bool = True) -> Beside:
    """Run both sides in turn for about so many seconds, after their warm-up.

    Args:
        compare: outputs too; the two recipes then take the same arguments.
    """
    kept()
    difference = differ(before, after) if compare else None
    one, other = made(before), made(after)
    peaks = []
    for side in (one, other):
        for _ in range(2):
            side.step()
        peaks.append(peak(side))
    wait = waiting(before.device)
    runs = [max(1, int(ROUND_S / max(_seconds(side.step, 1, wait), 1e-9))) for side in (one, other)]
    rounds: list[tuple[float, float]] = []
    begun = time.perf_counter()
    while True:
        # Which side goes first alternates, so that neither always finds the other's caches.
        order = (0, 1) if len(rounds) % 2 == 0 else (1, 0)
        took = [0.0, 0.0]
        for i in order:
            took[i] = _seconds((one, other)[i].step, runs[i], wait) / runs[i]
        rounds.append((took[0], took[1]))
        if time.perf_counter() - begun > seconds and len(rounds) >= LEAST:
            break
    found, speedup, low, high = of_rounds(np.array(rounds))
    return Beside(found[0], found[1], speedup, low, high, tuple(rounds), peaks[0], peaks[1], difference)


def of_rounds(rounds: np.ndarray) -> tuple[tuple[float, float], float, float, float]:
    """((before, after), before over after, its 95 % interval) of rounds' seconds, shape (rounds, 2)."""
    before, after = np.quantile(rounds, QUARTILE, axis=0)
    drawn = rounds[np.random.default_rng(0).integers(0, len(rounds), (DRAWS, len(rounds)))]
    quartiles = np.quantile(drawn, QUARTILE, axis=1)
    low, high = np.quantile(quartiles[:, 0] / quartiles[:, 1], (0.025, 0.975))
    return (float(before), float(after)), float(before / after), float(low), float(high)


def _seconds(step: Callable[[], object], runs: int, wait: Callable[[], object] | None) -> float:
    start = time.perf_counter()
    for _ in range(runs):
        step()
    if wait is not None:
        wait()
    return time.perf_counter() - start


def differ(before: Recipe, after: Recipe) -> Difference:
    """Outputs of both sides on the same inputs, or the gradients of a training step on the same weights, without dropout."""
    import torch

    of = "gradients" if before.train else "outputs"
    torch.manual_seed(0)
    one = _results(before)
    torch.manual_seed(0)
    other = _results(after)
    names = [n for n in one if n in other] if before.train else list(one)  # frozen parameters have none
    if not names or any(n not in other or one[n].shape != other[n].shape for n in names):
        return Difference(of, None, None, None, False)
    pairs = [(one[n], other[n]) for n in names]
    scale = max(float(a.abs().max()) for a, _ in pairs) or 1.0
    largest = max(float((a - b).abs().max()) for a, b in pairs) / scale
    squares, whole = sum(float((a - b).pow(2).sum()) for a, b in pairs), sum(float(a.pow(2).sum()) for a, _ in pairs)
    own = next((p.dtype for p in before.module.parameters() if p.is_floating_point()), torch.float32)
    rounded = on_cuda(before.device) and (torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32)
    allowed = CLOSE_BY_BITS.get(str(own).removeprefix("torch."), CLOSE_TF32 if rounded else CLOSE)
    first = pairs[0]
    scores = not before.train and first[0].dim() == 2 and first[0].shape[1] > 1
    same = float((first[0].argmax(1) == first[1].argmax(1)).float().mean()) if scores else None
    return Difference(of, largest, (squares / whole) ** 0.5 if whole else 0.0, same, largest <= allowed)


def _results(recipe: Recipe) -> dict[str, Any]:
    """In double precision: outputs by their order, or a training step's gradients by parameter."""
    import torch

    run = passes(recipe)
    # Dropout and statistics of the batch would differ by themselves where a batch runs in pieces or a layer twice.
    recipe.module.eval()
    if not recipe.train:
        with torch.no_grad():
            return {str(i): t.detach().double() for i, t in enumerate(floats(run(), grad=False))}
    run()
    found = {}
    for name, parameter in recipe.module.named_parameters():
        if parameter.grad is not None:
            found[name.removeprefix("_orig_mod.")] = parameter.grad.double()
            parameter.grad = None
    recipe.module.train()
    return found
