"""The FFN of the BERT family: one child holds Linear and activation, the next one holds the Linear back.

BERT, RoBERTa, ELECTRA, CamemBERT, XLM-R, LayoutLM and ViT layers are written so: `intermediate` (dense, activation)
and `output` (dense, dropout, norm); ESM calls the activation as a function there. Nothing here looks at those names.
"""

from itertools import pairwise
from typing import cast

import torch
from torch import nn

from gatewise.surgery._blocks import Block, CallSlot, Example, NoFlags, Slot, is_linear, widths
from gatewise.surgery._calls import blocked, calls
from gatewise.surgery._forward import is_own_code, traced
from gatewise.surgery._recognise import Recogniser, is_function, is_passthrough
from gatewise.surgery._scan import called_names
from gatewise.surgery._tree import children


class TwoHalves(NoFlags):
    looked_for = "BERT-like layers (Linear and activation in one child, Linear back in the next)"

    def match(self, module: nn.Module, recognise: Recogniser) -> list[Block]:
        parts = list(children(module).values())
        blocks: list[Block] = []
        for first, second in pairwise(parts):
            half = _first_half(first, recognise)
            down = _second_half(second, recognise)
            if half is None or down is None:
                continue
            up, act = half
            wide, back = cast("nn.Linear", up.value), cast("nn.Linear", down.value)
            if widths(wide) == widths(back)[::-1]:
                blocks.append(Block(up=up, act=act, down=down))
        return blocks

    def example(self) -> Example:
        from transformers import BertConfig, BertModel

        config = BertConfig(
            vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
        )
        paths = tuple(f"encoder.layer.{layer}.intermediate.intermediate_act_fn" for layer in range(2))
        return Example(model=BertModel(config), inputs=(torch.arange(10).reshape(2, 5),), paths=paths)


def _first_half(module: nn.Module, recognise: Recogniser) -> tuple[Slot, Slot] | None:
    """The Linear and the activation, where a module holds these two and nothing else that computes."""
    linears: list[Slot] = []
    acts: list[Slot] = []
    for name, child in children(module).items():
        if is_linear(child):
            linears.append(Slot(owner=module, name=name))
        elif recognise(child) is not None:
            acts.append(Slot(owner=module, name=name))
        elif not is_passthrough(child):
            return None
    if len(linears) == 1 and not acts:
        acts = function_slots(module, recognise) or _called(module, linears[0].name, recognise)
    return (linears[0], acts[0]) if len(linears) == 1 and len(acts) == 1 else None


def _called(module: nn.Module, linear: str, recognise: Recogniser) -> list[Slot]:
    """The activation that a forward calls on what its Linear gives, and returns; nothing where it does more."""
    if not is_own_code(module) or not called_names(module):
        return []
    graph = traced(module).graph
    found = calls(module, graph, recognise) if graph is not None else []
    if graph is None or len(found) != 1 or blocked(found[0]):
        return []
    (call,) = found
    output = next(node for node in graph.nodes if node.op == "output")
    fed = call.source.op == "call_module" and call.source.target == linear
    if not fed or output.args[0] is not call.result:
        return []
    return [CallSlot(owner=module, name=call.name, function=call.function)]


def _second_half(module: nn.Module, recognise: Recogniser) -> Slot | None:
    """The Linear back, where a module holds exactly one and no activation."""
    linears = [Slot(owner=module, name=name) for name, child in children(module).items() if is_linear(child)]
    others = [child for child in children(module).values() if not is_linear(child)]
    if len(linears) != 1 or any(recognise(child) is not None for child in others):
        return None
    return None if any(is_linear(inner) for child in others for inner in child.modules()) else linears[0]


def function_slots(module: nn.Module, recognise: Recogniser) -> list[Slot]:
    """The attributes of a module that hold a known activation as a plain function."""
    found: list[Slot] = []
    for name, value in vars(module).items():
        if not name.startswith("_") and is_function(value):
            known = recognise(value)
            if known is not None and known.name is not None:
                found.append(Slot(owner=module, name=name))
    return found


ADAPTER = TwoHalves()
