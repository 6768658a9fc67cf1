"""What a version answers to labelled items, one item a call: right or wrong, and with how much confidence.

The workload's own quality decides what is right; its model calls are routed through the runtime, one item at a time and
without padding, which is how they are timed. Confidence is the largest softmax probability of the class scores, or,
for outputs without classes, the distance between a ridge probe's best and second best answer.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gatewise.core import GatewiseError, num_cores

from ._subject import running

if TYPE_CHECKING:
    from torch import Tensor

    from gatewise.workloads import Workload

SOFTMAX = "largest softmax probability"
MARGIN = "distance between the probe's two best answers"
PROBE = "ridge probe"


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version: a model with its labelled data, what executes it, on how many threads.

    Attributes:
        model: a workload's name, a model folder, or `package.module:function` that returns labels too.
        data, text, target: a CSV or JSONL file with its text and label columns, for a text model.
    """

    model: str
    runtime: str = "eager"
    threads: int = 1
    data: str = ""
    text: str = ""
    target: str = ""

    def __post_init__(self) -> None:
        if type(self.threads) is not int or not 1 <= self.threads <= num_cores():
            raise GatewiseError(f"threads must be from 1 to {num_cores()} here, not {self.threads!r}")
        if bool(self.data) != bool(self.text and self.target):
            raise GatewiseError("labelled texts take all three: data=FILE.csv, text=COLUMN and target=COLUMN")


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The held-out items, answered.

    Attributes:
        correct, confidence: per item. `measure`: what `correct` is; `confidence_is`: what `confidence` is.
        calls: one call per item, exactly as it was answered.
        chance: what always giving the most frequent answer scores.
        data: the hash of the workload's data, None where it has none.
    """

    correct: tuple[float, ...]
    confidence: tuple[float, ...]
    measure: str
    confidence_is: str
    calls: tuple[Callable[[], object], ...]
    implementation: str
    notes: tuple[str, ...]
    chance: float
    data: str | None


def answers(version: Version) -> Answers:
    """Load a version and let it answer every item.

    Raises:
        GatewiseError: a model without labelled items, or without trained weights; outputs that give no confidence;
            what loading and preparing raise.
    """
    import torch

    from gatewise import surgery
    from gatewise.runtimes import Task, check_runtime, prepare

    check_runtime(version.runtime)
    made = _opened(version)
    torch.set_num_threads(version.threads)
    model = made.original().eval()
    state = surgery.weights_state(model)
    if state in ("untrained", "grafted"):
        raise GatewiseError(f"the weights of {version.model} are {state}: its answers say nothing; train it first")
    with torch.inference_mode():
        trim = getattr(made, "labelled", None) is not None
        example = _rows(made.probe()[0], trim=trim)[0]
        task = Task(model=model, run=made.run, example=example, threads=version.threads)
        prepared = prepare(version.runtime, task)
        items: list[Any] = []
        outputs: list[Tensor] = []

        def one_by_one(_: object, inputs: Any) -> "Tensor":
            rows = _rows(inputs, trim=trim)
            with running(version.model, version.runtime):
                found = [prepared.call(row) for row in rows]
            items.extend(rows)
            outputs.extend(found)
            return torch.cat(found)

        routed = copy.copy(made)
        object.__setattr__(routed, "run", one_by_one)  # some workloads are frozen
        quality = routed.quality(model)
    if quality is None:
        raise GatewiseError(
            f"{version.model} has no labelled answers, so no threshold can be chosen\nvalid: a model folder with --set "
            "data=FILE.csv, text=COLUMN and target=COLUMN, or a module:function that returns (model, inputs, labels)"
        )
    held_out = len(quality.scores)
    confidence, named = _confidence(made, quality.name, torch.cat(outputs), held_out)
    return Answers(
        correct=quality.scores,
        confidence=confidence,
        measure=quality.name,
        confidence_is=named,
        calls=tuple(_call(prepared.call, row, version.threads) for row in items[-held_out:]),
        implementation=prepared.implementation,
        notes=prepared.notes,
        chance=quality.chance,
        data=made.facts().get("data", {}).get("sha256"),
    )


def _call(run: "Callable[[Any], Tensor]", row: Any, threads: int) -> Callable[[], object]:
    import torch

    def call() -> object:
        torch.set_num_threads(threads)  # the two versions may have different numbers of them
        return run(row)

    return call


def _opened(version: Version) -> "Workload":
    """The workload; a text model of the table takes data of the user's own too, through its folder."""
    from gatewise.workloads import WORKLOADS, workload

    named = version.model in WORKLOADS
    model = version.model
    if named:
        found = workload(name=model)
        if not version.data:
            return found
        model = str(getattr(found, "folder", ""))
        if not model:
            raise GatewiseError(f"data goes with a text model, and {version.model} is none")
    return workload(model=model, data=version.data, text=version.text, target=version.target)


def _rows(inputs: Any, *, trim: bool) -> list[Any]:
    """A batch as calls of one item each; `trim` takes the padding away."""
    if isinstance(inputs, dict):
        count = len(next(iter(inputs.values())))
        rows: list[Any] = [{key: tensor[i : i + 1] for key, tensor in inputs.items()} for i in range(count)]
        return [_trimmed(row) for row in rows] if trim else rows
    if isinstance(inputs, tuple):
        return [tuple(tensor[i : i + 1] for tensor in inputs) for i in range(len(inputs[0]))]
    return [inputs[i : i + 1] for i in range(len(inputs))]


def _trimmed(row: dict[str, Any]) -> dict[str, Any]:
    width = max(int(row["attention_mask"].sum()), 1)
    return {key: tensor[:, :width].contiguous() for key, tensor in row.items()}


def _confidence(made: Any, measure: str, outputs: "Tensor", held_out: int) -> tuple[tuple[float, ...], str]:
    import torch

    if PROBE in measure:
        return probe_margins(outputs, made.labelled.labels), MARGIN
    scores = outputs[-held_out:].double()
    if scores.shape[1] < 2:
        raise GatewiseError("the model gives one number an item: a confidence takes the scores of two classes or more")
    if not bool(torch.isfinite(scores).all()):
        raise GatewiseError("the model's outputs are not finite numbers, so they have no confidence")
    return tuple(scores.softmax(1).amax(1).tolist()), SOFTMAX


def probe_margins(features: "Tensor", labels: tuple[str, ...]) -> tuple[float, ...]:
    """The held-out items' margins under the probe that the workload's quality fits.

    Closed form, float64, features standardised on the first half, ridge = items / 100.
    """
    import torch

    half = len(labels) // 2
    names = sorted(set(labels[:half]))
    x = features.double()
    train = x[:half]
    x = (x - train.mean(0)) / train.std(0).clamp_min(1e-9)
    x = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
    wanted = torch.tensor([names.index(label) for label in labels[:half]])
    y = torch.nn.functional.one_hot(wanted, len(names)).double()
    gram = x[:half].T @ x[:half] + half / 100 * torch.eye(x.shape[1], dtype=x.dtype)
    scores = x[half:] @ torch.linalg.solve(gram, x[:half].T @ y)
    if len(names) < 2:
        raise GatewiseError("the first half of the labelled texts has one label only")
    best = scores.topk(2, dim=1).values
    return tuple((best[:, 0] - best[:, 1]).tolist())
