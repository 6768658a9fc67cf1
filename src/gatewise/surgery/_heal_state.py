"""The state of a healing: in memory, and in a folder as safetensors and JSON."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gatewise.core import GatewiseError

from ._fit_inputs import Batch

SCHEMA = "gatewise.healing/1"
STATE = "healing.json"
_GROUPS = ("weights", "best", "first", "second")

Trained = Mapping[str, nn.Parameter]


@dataclass(kw_only=True)
class Progress:
    """Where a healing is.

    Attributes:
        step: steps done.
        best: the weights of the best check; `best_loss` and `best_step` belong to it.
        first, second: Adam's running means of the gradients and their squares, float32.
        waited: checks since the best one.
        stopped: why it ended; None while it goes on.
    """

    step: int
    best: dict[str, Tensor]
    first: dict[str, Tensor]
    second: dict[str, Tensor]
    curve: list[tuple[int, float]]
    best_loss: float
    best_step: int = 0
    waited: int = 0
    stopped: str | None = None

    @classmethod
    def start(cls, trained: Trained, loss: float) -> "Progress":
        return cls(
            step=0,
            best=_copies(trained),
            first={name: torch.zeros_like(value, dtype=torch.float32) for name, value in _copies(trained).items()},
            second={name: torch.zeros_like(value, dtype=torch.float32) for name, value in _copies(trained).items()},
            curve=[(0, loss)],
            best_loss=loss,
        )

    def check(self, loss: float, patience: int, steps: int, trained: Trained) -> None:
        """Take the held-out loss of the weights as they are now."""
        self.curve.append((self.step, loss))
        if loss < self.best_loss:
            self.best, self.best_loss, self.best_step, self.waited = _copies(trained), loss, self.step, 0
        else:
            self.waited += 1
        if self.waited >= patience:
            self.stopped = "patience"
        elif self.step >= steps:
            self.stopped = "steps"


def fingerprint(trained: Trained, original: nn.Module, batches: list[Batch], settings: dict[str, Any]) -> str:
    """A hash of everything that a healing depends on: both models at its start, the batches, the settings."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, tensor in [*trained.items(), *original.state_dict().items()]:
        _feed(digest, name, tensor)
    for batch in batches:
        if isinstance(batch, Tensor):
            parts: list[tuple[str, Any]] = [("", batch)]
        else:
            parts = (
                list(batch.items()) if isinstance(batch, Mapping) else [(str(i), part) for i, part in enumerate(batch)]
            )
        for name, part in parts:
            if isinstance(part, Tensor):
                _feed(digest, name, part)
            else:
                digest.update(f"{name}={part!r}".encode())
    return digest.hexdigest()


def write_progress(folder: Path, mark: str, progress: Progress, trained: Trained) -> None:
    """Write the state; a state is complete before the one before it goes. Raises `GatewiseError` where it cannot be."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    groups = {"weights": _copies(trained), "best": progress.best, "first": progress.first, "second": progress.second}
    tensors = {f"{group}:{name}": value.cpu() for group, named in groups.items() for name, value in named.items()}
    name = f"healing-{progress.step}.safetensors"
    state = {
        "schema": SCHEMA,
        "fingerprint": mark,
        "tensors": name,
        "step": progress.step,
        "curve": [list(point) for point in progress.curve],
        "best_loss": progress.best_loss,
        "best_step": progress.best_step,
        "waited": progress.waited,
        "stopped": progress.stopped,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        new = folder / f".{name}.{os.getpid()}"
        save_file(tensors, new)
        state["sha256"] = hashlib.sha256(new.read_bytes()).hexdigest()
        new.replace(folder / name)
        new = folder / f".{STATE}.{os.getpid()}"
        new.write_text(json.dumps(state, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        new.replace(folder / STATE)
        for old in folder.glob("healing-*.safetensors"):
            if old.name != name:
                old.unlink()
    except (OSError, SafetensorError) as error:
        raise GatewiseError(f"cannot write the checkpoint {folder}: {error}") from error


def read_progress(folder: Path, mark: str, trained: Trained) -> Progress | None:
    """The state of a folder, whose weights are put into the parameters; None where there is none yet.

    Raises `GatewiseError` for a broken checkpoint and for one of another model, other batches or other settings.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / STATE
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if state["schema"] != SCHEMA:
            raise GatewiseError(f"{path} has the schema {state['schema']!r}\nvalid: {SCHEMA}")
        if state["fingerprint"] != mark:
            raise GatewiseError(
                f"{folder} holds the checkpoint of another healing: another model, other batches or other settings\n"
                "give the same inputs as then, or another checkpoint folder (on the command line: another --out)"
            )
        file = folder / Path(str(state["tensors"])).name
        if hashlib.sha256(file.read_bytes()).hexdigest() != state["sha256"]:
            raise GatewiseError(f"{file} is not the file that {STATE} was written for (sha256 differs)")
        stored = load_file(file)
        groups = {group: {name: stored[f"{group}:{name}"] for name in trained} for group in _GROUPS}
        progress = Progress(
            step=int(state["step"]),
            best=_like(groups["best"], trained),
            first=_like(groups["first"], trained),
            second=_like(groups["second"], trained),
            curve=[(int(step), float(loss)) for step, loss in state["curve"]],
            best_loss=float(state["best_loss"]),
            best_step=int(state["best_step"]),
            waited=int(state["waited"]),
            stopped=state["stopped"],
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise GatewiseError(f"cannot read the checkpoint {folder}: {error}") from error
    for name, parameter in trained.items():
        parameter.data.copy_(groups["weights"][name])
    return progress


def _copies(trained: Trained) -> dict[str, Tensor]:
    return {
        name: parameter.detach().clone(memory_format=torch.contiguous_format) for name, parameter in trained.items()
    }


def _like(stored: dict[str, Tensor], trained: Trained) -> dict[str, Tensor]:
    return {name: value.to(trained[name].device) for name, value in stored.items()}


def _feed(digest: Any, name: str, tensor: Tensor) -> None:
    plain = tensor.detach().cpu().contiguous()
    digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}".encode())
    if plain.numel():
        digest.update(plain.flatten().view(torch.uint8).numpy().tobytes())
