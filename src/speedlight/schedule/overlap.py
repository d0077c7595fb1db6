"""Compute with transfers beside it, as closed forms that broadcast: prefetched weights, chunked products, two batches in turn.

A transfer whose kernels hold a share σ of the compute units slows what runs beside it to 1 − σ; it does not slow itself. Over a
stretch in which a compute part of c seconds and a transfer of k start together and the next stretch waits for both, the units
work c + σ·k seconds and the link k, so the stretch takes

    max(k, c + σ·k)

Everything here is a sum of such stretches or the longest cycle of one, and equal to
:func:`speedlight.schedule.events.simulate`. What is *exposed* is the time beyond computing alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._foundation.arrays import Value, maximum, where
from .cycles import Work, steady_step


def beside(compute: Value, transfer: Value, share: Value = 0.0) -> Value:
    """Seconds of a compute part and a transfer that start together, until both are done.

    Args:
        share: of the compute units that the transfer's kernels hold, 0–1.
    """
    return maximum(transfer, compute + share * transfer)


def streamed(
    parts: Sequence[tuple[Value, Value, Value, Value]], share: Value = 0.0, *, resident: bool = False
) -> Value:
    """Seconds of layers whose weights arrive one layer ahead and whose results leave one layer behind, over one link.

    While layer i computes, the link takes away layer i − 1's results and brings layer i + 1's weights: FSDP's forward pass (gather,
    compute, nothing) and its backward pass (gather, compute, reduce-scatter) with one layer prefetched (arXiv 2304.11277 §3.3),
    weights streamed from host memory. Layer i + 1 starts when both are done, so with K = taken + brought

        time = brought₀ + Σ max(Kᵢ, cᵢ + σ·Kᵢ) + taken_last

    Args:
        parts: (count, seconds to bring one in, to compute it, to take its results away) of blocks of equal layers, in order; a
            count may be 0.
        share: of the compute units that transfers hold.
        resident: the first layer's weights are there already (FSDP keeps the last layer's between forward and backward).
    """
    ahead: list[Value] = []  # what the next layer behind each block brings in
    bring: Value = 0.0
    for count, brought, _, _ in reversed(parts):
        ahead.append(bring)
        bring = where(count > 0, brought, bring)
    time: Value = 0.0 if resident else bring
    left: Value = 0.0  # what the layer before takes away
    for (count, brought, compute, taken), following in zip(parts, reversed(ahead), strict=True):
        one = beside(compute, left + following, share)
        ends = beside(compute, left + brought, share) + beside(compute, taken + following, share)
        inner = (count - 2) * beside(compute, taken + brought, share)
        time = time + where(count >= 2, ends + inner, where(count > 0, one, 0.0))
        left = where(count > 0, taken, left)
    return time + left


def prefetched(parts: Sequence[tuple[Value, Value, Value]], *, around: bool) -> tuple[Value, ...]:
    """Seconds of blocks of equal layers whose bytes arrive one layer ahead; block by block, so that they sum to the whole.

    While a layer computes, the link brings the next one's: layer i ends max(cᵢ, kᵢ₊₁) after it began.

    Args:
        parts: (count, seconds to bring one in, to compute it) of blocks of equal layers, in order; a count may be 0.
        around: the last layer is followed by the first of the next step (decoding); otherwise the first one's bytes come before
            anything computes, and are booked with its block.
    """
    first: Value = 0.0
    for count, brought, _ in reversed(parts):
        first = where(count > 0, brought, first)
    behind: list[Value] = []  # what the layer after each block brings in
    bring: Value = first if around else 0.0
    for count, brought, _ in reversed(parts):
        behind.append(bring)
        bring = where(count > 0, brought, bring)
    times: list[Value] = []
    begun: Value = 0.0  # whether a layer has run
    for (count, brought, compute), following in zip(parts, reversed(behind), strict=True):
        time = (count - 1) * maximum(compute, brought) + maximum(compute, following)
        if not around:
            time = time + where(begun > 0, 0.0, brought)
        times.append(where(count > 0, time, 0.0))
        begun = begun + count
    return tuple(times)


def chunked(compute: Value, transfer: Value, chunks: Value, share: Value = 0.0) -> Value:
    """Seconds of a product cut into equal chunks, each sent while the next is computed (or computed while the next arrives).

    Tensor-parallel products with their reduce-scatter or all-gather (arXiv 2104.04473's successors: Wang et al., ASPLOS 2023,
    "Overlap communication with dependent computation via decomposition"). One chunk is not overlapped at all.

    Args:
        compute: seconds of all chunks, at the speed products of a chunk's size have.
        transfer: seconds of all messages.
        chunks: n ≥ 1.
    """
    return compute / chunks + (chunks - 1) * beside(compute / chunks, transfer / chunks, share) + transfer / chunks


def taking_turns(parts: Sequence[tuple[Value, Value]], share: Value = 0.0) -> Value:
    """Seconds of a layer in steady state when two halves of its work take turns: one computes while the other's message travels.

    Every half computes a part, sends its message, computes the next part …, and the next layer behind the last message; computing
    and messages are one stream each, the halves in the order (first, second). Tensor parallelism in two halves of a batch or a
    sequence (Domino, arXiv 2409.15241; ISO, arXiv 2409.11155), experts in two half batches (DeepSeek-V3, arXiv 2412.19437 §3.4.2).

    Args:
        parts: (seconds of computing, of the message behind it) of one half, in order.
        share: of the compute units that messages hold.

    Returns:
        seconds of both halves; 2·Σ computing where all messages hide.
    """
    works = []
    for number, (compute, message) in enumerate(parts):
        before = (f"message {number - 1}", 0) if number else (f"message {len(parts) - 1}", 1)
        works += [Work(f"part {number} {h}", compute, "compute", ((f"{before[0]} {h}", before[1]),)) for h in "ab"]
        works += [Work(f"message {number} {h}", message, "link", ((f"part {number} {h}", 0),)) for h in "ab"]
    busy: Value = 0.0
    for compute, message in parts:
        busy = busy + 2.0 * (compute + share * message)
    return maximum(steady_step(works), busy)


def two_batches(attention: Value, dispatch: Value, experts: Value, combine: Value) -> Value:
    """Seconds a layer of experts takes in steady state when two half batches take turns (:func:`taking_turns`).

    Args:
        attention, dispatch, experts, combine: seconds of one half.

    Returns:
        seconds of both halves; 2·(attention + experts) where all messages hide.
    """
    return taking_turns([(attention, dispatch), (experts, combine)])
