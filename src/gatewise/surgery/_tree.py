"""The direct parts of a module under every name they have; `named_children` shows a shared one once only."""

# torch keeps these tables private, but nothing public lists a module's slots without leaving out shared parts.
# pyright: reportPrivateUsage=false

from torch import nn


def children(module: nn.Module) -> dict[str, nn.Module]:
    """The child modules that are there, by name, in their order."""
    return {name: child for name, child in module._modules.items() if child is not None}


def own_parameters(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that belong to the module itself."""
    return [parameter for parameter in module._parameters.values() if parameter is not None]


def has_bias(linear: nn.Linear) -> bool:
    """Whether a Linear has a bias (torch types it as if it always had)."""
    return linear._parameters.get("bias") is not None


def has_hooks(module: nn.Module) -> bool:
    """Whether code hangs on a module that would be lost with it."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


def has_slot(module: nn.Module, name: str) -> bool:
    """Whether the module itself, not its class, holds something under this name."""
    return name in module._modules or name in vars(module)
