"""Techniques applied for real: the given module stays as it was, exact ones change no result, a wrong result is seen."""

import copy
import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from speedlight.measurement.applied.beside import beside, differ, of_rounds  # noqa: E402
from speedlight.measurement.applied.blocks import stacks  # noqa: E402
from speedlight.measurement.applied.elsewhere import REASONS  # noqa: E402
from speedlight.measurement.applied.folding import fold_norms  # noqa: E402
from speedlight.measurement.applied.method import methods  # noqa: E402
from speedlight.measurement.applied.tokens import merged  # noqa: E402
from speedlight.measurement.bench.accelerator import default_device  # noqa: E402
from speedlight.measurement.modules.subject import Recipe, made  # noqa: E402
from speedlight.techniques.compose import parsed, settled  # noqa: E402
from speedlight.techniques.technique import catalogue  # noqa: E402


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.attention, self.mlp = nn.LayerNorm(width), Attention(width), nn.Linear(width, width)

    def forward(self, x):
        x = x + self.attention(self.norm(x))
        return x + self.mlp(x).relu()


class Net(nn.Module):
    """Pictures through a convolution with its norm, then layers of tokens, then scores of classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.drop = nn.Conv2d(3, 128, 4, 4, bias=False), nn.BatchNorm2d(128), nn.Dropout(0.1)
        self.layers, self.head = nn.Sequential(*[Layer(128) for _ in range(4)]), nn.Linear(128, 10)

    def forward(self, x):
        x = self.drop(self.norm(self.stem(x)).relu().flatten(2).transpose(1, 2))
        return self.head(self.layers(x).mean(1))


DEVICE = default_device()  # the same laws hold where there is a GPU
SEEN = 1.05  # a change that is none of rounding, TF32's on a GPU included
GPU_ONLY = {"cuda-graphs", "sparsity-2-4"}


def recipe(train: bool, dtype: torch.dtype = torch.float32) -> Recipe:
    torch.manual_seed(1)
    net = Net()
    net.norm.running_mean.uniform_(-1, 1)
    net.norm.running_var.uniform_(0.5, 2)
    pictures = torch.randn(4, 3, 16, 16).to(DEVICE, dtype)
    return Recipe("net", net.train(train).to(DEVICE, dtype), (pictures,), {}, train, device=DEVICE)


def chosen_of(label: str):
    return settled((parsed(label),))[0].settings


SLOW = {"torch-compile"}  # a minute's compiler
EXTRA = {"weight-only-int"}


@pytest.mark.parametrize("name", sorted(set(methods()) - SLOW))
def test_every_method_leaves_what_it_is_given_and_keeps_its_promise(name):
    if name in EXTRA:
        pytest.importorskip("torchao")
    method = methods()[name]
    whole = recipe(bool(method.training), torch.float16 if name in GPU_ONLY else torch.float32)
    weights = copy.deepcopy(whole.module.state_dict())
    chosen = chosen_of(method.label)
    if (name in GPU_ONLY and DEVICE != "cuda") or (name == "dynamic-int8" and DEVICE == "cuda"):
        assert method.why_not(whole, chosen)
        return
    assert method.why_not(whole, chosen) == ""
    after = method.apply(whole, chosen)
    assert all(torch.equal(a, b) for a, b in zip(weights.values(), whole.module.state_dict().values(), strict=True))
    if method.work(chosen) == 1:
        difference = differ(whole, after)
        assert difference.close or not method.exact, difference
        assert difference.largest is None or difference.largest > 0 or method.exact or method.training
    made(after).step()


def test_all_methods_and_reasons_are_of_known_techniques():
    known = catalogue()
    assert set(methods()) <= set(known)
    assert set(REASONS) <= set(known)
    assert not set(REASONS) & set(methods())
    for method in methods().values():
        assert method.exact == known[method.technique].exact or method.training, method.technique


def test_training_methods_are_refused_in_inference_and_back():
    for method in methods().values():
        if method.training is not None:
            assert method.why_not(recipe(not method.training), chosen_of(method.label))


def test_a_changed_result_is_seen():
    whole = recipe(False)
    wrong = dataclasses.replace(whole, module=copy.deepcopy(whole.module))
    with torch.no_grad():
        wrong.module.head.weight.mul_(SEEN)
    found = differ(whole, wrong)
    assert not found.close
    assert found.largest > 1e-3
    assert differ(whole, dataclasses.replace(whole, module=copy.deepcopy(whole.module))).largest == 0


def test_gradients_of_a_changed_loss_are_seen():
    whole = recipe(True)
    wrong = dataclasses.replace(whole, module=copy.deepcopy(whole.module))
    wrong.module.head.register_forward_hook(lambda module, args, out: SEEN * out)
    assert not differ(whole, wrong).close


def test_norms_fold_only_into_convolutions_before_them():
    whole = recipe(False)
    module = copy.deepcopy(whole.module)
    assert fold_norms(module, whole.args, {}) == 1
    assert isinstance(module.norm, nn.Identity)
    lone = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3)).eval().to(DEVICE)
    assert fold_norms(lone, whole.args, {}) == 0


def test_merging_keeps_the_first_token_the_count_and_equal_tokens():
    x = torch.randn(2, 17, 128)
    short = merged(x, 12)
    assert short.shape == (2, 12, 128)
    assert torch.equal(short[:, 0], x[:, 0])
    assert torch.allclose(merged(x[:, :1].expand(-1, 17, -1).contiguous(), 12), x[:, :1].expand(-1, 12, -1), atol=1e-6)
    assert merged(x, 17) is x


def test_stacks_are_the_outermost_repeated_layers():
    (found,) = stacks(recipe(False).module)
    assert len(found) == 4


class Waiting(nn.Module):
    """Takes as long whoever else is running."""

    def forward(self, x):
        time.sleep(0.003)
        return x * 2


def test_a_module_beside_itself_gains_nothing():
    whole = dataclasses.replace(recipe(False), module=Waiting())
    found = beside(whole, whole, 0.3)
    assert 0.5 < found.speedup < 2
    assert found.low <= found.speedup <= found.high
    assert found.peak_before == found.peak_after
    assert found.difference is not None
    assert found.difference.largest == 0


@given(st.lists(st.tuples(st.floats(1e-3, 1), st.floats(1e-3, 1)), min_size=7, max_size=40), st.floats(0.1, 10))
@settings(max_examples=25, deadline=None)
def test_gains_scale_with_a_side_and_lie_in_their_interval(rounds, by):
    _, speedup, low, high = of_rounds(np.array(rounds))
    assert low <= speedup * (1 + 1e-9)
    assert high >= speedup * (1 - 1e-9) or len(set(rounds)) > 1
    _, other, *_ = of_rounds(np.array(rounds) * [by, 1])
    assert other == pytest.approx(speedup * by)
