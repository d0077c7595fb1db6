"""What a serving engine may hold: memory as engines divide it, blocks of the KV cache, sequences that fit.

Engines load the weights, run one step of the largest size they will run, capture graphs, and give what is left of a share of the
device's memory to the cache:

* vLLM, SGLang: cache = utilisation · total − weights − workspace (``gpu_memory_utilization``, ``mem_fraction_static``);
* TensorRT-LLM: cache = share · (total − weights − workspace) (``kv_cache_free_gpu_mem_fraction``).

``total`` is what the driver reports, about 7 % more than the decimal figure of an HBM card (80 GB cards report 79.6 GiB). The
usual utilisation is 0.9; recipes of measured deployments raise it, and with :data:`TUNED` the measured deployments' queueing is
met (studies/2026-11-serving.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..._foundation.errors import BadInput
from ...placement.serving import Layout, dims_of
from ...serving.steps import Capacity
from ...workload.workload import decode_step
from ..questions.resolve import Resolved, plan
from ..steps.evaluate import sizes_of
from .stages import Share, held, shares_of

REPORTED = 1.068  # bytes a driver reports over the decimal figure of an HBM card
DEFAULT, TUNED = 0.9, 0.95
WORKSPACE = 3e9  # activations of the largest step, captured graphs, communication buffers, the context
LEAST = 0.05  # of the memory, below which a measured deployment would not have been run
OF_WHAT_IS_FREE = ("tensorrt-llm",)


@dataclass(frozen=True, slots=True)
class EngineMemory:
    """Bytes of one rank.

    Attributes:
        total: as the driver reports it.
        weights, workspace, cache: what it is divided into; ``cache`` below 0 says that the weights do not fit.
        token: bytes of the cache a token of a sequence takes.
    """

    total: float
    weights: float
    workspace: float
    cache: float
    token: float

    @property
    def tokens(self) -> float:
        """Tokens the cache holds."""
        return max(self.cache, 0.0) / max(self.token, 1.0)

    def sequences(self, length: float) -> int:
        """Sequences of so many tokens that fit at once."""
        return int(self.tokens // max(length, 1.0))


def divided(
    total: float, weights: float, token: float, stack: str, utilisation: float = DEFAULT, workspace: float = WORKSPACE
) -> EngineMemory:  # fmt: skip
    """A device's memory as the stack divides it.

    Args:
        total: bytes as the driver reports them.
        weights, token: bytes on the rank, and of a cached token.
        stack: name of our stack.
        utilisation: the engine's share.
        workspace: bytes of the rest.

    Raises:
        BadInput: for a share that is none.
    """
    if not 0.0 < utilisation <= 1.0:
        raise BadInput(f"memory utilisation of {utilisation}", expected="a share between 0 and 1")
    if stack in OF_WHAT_IS_FREE:
        cache = utilisation * (total - weights - workspace)
    else:
        cache = utilisation * total - weights - workspace
    return EngineMemory(total, weights, workspace, cache, token)


def engine_memory(
    resolved: Resolved, layout: Layout, utilisation: float = DEFAULT, share: Share | None = None
) -> EngineMemory:  # fmt: skip
    """The memory of one rank of an engine, or of a pipeline stage's that has such shares of the blocks."""
    if share is not None:
        weights, one = held(resolved, layout, share, decode_step(1.0, 1023.0))
        two = held(resolved, layout, share, decode_step(2.0, 1023.0))[1]
        return divided(_reported(resolved), float(weights), float(two - one) / 1024.0, resolved.stack.name, utilisation)
    made = plan(resolved.graph, resolved.stack, None)
    dims = {name: float(np.asarray(value)) for name, value in dims_of(resolved.graph, layout).items()}
    sizes = [
        sizes_of(made, decode_step(count, 1023.0), resolved.machine, resolved.stack, dims, {})[2].by_class
        for count in (1.0, 2.0)
    ]
    token = float(sizes[1]["kv"] - sizes[0]["kv"]) / 1024.0
    return divided(_reported(resolved), float(sizes[0]["weights"]), token, resolved.stack.name, utilisation)


def _reported(resolved: Resolved) -> float:
    """Bytes of a device as its driver reports them."""
    return float(resolved.machine.main.capacity_bytes * (REPORTED if resolved.machine.main.name == "hbm" else 1.0))


def fullest(
    resolved: Resolved, layout: Layout, utilisation: float = DEFAULT
) -> tuple[EngineMemory, Share | None]:  # fmt: skip
    """The memory of the rank that holds the fewest tokens, and its stage's share of the blocks (None for an engine of one stage)."""
    shares = shares_of(resolved, layout)
    if not shares:
        return engine_memory(resolved, layout, utilisation), None
    found = [(engine_memory(resolved, layout, utilisation, share), share) for share in shares]
    return min(found, key=lambda pair: (pair[0].tokens, pair[0].cache))


def capacity(
    resolved: Resolved, layout: Layout, *, utilisation: float = DEFAULT, block: int = 16, most: int = 1024, budget: int = 8192
) -> Capacity:  # fmt: skip
    """What one attention rank may hold, as the simulator asks.

    Args:
        resolved, layout: the engine.
        utilisation: its share of memory.
        block: tokens of a block (vLLM 16, TensorRT-LLM 32, SGLang 1).
        most: sequences at once; ``budget``: tokens of a step: the engines' defaults for servers.

    Raises:
        BadInput: where the weights leave no room for a single block.
    """
    memory = fullest(resolved, layout, utilisation)[0]
    blocks = int(memory.tokens // block)
    if blocks < 1:
        raise BadInput(
            f"{memory.weights / 1e9:.1f} GB of weights leave no room for keys and values in {memory.total / 1e9:.1f} GB",
            expected="room for one block", hint="more ranks, a narrower format or a higher utilisation",
        )  # fmt: skip
    note = f"{memory.cache / 1e9:.1f} GB of cache at {memory.token:.0f} B a token ({memory.weights / 1e9:.1f} GB of weights)"
    return Capacity(blocks, block, most, budget, notes=(note,))
