"""onnx is needed here; where torchvision's compiled operators do not load, transformers' import needs them declared."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("onnx")

_kept: list[Any] = []  # declarations last as long as their library does


def declare() -> None:
    try:
        import torch
    except ImportError:
        return
    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(library)


declare()
