"""Files that PyTorch's exporters write say what a capture of the module says: FLOPs of products, bytes of weights.

Rules for the differences that are allowed:

- an exporter folds a batch norm into the convolution before it, so its scale is no parameter of its own any more;
- tensors of equal numbers are stored once;
- the newer exporter looks constant positions up itself, and keeps the rows as a table without the parameter's name.

All are about per mille in models of the usual width; the bar is 1 % on either sum.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("torch")

from .exporting import both, sums
from .models import DYNAMO, MODELS, QUICK

BAR = 0.01


def compare(name: str, folder: Path, exporter: str, dynamic: bool = False) -> None:
    factory, inputs = MODELS[name]
    read, seen = both(factory(), inputs, folder / "model.onnx", exporter, dynamic)
    assert read.attrs["unknown_ops"] == ()
    found, wanted = sums(read), sums(seen)
    print(f"{name}: {found.flops:.4g} FLOP ({found.flops / wanted.flops - 1:+.3%}), "
          f"{found.weight_bytes:.4g} B of weights ({found.weight_bytes / wanted.weight_bytes - 1:+.3%})")  # fmt: skip
    assert found.flops == pytest.approx(wanted.flops, rel=BAR)
    assert found.weight_bytes == pytest.approx(wanted.weight_bytes, rel=BAR)


@pytest.mark.torch
@pytest.mark.parametrize("name", QUICK)
def test_the_same_work_and_weights(name: str, tmp_path: Path) -> None:
    compare(name, tmp_path, "torchscript")


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_same_work_and_weights_of_forty(name: str, tmp_path: Path) -> None:
    if name in DYNAMO and importlib.util.find_spec("onnxscript") is None:
        pytest.skip("torch.onnx.export needs onnxscript for this model")
    compare(name, tmp_path, "dynamo" if name in DYNAMO else "torchscript")


@pytest.mark.torch
def test_a_free_batch_is_what_a_file_of_that_size_says(tmp_path: Path) -> None:
    from speedlight.frontends.onnx_file import load_onnx
    from tests.frontends.torch.counting import bytes_moved, matmul_flops

    from .exporting import export

    factory, inputs = MODELS["detector"]
    module = factory()
    free = load_onnx(export(module, inputs, tmp_path / "free.onnx", "torchscript", dynamic=True))
    fixed = load_onnx(export(module, ("6x3x64x64",), tmp_path / "six.onnx", "torchscript"))
    assert free.attrs["static"] == ()
    assert fixed.attrs["static"] == ("batch",)
    assert free.symbols["batch"] == 1
    assert matmul_flops(free, "forward", batch=6) == matmul_flops(fixed, "forward")
    assert bytes_moved(free, 6) == pytest.approx(bytes_moved(fixed), rel=1e-12)
