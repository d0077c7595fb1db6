"""``.pt2`` files (``torch.export.save``) → the graph that capturing the live module gives.

The program is JSON: calls of ATen operators by name, and the type of every tensor. Its calls are replayed on tensors
without data, under the recorder that watches live modules, so that the same table of operators describes both. No code of
the file exists to run: names outside PyTorch's own operators are refused, and no pickle in the archive is opened.

::

    archive.py   zip → JSON members, with limits      schema.py   JSON → records
    replay.py    records → recorded calls (torch)     archives.py other files of PyTorch, refused by name
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..._foundation.errors import MissingDependency
from ...graph.ir import Graph
from .archive import read_members
from .schema import Weights, read_program, read_weights


def load_program(source: str, inputs: Sequence[str] = ()) -> Graph:
    """The graph of an exported program.

    Args:
        inputs: sizes for the dimensions the program left free (``8x3x224x224``), one for each input; those it was
            exported with by default. The first dimension stays the free symbol ``batch`` where the program leaves it so.

    Raises:
        BadFile: for archives and programs that are broken or do not fit PyTorch's operators.
        BadInput: for inputs the program does not take.
        Unsupported: for operators outside ATen, control flow and sizes that depend on data.
        MissingDependency: without torch, whose operators say what comes out of each call.
    """
    path = Path(source)
    members = read_members(path)
    program = read_program(members.program, source)
    weights = read_weights(members.weights, source) if members.weights is not None else Weights()
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingDependency("torch", "torch", "reading an exported program") from None
    from .replay import graph_of

    return graph_of(program, weights, path, inputs)


__all__ = ["load_program"]
