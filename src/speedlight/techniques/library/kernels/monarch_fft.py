"""FFT convolutions on matrix units."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, has
from ...edits import with_rewrite, with_software
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register

CHAIN = ["monarch_fft", "mul", "monarch_fft"]


def _as_products(subject: Subject, settings: Settings) -> Scenario:
    chain = {"name": "fft_convolution", "pattern": CHAIN, "on_chip": True}
    rewritten = with_rewrite(subject, "monarch_fft", order=settings["order"])
    return with_software(Subject(rewritten), {"fuse": [chain]})


MONARCH = register(Technique(
    name="fft-on-matrix-units",
    title="FFT convolution as matrix products in one kernel (FlashFFTConv, FlashButterfly)",
    family="kernels",
    mechanism="transforms become products with small dense matrices and fuse with the filter between them: faster unit, one pass",
    papers=("flashfftconv", "simple-hardware-efficient-long-convolutions-for-sequence-mod"),
    citation="Fu et al., FlashFFTConv, arXiv 2311.05908; Fu et al., arXiv 2302.06646",
    parameters=(Parameter("order", 2, "steps of the decomposition", choices=(2, 3, 4), trials=(3,)),),
    edits=(Edit("graph", "fft", _as_products),),
    refuse=every(has("fft", what="Fourier transform")),
))  # fmt: skip
