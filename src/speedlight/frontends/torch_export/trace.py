"""Runs a module on fake tensors under the recorder: by ``torch.export``, else by watching the dispatcher.

Imports torch, so it is imported only after torch was found. Three ways, the first that works:

1. ``torch.export`` (non-strict) with the leading dimension of the inputs free: sizes become expressions in ``batch``;
2. ``torch.export`` at the given sizes, where the module fixes its batch;
3. calling the module itself under the recorder, for what export refuses (outputs it does not know, attributes that
   change); at the given sizes too.

An exported graph is replayed under the recorder, so that all three see the same calls: those that reach the dispatcher.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import torch
from torch import nn

from ..._foundation.errors import SpeedlightError
from .arguments import Argument, Trace, Untraceable
from .conversions import as_spoken
from .dispatched import watched
from .exported import exported
from .probed import probed


def trace(
    module: nn.Module, arguments: Sequence[Argument], *, train: bool, dynamic: bool, quick: bool = False
) -> Trace:
    """Trace ``module`` on ``arguments``.

    Args:
        train: in training mode (dropout drops, batch norm computes statistics).
        dynamic: try a free batch first.
        quick: before anything else call the module once at a batch so large that it shows (:mod:`.probed`): a tenth
            of the time of ``torch.export``, and the same calls where the module's Python does not look at its batch.

    Raises:
        Untraceable: if no way works.
        SpeedlightError: what the op table refuses on purpose.
    """
    modes = {part: part.training for part in module.modules()}
    module.train(train)
    ways: list[tuple[str, Callable[[], Trace]]] = []
    if dynamic and quick:
        ways.append(("probe", lambda: as_spoken(lambda said: probed(module, arguments, said), module, arguments)))
    if dynamic:
        ways.append(("export", lambda: exported(module, arguments, train, free=True)))
    ways.append(("export-static", lambda: exported(module, arguments, train, free=False)))
    ways.append(("dispatch", lambda: as_spoken(lambda said: watched(module, arguments, said), module, arguments)))
    errors: list[BaseException] = []
    try:
        for _, way in ways:
            try:
                with _surroundings():
                    return way()
            except (KeyboardInterrupt, SpeedlightError):
                raise
            except BaseException as error:
                errors.append(error)
    finally:
        for part, training in modes.items():
            part.training = training
    raise Untraceable(errors)


@contextmanager
def _surroundings() -> Iterator[None]:
    """Silent (``forward`` runs up to three times), and without fused inference paths that exist on one device only (nn.MultiheadAttention's)."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        torch.backends.mha.set_fastpath_enabled(fast)


__all__ = ["Argument", "Trace", "Untraceable", "trace"]
