"""A model's tensors as plain data, and back: each stored once, ties and memory layouts written down."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from gatewise.core import GatewiseError


@dataclass(frozen=True, kw_only=True)
class Captured:
    """The tensors of a model.

    Attributes:
        tensors: name to contiguous tensor, each memory stored once; non-persistent buffers are among them.
        aliases: name to the name it shares its object with (tied weights, shared modules).
        views: name to the name it shares its memory with, where the objects are two.
        layouts: name to the order of its dimensions in memory, where that is not the plain one (channels last).
        frozen: the parameters that do not require a gradient.
    """

    tensors: Mapping[str, Tensor]
    aliases: dict[str, str] = field(default_factory=dict)
    views: dict[str, str] = field(default_factory=dict)
    layouts: dict[str, list[int]] = field(default_factory=dict)
    frozen: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """All but the numbers."""
        return {"aliases": self.aliases, "views": self.views, "layouts": self.layouts, "frozen": self.frozen}


def all_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and every buffer under every name that it has."""
    named = dict(model.named_parameters(remove_duplicate=False))
    return {**named, **dict(model.named_buffers(remove_duplicate=False))}


def capture(model: nn.Module) -> Captured:
    """The tensors of a model. Raises `GatewiseError` for tensors that a plain file cannot hold."""
    stored: dict[str, Tensor] = {}
    captured = Captured(tensors=stored)
    objects: dict[int, str] = {}
    memory: dict[tuple[object, ...], str] = {}
    live: dict[str, Tensor] = {}
    for name, tensor in all_tensors(model).items():
        _check_plain(name, tensor)
        if id(tensor) in objects:
            captured.aliases[name] = objects[id(tensor)]
            continue
        objects[id(tensor)] = name
        if isinstance(tensor, nn.Parameter) and not tensor.requires_grad:
            captured.frozen.append(name)
        where = _memory(tensor)
        if where in memory:
            captured.views[name] = memory[where]
            continue
        memory[where] = name
        live[name] = tensor
        order = _memory_order(tensor)
        if order != list(range(tensor.dim())):
            captured.layouts[name] = order
        stored[name] = tensor.detach().cpu().contiguous()
    _check_overlap(live)
    return captured


def place(model: nn.Module, stored: Captured) -> None:
    """Give a freshly built model its tensors, each copied into memory of its own that torch allocated.

    The parameters stay the objects they are where the ties are the same. Raises `GatewiseError` when names or shapes
    differ.
    """
    mine = all_tensors(model)
    names = {*stored.tensors, *stored.aliases, *stored.views}
    if names != set(mine):
        missing, extra = sorted(set(mine) - names), sorted(names - set(mine))
        raise GatewiseError(f"the weights do not fit the model: missing {missing[:3]}, too many {extra[:3]}")
    taken: set[int] = set()
    for name, old in mine.items():
        if name in stored.tensors:
            data = _fresh(stored.tensors[name], stored.layouts.get(name))
            if data.shape != old.shape:
                got, needed = list(data.shape), list(old.shape)
                raise GatewiseError(f"the weights do not fit the model: {name!r} is {got}, the model needs {needed}")
            # Where the skeleton ties two names that the stored model does not tie, the second becomes its own object.
            _assign(model, name, data, requires_grad=name not in stored.frozen, keep=id(old) not in taken)
            taken.add(id(old))
    for name, source in stored.views.items():
        if source not in stored.tensors:
            raise GatewiseError(f"the recipe lets {name!r} share memory with {source!r}, which is not stored")
        data = _get(model, source).detach()
        _assign(model, name, data, requires_grad=name not in stored.frozen, keep=id(mine[name]) not in taken)
        taken.add(id(mine[name]))
    for name, source in stored.aliases.items():
        if source not in mine:
            raise GatewiseError(f"the recipe ties {name!r} to {source!r}, which the model does not have")
        tied = _get(model, source)
        if _get(model, name) is not tied:
            owner, leaf = _owner(model, name)
            setattr(owner, leaf, tied)


def renew(model: nn.Module) -> None:
    """Move every tensor of a model into memory that torch allocated, one by one, with its value and its ties."""
    moved: dict[tuple[object, ...], Tensor] = {}
    for name, tensor in {id(tensor): (name, tensor) for name, tensor in all_tensors(model).items()}.values():
        _check_plain(name, tensor)
        where = _memory(tensor)
        if where not in moved:
            moved[where] = _fresh(tensor.detach(), _memory_order(tensor))
        tensor.data = moved[where]


