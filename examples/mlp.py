"""A multi-layer perceptron: the smallest model worth a prediction. ``examples/mlp.py:mlp --input 1x784``."""

from __future__ import annotations

from torch import nn


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 10))
