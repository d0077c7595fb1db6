"""For which experts SGLang brings a file of tiles: (experts of a rank, width of an expert on it), by device, for 16-bit products.

Source: the names of the files under ``configs/triton_3_*`` in sgl-project/sglang, seen on 27 November 2026, less those whose rows
show the step of the rule that holds where there is no file (they came after 0.5.14, which was measured). A file's effect is no
detail: tokens enough given, an H100 does 440 to 570 TFLOP/s with one and 200 to 240 without.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..._foundation.arrays import Value

FILES = {
    "h100-sxm-80gb": (
        "8x7168 16x1408 16x1856 32x224 32x448 32x896 32x928 32x1792 32x1856 64x192 64x384 64x640 64x768 64x1280 64x1536 64x1856 "
        "128x192 128x232 128x352 128x384 128x464 128x512 128x704 128x768 128x928 128x1344 128x1856 128x2688 "
        "256x672 256x1344 256x2688 512x64 512x128 512x336 512x672 512x1344 512x2688"
    ),
    "h200-sxm-141gb": (
        "8x7168 20x1536 32x1792 128x192 128x384 128x704 128x768 128x928 128x1856 256x128 512x64 512x128 512x256"
    ),
    "b200-sxm-180gb": (
        "16x1856 16x2048 32x224 32x448 32x896 32x928 32x1792 32x1856 64x192 64x384 64x464 64x768 64x1536 64x1856 64x2688 "
        "128x232 128x352 128x464 128x704 128x928 128x1344 128x1856 128x2688 "
        "256x256 256x512 256x672 256x1344 256x2688 512x128 512x256 512x336 512x672 512x1344 512x2688"
    ),
    "l40s": "128x928 128x1856",
    "rtx-pro-6000-server-96gb": "256x512",
}
LARGEST = 1e6  # widths are below this: a pair is looked up as one number


@lru_cache(maxsize=32)
def _pairs(device: str) -> np.ndarray:
    """The device's pairs, each as one number."""
    pairs = [pair.split("x") for pair in FILES.get(device, "").split()]
    return np.asarray([float(experts) * LARGEST + float(width) for experts, width in pairs])


def has_file(device: str, experts: Value, width: Value) -> Value:
    """Whether there is a file for a rank's experts of a width; arrays broadcast."""
    pair = experts * LARGEST + width
    found: Value = np.isin(pair, _pairs(device))
    return found if isinstance(pair, np.ndarray) else bool(found)