class FileTensors(Mapping[str, Tensor]):
    """The tensors of a checked safetensors file, each read when it is asked for: loading needs little memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file: Any = safe_open(path, framework="pt")
            self._names: list[str] = list(self._file.keys())
        except (OSError, SafetensorError, ValueError) as error:
            raise GatewiseError(f"cannot read the weights {path.name}: {error}") from error

    def __getitem__(self, name: str) -> Tensor:
        try:
            return self._file.get_tensor(name)
        except (OSError, SafetensorError, ValueError) as error:
            raise GatewiseError(f"cannot read {name!r} of the weights {self._path.name}: {error}") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names


class Renamed(Mapping[str, Tensor]):
    """The tensors of a file under the names that the model has for them, where the file has others."""

    def __init__(self, stored: FileTensors, names: Mapping[str, object]) -> None:
        mine: dict[str, str] = {}
        for name, there in names.items():
            if not isinstance(there, str):
                raise GatewiseError(f"the recipe's name of the tensor {name!r} is no text: {there!r}")
            mine[there] = name
        self._stored = stored
        self._there = {mine.get(there, there): there for there in stored}
        if len(self._there) != len(stored):
            raise GatewiseError("the recipe gives two tensors of the weights file one name")

    def __getitem__(self, name: str) -> Tensor:
        return self._stored[self._there[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._there)

    def __len__(self) -> int:
        return len(self._there)

    def __contains__(self, name: object) -> bool:
        return name in self._there


def _fresh(source: Tensor, order: list[int] | None) -> Tensor:
    if order is None:
        return torch.empty(source.shape, dtype=source.dtype, device=source.device).copy_(source)
    if sorted(order) != list(range(source.dim())):
        raise GatewiseError(f"a memory layout of {order} does not fit a tensor of {source.dim()} dimensions")
    back = [order.index(dim) for dim in range(source.dim())]
    return (
        torch.empty([source.shape[dim] for dim in order], dtype=source.dtype, device=source.device)
        .permute(back)
        .copy_(source)
    )


def _owner(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, leaf = name.rpartition(".")
    return model.get_submodule(path), leaf


def _get(model: nn.Module, name: str) -> Tensor:
    owner, leaf = _owner(model, name)
    return getattr(owner, leaf)


def _assign(model: nn.Module, name: str, data: Tensor, *, requires_grad: bool, keep: bool) -> None:
    owner, leaf = _owner(model, name)
    old = _get(model, name)
    if not isinstance(old, nn.Parameter):
        setattr(owner, leaf, data)
    elif keep:
        # The object stays, so that what the module remembers of it (lists, hooks) stays true.
        old.requires_grad_(False)
        old.data = data
        old.requires_grad_(requires_grad)
    else:
        setattr(owner, leaf, nn.Parameter(data, requires_grad=requires_grad))


def _memory(tensor: Tensor) -> tuple[object, ...]:
    """Where a tensor lies; two objects that agree in this are the same numbers. Empty ones agree with none."""
    same = tensor.data_ptr() if tensor.numel() else id(tensor)
    return tensor.device, same, tuple(tensor.shape), tensor.stride(), tensor.dtype


def _check_plain(name: str, tensor: Tensor) -> None:
    if tensor.is_meta:
        raise GatewiseError(f"the tensor {name!r} has no data (meta device); load the model first")
    if type(tensor) not in (Tensor, nn.Parameter) or tensor.layout is not torch.strided or tensor.is_quantized:
        raise GatewiseError(f"the tensor {name!r} is a {type(tensor).__name__} that safetensors cannot hold")


def _memory_order(tensor: Tensor) -> list[int]:
    """The dimensions from the slowest to the fastest; the plain order where the tensor is contiguous or has gaps."""
    plain = list(range(tensor.dim()))
    if tensor.is_contiguous():
        return plain
    order = sorted(plain, key=lambda dim: -tensor.stride(dim))
    return order if tensor.permute(order).is_contiguous() else plain


def _check_overlap(live: dict[str, Tensor]) -> None:
    """Refuse tensors that share a part of their memory: a file would silently take them apart."""
    spans: list[tuple[str, int, int, str]] = []
    for name, tensor in live.items():
        if tensor.numel():
            reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
            begin = tensor.data_ptr()
            spans.append((str(tensor.device), begin, begin + (reach + 1) * tensor.element_size(), name))
    spans.sort()
    for (device, _, end, name), (next_device, begin, _, other) in pairwise(spans):
        if device == next_device and begin < end:
            raise GatewiseError(f"{name!r} and {other!r} share a part of their memory; save cannot keep that")
