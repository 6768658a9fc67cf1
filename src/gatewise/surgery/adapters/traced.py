"""What only a module's own forward shows: functional calls, and a gate whose two input matrices are one Linear.

The forward is traced with `torch.fx`, the children left whole. An FFN is what the graph says: a Linear, the activation,
a Linear that reads it; or a product of the bent half and the other one. A call that the forward makes itself,
`F.gelu(self.fc1(x))`, is a site too; it becomes a slot of the module when something is put there.
"""

from typing import Any, cast

import torch
from torch import fx, nn

from gatewise.surgery._blocks import Block, CallSlot, Example, NoFlags, Slot, fits, is_linear, widths
from gatewise.surgery._calls import FOREIGN, blocked, calls, changes_nothing, put_call
from gatewise.surgery._forward import is_own_code, traced
from gatewise.surgery._recognise import Recogniser, is_passthrough
from gatewise.surgery._scan import called_names, untraced_calls
from gatewise.surgery._tree import children, own_parameters

from .bert import function_slots


class InForward(NoFlags):
    looked_for = "activations called in a module's own forward (functions, methods), as torch.fx traces it"

    def match(self, module: nn.Module, recognise: Recogniser) -> list[Block]:
        if not is_own_code(module) or recognise(module) is not None:
            return []
        parts = list(children(module).values())
        bent = any(recognise(part) is not None for part in parts) or bool(function_slots(module, recognise))
        if not (bent and any(is_linear(part) for part in parts)) and not called_names(module):
            return []
        result = traced(module)
        if result.graph is None:
            return untraced_calls(module, recognise, result.reason)
        return _View(module, result.graph, recognise).blocks()

    def example(self) -> Example:
        return Example(
            model=nn.Sequential(_Functional(), _Functional()), inputs=(torch.randn(3, 4),), paths=("0.gelu", "1.gelu")
        )


def reads(module: nn.Module, block: Block, recognise: Recogniser) -> bool | None:
    """Whether a module's own forward runs up -> act -> down as the block says; None where it cannot be traced."""
    result = traced(module) if is_own_code(module) else None
    if result is None or result.graph is None:
        return None
    wanted = {slot.key for slot in block.slots}
    return any({slot.key for slot in each.slots} == wanted for each in _View(module, result.graph, recognise).blocks())


