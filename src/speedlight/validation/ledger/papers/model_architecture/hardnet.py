"""HarDNet: dense connections thinned to a harmonic pattern, so feature maps are read and written less often.

FLOPs of the compared networks are alike; what changes is traffic. On GPUs of its year its narrow layers (14 to 40 channels)
fill tiles badly, which takes back what the traffic saves beside ResNets.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives
from .images import ratio, saved


def _beside(bench: Bench, before: str, after: tuple[str, ...]) -> Finding:
    spans = []
    for name in bench.unstated("network", after, "the member of as much accuracy"):
        for machine in bench.unstated("machine", ("titan-xp", "v100-pcie-16gb"), "GPUs of 2019"):
            for stack in bench.unstated(
                "stack", ("torch-eager@1.13", "tensorrt"), "PyTorch, or an engine that folds norms and rectifiers"
            ):
                spans.append(
                    saved(ratio(bench, before, name, machine, phase="forward", batch=1, dtype="fp32", stack=stack))
                )
    why = "one image: convolutions, norms and concatenations of both networks; channels that do not fill tiles cost as the engine's fit of such shapes says"
    return over(spans, why)


@derives("hardnet#1")
def segmentation(bench: Bench) -> Finding:
    return _beside(bench, "fc-densenet-103", ("fc-hardnet-84",))


@derives("hardnet#2")
def dense(bench: Bench) -> Finding:
    return _beside(bench, "densenet-264", ("hardnet-85",))


@derives("hardnet#3")
def residual(bench: Bench) -> Finding:
    return _beside(bench, "resnet50", ("hardnet-68", "hardnet-39"))


@derives("hardnet#4")
def deep_residual(bench: Bench) -> Finding:
    return _beside(bench, "resnet152", ("hardnet-85", "hardnet-68"))


@derives("hardnet#5")
def detection(bench: Bench) -> Finding:
    return _beside(bench, "ssd512-vgg16", ("ssd512-hardnet-68", "ssd512-hardnet-85"))
