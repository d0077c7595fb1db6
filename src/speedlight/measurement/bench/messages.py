"""Collectives between two processes of this host through ``torch.distributed`` (gloo): started once for each point."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from .timing import Timed, median_interval

TIMEOUT_S = 60.0


def message(op: str, sizes: Mapping[str, Any], seconds: float) -> Timed:
    """Seconds of a collective, as the slowest rank saw it.

    Raises:
        RuntimeError: where the ranks could not be started or did not end.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = int(sizes["ranks"])
    words = [sys.executable, "-m", __name__, op, str(int(sizes["bytes"])), str(ranks), str(port), str(seconds)]
    started = [subprocess.Popen([*words, str(r)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for r in range(ranks)]
    try:
        said = [p.communicate(timeout=TIMEOUT_S + seconds) for p in started]
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{ranks} ranks did not end within {TIMEOUT_S:.0f} s") from None
    finally:
        for process in started:
            process.kill()
    if any(p.returncode for p in started):
        raise RuntimeError(
            said[0][1].decode(errors="replace").strip().splitlines()[-1:][0] if said[0][1] else "a rank failed"
        )
    each = [json.loads(out) for out, _ in said]
    samples = [max(times) for times in zip(*each, strict=True)]
    low, middle, high = median_interval(samples)
    return Timed(middle, low, high, tuple(samples), 1, True)


def _rank(op: str, size: int, ranks: int, port: int, seconds: float, rank: int) -> list[float]:
    import os
    import time

    import torch
    import torch.distributed as dist

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=ranks)
    x = torch.zeros(size // 4)
    parts = [torch.zeros(size // 4) for _ in range(ranks)]

    def run() -> None:
        if op == "all_reduce":
            dist.all_reduce(x)
        elif op == "all_gather":
            dist.all_gather(parts, x)
        elif rank == 0:
            dist.send(x, 1)
        else:
            dist.recv(x, 0)

    for _ in range(3):
        run()
    dist.barrier()
    start = time.perf_counter()
    run()
    dist.barrier()
    first = torch.tensor([time.perf_counter() - start])
    dist.all_reduce(first, dist.ReduceOp.MAX)  # all ranks take as many samples
    count = min(max(int(seconds / max(float(first), 1e-6)), 5), 100)
    found = []
    for _ in range(count):
        dist.barrier()
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    dist.destroy_process_group()
    return found


if __name__ == "__main__":
    _, name, size, ranks, port, seconds, rank = sys.argv
    print(json.dumps(_rank(name, int(size), int(ranks), int(port), float(seconds), int(rank))))
