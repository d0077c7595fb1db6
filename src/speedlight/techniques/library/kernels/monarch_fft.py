"""FFT convolutions on matrix units."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, has
from ...edits import with_rewrite, with_software
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register

BETWEEN = "elementwise|mul|cast|copy"
# A convolution is two transforms around a product; padding, casts and a gate before and after it join in.
CHAINS = [
    [*[BETWEEN] * before, "monarch_fft", BETWEEN, "monarch_fft", *[BETWEEN] * after]
    for before in range(4)
    for after in range(4)
]


def _as_products(subject: Subject, settings: Settings) -> Scenario:
    rules = [{"name": "fft_convolution", "pattern": chain, "on_chip": True} for chain in CHAINS]
    rewritten = with_rewrite(subject, "monarch_fft", order=settings["order"])
    return with_software(Subject(rewritten), {"fuse_all": False, "fuse": rules})


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
