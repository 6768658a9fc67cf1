"""A gated FFN as LLaMA, Qwen, Mistral and Gemma write it: act(gate(x)) * up(x), then down, in one module.

Names say nothing: the block is run once on a copy with recorders in it. The activation must read one Linear, and the
third must read the product of what the activation gives and what the other Linear gives.
"""

from dataclasses import replace
from itertools import permutations
from typing import cast

import torch
from torch import nn

from gatewise.surgery._blocks import Block, Example, NoFlags, Slot, is_linear, widths
from gatewise.surgery._recognise import Recogniser, is_passthrough
from gatewise.surgery._tree import children, own_parameters

from .bert import function_slots
from .two_linears import Recorder, Run, linked, run_recorded, same


class Gated(NoFlags):
    looked_for = "gated FFNs (two Linear layers side by side, an activation on one, a Linear back from their product)"

    def match(self, module: nn.Module, recognise: Recogniser) -> list[Block]:
        parts = children(module)
        linears = [Slot(owner=module, name=name) for name, child in parts.items() if is_linear(child)]
        acts = [name for name, child in parts.items() if not is_linear(child) and recognise(child) is not None]
        others = [child for name, child in parts.items() if not is_linear(child) and name not in acts]
        if len(linears) != 3 or own_parameters(module) or not all(is_passthrough(child) for child in others):
            return []
        slots = [Slot(owner=module, name=name) for name in acts] or function_slots(module, recognise)
        if len(slots) != 1:
            return []
        for gate, up, down in permutations(linears):
            shapes = [widths(cast("nn.Linear", slot.value)) for slot in (gate, up, down)]
            block = Block(up=up, act=slots[0], down=down, gate=gate)
            found = run_recorded(module, block) if shapes[0] == shapes[1] == shapes[2][::-1] else None
            if found is not None and _multiplies(found):
                whole = same(found.parts[-1].seen[0][1], found.output)
                return [replace(block, obstacle="" if whole else "its module computes more than the FFN")]
        return []

    def example(self) -> Example:
        from transformers import LlamaConfig, LlamaModel

        config = LlamaConfig(
            vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
        )
        paths = tuple(f"layers.{layer}.mlp.act_fn" for layer in range(2))
        return Example(model=LlamaModel(config), inputs=(torch.arange(10).reshape(2, 5),), paths=paths)


def _multiplies(found: Run) -> bool:
    """Whether a run shows gate -> act, and the product of act and up -> down."""
    up, gate, act, down = found.parts
    if not linked(gate, act) or any(len(part.seen) != 1 for part in (up, gate, act, down)):
        return False
    product, into = act.seen[0][1] * up.seen[0][1], down.seen[0][0]
    if into.is_meta:
        return False
    return product.shape == into.shape and torch.equal(product, into) and not _same(up, gate)


def _same(one: Recorder, other: Recorder) -> bool:
    return torch.equal(one.seen[0][1], other.seen[0][1])


ADAPTER = Gated()
