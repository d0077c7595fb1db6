"""Training: backward passes and optimizer steps derived from forward graphs, op by op (no autograd, no framework).

::

    training_mode.py  what a graph of evaluation lacks
    needs.py          which tensors a gradient flows to
    accumulate.py     gradients of a block under way: contributions, their sum, the messages they need
    rules.py          each forward op → its backward ops (products.py: matrix products and attention; emit.py: helpers)
    recompute.py      what is computed again instead of kept
    differentiate.py  the blocks: reverse order, joined like the forward ones; what lives from pass to pass
    optimizer.py      the update of all parameters, its states and their bytes
"""

from __future__ import annotations

from .differentiate import differentiate
from .optimizer import OPTIMIZERS, add_optimizer
from .training_mode import training_mode

__all__ = ["OPTIMIZERS", "add_optimizer", "differentiate", "training_mode"]
