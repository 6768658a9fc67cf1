"""What a swap did: the record that everything later reads before it shows a number."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from torch import nn

from gatewise.core import GatewiseError, unknown_name

WeightsState = Literal["original", "converted", "grafted", "trained", "untrained"]
_HISTORY = "gatewise_surgery"


@dataclass(frozen=True, kw_only=True)
class Step:
    """The error of one step of a conversion, against the original, on the calibration set.

    For a site, the two outputs are those of its whole FFN (through `down`), on the inputs that it gets in the finished
    model; for a model they are its main output (the tensor itself, `logits`, `last_hidden_state`, or the first one).
    A row is one vector of an output; rows that a mask of the batch calls padding are left out.

    Attributes:
        name: `plain` (constants that need no calibration), `exact`, `scaled`, `fitted`, `reduced`, `healed`.
        rows: how many rows were compared.
        max: the largest absolute difference of two numbers.
        rms: the root of the mean squared difference.
        relative: rms over the root mean square of the original's outputs; None where these are all 0.
        cosine_mean, cosine_least: of the matching rows of a model's outputs; None for sites.
    """

    name: str
    rows: int
    max: float
    rms: float
    relative: float | None
    cosine_mean: float | None = None
    cosine_least: float | None = None


@dataclass(frozen=True, kw_only=True)
class SiteChange:
    """What happened at one site. Widths and parameters are those of its FFN; None and 0 for a bare activation.

    `note` says what a reader of timings must know, such as a fused fast path that no longer applies. `method` is how a
    conversion kept the function (`none`, `exact`, `scaled`, `fitted`; empty where it was not asked to), and `steps` its
    errors, where there was a calibration set.
    """

    path: str
    before: str
    after: str
    parameters_before: int
    parameters_after: int
    hidden_before: int | None
    hidden_after: int | None
    weights_state: WeightsState
    aliases: tuple[str, ...] = ()
    note: str = ""
    method: str = ""
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SurgeryReport:
    """What a swap did to a whole model. Parameters count each shared tensor once.

    `left` holds (path, reason) of every site that was found and not touched. `weights_state` is the state of the new
    model: `original` (nothing changed), `converted` (the function is kept), `grafted` (weights kept, function changed)
    or `untrained` (some weights are new and random), or what the model was before where that is the weaker claim.
    `steps` are the errors of the whole model after each step of a conversion, where there was a calibration set.
    """

    to: str
    sites: tuple[SiteChange, ...]
    left: tuple[tuple[str, str], ...]
    weights_state: WeightsState
    parameters_before: int
    parameters_after: int
    matching: str
    steps: tuple[Step, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data: dicts, lists, strings, numbers and None."""
        data = asdict(self)
        data["sites"] = [
            {**site, "aliases": list(site["aliases"]), "steps": list(site["steps"])} for site in data["sites"]
        ]
        data["left"] = [list(entry) for entry in self.left]
        data["steps"] = list(data["steps"])
        return data


def check_model(model: object) -> None:
    """Raises `GatewiseError` for what is no PyTorch model."""
    if not isinstance(model, nn.Module):
        what = model.__name__ + ", a class" if isinstance(model, type) else type(model).__name__
        raise GatewiseError(f"a model is a torch.nn.Module object, not {what}")


def history(model: nn.Module) -> dict[str, Any]:
    """The surgery record that a model carries: `weights_state`, `edits` and `surgeries`, all plain data."""
    record: dict[str, Any] | None = getattr(model, _HISTORY, None)
    return record if record is not None else {"weights_state": "original", "edits": [], "surgeries": []}


def set_history(model: nn.Module, record: dict[str, Any]) -> None:
    """Put the surgery record on a model."""
    setattr(model, _HISTORY, record)


def weights_state(model: nn.Module) -> WeightsState:
    """What may be said of a model's weights; `original` for one that no surgery has touched."""
    return history(model)["weights_state"]


def mark_weights(model: nn.Module, state: WeightsState) -> None:
    """Record a new weights state, such as `trained` after a training run. Raises `GatewiseError` for an unknown one."""
    if state not in get_args(WeightsState):
        raise unknown_name("weights state", state, get_args(WeightsState))
    set_history(model, {**history(model), "weights_state": state})


def combined(previous: WeightsState, change: WeightsState) -> WeightsState:
    """The state after a change: new random weights outweigh a changed function, which outweighs a kept one."""
    if change == "original" or previous == "untrained" or (change == "converted" and previous == "grafted"):
        return previous
    return change
