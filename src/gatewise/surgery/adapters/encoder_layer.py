"""`nn.TransformerEncoderLayer`: linear1, activation (module or function), linear2, and a fused fast path.

In eval mode without autograd torch runs a fused kernel that knows only ReLU and GELU (erf) and reads which one from
`activation_relu_or_gelu`, not from `activation`. Whoever replaces `activation` alone gets the OLD function there.
A stack that packs padded batches as nested tensors (`use_nested_tensor`) needs that kernel in every layer.
"""

import torch
from torch import nn

from gatewise.surgery._blocks import Block, Change, Example, Flag, Slot, fits
from gatewise.surgery._recognise import Recogniser

_CODES = {"relu": 1, "gelu": 2}


class EncoderLayer:
    looked_for = "nn.TransformerEncoderLayer"

    def match(self, module: nn.Module, recognise: Recogniser) -> list[Block]:
        if not isinstance(module, nn.TransformerEncoderLayer) or not fits(module.linear1, module.linear2):
            return []
        if recognise(module.activation) is None:
            return []
        up, act, down = (Slot(owner=module, name=name) for name in ("linear1", "activation", "linear2"))
        return [Block(up=up, act=act, down=down)]

    def flags(self, root: nn.Module, block: Block, change: Change) -> list[Flag]:
        layer = block.act.owner
        now, needed = layer.activation_relu_or_gelu, _CODES.get(change.to, 0)
        if now == 0 and change.before in _CODES:
            return []  # someone switched the fast path off on purpose: it stays off
        flags = [Flag(slot=Slot(owner=layer, name="activation_relu_or_gelu"), value=needed)] if now != needed else []
        if needed == 0:
            flags += [
                Flag(slot=Slot(owner=stack, name="use_nested_tensor"), value=False)
                for stack in root.modules()
                if isinstance(stack, nn.TransformerEncoder)
                and getattr(stack, "use_nested_tensor", False)
                and any(inner is layer for inner in stack.layers)
            ]
        return flags

    def example(self) -> Example:
        layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True)
        return Example(
            model=nn.TransformerEncoder(layer, 2),
            inputs=(torch.randn(2, 5, 8),),
            paths=("layers.0.activation", "layers.1.activation"),
        )


ADAPTER = EncoderLayer()
