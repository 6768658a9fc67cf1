"""Records every operation that runs, as nodes of a graph."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch._ops import OpOverload
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from gatewise.graphs import Kind, Node

from ._evaluate import evaluator, glu, is_pointwise
from ._modules import Running
from ._ops import (
    LINEARS,
    SELECTS,
    SPLITS,
    SUBSTITUTES,
    base_name,
    is_packed_linear,
    is_random,
    kind_of,
    part_of,
    parts_of,
    shown_name,
)
from ._values import Value, Values

STALE = "written through another view"
Watch = Callable[[NDArray[np.float64]], None]
"""What is told of a value each time that it is made."""
_SAME_NUMBERS = {Kind.COPY, Kind.CAST, Kind.RESHAPE}


@dataclass(frozen=True, kw_only=True)
class _Call:
    """One operation as it ran, with the values that it read."""

    func: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    tensors: tuple[Tensor, ...]
    values: tuple[Value, ...]

    @property
    def name(self) -> str:
        return base_name(self.func)

    @property
    def all_constant(self) -> bool:
        return all(value.constant for value in self.values) and not is_random(self.func)


class Recorder(TorchDispatchMode):
    """Between PyTorch and its kernels: lets each operation run and writes down what it did."""

    supports_higher_order_operators = True

    def __init__(self, values: Values, running: Running, watched: Mapping[str, Watch]) -> None:
        super().__init__()
        self.values = values
        self.running = running
        self.watched = watched
        self.nodes: list[Node] = []
        self._custom: dict[str, bool] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        named = kwargs or {}
        if isinstance(func, OpOverload):
            with self:
                # Under inference mode composite operations arrive whole; what they are made of is what runs.
                result = func.decompose(*args, **named)
            if result is not NotImplemented:
                return result
        if self.running.is_over:
            return func(*args, **named)
        read = self._read(func, args, named)  # before it runs: it may write
        result = func(*args, **named)
        self._record(read, result)
        return result

    def input(self, name: str, tensor: Tensor) -> Value:
        """A tensor that the model is called with."""
        return self.values.computed(name, tensor)

    def _read(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call:
        kept = {key: value for key, value in kwargs.items() if key != "out"}
        tensors = [leaf for leaf in pytree.tree_leaves((args, kept)) if isinstance(leaf, Tensor)]
        values = tuple(self._value(tensor) for tensor in tensors)
        return _Call(func=func, args=args, kwargs=kwargs, tensors=tuple(tensors), values=values)

    def _value(self, tensor: Tensor) -> Value:
        found = self.values.find(tensor)
        if found is None:
            if self.running.stack or tensor.dim() == 0:
                return self.values.constant(f"{self.running.path}.constant".lstrip("."), tensor)
            return self.values.computed("input", tensor)
        if self.values.is_stale(found, tensor):
            found = self.values.computed(f"{found.name}, {STALE}", tensor)
            self.nodes.append(Node(op=STALE, path=self.running.path, inputs=(), output=found.name, kind=Kind.OTHER))
        return found

    def _record(self, call: _Call, result: Any) -> None:
        written = _written(call)
        for tensor in written:
            self.values.written(tensor)
        results = [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]
        for tensor in written:
            if not any(tensor is other for other in results):
                results.append(tensor)
        if not results:
            return
        if not written and len(results) == 1 and any(results[0] is tensor for tensor in call.tensors):
            return  # it gave back what it got
        if call.all_constant and self.running.stack:
            self._fold(call, results, fresh=bool(written))
        elif call.name == "glu" and len(call.tensors) == 1 and len(results) == 1:
            self._glu(call, results[0])
        elif call.name in SPLITS and call.tensors:
            for tensor, part in zip(results, parts_of(call.func, call.args, call.tensors[0], results), strict=True):
                self._add(call, tensor, Kind.SELECT, attributes=part)
        else:
            self._several(call, results)

    def _fold(self, call: _Call, results: Sequence[Tensor], *, fresh: bool) -> None:
        """What follows from parts of the model alone is part of the model."""
        first = call.tensors[0] if call.tensors else None
        for tensor in results:
            stored = ""
            if first is not None and len(results) == 1 and not fresh and tensor.numel() == first.numel():
                stored = call.values[0].stored if kind_of(call.func, first, tensor) in _SAME_NUMBERS else ""
            name = call.values[0].name if call.values else f"{self.running.path}.constant".lstrip(".")
            self.values.constant(name, tensor, view_of=stored)

    def _several(self, call: _Call, results: Sequence[Tensor]) -> None:
        """One node for each result; of several only the first is what the operation is named after."""
        kind, evaluate, inputs, attributes = self._judge(call, results[0])
        if kind is Kind.POINTWISE and len(results) > 1 and call.name not in SUBSTITUTES:
            kind, evaluate = Kind.OTHER, None
        for index, tensor in enumerate(results):
            first = index == 0
            self._add(
                call,
                tensor,
                kind if first else Kind.OTHER,
                evaluate=evaluate if first else None,
                inputs=inputs,
                attributes=attributes if first else None,
            )

    def _judge(self, call: _Call, result: Tensor) -> tuple[Kind, Any, tuple[str, ...], dict[str, Any]]:
        """Kind, evaluate, inputs and attributes of the first result."""
        names = tuple(value.name for value in call.values)
        if not isinstance(call.func, OpOverload):
            return Kind.OTHER, None, names, {}
        if call.name in LINEARS:
            linear = self._linear(call)
            return (Kind.LINEAR, None, linear, {}) if linear else (Kind.OTHER, None, names, {})
        if is_packed_linear(call.func) and names:
            return Kind.LINEAR, None, names[:1], {}
        if call.name == "copy" and len(call.tensors) == 2:
            same = call.tensors[0].shape == call.tensors[1].shape
            kind = Kind.RESHAPE if not same else _cast_or_copy(call.tensors[1], call.tensors[0])
            return kind, None, names[1:], {}
        first = call.tensors[0] if call.tensors else None
        kind = kind_of(call.func, first, result)
        if kind is Kind.SELECT and first is not None and call.name in SELECTS:
            part = part_of(call.func, call.args, first, result)
            return (Kind.COPY, None, names, {}) if result.shape == first.shape else (kind, None, names, part)
        if call.name in SUBSTITUTES:
            func, args = SUBSTITUTES[call.name](call.args)
            return Kind.POINTWISE, evaluator(func, args, {}), names[:1], {}
        if kind is Kind.POINTWISE:
            return kind, evaluator(call.func, call.args, call.kwargs), names, {}
        if kind is Kind.OTHER and not str(call.func).startswith(("aten.", "prim", "quantized")):
            evaluate = is_pointwise(call.func, call.args, call.kwargs)
            return (Kind.POINTWISE if evaluate else kind), evaluate, names, {}
        return kind, None, names, {}

    def _linear(self, call: _Call) -> tuple[str, ...] | None:
        """The input, the weight and, where there is one, the bias, by their names; None where no part is a weight."""
        places = LINEARS[call.name]
        found = [call.args[place] if place is not None and place < len(call.args) else None for place in places]
        by_id = {id(tensor): value for tensor, value in zip(call.tensors, call.values, strict=True)}
        x, weight, bias = (by_id.get(id(tensor)) for tensor in found)
        if x is not None and weight is not None and x.constant and not weight.constant:
            x, weight = weight, x
        if x is None or weight is None or not weight.constant:
            return None
        return (x.name, weight.stored or weight.name, *([bias.stored or bias.name] if bias else []))

    def _glu(self, call: _Call, result: Tensor) -> None:
        axis = int(call.args[1]) if len(call.args) > 1 else -1
        axis %= call.tensors[0].dim()
        halves: list[str] = []
        for index, half in enumerate(call.tensors[0].chunk(2, axis)):
            name = self.values.computed(self._named(f"glu.part{index}"), half).name
            halves.append(name)
            part = {"axis": axis, "part": (index, 2)}
            self._node(shown_name(call.func), (call.values[0].name,), name, Kind.SELECT, attributes=part)
        self._add(call, result, Kind.POINTWISE, evaluate=glu, inputs=tuple(halves))

    def _add(
        self,
        call: _Call,
        tensor: Tensor,
        kind: Kind,
        *,
        evaluate: Any = None,
        inputs: tuple[str, ...] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        names = tuple(value.name for value in call.values) if inputs is None else inputs
        value = self.values.computed(self._named(call.name), tensor)
        self._node(shown_name(call.func), names, value.name, kind, evaluate=evaluate, attributes=attributes)
        watch = self.watched.get(value.name)
        if watch is not None:
            watch(_numbers(tensor))

    def _node(
        self,
        op: str,
        inputs: tuple[str, ...],
        output: str,
        kind: Kind,
        *,
        evaluate: Any = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self.nodes.append(
            Node(
                op=op,
                path=self.running.path,
                inputs=inputs,
                output=output,
                kind=kind,
                evaluate=evaluate,
                attributes=dict(attributes or {}),
            )
        )

    def _named(self, op: str) -> str:
        return f"{self.running.path}/{op}".lstrip("/")


def _written(call: _Call) -> list[Tensor]:
    """The tensors that an operation writes to, by its own schema."""
    schema = getattr(call.func, "_schema", None)
    if schema is None:
        return []
    found: list[Tensor] = []
    for place, argument in enumerate(schema.arguments):
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        value = call.kwargs.get(argument.name, call.args[place] if place < len(call.args) else None)
        found += [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]
    return found


def _cast_or_copy(source: Tensor, target: Tensor) -> Kind:
    return Kind.COPY if source.dtype == target.dtype else Kind.CAST


def _numbers(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().to(device="cpu", dtype=torch.float64).numpy()
