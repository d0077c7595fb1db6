"""What a training step keeps on each rank: the ledger of the fullest pipeline rank (DESIGN decisions 8, 10).

Weights, gradients and optimizer states of a rank's blocks, divided over shards by ZeRO stage (arXiv 1910.02054 §5: 1 states,
2 and gradients, 3 and weights); activations of every micro-batch in flight under the schedule, by what is computed again;
weights gathered for the block at work and the next one; the largest live set of a block; the stack's reserve.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value, maximum, where
from ..._foundation.formats import bytes_per_element
from ...lowering.ledger import CLASSES, Ledger
from ...lowering.shares import Held, Holdings
from ...placement.mesh import expert_replicas, replicas, shard_ranks
from ...placement.stages import Deal, Shares
from ...scenario.scenario import Parallel
from ...schedule.families import FAMILIES, in_flight, parse
from ...stacks.stack import Stack
from ...workload.workload import Training
from ..offload.states import Outside
from .rows import plain

AHEAD = 2.0  # blocks whose gathered weights are there at once: the one at work and the one fetched ahead


def ledger(
    cut: Deal, holdings: Holdings, parallel: Parallel, training: Training, micro: Value, stack: Stack, capacity: Value,
    outside: Outside | None = None,
) -> Ledger:  # fmt: skip
    """The ledger of the rank that needs most."""
    worst: dict[str, Value] = {}
    most: Value = -1.0
    away: dict[str, Value] = {}
    for rank, shares in cut.some_ranks():
        whole = of_rank(rank, shares, cut, holdings, parallel, training, micro, stack)
        here = {**whole, **staged(whole, shares, cut, holdings, parallel, training, outside)}
        for role, size in _elsewhere(whole, outside).items():
            away[role] = maximum(away.get(role, 0.0), size)
        total = _total(here)
        fuller = total > most
        worst = {name: where(fuller, size, worst.get(name, 0.0)) for name, size in here.items()} if worst else here
        most = maximum(most, total)
    by_class = {name: worst.get(name, 0.0) for name in CLASSES}
    by_class["reserve"] = stack.reserve.runtime_bytes + (1 - stack.reserve.utilization) * capacity
    return Ledger(by_class, capacity, away, {} if outside is None else {r: outside.room()[r] for r in away})


def staged(
    whole: Mapping[str, Value], shares: Shares, cut: Deal, holdings: Holdings, parallel: Parallel, training: Training,
    outside: Outside | None,
) -> dict[str, Value]:  # fmt: skip
    """What stays on the device of classes kept outside: what two blocks need, one at work and one on its way."""
    if outside is None:
        return {}
    again = again_share(training, parallel, cut.layers)
    most = {"weights": 0.0, "gradients": 0.0, "activations": 0.0, "live": 0.0}
    for block, held in holdings.blocks.items():
        here = where(np.asarray(shares[block]) > 0, 1.0, 0.0)
        saved = again * held.saved + (1 - again) * held.saved_whole
        sizes = {
            "weights": held.weights[0] + held.weights[1], "gradients": held.gradients[0] + held.gradients[1],
            "activations": saved, "live": held.live,
        }  # fmt: skip
        most = {name: maximum(size, here * sizes[name]) for name, size in most.items()}
    kept = {"weights": AHEAD * most["weights"], "gradients": AHEAD * most["gradients"], "optimizer": 0.0}
    kept["activations"] = AHEAD * most["activations"] + most["live"]
    return {name: plain(-maximum(-kept[name], -whole[name])) for name in outside.where}


def _elsewhere(whole: Mapping[str, Value], outside: Outside | None) -> dict[str, Value]:
    """Tier role → bytes of a rank's classes kept there."""
    away: dict[str, Value] = {}
    for name, role in ({} if outside is None else outside.where).items():
        away[role] = away.get(role, 0.0) + whole[name]
    return away


