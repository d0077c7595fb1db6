"""Weights set to zero and kept as they were: nothing gets faster or smaller."""

from __future__ import annotations

from ...conditions import every, has, inference
from ...technique import Edit, Parameter, Technique, register

MASKED = register(Technique(
    name="masked-pruning",
    title="Unstructured pruning with weights kept dense (torch.nn.utils.prune)",
    family="sparsity",
    mechanism="zeros are stored, read and multiplied like any other value: time and memory stay until a format or a kernel leaves them out",
    citation="PyTorch, Pruning Tutorial; Han et al., arXiv 1506.02626",
    parameters=(Parameter("sparsity", 0.6, "share of the weights that are zero", low=0.0, high=0.99, neutral=0.0),),
    edits=(Edit("graph", "weights.pattern", lambda subject, settings: subject.scenario),),
    refuse=every(inference, has("matmul", "conv", "moe", what="linear layers or convolutions")),
    whatif=False,
))  # fmt: skip
