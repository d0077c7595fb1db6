"""Networks of the literature that no library of image models holds, written from their papers, to be captured once.

Each module has a function a network; :data:`NETWORKS` names them with the size of image their papers use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import damo, dense, detectors, harmonic, inverted, segmentation

Shape = tuple[int, ...]

# name → (what makes it, channels and sides of what it is given)
NETWORKS: Mapping[str, tuple[Callable[[], Any], Shape]] = {
    "hardnet-39": (lambda: harmonic.hardnet("39"), (3, 224, 224)),
    "hardnet-39-ds": (lambda: harmonic.hardnet("39", depthwise=True), (3, 224, 224)),
    "hardnet-68": (lambda: harmonic.hardnet("68"), (3, 224, 224)),
    "hardnet-68-ds": (lambda: harmonic.hardnet("68", depthwise=True), (3, 224, 224)),
    "hardnet-85": (lambda: harmonic.hardnet("85"), (3, 224, 224)),
    "fc-hardnet-70": (lambda: harmonic.fc_hardnet(70), (3, 360, 480)),
    "fc-hardnet-84": (lambda: harmonic.fc_hardnet(84), (3, 360, 480)),
    "densenet-264": (lambda: dense.densenet((6, 12, 64, 48), 32), (3, 224, 224)),
    "fc-densenet-103": (dense.fc_densenet, (3, 360, 480)),
    "ssd512-vgg16": (detectors.ssd_vgg, (3, 512, 512)),
    "ssd512-hardnet-68": (lambda: detectors.ssd_hardnet("68"), (3, 512, 512)),
    "ssd512-hardnet-85": (lambda: detectors.ssd_hardnet("85"), (3, 512, 512)),
    "damo-yolo-t": (lambda: damo.damo_yolo("t"), (3, 640, 640)),
    "damo-yolo-s": (lambda: damo.damo_yolo("s"), (3, 640, 640)),
    "damo-yolo-m": (lambda: damo.damo_yolo("m"), (3, 640, 640)),
    "linknet": (segmentation.linknet, (3, 360, 640)),
    "fbnet-a": (lambda: inverted.fbnet("a"), (3, 224, 224)),
    "fbnet-b": (lambda: inverted.fbnet("b"), (3, 224, 224)),
    "fbnet-96-0.35": (lambda: inverted.fbnet("b", 0.35), (3, 96, 96)),
    "mobilenet-v2-1.3": (lambda: inverted.mobilenet_v2(1.3), (3, 224, 224)),
}
