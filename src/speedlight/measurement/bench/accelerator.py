"""What a device beside the host needs when something is timed on it: waiting, graphs of its work, what it allocated.

Calls to a device return before it has done them. A loop over one small operator therefore times how fast the host can call, not
the operator; recorded in a CUDA graph and replayed, the device runs the same kernels back to back without the host.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..._foundation.errors import MissingDependency
from .timing import Timed, timed

WORTH = "measuring needs PyTorch: operators are timed as it runs them"
GRAPH_S = 0.002  # of work in one graph: thousands of times what starting it takes
MOST_RUNS = 256  # of an operator in one graph
WARM_RUNS = 3  # before a graph is recorded: libraries choose kernels and take workspaces, which no graph may hold


def default_device() -> str:
    """PyTorch's name of the accelerator that it sees, else the processor's.

    Raises:
        MissingDependency: without PyTorch.
    """
    try:
        import torch
    except ImportError:
        raise MissingDependency("torch", "torch", WORTH) from None

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def on_cuda(device: str) -> bool:
    """Whether the device records graphs, and its allocator tells what it handed out."""
    return device.startswith("cuda")


def waiting(device: str) -> Callable[[], object] | None:
    """Blocks until the device has done what it was given; None for the host."""
    import torch

    kind = torch.device(device).type
    if kind == "cpu":
        return None
    wait: Callable[[], object] = getattr(torch, kind).synchronize
    return wait


@dataclass(frozen=True, slots=True)
class Replayed:
    """An operator run several times in one graph.

    Attributes:
        replay: starts the graph.
        runs: of the operator in it.
    """

    replay: Callable[[], object]
    runs: int


@contextlib.contextmanager
def recordable(device: str) -> Iterator[None]:
    """On CUDA, a stream that graphs can be recorded from: not the default one.

    Operands are made in it too, since a gradient is computed in the stream of the forward pass.
    """
    if not on_cuda(device):
        yield
        return
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        yield
    torch.cuda.synchronize()


def replayed(run: Callable[[], object], seconds: float) -> Replayed | None:
    """``run`` recorded in a CUDA graph, so often that one replay is long; None where it cannot be recorded.

    Args:
        run: called in :func:`recordable`.
        seconds: one run takes about, when the host calls it.
    """
    import torch

    runs = int(min(max(GRAPH_S / max(seconds, 1e-7), 1), MOST_RUNS))
    for _ in range(WARM_RUNS):
        run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
            for _ in range(runs):
                run()
    except RuntimeError:
        torch.cuda.synchronize()
        return None
    return Replayed(graph.replay, runs)


def on_device(run: Callable[[], object], device: str, seconds: float) -> tuple[Timed, bool]:
    """(seconds of one run of an operator, whether from a graph's replays: without the host).

    On devices that record no graphs the host's calls are timed.
    """
    wait = waiting(device)
    if wait is None or not on_cuda(device):
        return timed(run, seconds=seconds, wait=wait), False
    called = timed(run, seconds=0.01, wait=wait)
    graph = replayed(run, called.median)
    if graph is None:
        return timed(run, seconds=seconds, wait=wait), False
    found = timed(graph.replay, seconds=seconds, wait=wait)
    per = 1.0 / graph.runs
    samples = tuple(s * per for s in found.samples)
    return Timed(
        found.median * per, found.low * per, found.high * per, samples, found.runs * graph.runs, found.tight
    ), True


class Allocated:
    """Filled when :func:`allocating` ends: the most bytes held beyond what was there before."""

    most: int = 0


@contextlib.contextmanager
def allocating() -> Iterator[Allocated]:
    """What CUDA's caching allocator hands out beyond what is held already."""
    import torch

    found: Any = Allocated()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    yield found
    torch.cuda.synchronize()
    found.most = max(int(torch.cuda.max_memory_allocated()) - before, 0)


__all__ = [
    "Allocated",
    "Replayed",
    "allocating",
    "default_device",
    "on_cuda",
    "on_device",
    "recordable",
    "replayed",
    "waiting",
]
