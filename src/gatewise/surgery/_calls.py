"""Functional calls: activations that a module's forward calls as functions, `F.gelu(self.fc1(x))` and kin."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from gatewise import activations
from gatewise.core import GatewiseError

from ._forward import is_own_code, traced
from ._recognise import Recogniser

_MOST_OPERATIONS = 12
"""The longest formula that is looked at; the tanh form of GELU written out has eight operations."""

FOREIGN = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What operations of a traced forward raise on an input that they were not made for."""

Function = Callable[[Any], Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Call:
    """An activation written as calls in a forward.

    Attributes:
        name: what the slot in its place is called: the function's name, numbered where that is taken.
        function: what the operations compute together, of one tensor.
        label: its name in the table of activations.
        source: the node whose value goes in.
        result: the node that it comes out of.
        inplace: whether the input itself is overwritten.
    """

    name: str
    function: Function
    label: str
    source: fx.Node
    result: fx.Node
    inplace: bool = False

    @property
    def where(self) -> str:
        """File and line of the call, or an empty string."""
        lines = [
            line.strip() for line in (self.result.stack_trace or "").splitlines() if line.strip().startswith("File")
        ]
        return (
            lines[-1].partition(", in ")[0].removeprefix("File ").replace('"', "").replace(", line ", ":")
            if lines
            else ""
        )


def calls(module: nn.Module, graph: fx.Graph, recognise: Recogniser) -> list[Call]:
    """The activations among the operations of a module's graph, in their order.

    Several operations that make up one function of the table (`x * torch.sigmoid(x)`, a GELU written out) are one.
    """
    order = {node: place for place, node in enumerate(graph.nodes)}
    inside: set[fx.Node] = set()
    found: list[tuple[Function, str, fx.Node, fx.Node]] = []
    for node in reversed(list(graph.nodes)):
        if node in inside or not _is_operation(node) or changes_nothing(node):
            continue
        best = _best(node, order, recognise)
        if best is not None:
            found.append((best[0], best[1], best[2], node))
            inside |= _between(best[2], node) or set()
    taken: set[str] = set()
    result: list[Call] = []
    for function, label, source, node in reversed(found):
        name = _free(label, module, taken)
        taken.add(name)
        entry = Call(
            name=name, function=function, label=label, source=source, result=node, inplace=_overwrites(function)
        )
        result.append(entry)
    return result


def _best(node: fx.Node, order: dict[fx.Node, int], recognise: Recogniser) -> tuple[Function, str, fx.Node] | None:
    """The known function that ends in this node, and the node that it starts from: the nearest that gives it."""
    best: tuple[Function, str, fx.Node] | None = None
    for source in sorted(_ancestors(node), key=lambda each: order[each]):
        path = _between(source, node)
        if path is None:
            continue
        function = _composed(source, node, [each for each in order if each in path])
        if not _keeps_shape(function):
            continue
        known = recognise(function)
        if known is not None and known.name is not None and (best is None or known.name == best[1]):
            best = (function, known.name, source)
    return best


def open_call(module: nn.Module, name: str) -> bool:
    """Turn the functional call that `calls` names so into a slot of that name; False where there is none.

    The module stays the object it is, of a subclass of its class whose forward is its own graph with that call as a
    module, which is still to be put there. Raises `GatewiseError` where that would change what else it computes.
    """
    if not is_own_code(module):
        return False
    forwards: dict[bool, Callable[..., Any]] = {}
    texts: set[str] = set()
    for training in (False, True):
        result = traced(module, training=training)
        if result.graph is None:
            return False
        known = {call.name: call for call in calls(module, result.graph, Recogniser())}
        if name not in known:
            if not training:
                return False
            raise GatewiseError(f"{type(module).__name__} calls {name} in eval mode alone, so it cannot be replaced")
        obstacle = blocked(known[name])
        if obstacle:
            raise GatewiseError(obstacle)
        put_call(result.graph, known[name])
        texts.add(str(result.graph))
        shell = _shell(module, name)
        forwards[training] = type(fx.GraphModule(shell, result.graph)).forward
    cls = type(module)

    def both(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return forwards[self.training](self, *args, **kwargs)

    body = {"forward": forwards[False] if len(texts) == 1 else both, "__module__": cls.__module__}
    module.__class__ = type(cls.__name__, (cls,), {**body, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__})
    module.add_module(name, nn.Identity())
    return True


def blocked(call: Call) -> str:
    """Why a call cannot become a slot, or an empty string."""
    if not call.inplace:
        return ""
    place = list(call.source.graph.nodes)
    early = [user for user in call.source.users if place.index(user) < place.index(call.result)]
    inner = _between(call.source, call.result) or set()
    if call.source.op != "call_module" or any(user not in inner for user in early):
        return f"{call.label} overwrites a tensor that others may read ({call.where})"
    return ""


def put_call(graph: fx.Graph, call: Call) -> fx.Node:
    """Replace the operations of a call with a call of the module of its name, and return that node."""
    inner = _between(call.source, call.result) or set()
    with graph.inserting_before(call.result):
        new = graph.call_module(call.name, (call.source,))
    call.result.replace_all_uses_with(new)
    if call.inplace:
        after = list(graph.nodes)
        later = after[after.index(call.result) :]
        call.source.replace_all_uses_with(new, lambda user: user in later and user is not new and user not in inner)
    for node in reversed([each for each in graph.nodes if each in inner]):
        if not node.users:
            graph.erase_node(node)
    return new


def _shell(module: nn.Module, name: str) -> nn.Module:
    """A stand-in with the module's parts, from which torch.fx makes the code of the forward."""
    shell = nn.Module()
    shell.__dict__.update({key: value for key, value in vars(module).items() if not key.startswith("_forward")})
    for table in ("_modules", "_parameters", "_buffers"):
        shell.__dict__[table] = dict(vars(module)[table])
    shell.__dict__["_modules"][name] = nn.Identity()
    return shell


def _is_operation(node: fx.Node) -> bool:
    return node.op in ("call_function", "call_method")


def _ancestors(node: fx.Node) -> list[fx.Node]:
    """The nodes that a node follows from through a few operations, where those end included."""
    seen: list[fx.Node] = []
    queue = list(node.all_input_nodes)
    while queue and len(seen) <= _MOST_OPERATIONS:
        each = queue.pop(0)
        if each not in seen:
            seen.append(each)
            queue += each.all_input_nodes if _is_operation(each) else []
    return seen


def _between(source: fx.Node, node: fx.Node) -> set[fx.Node] | None:
    """The operations from a source to a node; None where the node needs anything else beside the source."""
    path: set[fx.Node] = set()
    queue = [node]
    while queue:
        each = queue.pop()
        if each is source or each in path:
            continue
        if not _is_operation(each) or len(path) > _MOST_OPERATIONS:
            return None
        path.add(each)
        queue += each.all_input_nodes
    return path


def _composed(source: fx.Node, node: fx.Node, path: list[fx.Node]) -> Function:
    """The operations of a path, in their order, as a function of one tensor."""

    def function(x: Any) -> Any:
        values: dict[fx.Node, Any] = {source: x}
        for each in path:
            args, kwargs = fx.map_arg((each.args, dict(each.kwargs)), lambda inner: values[inner])
            if each.op == "call_method":
                values[each] = getattr(args[0], str(each.target))(*args[1:], **kwargs)
            else:
                values[each] = each.target(*args, **kwargs)  # pyright: ignore[reportCallIssue]
        return values[node]

    return function


def _keeps_shape(function: Function) -> bool:
    x = torch.linspace(-2.0, 2.0, 15).reshape(3, 5)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            y = function(x)
    except FOREIGN:  # they do not run on this input: they are no such function
        return False
    return isinstance(y, torch.Tensor) and y.shape == x.shape and y.is_floating_point()


def changes_nothing(node: fx.Node) -> bool:
    """Whether the last step alone gives what it is given, as a dropout in eval mode does."""
    inputs = node.all_input_nodes
    if len(inputs) != 1:
        return False
    function = _composed(inputs[0], node, [node])
    return _keeps_shape(function) and activations.identify(function).name == "identity"


def _overwrites(function: Function) -> bool:
    x = torch.linspace(-2.0, 2.0, 15).reshape(3, 5)
    y = x.clone()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        function(y)
    return not torch.equal(x, y)


def _free(label: str, module: nn.Module, taken: set[str]) -> str:
    """The label, numbered where the module or another call has it."""
    name, number = label, 1
    while name in taken or hasattr(module, name):
        number += 1
        name = f"{label}_{number}"
    return name
