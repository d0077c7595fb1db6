"""Products of arbitrary bit widths from one-bit products."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, has, inference, multiplies
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _planes(subject: Subject, settings: Settings) -> Scenario:
    bits = int(settings["weights"])
    packed = Subject(with_rewrite(subject, "packed_weights", bits=float(bits)))
    return with_rewrite(packed, "bit_serial", weights=bits, activations=int(settings["activations"]))


BIT_SERIAL = register(Technique(
    name="bit-serial-products",
    title="Arbitrary-precision products from binary ones",
    family="kernels",
    mechanism="p-bit weights by q-bit activations are p · q binary products on matrix units, shifted and added on the chip",
    papers=("efficient-arbitrary-precision-acceleration-for-large-languag",),
    citation="Ma et al., arXiv 2409.17870; Feng et al., APNN-TC, arXiv 2106.12169",
    parameters=(
        Parameter("weights", 2, "bits of a weight", "bit", low=1, high=8),
        Parameter("activations", 4, "bits of an activation", "bit", low=1, high=8),
    ),
    edits=(Edit("graph", "weights", _planes),),
    refuse=every(inference, has("matmul", what="linear layers"), multiplies("int4")),
    whatif=False,
))  # fmt: skip