def of_rank(
    rank: Value,
    shares: Shares,
    cut: Deal,
    holdings: Holdings,
    parallel: Parallel,
    training: Training,
    micro: Value,
    stack: Stack,
) -> dict[str, Value]:
    """Bytes of one rank by class, without the stack's reserve."""
    zero = np.asarray(parallel.zero)
    copies = replicas(parallel), expert_replicas(parallel)
    spread = [shard_ranks(parallel, c) for c in copies]
    name, _ = parse(training.schedule)
    copied = FAMILIES[name].copies
    versions = FAMILIES[name].versions(parallel.pp, micro, rank)
    sums = {key: [0.0, 0.0] for key in ("weights", "gradients", "parameters")}
    saved: Value = 0.0
    saved_last: Value = 0.0
    live: Value = 0.0
    gathered: Value = 0.0
    again = again_share(training, parallel, cut.layers)
    for block, held in holdings.blocks.items():
        share = shares[block]
        count = holdings.counts[block] * share
        for key in sums:
            for i in (0, 1):
                sums[key][i] = sums[key][i] + count * getattr(held, key)[i]
        waits = count * (again * held.saved + (1 - again) * held.saved_whole)
        if cut.positions[block][0] < cut.layers:
            saved = saved + waits
        else:
            saved_last = saved_last + waits
        here = where(np.asarray(count) > 0, 1.0, 0.0)
        live = maximum(live, here * held.live * cut.part(block))
        whole = held.weights[0] + held.weights[1]
        gathered = maximum(gathered, here * (AHEAD * whole + held.gradients[0] + held.gradients[1]))
    for users, held in holdings.shared:
        there = cut.holds(users, shares)
        for key in sums:
            for i in (0, 1):
                sums[key][i] = sums[key][i] + there * getattr(held, key)[i]
    by: dict[str, Value] = dict.fromkeys(CLASSES, 0.0)
    for i in (0, 1):
        stages = [where(zero >= stage, spread[i], 1.0) for stage in (3, 2, 1)]
        by["weights"] = by["weights"] + copied * versions * sums["weights"][i] / stages[0]
        by["gradients"] = by["gradients"] + copied * sums["gradients"][i] / stages[1]
        by["optimizer"] = by["optimizer"] + sums["parameters"][i] * holdings.states[i] / stages[2]
        by["gradients"] = by["gradients"] + copied * sums["gradients"][i] * parallel.wire("gradients").kept
        if parallel.near is not None:  # the second copy, from which backward passes gather
            by["weights"] = by["weights"] + where(zero >= 3, copied * sums["weights"][i] / parallel.near, 0.0)
    flying = in_flight(name, parallel.pp, micro, training.virtual, rank)
    # What stands behind the last layer is followed by its own backward pass, whatever else is under way; gpipe goes forward first.
    behind = flying if name == "gpipe" else -maximum(-flying, -1.0)
    by["activations"] = saved * flying + saved_last * behind + live
    if stack.attrs.get("pipeline_buffers") == "every":
        by["activations"] = by["activations"] + buffers(rank, cut, holdings, parallel, micro, training.virtual, flying)
    if stack.attrs.get("sharded_weights") == "master":  # narrow weights exist gathered only
        by["weights"] = where(zero >= 3, 0.0, by["weights"])
        gathered = _gathered(shares, cut, holdings, stack)
    if (
        stack.attrs.get("pipelined_shards") == "kept"
    ):  # gathered once a step, gradients summed whole until its last micro-batch
        kept = sums["weights"]
        if "gathers" in stack.attrs:
            kept = [size * bytes_per_element(str(stack.attrs["gathers"])) for size in sums["parameters"]]
        whole = kept[0] + kept[1] + sums["gradients"][0] + sums["gradients"][1]
        gathered = where(np.asarray(parallel.pp) > 1, whole, gathered)
    by["workspace"] = where(zero >= 3, gathered, 0.0)
    gaps = stack.reserve.fragmentation
    by["activations"] = by["activations"] * (1 + gaps)
    if stack.attrs.get("fragments") == "all":  # shards and what is gathered of them come and go too
        held = by["weights"] + by["gradients"] + by["optimizer"]
        by["workspace"] = by["workspace"] * (1 + gaps) + held * gaps
    return {name: plain(size) for name, size in by.items()}


