"""What a `ByteLM` keeps of the bytes that it has read, and how a call goes on from there.

Shapes: B batch, H heads, T tokens, K width of a head.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ByteCache:
    """Keys and values of each layer, [B, H, T, K], and the last ids read, on which the next bytes look back.

    It is a value: reading on makes a longer one and leaves this one as it is.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    last_ids: Tensor

    @property
    def tokens(self) -> int:
        """How many bytes were read."""
        return self.layers[0][0].shape[2]


class Reading:
    """One call's way through the blocks: hands each the keys and values before it, and gathers those after it.

    `mask` and `causal` are what attention takes: the first call is causal, a single new byte sees all that is kept,
    and several new bytes need a mask.
    """

    def __init__(self, cache: ByteCache | None, tokens: int, device: torch.device) -> None:
        self._before = iter(cache.layers) if cache else None
        self.after: list[tuple[Tensor, Tensor]] = []
        self.causal = cache is None
        self.mask: Tensor | None = None
        if cache is not None and tokens > 1:
            past = cache.tokens
            self.mask = torch.ones(tokens, past + tokens, dtype=torch.bool, device=device).tril(past)

    def extend(self, k_BHTK: Tensor, v_BHTK: Tensor) -> tuple[Tensor, Tensor]:
        """The next block's keys and values, with those before them in front."""
        if self._before is not None:
            k, v = next(self._before)
            k_BHTK, v_BHTK = torch.cat((k, k_BHTK), dim=2), torch.cat((v, v_BHTK), dim=2)
        self.after.append((k_BHTK, v_BHTK))
        return k_BHTK, v_BHTK
