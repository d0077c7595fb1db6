"""Programs with one thing wrong, and mended: what ``diagnose`` must name. Run as ``python programs.py FOLDER NUMBER PORT [DEVICE]``.

Recorded by ``torch.profiler`` by two processes, which first train together and then run a program each: on the host's CPU, or on a
GPU that both share (``cuda``), over gloo there too, since NCCL wants a GPU for each.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

DEVICE = sys.argv[4] if len(sys.argv) > 4 else "cpu"


def settled() -> None:
    """What the device was given is done."""
    if DEVICE != "cpu":
        torch.cuda.synchronize()


def record(path: Path):
    """A profiler that writes its trace when it ends."""

    def write(prof) -> None:
        prof.export_chrome_trace(str(path))

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if DEVICE != "cpu" else [])]
    return profile(activities=activities, record_shapes=True, on_trace_ready=write)


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


def training(path: Path, loading_s: float) -> None:
    """Three steps of a small ResNet; each picture takes ``loading_s`` to load."""

    class Pictures(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 24

        def __getitem__(self, index: int):
            time.sleep(loading_s)
            return torch.zeros(3, 48, 48), index % 10

    stem, head = nn.Conv2d(3, 32, 7, 2, 3), nn.Linear(32, 10)
    net = nn.Sequential(stem, *[Residual(32) for _ in range(4)], nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).to(DEVICE)
    optimizer = torch.optim.SGD(net.parameters(), 0.01)

    def step(pictures: torch.Tensor, classes: torch.Tensor) -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(pictures.to(DEVICE)), classes.to(DEVICE)).backward()
        optimizer.step()

    step(torch.zeros(8, 3, 48, 48), torch.zeros(8, dtype=torch.int64))  # libraries load their kernels in the first
    settled()
    with record(path) as prof:
        for pictures, classes in torch.utils.data.DataLoader(Pictures(), batch_size=8):
            step(pictures, classes)
            prof.step()
        settled()


def decoding(path: Path, width: int, batch: int, new: int) -> None:
    """A small transformer token by token (``new`` = 1), or many positions of many sequences at once."""
    layer = nn.TransformerEncoderLayer(width, 4, 4 * width, batch_first=True)
    net = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False).eval().to(DEVICE)
    given = torch.zeros(batch, new, width, device=DEVICE)
    with torch.no_grad():
        net(given)
        settled()
        with record(path):
            for _ in range(8 if new == 1 else 3):
                net(given)
            settled()


def ranks(folder: Path, number: int, world: int, port: int) -> None:
    """Data-parallel training over gloo: with all-reduces (``sync``), and with gradients left where they are (``alone``)."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=number, world_size=world)
    net = nn.parallel.DistributedDataParallel(nn.Sequential(*[nn.Linear(1024, 1024) for _ in range(6)]).to(DEVICE))
    optimizer = torch.optim.SGD(net.parameters(), 0.01)

    def step() -> None:
        optimizer.zero_grad()
        net(torch.zeros(4, 1024, device=DEVICE)).sum().backward()
        optimizer.step()
        settled()

    step()  # buckets are laid out in the first
    for name, context in (("sync", contextlib.nullcontext()), ("alone", net.no_sync())):
        with context:
            step()
            torch.distributed.barrier()
            with record(folder / name / f"{number}.json"):
                for _ in range(3):
                    step()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, number, port = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    ranks(folder, number, 2, port)
    if number == 0:
        training(folder / "slow.json", 0.2)  # well above a step on a machine that is busy besides
        training(folder / "fast.json", 0.0)
    else:
        decoding(folder / "one.json", width=64, batch=1, new=1)
        # enough at once to keep the device busy beside its host
        width, batch, new = (512, 8, 64) if DEVICE == "cpu" else (2048, 32, 512)
        decoding(folder / "many.json", width=width, batch=batch, new=new)
