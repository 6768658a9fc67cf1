"""Calibration batches: how a model is called with one, what its sites read on the way, and which rows count."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gatewise.core import GatewiseError

Batch = Tensor | Sequence[Any] | Mapping[str, Any]
"""One call of a model: a tensor, a tuple or list of positional arguments, or a mapping of keywords."""

# Keywords that say which rows are padding, and the value that a row that counts has.
_MASKS = {"attention_mask": True, "src_key_padding_mask": False}
_DECODER_MASKS = {"decoder_attention_mask": True}


def checked_batches(calibration: object) -> list[Batch]:
    """The batches as a list; one tensor or one mapping is a single batch. Raises `GatewiseError` for what is none."""
    if isinstance(calibration, Tensor | Mapping):
        return [calibration]
    if isinstance(calibration, str) or not hasattr(calibration, "__iter__"):
        raise GatewiseError(
            f"a calibration set is a list of batches, not {type(calibration).__name__}\n"
            "valid: each batch a tensor, a tuple of tensors, or a dict of keyword arguments"
        )
    batches = list(calibration)  # pyright: ignore[reportArgumentType, reportUnknownVariableType]
    for batch in batches:
        if not isinstance(batch, Tensor | Mapping | tuple | list):
            raise GatewiseError(
                f"a calibration batch is a tensor, a tuple or a dict of keyword arguments, not {type(batch).__name__}"
            )
    if not batches:
        raise GatewiseError("the calibration set is empty")
    return batches


def call(model: nn.Module, batch: Batch) -> Any:
    """The model's answer to one batch. Raises `GatewiseError` where it does not take it."""
    try:
        if isinstance(batch, Tensor):
            return model(batch)
        return model(**batch) if isinstance(batch, Mapping) else model(*batch)
    except (TypeError, ValueError, RuntimeError, IndexError, AssertionError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise GatewiseError(f"the model does not take a calibration batch: {first}") from error


def main_output(answer: Any) -> Tensor:
    """The tensor that outputs are compared on: the answer itself, its `logits`, its `last_hidden_state`, or its first.

    Raises `GatewiseError` where there is no floating tensor.
    """
    if isinstance(answer, Tensor):
        return answer
    for name in ("logits", "last_hidden_state"):
        found = getattr(answer, name, None)
        if isinstance(found, Tensor):
            return found
    parts = list(answer.values()) if isinstance(answer, Mapping) else answer
    if isinstance(parts, tuple | list):
        for part in parts:
            if isinstance(part, Tensor) and part.is_floating_point():
                return part
    raise GatewiseError(f"the model answers with a {type(answer).__name__}, in which there is no tensor to compare")


def rows(values: Tensor, batch: Batch, path: str = "decoder") -> Tensor:
    """`values` [..., d] as [rows, d], without the rows that the batch's mask calls padding.

    `path` is the module's that read or gave them; a model's output is its decoder's, where it has one.
    """
    decoder = isinstance(batch, Mapping) and any(name.startswith("decoder_") for name in batch)
    kept = _mask(batch, _DECODER_MASKS if decoder and "decoder" in path.split(".") else _MASKS)
    if kept is not None and values.shape[:-1] == kept.shape:
        return values[kept.to(values.device)]
    return values.reshape(-1, values.shape[-1])


def _mask(batch: Batch, masks: Mapping[str, bool]) -> Tensor | None:
    if isinstance(batch, Mapping):
        for name, counts in masks.items():
            mask = batch.get(name)
            if isinstance(mask, Tensor) and not mask.is_floating_point():
                return mask.bool() if counts else ~mask.bool()
    return None


@contextmanager
def evaluating(*models: nn.Module) -> Generator[None]:
    """Models in eval mode without gradients and on torch's plain path, on which every module is really called."""
    flags = [(module, module.training) for model in models for module in model.modules()]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        for model in models:
            model.eval()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, training in flags:
            module.training = training


@dataclass
class Reader:
    """Listens at modules and keeps the rows that each reads, in the order of the calls."""

    entries: dict[str, nn.Module]
    seen: dict[str, list[Tensor]] = field(default_factory=dict)

    def read(self, model: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """Run one batch: what each module read, [rows, width], by name, and the rows of the model's output."""
        self.seen = {}
        handles = [
            module.register_forward_pre_hook(self._hook(name), with_kwargs=True)
            for name, module in self.entries.items()
        ]
        try:
            answer = main_output(call(model, batch))
        finally:
            for handle in handles:
                handle.remove()
        read = {name: torch.cat([rows(part, batch, name) for part in parts]) for name, parts in self.seen.items()}
        return read, rows(answer, batch)

    def _hook(self, name: str) -> Any:
        def hook(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            del module
            x: Tensor = arguments[0] if arguments else named["input"]
            self.seen.setdefault(name, []).append(x.detach())

        return hook


def gather(model: nn.Module, name: str, entry: nn.Module, batches: list[Batch], most: int, seed: int) -> Tensor:
    """The rows that one module reads over all batches, at most `most` of them, chosen by `seed`."""
    reader = Reader(entries={name: entry})
    found: list[Tensor] = []
    for batch in batches:
        read, _ = reader.read(model, batch)
        if name in read:
            found.append(read[name])
    if not found:
        raise GatewiseError(f"the calibration set never reaches the site {name!r}")
    together = torch.cat(found)
    if len(together) > most:
        chosen = torch.randperm(len(together), generator=torch.Generator().manual_seed(seed))[:most]
        together = together[chosen.sort().values.to(together.device)]
    return together
