"""Healing: a converted model's feed-forward blocks are trained to give what the original's give."""

import copy
import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gatewise.core import GatewiseError

from ._fit_inputs import Batch, call, checked_batches, evaluating, main_output, rows
from ._heal_state import Progress, fingerprint, read_progress, write_progress
from ._keep_figures import whole_figures
from ._report import Step, check_model, history, set_history
from ._sites import Paths, locate


@dataclass(frozen=True, kw_only=True)
class Healing:
    """How a converted model is healed.

    The loss is the mean over the blocks, and the model's main output, of the squared error against the original divided
    by the original's own mean square. Adam trains the swapped blocks alone; the rate rises over the first tenth of
    `steps` and then falls to 0. Every `check_every` steps the loss on held-out batches is taken; after `patience`
    checks without a gain the training ends. The weights of the best check are what comes back, those from before the
    training included.

    Attributes:
        steps: the most steps, one batch each.
        learning_rate: the largest one.
        held_out: the share of the batches that is never trained on (at least one batch).
        check_every: steps between two checks, and between two checkpoints.
        patience: checks without a gain until it ends.
        seed: decides the order of the batches and which are held out.
    """

    steps: int = 200
    learning_rate: float = 5e-5
    held_out: float = 0.25
    check_every: int = 20
    patience: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "check_every", "patience"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise GatewiseError(f"{name} must be a whole number of at least 1, got {value!r}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise GatewiseError(f"learning_rate must be above 0, got {self.learning_rate!r}")
        if not 0 < self.held_out < 1:
            raise GatewiseError(f"held_out is a share between 0 and 1, got {self.held_out!r}")


@dataclass(frozen=True, kw_only=True)
class HealReport:
    """What a healing did. `before` and `after` are errors on the held-out batches, as in `Step`.

    Attributes:
        curve: (step, held-out loss) of every check, the one before any step first.
        best_step: the check whose weights came back; 0 where nothing was gained.
        stopped: why it ended: `steps` or `patience`.
        batches: how many were trained on and how many held out.
    """

    before: Step
    after: Step
    curve: tuple[tuple[int, float], ...]
    best_step: int
    stopped: str
    batches: tuple[int, int]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        data = asdict(self)
        return data | {"curve": [list(point) for point in self.curve], "batches": list(self.batches)}


def heal(
    model: nn.Module,
    original: nn.Module,
    batches: object,
    *,
    healing: Healing | None = None,
    checkpoint: str | Path | None = None,
    on_step: Callable[[int], None] | None = None,
) -> tuple[nn.Module, HealReport]:
    """A copy of a converted model whose blocks were trained on what the original's blocks give, and a report.

    `model` comes from `swap` of `original` (or was loaded after that); `batches` are as in `swap`. Dropout is off.
    With `checkpoint`, a folder, the state is written there as safetensors and JSON at every check, and a call with the
    same models, batches and settings goes on from there: what comes out is bit for bit what an uninterrupted call gives
    on the same machine. `on_step` is called after every step.

    Raises `GatewiseError` when no block of the model was swapped, the batches cannot be split, the loss is not finite,
    or the checkpoint is from another model, other batches or other settings.
    """
    check_model(model)
    check_model(original)
    settings = healing or Healing()
    train, held_out = _split(checked_batches(batches), settings)
    healed = copy.deepcopy(model)
    run = _Run(healed, original, settings)
    with evaluating(original, healed):
        mark = fingerprint(run.trained, original, [*train, *held_out], asdict(settings))
        before = whole_figures(original, healed, held_out, "converted")
        folder = None if checkpoint is None else Path(checkpoint)
        progress = read_progress(folder, mark, run.trained) if folder else None
        progress = progress or Progress.start(run.trained, run.loss_on(held_out))
        while progress.stopped is None:
            _stretch(run, progress, train, on_step)
            progress.check(run.loss_on(held_out), settings.patience, settings.steps, run.trained)
            if folder:
                write_progress(folder, mark, progress, run.trained)
        for name, parameter in run.trained.items():
            parameter.data.copy_(progress.best[name])
        after = whole_figures(original, healed, held_out, "healed")
    run.restore()
    report = HealReport(
        before=before,
        after=after,
        curve=tuple(progress.curve),
        best_step=progress.best_step,
        stopped=progress.stopped,
        batches=(len(train), len(held_out)),
    )
    past = history(healed)
    record = {**past, "weights_state": "trained", "surgeries": [*past["surgeries"], {"healed": report.to_json()}]}
    set_history(healed, record if progress.best_step else past)
    return healed, report


def _split(batches: list[Batch], settings: Healing) -> tuple[list[Batch], list[Batch]]:
    """What is trained on, and what is held out, in an order that the seed decides."""
    if len(batches) < 2:
        raise GatewiseError("healing needs at least 2 batches: one to train on and one that is held out")
    order = torch.randperm(len(batches), generator=torch.Generator().manual_seed(settings.seed)).tolist()
    held = min(len(batches) - 1, max(1, round(settings.held_out * len(batches))))
    return [batches[place] for place in order[held:]], [batches[place] for place in order[:held]]


def _stretch(run: "_Run", progress: Progress, train: list[Batch], on_step: Callable[[int], None] | None) -> None:
    """The steps up to the next check. The batch of a step depends on the seed and the step alone."""
    settings = run.settings
    end = min(settings.steps, progress.step + settings.check_every)
    while progress.step < end:
        epoch, place = divmod(progress.step, len(train))
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + epoch + 1)
        order = torch.randperm(len(train), generator=generator)
        warm = max(1, settings.steps // 10)
        rate = settings.learning_rate * min(1.0, (progress.step + 1) / warm) * (1.0 - progress.step / settings.steps)
        run.step(train[int(order[place])], progress, rate)
        progress.step += 1
        if on_step is not None:
            on_step(progress.step)


class _Run:
    """The pair of models, the blocks that are compared, and the parameters that move."""

    def __init__(self, model: nn.Module, original: nn.Module, settings: Healing) -> None:
        self.model, self.original, self.settings = model, original, settings
        self.pairs: list[tuple[nn.Module, nn.Module]] = []
        self.paths: list[str] = []
        self.trained: dict[str, nn.Parameter] = {}
        swapped = {site["path"] for entry in history(model)["surgeries"] for site in entry.get("sites", [])}
        paths = Paths(original)
        for found in locate(original):
            first = found.blocks[0]
            if found.site.path not in swapped or first.up is None or first.down is None:
                continue
            slots = [slot for slot in (first.up, first.gate, first.down) if slot is not None]
            places = [paths.of(slot)[0] for slot in slots]
            self.paths.append(places[-1])
            self.pairs.append((original.get_submodule(places[-1]), model.get_submodule(places[-1])))
            for place in places:
                for name, parameter in model.get_submodule(place).named_parameters():
                    self.trained[f"{place}.{name}"] = parameter
        if not self.trained:
            raise GatewiseError("no feed-forward block of the model was swapped, so there is nothing to heal")
        self._grads = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for parameter in self.trained.values():
            parameter.requires_grad_(True)

    def restore(self) -> None:
        for parameter, requires_grad in self._grads:
            parameter.requires_grad_(requires_grad)
            parameter.grad = None

    def loss(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            wanted = _outputs(self.original, self.paths, [old for old, _ in self.pairs], batch)
        given = _outputs(self.model, self.paths, [new for _, new in self.pairs], batch)
        shares = [
            (mine.float() - theirs.float()).square().mean() / theirs.float().square().mean().clamp_min(1e-30)
            for mine, theirs in zip(given, wanted, strict=True)
        ]
        return torch.stack(shares).mean()

    def loss_on(self, batches: list[Batch]) -> float:
        value = sum(float(self.loss(batch)) for batch in batches) / len(batches)
        if not math.isfinite(value):
            raise GatewiseError("the healing's loss is not finite; give a lower learning_rate")
        return value

    def step(self, batch: Batch, progress: Progress, rate: float) -> None:
        """One step of Adam (Kingma & Ba 2014: 0.9, 0.999, 1e-8) in float32, whatever the parameters' dtype."""
        with torch.enable_grad():
            loss = self.loss(batch)
            gradients = torch.autograd.grad(loss, list(self.trained.values()), materialize_grads=True)
        if not bool(torch.isfinite(loss)):
            raise GatewiseError(
                f"the healing's loss is not finite at step {progress.step + 1}; give a lower learning_rate"
            )
        count = progress.step + 1
        for (name, parameter), gradient in zip(self.trained.items(), gradients, strict=True):
            first = progress.first[name].lerp_(gradient.float(), 0.1)
            second = progress.second[name].mul_(0.999).addcmul_(gradient.float(), gradient.float(), value=0.001)
            size = (second / (1 - 0.999**count)).sqrt_().add_(1e-8)
            moved = parameter.data.float() - rate * (first / (1 - 0.9**count)) / size
            parameter.data.copy_(moved)


@contextmanager
def _listening(modules: list[nn.Module], seen: list[list[Tensor]]) -> Generator[None]:
    handles = [
        module.register_forward_hook(lambda _module, _inputs, output, kept=kept: kept.append(output))
        for module, kept in zip(modules, seen, strict=True)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _outputs(model: nn.Module, paths: list[str], modules: list[nn.Module], batch: Batch) -> list[Tensor]:
    """What each module gave, then the main output, as rows."""
    seen: list[list[Tensor]] = [[] for _ in modules]
    with _listening(modules, seen):
        answer = main_output(call(model, batch))
    found = [
        torch.cat([rows(part, batch, path) for part in parts]) for path, parts in zip(paths, seen, strict=True) if parts
    ]
    return [*found, rows(answer, batch)]
