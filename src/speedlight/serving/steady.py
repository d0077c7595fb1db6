"""A closed loop in closed form: latency and throughput of c clients that each send a request when their last one ended.

For sweeps: one call answers any number of (concurrency, lengths, step times) at once, with no events. Requests are alike
(the lengths are means); batch = concurrency, up to what the engine holds.

The measured mean over N requests contains the start: all c requests arrive together and their prompts queue behind each
other. What happens afterwards depends on the policy:

- *prefill first* (``mixed=False``), lengths alike: requests admitted together end together, so every wave is a burst.
- *prefill first*, lengths that vary: ends are spread over the wave, and every prompt interrupts the others' decoding.
- *mixed*: prompts take what the budget leaves in a step; a wave needs q of its steps. While q is less than the output's
  length, prompts of the later waves meet free budget and wait for one step only; beyond it the budget is the bottleneck and
  the clients queue for it (Little's law gives how long).

Checked against the simulation in ``tests/serving/test_steady.py``; docs/serving.md says how far they differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .policy import Policy
from .steps import Capacity, HostTimes, StepShape, StepTables, Timed, prefill_pairs

Value = Any


@dataclass(frozen=True, slots=True)
class Steady:
    """Means over all requests of a closed loop; every field has the question's broadcast shape.

    Attributes:
        ttft, tpot, e2el: seconds; ttft with queueing and the start-up burst in it.
        ttft_burst, ttft_later: of the first c requests, and of those after them.
        output_throughput: tokens a second (one attention rank).
        running: sequences that run at once.
        decode_step, prompt_step: seconds of a step that only decodes, and of one with prompts.
    """

    ttft: Value
    tpot: Value
    e2el: Value
    ttft_burst: Value
    ttft_later: Value
    output_throughput: Value
    running: Value
    decode_step: Value
    prompt_step: Value


def closed_loop(
    steps: Timed,
    policy: Policy,
    capacity: Capacity,
    concurrency: Value,
    isl: Value,
    osl: Value,
    requests: Value | None = None,
    *,
    host: HostTimes | None = None,
    alike: bool = True,
    hit: Value = 0,
) -> Steady:
    """Mean latencies of a closed loop.

    Args:
        steps: step times; arrays of steps are asked for in one call.
        policy, capacity: the engine's.
        concurrency: clients (of this attention rank).
        isl, osl: prompt and output tokens of a request.
        requests: how many the benchmark sends; 10 per client if left out.
        host: seconds of the host; those of the tables if left out.
        alike: all requests have these lengths; else they vary about them, and ends are spread.
        hit: prompt tokens found in the prefix cache.
    """
    c, isl, osl, hit = np.broadcast_arrays(*(np.asarray(v, float) for v in (concurrency, isl, osl, hit)))
    total = 10.0 * c if requests is None else np.maximum(np.asarray(requests, float), 1.0)
    c = np.minimum(c, total)
    host = host or (steps.host if isinstance(steps, StepTables) else HostTimes())

    def seconds(decodes: Value, context: Value, prompts: Value, new: Value, cached: Value) -> Value:
        """Of a step with so many decoding sequences and ``prompts`` pieces of ``new`` tokens each."""
        shape = StepShape(
            decodes + prompts * new, decodes, decodes * context, context, prompts * prefill_pairs(new, cached), 0,
            prompts, prompts * new,
        )  # fmt: skip
        device = np.asarray(steps.step_time(shape), float)
        own = host.step + host.sequence * (decodes + prompts)
        return np.maximum(device, own) if policy.overlap else device + own

    new = np.maximum(isl - hit, 1.0)
    running = np.minimum(np.minimum(c, capacity.max_seqs), _room(policy, capacity, isl, osl))
    budget = float(policy.budget or capacity.token_budget)
    context = isl + osl / 2
    decode = seconds(running, context, np.zeros_like(c), 1.0, 0.0)
    decoded = np.maximum(osl - 1.0, 1.0)
    lag = 1.0 if policy.overlap else 0.0  # a request that comes during a step is seen a step later
    if policy.mixed:
        # Steps with prompts that a wave takes: each completes (budget − those decoding already) / prompt of them.
        if policy.chunked:
            share = np.minimum(running / budget, 1 - 1e-9)
            steps_of_wave = np.log1p(-share) / np.log1p(-1.0 / np.maximum(new, 1.0 + 1e-9))
        else:
            whole = np.maximum(np.floor(budget / new), 1.0)
            steps_of_wave = running / np.where(
                running > whole, np.maximum(np.floor((budget - running) / new), 1.0), running
            )
        cohorts = np.ceil(steps_of_wave - 1e-9)  # requests that started together
        at_once = running / np.where(steps_of_wave > 1, steps_of_wave, 1.0)  # prompts a step completes

        def mixed(decodes: Value, prompts: Value) -> Value:
            """Seconds of a step with so many prompts, or with the budget's piece of a long one."""
            done = np.minimum(prompts, at_once)  # tokens of the step over those of a prompt
            pieces = np.maximum(done, 1.0)
            cached = hit + np.maximum(1.0 - done, 0.0) * new / 2
            return seconds(decodes, context, pieces, done * new / pieces, cached)

        full = mixed(np.where(cohorts > 1, running - at_once, 0.0), at_once)
        burst = mixed(np.where(cohorts > 1, running / 2, 0.0), at_once) * (cohorts + 1) / 2
        alone = 1.0 + (running - 1.0) / np.maximum(
            osl, 1.0
        )  # a prompt meets those that come at the same step by chance
        pieces = np.maximum(1.0 / at_once, 1.0)  # steps of one prompt
        single = mixed(np.maximum(running - 1.0, 0.0), alone)
        busy = steps_of_wave >= osl  # the budget is the bottleneck: every step has prompts
        if alike:
            tpot = decode + np.minimum((cohorts - 1) / decoded, 1.0) * (full - decode)
            later = full + np.where(cohorts > 1, lag * (decode + (cohorts - 1) * full) / cohorts, 0.0)
        else:
            others = np.minimum((running - 1.0) / alone * pieces / decoded, 1.0)
            tpot = decode + others * (single - decode)
            rest = np.maximum(np.ceil(pieces - 1e-9) - pieces, 0.0)  # of the last piece's step
            later = single * pieces + rest * decode + np.where(running > 1, lag * tpot, 0.0)
        tpot = np.where(busy, full, tpot)
        rate = np.where(busy, at_once / full, running / (later + decoded * tpot))
        later = np.where(busy, np.maximum(running / rate - decoded * full, full), later)
        prompt_step = full
    else:
        group = np.minimum(np.maximum(np.floor(budget / new), 1.0), running)
        pieces = np.ceil(new / budget) if policy.chunked else np.ones_like(c)
        length = new / pieces
        at_once = seconds(0.0 * c, 0.0, group, length, hit + (new - length) / 2) * pieces
        single = seconds(0.0 * c, 0.0, np.ones_like(c), length, hit + (new - length) / 2) * pieces
        rounds = np.ceil(running / group)
        burst = at_once * (rounds + 1) / 2
        together = np.minimum(np.maximum(running / np.maximum(osl, 1.0), 1.0), group)
        each = single + (at_once - single) * (together - 1) / np.maximum(group - 1, 1.0)
        if alike:
            later = burst
            tpot = decode + (rounds - 1) / 2 * at_once / decoded
        else:
            later = each + np.where(running > 1, lag * decode, 0.0)
            tpot = decode + (running / together - 1) * each / decoded
        rate = running / (later + decoded * tpot)
        prompt_step = np.where(alike, at_once, each)
    waiting = (c - running) / rate  # in the engine's queue, for clients beyond what it runs
    first_wave = burst + waiting * 0.5 * (c - running) / c
    later = later + waiting
    share_first = c / total
    ttft = share_first * first_wave + (1 - share_first) * later
    ttft = ttft + host.request + host.prompt_token * isl + host.stream
    one = osl <= 1
    return Steady(
        ttft=ttft, tpot=np.where(one, 0.0, tpot), e2el=ttft + np.where(one, 0.0, decoded * tpot),
        ttft_burst=first_wave, ttft_later=later, output_throughput=rate * osl, running=running, decode_step=decode,
        prompt_step=prompt_step,
    )  # fmt: skip


def _room(policy: Policy, capacity: Capacity, isl: Value, osl: Value) -> Value:
    """Sequences whose blocks fit: to their last token where admission reserves it, else at half of their output."""
    share = max(policy.reserve_least, 0.5)
    blocks = capacity.blocks_of(np.ceil(isl + share * osl))
    return np.maximum(np.floor(capacity.kv_blocks * (1 - policy.watermark) / blocks), 1.0)
