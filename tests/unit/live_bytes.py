"""The most bytes of tensors alive at once, counted operation by operation: the same at every run, however busy."""

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the storages that operations return while it is on; `peak` is the most that lived at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        inputs = {each.untyped_storage()._cdata for each in tree_leaves((args, kwargs)) if _counts(each)}
        for each in tree_leaves(found):
            if _counts(each) and each.untyped_storage()._cdata not in inputs:
                self._count(each.untyped_storage())
        return found

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._freed, key, size)

    def _freed(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.live -= size


def _counts(each: Any) -> bool:
    return isinstance(each, torch.Tensor) and each.layout is torch.strided


def peak_bytes(call: Any) -> int:
    """The peak during one call, whose result is kept until it ends."""
    with LiveBytes() as mode:
        kept = call()
    del kept
    return mode.peak
