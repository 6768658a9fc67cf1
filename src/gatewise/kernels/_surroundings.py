"""What goes on around a call that lets nothing but torch's own operations run, and nothing be measured."""

from typing import Any

import torch
from torch.autograd import forward_ad

_core: Any = torch._C  # pyright: ignore[reportPrivateUsage]
_levels: Any = forward_ad
_jit: Any = torch.jit

# Names that torch does not promise to keep.
_transforms_active = getattr(_core, "_are_functorch_transforms_active", None)
_num_modes = getattr(_core, "_len_torch_dispatch_stack", None)


def watched() -> str | None:
    """Who follows or transforms the operations that run now, in a few words; None where nobody does.

    `torch.compile` is not asked about: `torch.compiler.is_compiling` tells.
    """
    if _transforms_active is None or _num_modes is None or not hasattr(_levels, "_current_level"):
        return f"torch {torch.__version__} does not tell what goes on around a call"
    if _transforms_active():
        return "under a transform of torch.func"
    if _num_modes():
        return "under a mode that watches every operation"
    if _levels._current_level >= 0:
        return "under forward-mode differentiation"
    return "under torch.jit.trace" if _jit.is_tracing() else None
