"""Runs a model once and gives back its graph."""

import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from gatewise.core import GatewiseError
from gatewise.graphs import Graph

from ._modules import Running
from ._record import Recorder, Watch
from ._values import Values

Call = Callable[[], object]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """A model's graph, and what its run gave.

    Attributes:
        graph: every operation that ran, in order.
        stored: the constants that are the model's parameters and buffers; others follow from them.
        output: what the call returned.
    """

    graph: Graph
    stored: tuple[str, ...]
    output: object


def trace(model: nn.Module, call: Call, *, source: str = "model") -> Trace:
    """Run `call`, which calls `model`, once and record every operation.

    The model runs as for inference: eval mode (put back afterwards), no gradients, none of the fast paths that hide
    operations. Any Python control flow works; what is recorded is the way that this call takes.

    Raises:
        GatewiseError: the model fails (with the module that failed), or nothing of it ran.
    """
    recorder, output = _run(model, call, source, {})
    values = recorder.values
    if not recorder.nodes:
        raise GatewiseError(f"{source}: the call runs no operation of the model on its inputs")
    leaves = pytree.tree_leaves(_plain(recorder.running.output))
    outputs = [values.find(leaf) for leaf in leaves if isinstance(leaf, Tensor)]
    made = {node.output for node in recorder.nodes}
    read = {name for node in recorder.nodes for name in node.inputs}
    graph = Graph(
        source=source,
        format="torch",
        nodes=tuple(recorder.nodes),
        constants=values.constants,
        shapes=values.shapes,
        dtypes=values.dtypes,
        inputs=tuple(sorted(name for name in read if name not in made and name not in values.constants)),
        outputs=tuple(dict.fromkeys(value.name for value in outputs if value is not None)),
        facts={"model": type(model).__name__, "torch": torch.__version__},
    )
    return Trace(graph=graph, stored=tuple(values.stored), output=output)


def observe(model: nn.Module, calls: Iterable[Call], watch: Mapping[str, Watch], *, source: str = "model") -> None:
    """Run the calls and tell each watcher of the numbers of its value, which has the name that `trace` gave it.

    Names are places (module, operation, how manieth there), so they hold for calls on other data too.

    Raises:
        GatewiseError: the model fails.
    """
    for call in calls:
        _run(model, call, source, watch)


def _run(model: nn.Module, call: Call, source: str, watched: Mapping[str, Watch]) -> tuple[Recorder, object]:
    running = Running(model)
    recorder = Recorder(Values(model), running, watched)

    started = False
    registered: set[str] = set()

    def entered(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal started
        first = not started or len(running.called) == 1
        if not started:
            recorder.nodes.clear()  # what made the inputs is no part of the model
        started = True
        for name, value in [*((f"input{index}", arg) for index, arg in enumerate(args)), *kwargs.items()]:
            leaves = [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]
            for leaf in leaves:
                known = recorder.values.find(leaf)
                if known is None or known.constant or (first and known.name not in registered):
                    registered.add(recorder.input(name, leaf).name)

    try:
        with _inference(model), running.watching(entered), recorder:
            return recorder, call()
    except GatewiseError as error:
        where = _where(running)
        raise GatewiseError(f"{error}{where}") from error
    except Exception as error:
        lines = str(error).strip().splitlines()
        told = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
        raise GatewiseError(f"{source}: the model fails{_where(running)}: {told}") from error


def _where(running: Running) -> str:
    return "" if running.failed_at is None else f" in {running.failed_at or 'its own forward'}"


@contextmanager
def _inference(model: nn.Module) -> Generator[None]:
    """Eval mode, no gradients, no fast paths, nothing compiled; all put back afterwards."""
    # A frozen script has no mode, an exported program refuses to change its own: both are as they were made.
    training = [module for module in model.modules() if getattr(module, "training", False)]
    fast = torch.backends.mha.get_fastpath_enabled()
    for module in training:
        module.training = False
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), _uncompiled(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*global hooks on modules")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module in training:
            module.training = True


@contextmanager
def _uncompiled() -> Generator[None]:
    """Compiled parts run as they are written; there are none where torch's compiler was never loaded."""
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def _plain(output: object) -> object:
    """The tensors of an output object of transformers, which is no plain dict."""
    return dict(output) if hasattr(output, "to_tuple") and hasattr(output, "items") else output  # pyright: ignore
