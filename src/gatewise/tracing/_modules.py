"""Which module is running, told by hooks on all modules."""

import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as hooks


class Running:
    """The modules that are running now, outermost first, as qualified names.

    The second call of a module that is used twice is called `name#2`.
    """

    def __init__(self, model: nn.Module) -> None:
        # A compiled module stands as a module around itself; it keeps its own name.
        self._names = {
            id(module): ".".join(part for part in name.split(".") if part != "_orig_mod")
            for name, module in model.named_modules()
        }
        self._model = model
        self.called: dict[str, int] = {}
        self.stack: list[str] = []
        self.failed_at: str | None = None
        """The innermost module that raised."""
        self.output: object = None
        """What the last outermost call returned."""

    @property
    def path(self) -> str:
        """The innermost module; "" for the model itself."""
        return self.stack[-1] if self.stack else ""

    @property
    def is_over(self) -> bool:
        """Whether the model has run and what runs now is somebody else's, such as a metric on its output."""
        return not self.stack and "" in self.called

    @contextmanager
    def watching(self, entered: Callable[[tuple[Any, ...], dict[str, Any]], None]) -> Generator[None]:
        """Follow the modules of everything that runs inside; `entered` hears of each outermost call.

        The hooks stand on all modules of the process. What another thread runs, such as a server its live version, is
        none of ours.
        """
        outside, ours = sys.exc_info()[1], threading.get_ident()

        def before(module: nn.Module, args: Any) -> None:
            if threading.get_ident() != ours:
                return
            if not self.stack:
                entered(args, {})
            # A compiled module runs inside of itself; that is one call.
            self.stack.append(self.path if hasattr(module, "_orig_mod") else self._name(module))

        def before_all(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            del module
            # Hooks on all modules come first, and are told of no keywords.
            if threading.get_ident() == ours and len(self.stack) == 1:
                entered(args, kwargs)

        def after(module: nn.Module, args: Any, output: Any) -> None:
            del module, args
            if threading.get_ident() != ours:
                return
            if sys.exc_info()[1] is not outside and self.failed_at is None:
                self.failed_at = self.path
            if self.stack:
                self.stack.pop()
            if not self.stack:
                self.output = output

        handles = [
            hooks.register_module_forward_pre_hook(before),
            hooks.register_module_forward_hook(after, always_call=True),
        ]
        if not isinstance(self._model, torch.jit.ScriptModule):  # which takes no hooks of its own
            handles.append(self._model.register_forward_pre_hook(before_all, with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _name(self, module: nn.Module) -> str:
        name = self._names.get(id(module))
        if name is None:
            # A module that the forward pass makes for itself.
            name = f"{self.path}.{type(module).__name__}".lstrip(".")
        count = self.called[name] = self.called.get(name, 0) + 1
        return name if count == 1 else f"{name}#{count}"
