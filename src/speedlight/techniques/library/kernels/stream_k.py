"""Stream-K and split-k: products dealt out by steps of k, not by tiles."""

from __future__ import annotations

from ...conditions import every, has, on_gpu
from ...edits import with_kernel
from ...subject import Subject
from ...technique import Edit, Refusal, Settings, Technique, register


def _measured(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.stack.library:
        return Refusal(f"{subject.stack.name}'s measured products choose their own splits")
    return None


STREAM_K = register(Technique(
    name="stream-k",
    title="Stream-K products",
    family="kernels",
    mechanism="each unit gets the same number of steps along k, whole tiles or parts of them: no last wave is half empty",
    papers=(),
    citation="Osama et al., Stream-K, arXiv 2301.03598",
    edits=(Edit("stack", "stack.kernel:linear", lambda s, settings: with_kernel(s, "linear|mm|bmm", even=True)),),
    refuse=every(on_gpu, has("matmul", what="products"), _measured),
    exact=True,
))  # fmt: skip
