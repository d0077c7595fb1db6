"""What a module really keeps alive on this CPU: saved tensors by autograd's hooks, peaks by watching storages come and go."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten


def own_storages(module: torch.nn.Module) -> set[int]:
    return {t.untyped_storage().data_ptr() for t in (*module.parameters(), *module.buffers())}


def saved_bytes(module: torch.nn.Module, inputs: list[torch.Tensor]) -> int:
    """Bytes of distinct storages that autograd packs in one forward pass, parameters and buffers apart."""
    skip, seen = own_storages(module), {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in skip:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        result = module(*inputs)
    del result
    return sum(seen.values())


class _Storages(TorchDispatchMode):
    """Events of storages that ops make: bytes come and go."""

    def __init__(self, skip: set[int]) -> None:
        super().__init__()
        self.skip, self.alive, self.events, self.gradients = skip, {}, [], set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_flatten(out)[0]:
            if not isinstance(tensor, torch.Tensor):
                continue
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if storage.data_ptr() in self.skip or key in self.alive:
                continue
            number = self.alive[key] = len(self.events)
            self.events.append((number, size))
            weakref.finalize(storage, self._gone, key, number, size)
        return out

    def _gone(self, key: int, number: int, size: int) -> None:
        self.alive.pop(key, None)
        self.events.append((number, -size))

    def gradient(self, tensor: torch.Tensor) -> None:
        self.gradients.add(self.alive.get(tensor.untyped_storage()._cdata))

    def peak(self) -> int:
        now = best = 0
        for number, size in self.events:
            if number not in self.gradients:
                now += size
                best = max(best, now)
        return best


def peak_bytes(module: torch.nn.Module, inputs: list[torch.Tensor], train: bool) -> int:
    """Most bytes of activations and inputs alive at once; gradients of weights, which the ledger counts apart, left out."""
    module.train(train)
    live = _Storages(own_storages(module) | {x.untyped_storage().data_ptr() for x in inputs})
    given = sum(x.untyped_storage().nbytes() for x in inputs)
    if not train:
        with torch.no_grad(), live:
            module(*inputs)
        return live.peak() + given
    with torch.no_grad():
        ones = torch.ones_like(module(*inputs))
    live.skip.add(ones.untyped_storage().data_ptr())
    for parameter in module.parameters():
        parameter.register_hook(live.gradient)
    with live:
        torch.autograd.backward(module(*inputs), ones)
    return live.peak() + given + ones.nbytes
