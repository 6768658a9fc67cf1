"""The neural network: residual feed-forward blocks with the arm's activation or gate, as wide as matching says.

h = x W_in + b_in;   h = h + dropout(FeedForward(norm(h))), twice;   output = norm(h) W_out + b_out
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from gatewise import activations, train

from ._parts import Fitted, Parts, row_losses

DIM, HIDDEN, BLOCKS, DROPOUT = 64, 128, 2, 0.1
RATES = (5e-4, 1.5e-3, 4e-3, 1.2e-2)
"""The learning rates each arm may choose from, on the tuning rows of every seed."""

EPOCHS, FEWEST_STEPS, MOST_STEPS = 30, 300, 1500
SEARCH_SHARE = 1 / 3
"""How long a run of the search is, as a share of the whole training."""

_POINTS, _PATIENCE = 15, 5
_LARGEST_BATCH = 256


class ResidualNet(nn.Module):
    """Features [rows, features] to logits [rows, classes], or to one scaled value [rows, 1].

    A gate's hidden width is `matched_hidden`'s, so all arms have the same number of parameters but for rounding.
    """

    def __init__(self, features: int, outputs: int, arm: str) -> None:
        super().__init__()
        # What all arms share is drawn first, so that it starts the same for all of them.
        self.into, self.out = nn.Linear(features, DIM), nn.Linear(DIM, outputs)
        self.norms = nn.ModuleList([nn.LayerNorm(DIM) for _ in range(BLOCKS + 1)])
        gated = activations.get(arm).kind == "gate"
        hidden = activations.matched_hidden(DIM, HIDDEN) if gated else HIDDEN
        self.blocks = nn.ModuleList([activations.FeedForward(DIM, hidden, arm) for _ in range(BLOCKS)])
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        h = self.into(x)
        for norm, block in zip(self.norms, self.blocks, strict=False):
            h = h + self.dropout(block(norm(h)))
        return self.out(self.norms[-1](h))


class _Workload:
    """The training rows as `gatewise.train` takes them; a batch is a function of step and seed alone."""

    def __init__(self, parts: Parts) -> None:
        self.classes = parts.classes
        self.center = 0.0 if parts.classes else float(parts.y.mean())
        self.spread = 1.0 if parts.classes else float(parts.y.std()) or 1.0
        self.x = torch.from_numpy(parts.x)
        y = parts.y.astype(np.int64) if parts.classes else ((parts.y - self.center) / self.spread).astype(np.float32)
        self.y = torch.from_numpy(y)
        self.batch = int(min(_LARGEST_BATCH, max(32, len(y) // 16)))
        self._orders: dict[int, Tensor] = {}

    def fresh(self, arm: str, *, seed: int, matching: str = "params") -> nn.Module:
        del matching
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return ResidualNet(self.x.shape[1], self.classes or 1, arm)

    def train_batch(self, step: int, seed: int, batch: int | None = None) -> tuple[Tensor, Tensor]:
        size = min(batch or self.batch, len(self.y))
        epoch, place = divmod(step, max(1, len(self.y) // size))
        if epoch not in self._orders:
            generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
            self._orders = {epoch: torch.randperm(len(self.y), generator=generator)}
        rows = self._orders[epoch][place * size : (place + 1) * size]
        return self.x[rows], self.y[rows]

    def heldout_batches(self) -> list[tuple[Tensor, Tensor]]:
        return []

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        given = model(x)
        if self.classes:
            return nn.functional.cross_entropy(given, y)
        return nn.functional.mse_loss(given[:, 0], y)

    def steps(self) -> int:
        """Thirty times through the rows, within limits."""
        each = max(1, len(self.y) // min(self.batch, len(self.y)))
        return int(min(MOST_STEPS, max(FEWEST_STEPS, EPOCHS * each)))

    def predict(self, model: nn.Module, x: np.ndarray) -> np.ndarray:
        model.eval()
        with torch.inference_mode():
            given = torch.cat([model(rows) for rows in torch.from_numpy(x).split(8192)]).double()
            found = torch.softmax(given, dim=1) if self.classes else given * self.spread + self.center
        model.train()
        return found.numpy()


def neural(parts: Parts, arm: str, seed: int) -> Fitted:
    """Train one arm: short runs choose its learning rate, then one whole run that ends early where it stops to pay.

    A run whose loss is not finite counts as infinitely bad; where all are, the arm has failed (`tuning_loss` is inf).
    """
    workload = _Workload(parts)
    with _one_thread():
        steps = workload.steps()
        tried = [(_run(workload, parts, arm, seed, rate, int(SEARCH_SHARE * steps))[0], rate) for rate in RATES]
        rate = min(tried)[1]
        loss, done, model = _run(workload, parts, arm, seed, rate, steps)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    in_blocks = sum(parameter.numel() for parameter in cast("ResidualNet", model).blocks.parameters())

    def predict(x: np.ndarray) -> np.ndarray:
        with _one_thread():
            return workload.predict(model, x)

    facts = {"learning_rate": rate, "steps": done, "block_parameters": in_blocks}
    return Fitted(predict=predict, tuning_loss=loss, parameters=num_parameters, facts=facts)


def _run(
    workload: _Workload, parts: Parts, arm: str, seed: int, rate: float, steps: int
) -> tuple[float, int, nn.Module]:
    """One training: the least loss on the tuning rows, after how many steps it came, and the model of that moment."""
    plan = train.TrainPlan(steps=steps, learning_rate=rate, weight_decay=0.05, warmup=0.1)
    model = workload.fresh(arm, seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)  # dropout
        step = train.step_runner(workload, arm, seed=seed, plan=plan, model=model)
        best, at, waited = float("inf"), 0, 0
        kept = {name: value.clone() for name, value in model.state_dict().items()}
        every = max(1, steps // _POINTS)
        for done in range(1, steps + 1):
            if not np.isfinite(step()):
                break
            if done % every and done != steps:
                continue
            loss = float(row_losses(workload.classes, parts.y_tuning, workload.predict(model, parts.x_tuning)).mean())
            if loss < best:
                best, at, waited = loss, done, 0
                kept = {name: value.clone() for name, value in model.state_dict().items()}
            else:
                waited += 1
            if waited >= _PATIENCE or not np.isfinite(loss):
                break
    model.load_state_dict(kept)
    return best, at, model


@contextmanager
def _one_thread() -> Generator[None]:
    """One thread, so that sums come in one order whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
