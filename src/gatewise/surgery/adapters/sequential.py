"""Linear, activation, Linear in an `nn.Sequential`, with Dropout or Identity allowed in between."""

import torch
from torch import nn

from gatewise.surgery._blocks import Block, Example, NoFlags, Slot, fits, is_linear
from gatewise.surgery._recognise import Recogniser, is_passthrough
from gatewise.surgery._tree import children


class InSequential(NoFlags):
    looked_for = "Linear-activation-Linear in nn.Sequential"

    def match(self, module: nn.Module, recognise: Recogniser) -> list[Block]:
        if not isinstance(module, nn.Sequential) or type(module).forward is not nn.Sequential.forward:
            return []
        return in_order(module, recognise)

    def example(self) -> Example:
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 4), nn.Linear(4, 2))
        return Example(model=model, inputs=(torch.randn(3, 4),), paths=("1",))


def in_order(module: nn.Module, recognise: Recogniser) -> list[Block]:
    """The blocks among the children in their order; a Linear belongs to one block, so chains are cut from the left.

    In Linear-act-Linear-act-Linear the second activation stays a bare one.
    """
    names = [name for name, child in children(module).items() if not is_passthrough(child)]
    blocks: list[Block] = []
    position = 0
    while position + 2 < len(names):
        up, act, down = (Slot(owner=module, name=name) for name in names[position : position + 3])
        if is_linear(up.value) and fits(up.value, down.value) and recognise(act.value) is not None:
            blocks.append(Block(up=up, act=act, down=down))
            position += 3
        else:
            position += 1
    return blocks


ADAPTER = InSequential()
