"""Live PyTorch models: workloads, folders, functions, modules. The only file here that imports torch."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gatewise import activations, workloads
from gatewise.core import GatewiseError, unknown_name
from gatewise.graphs import Graph
from gatewise.surgery import weights_state
from gatewise.tracing import observe, trace

from ._arrays import Arrays, as_dtype, check_names
from ._opened import VALID, Opened, Watch

TOKENS = 16
IMAGE = 32
BATCH = 32
OWN_BATCHES = 4
Call = Callable[[], object]


def open_workload(name: str, *, is_function: bool) -> Opened:
    """A workload of the table, or `package.module:function`."""
    if not is_function and name not in workloads.WORKLOADS:
        if "/" in name or "\\" in name or "." in name:
            raise GatewiseError(f"there is no file or folder {name!r}\nvalid: {VALID}")
        raise unknown_name("model", name, workloads.WORKLOADS)
    found = workloads.workload(name="" if is_function else name, model=name if is_function else "")
    return _from_workload(found, name)


def open_folder(path: Path) -> Opened:
    """A Hugging Face folder, or one saved by gatewise.

    Folders that are not of Hugging Face say nothing of their inputs; those follow from the first layer, and the numbers
    are random.
    """
    found = workloads.workload(model=str(path))
    model = found.original()  # checks the recipe
    if _builder(path) == "huggingface":
        return _from_workload(found, str(path))
    inputs = _fitting_inputs(model)
    if inputs is None:
        raise GatewiseError(f"{path}: nothing says what this model takes; give package.module:function")
    opened = _opened(model, str(path), lambda: model(inputs), list)
    return replace(opened, own_data=False)


def _builder(path: Path) -> str:
    if not (path / "recipe.json").is_file():
        return "huggingface"
    recipe: Any = json.loads((path / "recipe.json").read_text(encoding="utf-8"))
    return str(recipe["builder"]["name"]) if isinstance(recipe, dict) and "builder" in recipe else ""


def _fitting_inputs(model: nn.Module) -> Tensor | None:
    """Random numbers, or token ids, of the shape that the first layer takes; None where nothing tells."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        weight = getattr(module, "weight", None)
        dtype = weight.dtype if isinstance(weight, Tensor) else torch.float32
        if isinstance(module, nn.Embedding):
            return torch.randint(module.num_embeddings, (1, TOKENS), generator=generator)
        if isinstance(module, nn.Linear):
            return torch.randn(1, module.in_features, generator=generator).to(dtype)
        if isinstance(module, nn.MultiheadAttention):
            return torch.randn(1, TOKENS, module.embed_dim, generator=generator).to(dtype)
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            sizes = [IMAGE] * len(module.kernel_size)
            return torch.randn(1, module.in_channels, *sizes, generator=generator).to(dtype)
        if isinstance(module, (activations.FeedForward, activations.GatedUnit)):
            weights = list(module.parameters())
            return torch.randn(1, weights[0].shape[-1], generator=generator).to(weights[0].dtype)
    return None


def open_file_function(path: Path, name: str) -> Opened:
    """A function of a Python file that is no part of a package."""
    if not path.is_file():
        raise GatewiseError(f"there is no file {str(path)!r}")
    if not path.stem.isidentifier():
        raise GatewiseError(f"{path.stem!r} is no module's name; rename {path.name}")
    folder = str(path.resolve().parent)
    known = sys.modules.get(path.stem)
    if known is not None and Path(str(getattr(known, "__file__", ""))).resolve() != path.resolve():
        raise GatewiseError(f"another module is called {path.stem!r} already; rename {path.name}")
    sys.path.insert(0, folder)
    try:
        found = workloads.workload(model=f"{path.stem}:{name}")
    finally:
        sys.path.remove(folder)
    return _from_workload(found, f"{path}:{name}")


def open_module(model: object, inputs: object) -> Opened:
    """A module with what it is called with: a tensor, a tuple of positional arguments, or a dict of keywords."""
    if not isinstance(model, nn.Module):
        raise GatewiseError(f"a model is a name, a path or an nn.Module, not {type(model).__name__}\nvalid: {VALID}")
    if inputs is None:
        raise GatewiseError("a module needs inputs=: a tensor, a tuple of arguments, or a dict of keyword arguments")
    return _opened(model, type(model).__name__, lambda: _call(model, inputs), lambda: [lambda: _call(model, inputs)])


def _from_workload(found: "workloads.Workload", source: str) -> Opened:
    model = found.original()
    inputs = found.inputs(1, TOKENS, 0)

    def own() -> list[Call]:
        batches = found.probe()
        chosen = batches[:: max(len(batches) // OWN_BATCHES, 1)][:OWN_BATCHES]
        return [lambda batch=batch: found.run(model, batch) for batch in chosen]

    return _opened(model, source, lambda: found.run(model, inputs), own)


def _opened(model: nn.Module, source: str, call: Call, own: Callable[[], list[Call]]) -> Opened:
    traced = trace(model, call, source=source)
    graph = traced.graph

    def look(arrays: Arrays | None, watch: Mapping[str, Watch]) -> str:
        if arrays is None:
            calls = own()
            observe(model, calls, watch, source=source)
            return f"the model's own, {len(calls)} {'batch' if len(calls) == 1 else 'batches'}"
        check_names(arrays, graph.inputs, source)
        observe(model, _calls(model, graph, arrays), watch, source=source)
        return f"{len(next(iter(arrays.values())))} items given"

    return Opened(
        source=source,
        format=graph.format,
        facts={**graph.facts, "weights_state": weights_state(model)},
        weights={name: graph.constants[name] for name in traced.stored},
        graph=graph,
        observe=look,
        own_data=True,
    )


def _call(model: nn.Module, inputs: object) -> object:
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def _calls(model: nn.Module, graph: Graph, arrays: Arrays) -> Iterator[Call]:
    """One call a batch. Inputs called input0, input1, ... are positional, as the trace named them."""
    tensors = {name: _tensor(name, arrays[name], graph) for name in graph.inputs}
    positional = sorted((n for n in tensors if n.removeprefix("input").isdigit()), key=lambda n: int(n[len("input") :]))
    count = len(next(iter(tensors.values())))
    for start in range(0, count, BATCH):
        rows = {name: tensor[start : start + BATCH] for name, tensor in tensors.items()}
        args = tuple(rows.pop(name) for name in positional)
        yield lambda args=args, rows=rows: model(*args, **rows)


def _tensor(name: str, array: Any, graph: Graph) -> Tensor:
    shape, dtype = graph.shapes[name], graph.dtypes[name]
    if array.ndim != len(shape):
        raise GatewiseError(f"{name!r} has the shape {array.shape}, the model takes {len(shape)} dimensions")
    tensor = torch.from_numpy(np.array(as_dtype(name, array, dtype)))
    return tensor.to(getattr(torch, dtype))
