"""Rows of image-model timings as questions to the engine: everything but the batch tells questions apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..._foundation.arrays import Value
from ..._foundation.errors import BadInput
from ...costs.calibration.samples import as_floats
from ...evidence.tables import codes_of
from ...hardware.catalogue import load_machine
from ...scenario.scenario import ModelRef, Parallel, Program, Rewrite, Scenario
from ...workload.workload import Training, Workload
from ..suite import Columns

TEXTS = ("model", "mode", "precision", "layout", "torch", "device")
AUTOCAST = {"amp": "fp16", "fp16-amp": "fp16", "bf16-amp": "bf16", "fp32": None}
LAYOUTS = {"nchw": None, "nhwc": "channels_last"}
MODES = {"infer": "forward", "train": "train"}
# timm's benchmark runs with fast norms (timm.layers.set_fast_norm): in fp32, as autocast has them, measured times of networks with
# group norms would be below their own speed of light.
NORMS = Rewrite("switched", (("switch", "fast_norm"),))
# Its runs of PyTorch 2.9 print the parameters of merged branches for networks that offer it (--reparam).
DEPLOYED = Rewrite("merged_branches", (("norms", "branches"),))
DEPLOYED_FROM = (2, 9)
OPTIMIZER = "sgd_momentum"  # what timm's benchmark trains with unless told otherwise


@dataclass(frozen=True, slots=True)
class Question:
    """One setting of one model, at any batch.

    Attributes:
        harness: what ran it: timm's own benchmark, or another.
    """

    model: str
    image_size: int
    mode: str
    precision: str
    layout: str
    compiled: bool
    torch: str
    device: str
    harness: str = "timm"

    @property
    def stack(self) -> str:
        """Stack with its version: ``240`` is PyTorch 2.4.0, ``113`` 1.13."""
        name = "torch-compile" if self.compiled else "torch-eager"
        return f"{name}@{version_of(self.torch)}"

    def machine(self) -> str:
        """Id of the machine the table's device names."""
        return load_machine(self.device, table=True).id

    def rewrites(self) -> tuple[Rewrite, ...]:
        """What the benchmark does to the model before it runs it; other harnesses run it as it is."""
        if self.harness != "timm":
            return ()
        norms = (NORMS,) if AUTOCAST[self.precision] is not None else ()
        numbers = tuple(int(n) for n in version_of(self.torch).split(".") if n.isdigit())
        return norms if self.mode == "train" or numbers < DEPLOYED_FROM else (DEPLOYED, *norms)

    def scenario(self, batch: Value) -> Scenario:
        """The question at some batches.

        Raises:
            BadInput: for a mode, precision or layout that is none; UnknownName: for a device.
        """
        for what, value, known in (
            ("mode", self.mode, MODES), ("precision", self.precision, AUTOCAST), ("layout", self.layout, LAYOUTS),
        ):  # fmt: skip
            if value not in known:
                raise BadInput(f"{what} {value!r}", expected="one of " + ", ".join(known))
        ref = ModelRef(
            self.model, (f"1x3x{self.image_size}x{self.image_size}",), autocast=AUTOCAST[self.precision],
            layout=LAYOUTS[self.layout], rewrites=self.rewrites(),
        )  # fmt: skip
        workload = Workload(MODES[self.mode], batch, training=Training(OPTIMIZER))
        return Scenario((Program(ref, workload, Parallel(), self.stack),), self.machine())


def version_of(digits: str) -> str:
    """``113`` → ``1.13``; ``240`` → ``2.4``: from 2.0 on the last digit is the patch."""
    text = digits.strip()
    if not text.isdigit() or len(text) < 2:
        return text
    return f"1.{text[1:]}" if text[0] == "1" else f"{text[0]}.{text[1:-1] or text[1]}"


def questions(columns: Columns, rows: int) -> Iterator[tuple[Question, np.ndarray]]:
    """Every question with its rows, those of one model one after another.

    Sizes that are no whole numbers of at least 1 are left out.
    """
    texts = {name: _texts(columns[name]) for name in (*TEXTS, *(["harness"] if "harness" in columns else []))}
    compiled = _truths(columns["compiled"])
    sizes, batch = as_floats(columns["image_size"]), as_floats(columns["batch_size"])
    good = whole(sizes) & whole(batch)
    found: dict[Question, list[int]] = {}
    for row in np.flatnonzero(good).tolist():
        words = {name: str(texts[name][row]) for name in texts}
        question = Question(image_size=int(sizes[row]), compiled=bool(compiled[row]), **words)
        found.setdefault(question, []).append(row)
    for question in sorted(found, key=lambda q: (q.model, q.image_size, q.layout, q.stack, q.mode, q.device)):
        yield question, np.array(found[question])


def whole(sizes: np.ndarray) -> np.ndarray:
    """Whole numbers from 1 to 2^31: sizes."""
    good: np.ndarray = (sizes >= 1) & (sizes <= 2**31) & (sizes == np.floor(sizes))
    return good


def _texts(column: np.ndarray) -> np.ndarray:
    values, codes = codes_of(column)
    named = np.array(["" if v is None or v != v else str(v) for v in values], dtype=object)
    found: np.ndarray = named[codes]
    return found


def _truths(column: np.ndarray) -> np.ndarray:
    values, codes = codes_of(column)
    truths = np.array([str(v).strip().lower() in ("true", "1", "1.0", "yes") for v in values], dtype=bool)
    found: np.ndarray = truths[codes]
    return found
