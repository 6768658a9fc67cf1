"""A bare activation: a module without tensors that bends each element on its own. The last adapter in the table."""

import torch
from torch import nn

from gatewise.surgery._blocks import Block, Example, NoFlags, Slot
from gatewise.surgery._recognise import Recogniser
from gatewise.surgery._tree import children


class BareActivation(NoFlags):
    looked_for = "activation modules (elementwise, without weights)"

    def match(self, module: nn.Module, recognise: Recogniser) -> list[Block]:
        if recognise(module) is not None:
            return []  # an activation made of parts is one activation
        # named_children hides a second slot of one module; _modules does not.
        slots = (Slot(owner=module, name=name) for name in children(module))
        return [Block(act=slot) for slot in slots if slot.value is not None and recognise(slot.value) is not None]

    def example(self) -> Example:
        model = nn.Sequential(nn.Conv1d(1, 2, 1), nn.SiLU(), nn.Conv1d(2, 1, 1))
        return Example(model=model, inputs=(torch.randn(2, 1, 5),), paths=("1",))


ADAPTER = BareActivation()
