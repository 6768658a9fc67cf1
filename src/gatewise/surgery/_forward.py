"""The forward of one module as a graph, its children left whole: what `torch.fx` can trace, and why where it cannot."""

import copy
import inspect
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import fx, nn

from ._tree import children


@dataclass(frozen=True, kw_only=True)
class Traced:
    """A module's own forward.

    Attributes:
        graph: its operations, children as single nodes; None where torch.fx cannot trace it.
        reason: why there is no graph.
    """

    graph: fx.Graph | None
    reason: str = ""


class _OneLevel(fx.Tracer):
    """Traces one module and leaves its children whole. Modules that other threads run meanwhile are none of ours."""

    proxy_buffer_attributes = True

    def __init__(self) -> None:
        super().__init__()
        self.record_stack_traces = True
        self._thread = threading.get_ident()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        del m, module_qualified_name
        return True

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if threading.get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


def is_own_code(module: nn.Module) -> bool:
    """Whether a module's forward is neither torch's own nor put on the object by hand."""
    if "forward" in vars(module) or isinstance(module, torch.jit.ScriptModule):
        return False
    code = getattr(inspect.unwrap(type(module).forward), "__module__", "") or ""
    return code.partition(".")[0] != "torch" or isinstance(module, fx.GraphModule)


def traced(module: nn.Module, *, training: bool = False) -> Traced:
    """The graph of a module's own forward in one mode. The module is only looked at.

    A way that depends on what is given for an optional argument cannot be told from one trace: such a forward is
    refused, as is one that makes tensors of its own while it is traced, which the graph would hold as constants.
    """
    optional = {
        name: each.default
        for name, each in list(inspect.signature(type(module).forward).parameters.items())[1:]
        if each.default is not inspect.Parameter.empty
    }
    try:
        graph = _trace(module, training, {})
        if optional and _lines(graph, optional) != _lines(_trace(module, training, optional), optional):
            return Traced(graph=None, reason=f"its way depends on {', '.join(optional)}")
    except Exception as error:  # noqa: BLE001  (whatever foreign code raises when it is given stand-ins for tensors)
        text = str(error).strip().splitlines()
        return Traced(graph=None, reason=f"{type(error).__name__}: {text[0] if text else ''}"[:160])
    if any(node.op == "get_attr" and "_tensor_constant" in str(node.target) for node in graph.nodes):
        return Traced(graph=None, reason="it makes a constant tensor of its own on the way")
    return Traced(graph=graph)


def _trace(module: nn.Module, training: bool, given: dict[str, Any]) -> fx.Graph:
    # torch.fx writes constants onto what it traces: a shallow copy, so that the model itself is never touched.
    shadow = copy.copy(module)
    shadow.__dict__ = {**vars(module), "_modules": dict(children(module)), "training": training}
    with warnings.catch_warnings(), torch.no_grad(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        graph = _OneLevel().trace(shadow, concrete_args=given or None)
    graph.lint()
    return graph


def _lines(graph: fx.Graph, optional: dict[str, Any]) -> list[str]:
    """The operations of a graph as text, in which an optional argument reads as its default."""
    names: dict[fx.Node, Any] = {}
    lines: list[str] = []
    for node in graph.nodes:
        name = str(node.target)
        if node.op == "placeholder":
            names[node] = repr(optional[name]) if name in optional else name
            continue
        if node.op == "call_function" and "_assert" in getattr(node.target, "__name__", ""):
            continue  # what torch.fx adds for a given argument
        if node.op == "call_function" and not node.users and node.target.__module__ == "_operator":
            continue  # the comparison inside such an assertion
        names[node] = f"%{len(lines)}"
        parts = fx.map_arg((node.args, dict(node.kwargs)), lambda each: cast("Any", _Named(names[each])))
        lines.append(f"{node.op} {node.target} {parts!r}")
    return lines


class _Named:
    """A node's name, shown without quotes."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name