class _View:
    """One traced module, in whose graph every functional call is a single node like a module's."""

    def __init__(self, module: nn.Module, graph: fx.Graph, recognise: Recogniser) -> None:
        self.module = module
        self.graph = graph
        self.recognise = recognise
        self.fixed: list[CallSlot] = []
        self.called: dict[fx.Node, Slot] = {}
        held = {id(slot.value): slot for slot in function_slots(module, recognise)}
        for call in calls(module, graph, recognise):
            slot = CallSlot(owner=module, name=call.name, function=call.function, fixed=blocked(call))
            if slot.fixed:
                self.fixed.append(slot)
                continue
            # A function that an attribute holds is called like any other; it has a slot already.
            attribute = held.get(id(call.result.target)) if call.source in call.result.all_input_nodes else None
            self.called[put_call(graph, call)] = attribute or slot
        targets = [str(node.target) for node in graph.nodes if node.op == "call_module"]
        self.once = {target for target in targets if targets.count(target) == 1}

    def blocks(self) -> list[Block]:
        """The block around every activation."""
        found = [Block(act=slot) for slot in self.fixed]
        for node in self.graph.nodes:
            if node.op != "call_module" or len(node.all_input_nodes) != 1 or str(node.target) not in self.once:
                continue
            slot = self._slot(node)
            if slot.value is not None and self.recognise(slot.value) is not None:
                found.append(self.block(slot, node.all_input_nodes[0], node))
        return found

    def block(self, act: Slot, into: fx.Node, out: fx.Node) -> Block:
        """The block around one activation: plain, gated, gated with one input matrix, or bare."""
        users = self._users(out)
        if len(users) != 1:
            return Block(act=act)
        (user,) = users
        down = self._linear(user)
        if down is not None:
            up = self._linear(self._back(into))
            if up is not None and len(self._users(self._back(into))) == 1 and fits(up.value, down.value):
                return Block(act=act, up=up, down=down)
            return Block(act=act)
        return self._gated(act, into, out, user) or Block(act=act)

    def _gated(self, act: Slot, into: fx.Node, out: fx.Node, product: fx.Node) -> Block | None:
        after = self._users(product)
        down = self._linear(after[0]) if len(after) == 1 else None
        others = [each for each in product.all_input_nodes if self._back(each) is not self._back(out)]
        if down is None or not _is_product(product) or len(others) != 1:
            return None
        gate, other = self._back(into), self._back(others[0])
        whole = "" if self._is_whole(after[0]) else "its module computes more than the FFN"
        first, second = self._linear(gate), self._linear(other)
        if first is not None and second is not None and gate.all_input_nodes == other.all_input_nodes:
            if _linear(first).weight is _linear(second).weight:
                return None  # act(Wx) * Wx is a function of one matrix
            if all(len(self._users(each)) == 1 for each in (gate, other)) and (
                widths(_linear(first)) == widths(_linear(second)) == widths(_linear(down))[::-1]
            ):
                return Block(act=act, up=second, down=down, gate=first, obstacle=whole)
            return None
        return self._fused(act, (gate, other), down, whole)

    def _fused(self, act: Slot, halves: tuple[fx.Node, fx.Node], down: Slot, whole: str) -> Block | None:
        """A gate whose two inputs are the halves of what one Linear gives."""
        for source in self.graph.nodes:
            up = self._linear(source)
            if up is None or 2 * widths(_linear(down))[0] != widths(_linear(up))[1]:
                continue
            order = _halves(source, halves, widths(_linear(down))[0])
            if order is not None:
                return Block(act=act, up=up, down=down, gate=up, fused=order, obstacle=whole)
        return None

    def _is_whole(self, last: fx.Node) -> bool:
        """Whether what the last Linear gives is all that the module returns, and one tensor all that it reads."""
        output = next(node for node in self.graph.nodes if node.op == "output")
        returned = output.args[0]
        read = [node for node in self.graph.nodes if node.op == "placeholder" and node.users]
        first = [user for node in read for user in node.users]
        return (
            isinstance(returned, fx.Node)
            and self._back(returned) is last
            and len(read) == 1
            and not own_parameters(self.module)
            and all(self._linear(self._skip(user)) is not None for user in first)
        )

    def _passes(self, node: fx.Node) -> bool:
        """Whether a node gives its one input on as it is, in eval mode: a dropout, an identity, a contiguous copy."""
        if node.op == "call_module":
            return is_passthrough(self._slot(node).value)
        return node.op in ("call_function", "call_method") and changes_nothing(node)

    def _skip(self, node: fx.Node) -> fx.Node:
        while self._passes(node) and len(node.users) == 1:
            node = next(iter(node.users))
        return node

    def _back(self, node: fx.Node) -> fx.Node:
        while self._passes(node):
            node = node.all_input_nodes[0]
        return node

    def _users(self, node: fx.Node) -> list[fx.Node]:
        """What reads a value, dropouts left out."""
        found: list[fx.Node] = []
        for user in node.users:
            found += self._users(user) if self._passes(user) else [user]
        return found

    def _linear(self, node: fx.Node) -> Slot | None:
        if node.op != "call_module" or str(node.target) not in self.once:
            return None
        slot = self._slot(node)
        return slot if is_linear(slot.value) else None

    def _slot(self, node: fx.Node) -> Slot:
        if node in self.called:
            return self.called[node]
        parent, _, name = str(node.target).rpartition(".")
        return Slot(owner=self.module.get_submodule(parent), name=name)


def _linear(slot: Slot) -> nn.Linear:
    assert is_linear(slot.value)
    return slot.value


def _is_product(node: fx.Node) -> bool:
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return node.op in ("call_function", "call_method") and name in ("mul", "mul_", "imul", "multiply", "multiply_")


def _halves(source: fx.Node, halves: tuple[fx.Node, fx.Node], hidden: int) -> int | None:
    """Which half of a Linear's output goes through the activation, 0 or 1; None where these are no halves of it."""
    wide = torch.arange(float(3 * 2 * hidden)).reshape(1, 3, 2 * hidden)
    values: dict[fx.Node, object] = {source: wide}
    for node in source.graph.nodes:
        if node.op not in ("call_function", "call_method") or not all(each in values for each in node.all_input_nodes):
            continue
        if not node.all_input_nodes:
            continue
        args, kwargs = fx.map_arg((node.args, dict(node.kwargs)), lambda each: cast("Any", values[each]))
        try:
            values[node] = (
                getattr(args[0], str(node.target))(*args[1:], **kwargs)
                if node.op == "call_method"
                else node.target(*args, **kwargs)  # pyright: ignore[reportCallIssue]
            )
        except FOREIGN:  # an operation that does not run on this input is no cut into halves
            continue
    got = [values.get(each) for each in halves]
    for order, cut in enumerate(((0, 1), (1, 0))):
        wanted = [wide[..., part * hidden : (part + 1) * hidden] for part in cut]
        if all(isinstance(one, torch.Tensor) and torch.equal(one, two) for one, two in zip(got, wanted, strict=True)):
            return order
    return None


class _Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(x)))


ADAPTER = InForward()
