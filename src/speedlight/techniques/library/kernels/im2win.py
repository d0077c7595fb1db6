"""Convolutions as products of lowered images."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, has
from ...edits import with_kernel
from ...subject import Subject
from ...technique import Edit, Technique, register

SLOT = "stack.kernel:conv2d"
BYTES = 4  # an fp32 image
LOWERED = f"m * k * {BYTES}"  # every window's elements, side by side
WINDOWS = (
    f"batch * in_channels * out_h * in_w * kernel_h * {BYTES}"  # rows of windows, which neighbours along a row share
)


def _lowering(size: str, subject: Subject) -> Scenario:
    return with_kernel(subject, "conv2d", workspace=size, launches=2)


IM2COL = register(Technique(
    name="im2col-convolution",
    title="Convolution as a product of the image's windows (im2col)",
    family="kernels",
    mechanism="each window is copied out into a column of its own: kernel_h · kernel_w times the image in scratch memory",
    papers=(),
    citation="Chellapilla et al., High performance convolutional neural networks for document processing, 2006",
    edits=(Edit("stack", SLOT, lambda s, settings: _lowering(LOWERED, s)),),
    refuse=every(has("conv", what="convolution")),
    exact=True,
    whatif=False,
))  # fmt: skip

IM2WIN = register(Technique(
    name="im2win-convolution",
    title="Convolution by rows of windows (im2win)",
    family="kernels",
    mechanism="windows of a row share their columns in scratch memory: kernel_h times the image instead of kernel_h · kernel_w times",
    papers=("im2win",),
    citation="Lu et al., arXiv 2306.14316",
    edits=(Edit("stack", SLOT, lambda s, settings: _lowering(WINDOWS, s)),),
    refuse=every(has("conv", what="convolution")),
    exact=True,
    whatif=False,
))  # fmt: skip
