"""A user's own model and data from `package.module:function`. It runs code, so it is for the command line only."""

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gatewise import surgery
from gatewise.core import GatewiseError

from ._labels import chance
from ._workload import Quality, Workload

PROBE_BATCH = 32
MAX_PROBES = 512


class FunctionModel(Workload):
    """What a function returns: `(model, inputs)` or `(model, inputs, labels)`.

    `inputs` is a tensor whose first dimension counts the items, or a dict of such tensors (passed as keywords), or a
    tuple of them (passed in order). `labels`, a sequence of class numbers, adds quality: accuracy of the arg-max of the
    model's output. The function is called again in every process, so it must build the same model each time.
    """

    def __init__(self, target: str) -> None:
        self.name = target
        self.function = resolve(target)

    @cached_property
    def _made(self) -> tuple[nn.Module, Any, Any]:
        try:
            made = self.function()
        except Exception as error:
            raise GatewiseError(f"{self.name} failed: {told(error)}") from error
        if not isinstance(made, tuple) or len(made) not in (2, 3) or not isinstance(made[0], nn.Module):
            raise GatewiseError(f"{self.name} must return (model, inputs) or (model, inputs, labels)")
        model, inputs, *rest = made
        sizes = {len(tensor) for tensor in _tensors(self.name, inputs)}
        if sizes == {0}:
            raise GatewiseError(f"{self.name} returns no inputs: the first dimension of its tensors is 0")
        if len(sizes) != 1:
            raise GatewiseError(f"{self.name}: inputs of different lengths: {sorted(sizes)}")
        if rest and len(rest[0]) not in sizes:
            raise GatewiseError(f"{self.name}: {len(rest[0])} labels for {sizes.pop()} inputs")
        return model.eval(), inputs, rest[0] if rest else None

    @property
    def _num_items(self) -> int:
        return len(_tensors(self.name, self._made[1])[0])

    def _rows(self, index: Tensor) -> Any:
        inputs = self._made[1]
        if isinstance(inputs, dict):
            return {key: tensor[index] for key, tensor in inputs.items()}
        if isinstance(inputs, tuple):
            return tuple(tensor[index] for tensor in inputs)
        return inputs[index]

    def facts(self) -> dict[str, Any]:
        tensors = _tensors(self.name, self._made[1])
        return {
            "workload": self.name,
            "data": {
                "texts": f"{self._num_items} items of the user's own",
                "sha256": tensor_hash({str(i): tensor for i, tensor in enumerate(tensors)}),
            },
            "model_sha256": tensor_hash(self._made[0].state_dict()),
        }

    def original(self) -> nn.Module:
        return self._made[0]

    def save(self, model: nn.Module, folder: Path) -> None:
        surgery.save(model, folder, builder=self.original)

    def load(self, folder: Path) -> nn.Module:
        return surgery.load(folder, builder=self.original)

    def inputs(self, batch: int, tokens: int, seed: int) -> Any:
        del tokens  # the user's items have the length that they have
        generator = torch.Generator().manual_seed(seed)
        return self._rows(torch.randint(self._num_items, (batch,), generator=generator))

    def run(self, model: nn.Module, inputs: Any) -> Tensor:
        try:
            if isinstance(inputs, dict):
                output = model(**inputs)
            else:
                output = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
        except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
            raise GatewiseError(f"{self.name}: the model fails on its inputs: {told(error)}") from error
        for name in ("logits", "last_hidden_state"):
            output = getattr(output, name, output)
        if isinstance(output, tuple):
            output = output[0]
        if not isinstance(output, Tensor) or output.dim() < 1:
            raise GatewiseError(
                f"{self.name}: the model returns {type(output).__name__}, not a tensor with one row per item"
            )
        return output.flatten(1) if output.dim() > 1 else output.unsqueeze(1)

    def _batches(self, count: int) -> Sequence[Any]:
        return [self._rows(index) for index in torch.arange(count).split(PROBE_BATCH)]

    def probe(self) -> Sequence[Any]:
        return self._batches(min(self._num_items, MAX_PROBES))

    def quality(self, model: nn.Module) -> Quality | None:
        labels = self._made[2]
        if labels is None:
            return None
        with torch.inference_mode():
            answers = torch.cat([self.run(model, rows) for rows in self._batches(self._num_items)]).argmax(1)
        wanted = [int(label) for label in labels]
        scores = tuple(float(a == b) for a, b in zip(answers.tolist(), wanted, strict=True))
        return Quality(name="accuracy", scores=scores, chance=chance([str(label) for label in wanted]))


def told(error: Exception) -> str:
    """An error of foreign code in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def tensor_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, in order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _tensors(name: str, inputs: Any) -> list[Tensor]:
    values = (
        list(inputs.values()) if isinstance(inputs, dict) else list(inputs) if isinstance(inputs, tuple) else [inputs]
    )
    if not values or not all(isinstance(value, Tensor) and value.dim() > 0 for value in values):
        raise GatewiseError(f"{name}: inputs must be a tensor, or a dict or tuple of tensors, one row per item")
    return values


def resolve(target: str) -> Callable[[], Any]:
    """The function of `package.module:function`, looked up from the current folder too. Raises `GatewiseError`."""
    module_name, _, attribute = target.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = import_module(module_name)
    except Exception as error:
        raise GatewiseError(f"cannot import {module_name!r} of {target!r}: {told(error)}") from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise GatewiseError(f"{module_name} has no function {attribute!r}")
    return function
