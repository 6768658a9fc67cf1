"""Names for tensors: which of them are parts of the model, and which still hold what was recorded of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.weak import WeakTensorKeyDictionary

from gatewise.graphs import Constant

SMALL = 4096
LARGE = 1 << 24

_Place = tuple[int, tuple[int, ...], tuple[int, ...]]
"""Offset, shape and strides of a view, in elements of its memory."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """What is known of a tensor.

    Attributes:
        name: of its value.
        constant: whether it is part of the model, or follows from such parts alone.
        stored: the parameter or buffer that it is a view or a cast of, with all its numbers; else "".
        writes: how often its memory had been written to when it got its name.
    """

    name: str
    constant: bool
    stored: str = ""
    writes: int = 0


class Values:
    """All values of one run. Tensors are held weakly, so that a run takes no more memory than it would."""

    def __init__(self, model: nn.Module) -> None:
        self._known: Any = WeakTensorKeyDictionary()
        self._places: dict[tuple[Any, ...], Value] = {}
        self._writes: dict[int, list[_Place]] = {}
        self._storages: dict[int, StorageWeakRef] = {}
        self._taken: set[str] = set()
        self.constants: dict[str, Constant] = {}
        self.stored: list[str] = []
        self.shapes: dict[str, tuple[int | None, ...]] = {}
        self.dtypes: dict[str, str] = {}
        tensors: list[tuple[str, Tensor]] = list(model.named_parameters(remove_duplicate=False))
        tensors += list(model.named_buffers(remove_duplicate=False))
        for path, module in model.named_modules():
            for key, value in vars(module).items():
                if isinstance(value, Tensor):
                    tensors.append((f"{path}.{key}".lstrip("."), value))
        for name, tensor in tensors:
            if self._known.get(tensor) is None:
                self.stored.append(self.constant(name, tensor, stored=True).name)

    def unique(self, name: str) -> str:
        """The name, with a number behind it where it is taken."""
        found, count = name, 1
        while found in self._taken:
            found, count = f"{name}.{count}", count + 1
        self._taken.add(found)
        return found

    def constant(self, name: str, tensor: Tensor, *, stored: bool = False, view_of: str = "") -> Value:
        """A part of the model. Its numbers are read when they are asked for; a small one's are kept."""
        name = self.unique(name)
        kept = tensor.detach() if stored or view_of or tensor.numel() > SMALL else tensor.detach().clone()
        self.constants[name] = Constant(
            name=name, shape=tuple(tensor.shape), dtype=dtype_name(tensor), load=_loader(kept)
        )
        return self._remember(tensor, Value(name=name, constant=True, stored=name if stored else view_of))

    def computed(self, name: str, tensor: Tensor) -> Value:
        """What an operation made, or an input."""
        return self._remember(tensor, Value(name=self.unique(name), constant=False))

    def find(self, tensor: Tensor) -> Value | None:
        """What is known of a tensor, stale or not."""
        found: Value | None = self._known.get(tensor)
        if found is None:
            place = self._place(tensor)
            found = self._places.get(place) if place is not None else None
        return found

    def is_stale(self, value: Value, tensor: Tensor) -> bool:
        """Whether numbers of it were written to, through this or another view, since the value got its name."""
        key = self._storage(tensor)
        later = self._writes.get(key, [])[value.writes :] if key is not None else []
        return any(_overlap(tensor, place) for place in later)

    def written(self, tensor: Tensor) -> None:
        """The memory of the tensor has been written to."""
        key = self._storage(tensor)
        if key is not None:
            self._writes.setdefault(key, []).append(
                (int(tensor.storage_offset()), tuple(tensor.shape), tensor.stride())
            )

    def _remember(self, tensor: Tensor, value: Value) -> Value:
        value = Value(name=value.name, constant=value.constant, stored=value.stored, writes=self._count(tensor))
        self._known[tensor] = value
        place = self._place(tensor)
        if place is not None:
            self._places[place] = value
        self.shapes[value.name] = tuple(tensor.shape)
        self.dtypes[value.name] = dtype_name(tensor)
        return value

    def _count(self, tensor: Tensor) -> int:
        key = self._storage(tensor)
        return len(self._writes.get(key, [])) if key is not None else 0

    def _storage(self, tensor: Tensor) -> int | None:
        try:
            storage = tensor.untyped_storage()
        except (NotImplementedError, RuntimeError):
            return None  # sparse and other tensors without one memory
        key = int(storage._cdata)  # pyright: ignore[reportPrivateUsage]
        if key not in self._storages:
            # The weak reference keeps the address from being given to another storage.
            self._storages[key] = StorageWeakRef(storage)
        return key

    def _place(self, tensor: Tensor) -> tuple[Any, ...] | None:
        """Where the numbers lie: `.data` of a tensor is another object in the same place."""
        key = self._storage(tensor)
        if key is None or tensor.numel() == 0:
            return None
        return key, tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype


def dtype_name(tensor: Tensor) -> str:
    """`float32` of `torch.float32`."""
    return str(tensor.dtype).removeprefix("torch.")


def _overlap(tensor: Tensor, place: _Place) -> bool:
    """Whether two views of one memory share a number; yes where it is too large to find out."""
    if tensor.layout != torch.strided:
        return True
    total = tensor.untyped_storage().nbytes() // max(tensor.element_size(), 1)
    if total > LARGE:
        return True
    offset, shape, stride = place
    written = torch.zeros(total, dtype=torch.bool)
    try:
        written.as_strided(shape, stride, offset).fill_(True)
        return bool(written.as_strided(tuple(tensor.shape), tensor.stride(), tensor.storage_offset()).any())
    except RuntimeError:
        return True  # another dtype of the same memory


def _loader(tensor: Tensor) -> Callable[[], NDArray[Any]]:
    def load() -> NDArray[Any]:
        plain = tensor.detach()
        if plain.is_quantized:
            plain = plain.dequantize()
        if plain.layout != torch.strided:
            plain = plain.to_dense()
        plain = plain.resolve_conj().cpu()
        if plain.dtype == torch.bfloat16 or (plain.is_floating_point() and plain.element_size() == 1):
            plain = plain.float()
        return np.asarray(plain.numpy())

    return load
