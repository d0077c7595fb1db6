"""TorchScript archives (``torch.jit.save``) → the graph that capturing the live module gives.

An archive is a program in a small language that looks like Python, and a pickle with the modules' attributes. Neither is
handed to anything that would run it: PyTorch's own loader calls what the file says (``__setstate__``), so it is not used. The
pickle's opcodes are read one by one into records; the program is parsed, and its calls of ATen operators are made on tensors
without data, inside a module that :mod:`~speedlight.frontends.torch_export` captures like any other. Names outside ATen are
refused. TorchScript states no shapes, so ``--input`` must.

::

    archive.py   zip → code, pickles, sizes of storages, with limits     objects.py     pickle opcodes → records
    program.py   code → classes and functions (``ast``)                  modules.py     records → nn.Module without memory
    interpret.py statements and expressions (torch)                      calls.py       names → operators and arithmetic (torch)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..._foundation.errors import BadInput, MissingDependency
from ...graph.ir import Graph
from .archive import is_torchscript, read_archive
from .objects import read_objects
from .program import parse_program


def load_torchscript(
    path: Path, inputs: Sequence[str], dtype: str | None = None, channels_last: bool = False, train: bool = False
) -> Graph:
    """The graph of a scripted or traced module.

    Args:
        inputs: one ``1x3x224x224[:dtype]`` for each tensor ``forward`` takes, batch first.
        dtype, channels_last, train: as for :func:`speedlight.frontends.torch_export.capture`.

    Raises:
        BadFile: for archives, pickles and programs that are broken, or hold other than a module's attributes.
        BadInput: for inputs the module does not take, and control flow that depends on data.
        Unsupported: for operators outside ATen, quantised weights and classes that restore themselves.
        MissingDependency: without torch, whose operators say what comes out of each call.
    """
    archive = read_archive(path)
    root = read_objects(archive.data, "data/", archive, str(path))
    constants = read_objects(archive.constants, "constants/", archive, str(path))
    program = parse_program(archive.code, str(path))
    if not inputs:
        raise BadInput(
            f"{path.name} is TorchScript, which states no shapes",
            expected="an input shape",
            hint="add --input 1x3x224x224",
        )
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingDependency("torch", "torch", "reading TorchScript") from None
    from ..torch_export import capture
    from .modules import assembled

    module = assembled(root, constants, program, str(path))

    def made() -> object:
        return module

    made.__name__ = path.stem
    return capture(made, inputs, dtype=dtype, channels_last=channels_last, train=train)


__all__ = ["is_torchscript", "load_torchscript"]
