"""Calling the module itself under the recorder: for what ``torch.export`` refuses.

Imports torch, so it is imported only after torch was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from .arguments import Argument, Trace, call, declare_rest, fakes
from .building import with_fake_weights
from .conversions import follow, listening
from .exported import autocast, keep
from .logical import Logicals
from .recorder import RECURRENT, Recorder, Spoken
from .shapes import Sizes


def watched(module: nn.Module, arguments: Sequence[Argument], spoken: Spoken) -> Trace:
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with_fake_weights(module, mode)
    inputs = fakes(arguments, mode, None)
    recorder = Recorder(Logicals(Sizes({})), spoken=spoken)
    for fake, argument in zip(inputs, arguments, strict=True):
        recorder.logicals.declare(fake, argument.name, "input")
    declare_rest(recorder, module)
    with mode:
        outputs = recorded_call(module, arguments, inputs, recorder)
    return Trace(recorder, outputs, "dispatch", True)


def recorded_call(
    module: nn.Module, arguments: Sequence[Argument], inputs: Sequence[torch.Tensor], recorder: Recorder
) -> tuple[int, ...]:
    """Call the module under the recorder, which hears of each module that is entered; the logical results."""
    hooks = []
    for name, part in module.named_modules():
        hooks += follow(part, name, recorder)
    try:
        with torch.no_grad(), _kept_whole(recorder), listening(recorder.convert, recorder.entered), recorder.mode():
            outputs = call(module, [a.keyword for a in arguments], inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(recorder.logicals.logical(t) for t in outputs)


@contextmanager
def _kept_whole(recorder: Recorder) -> Iterator[None]:
    """Catches, before PyTorch takes them apart, the functions that :data:`.recorder.KEPT` names.

    They are replaced where PyTorch's own modules look them up. A ``TorchFunctionMode`` would see less: it is switched
    off inside Python functions such as ``multi_head_attention_forward``.
    """
    aten, vf = torch.ops.aten, torch._VF
    places: list[tuple[Any, str, Any]] = [
        (nn.functional, "linear", aten.linear.default),
        (nn.functional, "scaled_dot_product_attention", aten.scaled_dot_product_attention.default),
        (torch, "rms_norm", aten.rms_norm.default),
        (vf, "dropout", aten.dropout.default),
        (vf, "lstm", aten.lstm.input),
        (vf, "gru", aten.gru.input),
        (vf, "rnn_tanh", aten.rnn_tanh.input),
        (vf, "rnn_relu", aten.rnn_relu.input),
    ]
    originals = [(place, name, getattr(place, name)) for place, name, _ in places]
    try:
        for (place, name, target), (_, _, original) in zip(places, originals, strict=True):
            setattr(place, name, _whole(recorder, target, original))
        yield
    finally:
        for place, name, original in originals:
            setattr(place, name, original)


def _whole(recorder: Recorder, target: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        packed = target in RECURRENT and len(args) > 2 and not isinstance(args[2], (list, tuple))
        if recorder.muted or packed or not keep(target, args, kwargs):
            return original(*args, **kwargs)
        if torch.is_autocast_enabled("cpu") and target not in RECURRENT:
            with torch.autocast("cpu", enabled=False):
                args, kwargs = autocast(args, kwargs)
                return recorder.whole(target, args, kwargs, lambda: original(*args, **kwargs))
        return recorder.whole(target, args, kwargs, lambda: original(*args, **kwargs))

    return run
