"""Our own `FeedForward` with a scalar activation: up, act, down, and the attributes that its repr shows."""

import torch
from torch import nn

from gatewise import activations
from gatewise.surgery._blocks import Block, Change, Example, Flag, Slot
from gatewise.surgery._recognise import Recogniser
from gatewise.surgery._tree import children


class OwnFeedForward:
    looked_for = "gatewise.FeedForward with a scalar activation"

    def match(self, module: nn.Module, recognise: Recogniser) -> list[Block]:
        if not isinstance(module, activations.FeedForward):
            return []
        slots = [Slot(owner=module, name=name) for name in ("up", "act", "down")]
        # A gated block has `unit` instead; an earlier surgery leaves a placeholder in `act`.
        if any(slot.name not in children(module) for slot in slots) or recognise(slots[1].value) is None:
            return []
        return [Block(up=slots[0], act=slots[1], down=slots[2])]

    def flags(self, root: nn.Module, block: Block, change: Change) -> list[Flag]:
        wanted: dict[str, int | str] = {"activation": change.to, "hidden": change.hidden}
        slots = [(Slot(owner=block.act.owner, name=name), value) for name, value in wanted.items()]
        return [Flag(slot=slot, value=value) for slot, value in slots if slot.value != value]

    def example(self) -> Example:
        blocks = [activations.FeedForward(6, activation="gelu") for _ in range(2)]
        return Example(model=nn.Sequential(*blocks), inputs=(torch.randn(3, 6),), paths=("0.act", "1.act"))


ADAPTER = OwnFeedForward()