def buffers(
    rank: Value, cut: Deal, holdings: Holdings, parallel: Parallel, micro: Value, virtual: Value, flying: Value
) -> Value:  # fmt: skip
    """What PyTorch's pipeline stages hold beside the layers' own activations (torch/distributed/pipelining/stage.py).

    A buffer to receive each micro-batch in, forward and backward, for the whole step (``_prepare_forward_infra``,
    ``_create_grad_recv_info``; what is under way is its first layer's input, counted there already), a stage's result until its
    backward pass (``fwd_cache``), and the last stage's for the whole step (``output_chunks``).

    Args:
        flying: micro-batches under way, in whole ranks of layers (:func:`speedlight.schedule.families.in_flight`).
    """
    handed: Value = 0.0
    scored: Value = 0.0
    for block, held in holdings.blocks.items():
        scored = maximum(scored, held.scored)
        if 0 <= cut.positions[block][0] < cut.layers:
            handed = maximum(handed, held.handed)
    first = where(np.asarray(rank) == 0, 1.0, 0.0)
    last = where(np.asarray(rank) == np.asarray(parallel.pp) - 1, 1.0, 0.0)
    taking, giving = virtual - first, virtual - last  # stages with one before them, and behind them
    kept = handed * (taking * maximum(micro - flying, 0.0) + giving * (flying + micro)) + last * micro * scored
    return where(np.asarray(parallel.pp) > 1, kept, 0.0)


def _whole(held: Held, stack: Stack) -> Value:
    """Weights of a block as they are gathered: in the stack's format where it states one, else as products read them."""
    stated = stack.attrs.get("gathers")
    if stated is None:
        return held.weights[0] + held.weights[1]
    return (held.parameters[0] + held.parameters[1]) * bytes_per_element(str(stated))


def _gathered(shares: Shares, cut: Deal, holdings: Holdings, stack: Stack) -> Value:
    """Weights that FSDP2 holds whole at once.

    The root's (embeddings, head) from the forward pass on to the end of the backward pass, a block's while it works and the next
    one's; and each twice, since a gathered buffer, in a stream of its own, is copied out into the parameters (PyTorch,
    ``torch/distributed/fsdp/_fully_shard``: ``_fsdp_param_group.unshard``, the root is not resharded; ``foreach_all_gather``).
    """
    layer: Value = 0.0
    root: Value = 0.0
    for block, held in holdings.blocks.items():
        whole = _whole(held, stack)
        here = where(np.asarray(shares[block]) > 0, 1.0, 0.0)
        if cut.is_end(block):
            root = root + here * whole
        else:
            layer = maximum(layer, here * whole)
    for users, held in holdings.shared:
        root = root + cut.holds(users, shares) * _whole(held, stack)
    return 2 * root + AHEAD * layer


def again_share(training: Training, parallel: Parallel, layers: int) -> Value:
    """Share of a stage's layers that are computed again."""
    if training.recompute == "none":
        return 0.0
    if training.recompute_layers is None:
        return 1.0
    return -maximum(-training.recompute_layers * parallel.pp / layers, -1.0)


def updated(cut: Deal, holdings: Holdings, parallel: Parallel) -> tuple[Value, Value]:
    """Shares of the model's dense and expert parameters that the rank with most of them updates."""
    zero = np.asarray(parallel.zero)
    whole = _parameters(holdings, cut, None)
    found: list[Value] = [0.0, 0.0]
    for _, shares in cut.some_ranks():
        mine = _parameters(holdings, cut, shares)
        for i in (0, 1):
            found[i] = maximum(found[i], mine[i] / maximum(whole[i], 1.0))
    ranks = [shard_ranks(parallel, c) for c in (replicas(parallel), expert_replicas(parallel))]
    each = [plain(found[i] / where(zero >= 1, ranks[i], 1.0)) for i in (0, 1)]
    return each[0], each[1]


def _parameters(holdings: Holdings, cut: Deal, shares: Shares | None) -> list[Value]:
    sums: list[Value] = [0.0, 0.0]
    for block, held in holdings.blocks.items():
        count = holdings.counts[block] * (1.0 if shares is None else shares[block])
        sums = [s + count * n for s, n in zip(sums, held.parameters, strict=True)]
    for users, held in holdings.shared:
        there = 1.0 if shares is None else cut.holds(users, shares)
        sums = [s + there * n for s, n in zip(sums, held.parameters, strict=True)]
    return sums


def _total(by: Mapping[str, Value]) -> Value:
    total: Value = 0.0
    for size in by.values():
        total = total + size
    return total
