"""FasterNet: partial convolution, a dense product on a quarter of the channels, in the place of depthwise ones.

It touches fewer numbers and multiplies them at a matrix unit's rate, so FLOPs become time on every machine; how much depends
on the machine.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives
from .images import gain, one_core, ratio, saved

FOLDED = ("reparameterized",)


def _gpu(bench: Bench, before: str, after: str) -> list[Span]:
    return [
        ratio(bench, before, after, machine, with_=FOLDED, phase="forward", batch=batch, dtype="fp32", stack="torch-eager")
        for machine in bench.unstated("machine", ("rtx-2080-ti", "v100-sxm2-32gb", "rtx-3090"), "the GPU is not named")
        for batch in (32,)
    ]  # fmt: skip


def _core(bench: Bench, before: str, after: str) -> list[Span]:
    """A few images on one core of a desktop, and on all."""
    spans = []
    for stack in bench.unstated("stack", ("torch-eager", "onnxruntime")):
        for threads in bench.unstated("threads", ("one", "all")):
            own = one_core(bench, "i9-10940x", 16e9) if threads == "one" else {}
            for batch in bench.unstated("batch", (1, 16)):
                spans.append(ratio(
                    bench, before, after, "i9-10940x", with_=FOLDED, phase="forward", batch=batch, dtype="fp32", stack=stack, overrides=own,
                ))  # fmt: skip
    return spans


@derives("run-don-t-walk#1")
def small_on_gpu(bench: Bench) -> Finding:
    return over(
        _gpu(bench, "mobilevit_xxs", "fasternet_t0"), "images a second, FasterNet-T0 over MobileViT-XXS at 256 pixels"
    )


@derives("run-don-t-walk#2")
def small_on_cpu(bench: Bench) -> Finding:
    return over(_core(bench, "mobilevit_xxs", "fasternet_t0"), "seconds of one image on a desktop processor")


@derives("run-don-t-walk#3")
def small_on_arm(bench: Bench) -> Finding:
    spans = []
    for machine in bench.unstated(
        "machine", ("raspberry-pi-4-4gb", "galaxy-s8"), "ARM cores of small boards and phones"
    ):
        for stack in bench.unstated("stack", ("onnxruntime", "torch-eager")):
            spans.append(
                ratio(
                    bench,
                    "mobilevit_xxs",
                    "fasternet_t0",
                    machine,
                    with_=FOLDED,
                    phase="forward",
                    batch=1,
                    dtype="fp32",
                    stack=stack,
                )
            )
    return over(spans, "seconds of one image on ARM cores")


@derives("run-don-t-walk#6")
def large_on_gpu(bench: Bench) -> Finding:
    return over(
        map(gain, _gpu(bench, "swin_base_patch4_window7_224", "fasternet_l")),
        "images a second, FasterNet-L over Swin-B",
    )


@derives("run-don-t-walk#7")
def large_on_cpu(bench: Bench) -> Finding:
    return over(
        map(saved, _core(bench, "swin_base_patch4_window7_224", "fasternet_l")),
        "seconds of one image on a desktop processor, FasterNet-L beside Swin-B",
    )
