"""PyTorch-Direct: rows of a table in the host's memory read over the link where they stand."""

from __future__ import annotations

from ...conditions import inference
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def in_host(subject: Subject, settings: Settings) -> Refusal | None:
    """A table of the graph lies in the host's memory."""
    for block, op in subject.graph.ops():
        for read in op.reads:
            kept = subject.graph.tensor(block, read.tensor).persistent
            if kept is not None and any(role == "host" and share for role, share in kept.homes):
                return inference(subject, settings)
    return Refusal("nothing of it is a table in the host's memory", "an ops file with a table whose home is host")


ZERO_COPY_FEATURES = register(Technique(
    name="zero-copy-features",
    title="Zero-copy access to tables in host memory (PyTorch-Direct)",
    family="offload",
    mechanism="the device's threads load scattered rows over the link in whole packets: no gather by the host, no copy that lands first",
    papers=("pytorch-direct", "large-graph-convolutional-network-training-with-gpu-oriented"),
    citation="PyTorch-Direct, arXiv 2101.07956; Min et al., arXiv 2103.03330",
    parameters=(Parameter("path", "zero-copy", "how rows come", choices=("zero-copy", "copied", "demand-paged")),),
    edits=(Edit("graph", "host.path", lambda subject, settings: with_rewrite(subject, "host_path", path=settings["path"])),),
    refuse=in_host,
    exact=True,
))  # fmt: skip
