"""Items with their targets, held in memory: what every classifier here is, and what a user's own training takes.

Shapes: B batch, L classes.
"""

import hashlib
import inspect
import math
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torch import Tensor, nn

from gatewise import surgery
from gatewise.core import GatewiseError

from ._function import told
from ._labels import chance
from ._workload import Quality, Workload

Batch = tuple[Tensor, Tensor]
"""x, one row per item, and y, one target per item: int64 for classes, float for values."""

_PROBE_BATCH = 32
_SIDES = ("train", "heldout")


class Supervised(Workload):
    """A workload of items with targets: a subclass gives the two sides of its data and an untrained model of an arm.

    Everything else follows: batches that depend on step and seed alone, fixed held-out batches, the loss (cross-entropy
    in bits per item where targets are int64, the mean squared error where they are float32), accuracy, inputs for
    timing. The weights of every arm are `untrained` until it is trained: before that times, memory and counts are
    valid, outputs and quality say nothing. `tokens` has no meaning here and changes nothing.

    Attributes:
        learning_rate: the peak rate of the arms where the plan names none.
        batch: items in one training step.
        heldout_batch: items in one held-out batch.
        quality_name: what `quality` measures, in words.
    """

    learning_rate: float = 1e-2
    batch: int = 16
    heldout_batch: int = 64
    quality_name: str = "accuracy on held-out items"

    @abstractmethod
    def side(self, side: str) -> Batch:
        """All items of `train` or `heldout`, with their targets. No item may stand on both sides."""

    @abstractmethod
    def fresh(self, arm: str, *, seed: int, matching: str = "params") -> nn.Module:
        """An untrained model of one arm, in train mode: x of a batch to logits [B, L], or to values [B] or [B, 1].

        Arms should start alike where they share a parameter; `gatewise.FeedForward` has scalar functions and gates.
        """

    def items(self, side: str) -> Batch:
        """What `side` gives, asked for once. Raises `GatewiseError` for what is no pair of tensors with a row each."""
        kept: dict[str, Batch] = getattr(self, "_items", {})
        if side not in kept:
            kept = kept | {side: _checked(self.name, side, self._side(side))}
            object.__setattr__(self, "_items", kept)  # a workload may be a frozen dataclass
        return kept[side]

    def _side(self, side: str) -> object:
        if not _is_own(type(self)):
            return self.side(side)
        try:
            return self.side(side)
        except Exception as error:
            raise GatewiseError(f"{self.name}: side({side!r}) failed: {told(error)}") from error

    def check(self, model: object, arm: str) -> None:
        """Raises `GatewiseError` where a user's `fresh` gave no module, or one that its held-out items do not fit."""
        if not _is_own(type(self)):
            return
        if not isinstance(model, nn.Module):
            raise GatewiseError(f"{self.name}: fresh({arm!r}) must give a torch module, not {type(model).__name__}")
        was = model.training
        try:
            with torch.random.fork_rng(), torch.no_grad():
                for batch in self.heldout_batches():
                    self.loss(model.eval(), batch)
        except Exception as error:
            why = told(error)
            raise GatewiseError(f"{self.name}: the model of {arm} has no loss on held-out items: {why}") from error
        finally:
            model.train(was)

    def shape(self) -> dict[str, Any]:
        """The model's configuration, as plain data for the record."""
        return {}

    def data_facts(self) -> dict[str, Any]:
        """Where the data comes from, its hash, its sizes, and how many held-out items also stand on the other side."""
        digests = {side: _digest(self.items(side)) for side in _SIDES}
        return {
            "sha256": hashlib.sha256(f"{digests['train']} {digests['heldout']}".encode()).hexdigest(),
            "train_items": len(self.items("train")[1]),
            "heldout_items": len(self.items("heldout")[1]),
            "heldout_items_trained_on": _shared(self.items("train")[0], self.items("heldout")[0]),
        }

    # -- training

    def train_batch(self, step: int, seed: int, batch: int | None = None) -> Batch:
        """Items drawn from the training side. They depend on (seed, step) only: all arms see the same."""
        x, y = self.items("train")
        rows = np.random.default_rng([seed, step]).integers(0, len(y), size=batch or self.batch)
        return x[rows], y[rows]

    def heldout_batches(self) -> tuple[Batch, ...]:
        """All held-out items, in a fixed order, shuffled once, so any prefix is a fair sample."""
        x, y = self.items("heldout")
        return tuple((x[rows], y[rows]) for rows in self.heldout_order().split(self.heldout_batch))

    def heldout_order(self) -> Tensor:
        """The row of each held-out item, in the order of `heldout_batches`."""
        count = len(self.items("heldout")[1])
        return torch.from_numpy(np.random.default_rng(0).permutation(count))

    def token_losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """The loss of each item, [B]; `loss` is their mean."""
        x, y = batch
        given: Tensor = model(x)
        if not y.is_floating_point():
            return F.cross_entropy(given, y, reduction="none") / math.log(2)
        return F.mse_loss(given.reshape(y.shape), y, reduction="none").reshape(len(y), -1).mean(dim=1)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy of the class in bits per item, or the mean squared error (a scalar with gradient)."""
        x, y = batch
        given: Tensor = model(x)
        if not y.is_floating_point():
            return F.cross_entropy(given, y) / math.log(2)
        return F.mse_loss(given.reshape(y.shape), y)

    def correct(self, model: nn.Module, batch: Batch) -> Tensor:
        """Whether the most likely class of each item is its own, bool [B]."""
        x, y = batch
        return self.run(model, x).argmax(dim=1) == y

    def baselines(self) -> dict[str, float | None]:
        """Held-out accuracy of simple answers by name, for context; None where a package for one is missing.

        Empty where targets are no classes. A subclass may add its own: `linear_accuracy` helps.
        """
        y = self.items("heldout")[1]
        if y.is_floating_point():
            return {}
        frequent = self.items("train")[1].bincount().argmax()
        return {"most frequent class": (y == frequent).double().mean().item()}

    # -- as every workload

    def facts(self) -> dict[str, Any]:
        unit = "squared error" if self.items("heldout")[1].is_floating_point() else "bits/item"
        found = {"workload": self.name, "data": self.data_facts(), "model": self.shape(), "loss_unit": unit}
        return found | _code_facts(type(self))

    def original(self) -> nn.Module:
        """The GELU model of seed 0; its weights say that they are untrained."""
        model = self.fresh("gelu", seed=0).eval()
        surgery.mark_weights(model, "untrained")
        return model

    def save(self, model: nn.Module, folder: Path) -> None:
        """An arm to disk; of a user's own model its weights, and what surgery made different from `original`."""
        surgery.save(model, folder, builder=self.original if _is_own(type(self)) else None)

    def load(self, folder: Path) -> nn.Module:
        return surgery.load(folder, builder=self.original if _is_own(type(self)) else None)

    def inputs(self, batch: int, tokens: int, seed: int) -> Tensor:
        """x of held-out items."""
        del tokens  # an item has the size that it has
        x, y = self.items("heldout")
        return x[np.random.default_rng([seed, batch]).integers(0, len(y), size=batch)]

    def run(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """The logits or values of each item as one row."""
        given: Tensor = model(inputs)
        return given.flatten(1) if given.dim() > 1 else given.unsqueeze(1)

    def probe(self) -> Sequence[Tensor]:
        """All held-out items."""
        return self.items("heldout")[0].split(_PROBE_BATCH)

    def quality(self, model: nn.Module) -> Quality | None:
        """Accuracy on the held-out items, item by item; None where the targets are no classes."""
        y = self.items("heldout")[1]
        if y.is_floating_point():
            return None
        wanted: list[int] = y.tolist()
        with torch.inference_mode():
            answers: list[int] = torch.cat([self.run(model, x) for x in self.probe()]).argmax(1).tolist()
        scores = tuple(float(a == b) for a, b in zip(answers, wanted, strict=True))
        return Quality(name=self.quality_name, scores=scores, chance=chance([str(y) for y in wanted]))


def _checked(name: str, side: str, given: object) -> Batch:
    pair = given if isinstance(given, tuple) and len(given) == 2 else (None, None)
    x, y = pair
    if not (isinstance(x, Tensor) and isinstance(y, Tensor) and x.dim() and y.dim() and len(x) == len(y) > 0):
        raise GatewiseError(f"{name}: side({side!r}) must give two tensors, x and y, with one row for each item")
    if y.dtype in (torch.int64, torch.float32):
        return x, y
    raise GatewiseError(f"{name}: targets are int64 (classes) or float32 (values), not {str(y.dtype)[6:]}")


def _digest(items: Batch) -> str:
    digest = hashlib.sha256()
    for tensor in items:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _shared(train: Tensor, heldout: Tensor) -> int:
    """How many held-out items are, bit by bit, also trained on."""
    seen = {row.numpy().tobytes() for row in train}
    return sum(row.numpy().tobytes() in seen for row in heldout)


def _is_own(kind: type) -> bool:
    return kind.__module__.partition(".")[0] != "gatewise"


def _code_facts(kind: type) -> dict[str, Any]:
    """The hash of the file that a user's class stands in: records of different code are not compared."""
    if not _is_own(kind):
        return {}
    path = Path(inspect.getfile(kind))
    return {"code_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
