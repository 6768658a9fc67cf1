"""The metrics: what each measures, in which unit, which way is good, how it is judged. The only place that says so."""

from dataclasses import dataclass
from typing import Literal

from ._errors import unknown_name

Direction = Literal["lower", "higher"]
Kind = Literal["ratio", "difference"]
Unit = Literal["process", "seed", "item"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One quantity that a study can measure.

    Attributes:
        name: stable name, as in plans and in `result.json`.
        unit: SI or field unit of one raw value.
        direction: whether a lower or a higher value is better.
        kind: `ratio` compares arm / baseline, `difference` compares arm - baseline.
        evidence: what counts as one independent observation: a process, a seed or a data item.
        margin: the default margin, as a fraction for ratios and in `unit` for differences.
        label: what people read.
        exact: an exact count; it is stated and never judged.
    """

    name: str
    unit: str
    direction: Direction
    kind: Kind = "ratio"
    evidence: Unit = "process"
    margin: float = 0.02
    label: str
    exact: bool = False


_ALL = (
    Metric(name="latency", unit="s", direction="lower", label="time per call"),
    Metric(name="throughput", unit="1/s", direction="higher", label="items per second"),
    Metric(name="peak_memory", unit="B", direction="lower", label="peak memory", margin=0.02),
    Metric(name="parameters", unit="1", direction="lower", label="parameters", exact=True),
    Metric(name="flops", unit="FLOP", direction="lower", label="FLOPs per call", exact=True),
    Metric(
        name="output_difference",
        unit="1 - cosine",
        direction="lower",
        kind="difference",
        evidence="item",
        margin=0.001,
        label="how far outputs move",
    ),
    Metric(
        name="quality",
        unit="accuracy",
        direction="higher",
        kind="difference",
        evidence="item",
        margin=0.01,
        label="quality",
    ),
    Metric(
        name="heldout_loss",
        unit="bits/byte",
        direction="lower",
        evidence="seed",
        margin=0.005,
        label="held-out loss at equal steps",
    ),
    Metric(
        name="steps_to_target",
        unit="steps",
        direction="lower",
        evidence="seed",
        margin=0.02,
        label="steps to the target",
    ),
    Metric(name="step_time", unit="s", direction="lower", label="time per training step"),
    Metric(name="time_to_target", unit="s", direction="lower", evidence="seed", label="time to the target"),
    Metric(name="cost", unit="price per million requests", direction="lower", label="cost of a request"),
    Metric(
        name="repeat_difference",
        unit="share",
        direction="lower",
        kind="difference",
        evidence="item",
        margin=0.01,
        label="repeated calls that differ in any bit",
    ),
    Metric(name="gradient_time", unit="s", direction="lower", label="time per forward and backward call"),
    Metric(name="training_memory", unit="B", direction="lower", label="peak memory of training"),
    Metric(
        name="generalisation_gap",
        unit="bits/byte",
        direction="lower",
        kind="difference",
        evidence="seed",
        margin=0.01,
        label="held-out loss above training loss",
    ),
    Metric(
        name="heldout_accuracy",
        unit="accuracy",
        direction="higher",
        kind="difference",
        evidence="seed",
        margin=0.005,
        label="held-out accuracy at equal steps",
    ),
    Metric(
        name="shifted_loss",
        unit="bits/byte",
        direction="lower",
        evidence="seed",
        margin=0.005,
        label="loss on text of another kind",
    ),
    Metric(
        name="slice_gap",
        unit="bits/byte",
        direction="lower",
        kind="difference",
        evidence="seed",
        margin=0.01,
        label="loss of the worst slice above the best",
    ),
    Metric(
        name="gradient_spread",
        unit="1",
        direction="lower",
        evidence="seed",
        margin=0.05,
        label="spread of gradient norms along training",
    ),
    Metric(
        name="curvature_spread",
        unit="1",
        direction="lower",
        evidence="seed",
        margin=0.05,
        label="spread of loss curvature along training",
    ),
    Metric(
        name="dead_units",
        unit="share",
        direction="lower",
        kind="difference",
        evidence="seed",
        margin=0.005,
        label="hidden units without a gradient at the end",
    ),
    Metric(
        name="dead_units_most",
        unit="share",
        direction="lower",
        kind="difference",
        evidence="seed",
        margin=0.005,
        label="hidden units without a gradient at worst",
    ),
    Metric(
        name="saturated_units",
        unit="share",
        direction="lower",
        kind="difference",
        evidence="seed",
        margin=0.01,
        label="share of hidden values where no gradient passes",
    ),
    Metric(
        name="gate_openness",
        unit="share",
        direction="higher",
        kind="difference",
        evidence="seed",
        margin=0.02,
        label="share of hidden values with a positive input",
    ),
    Metric(
        name="largest_hidden",
        unit="1",
        direction="lower",
        evidence="seed",
        margin=0.1,
        label="largest hidden value, for a gate |gate x up|",
    ),
    Metric(name="time_to_first_token", unit="s", direction="lower", label="time to the first token"),
    Metric(name="decode_time", unit="s", direction="lower", label="time of 16 further tokens"),
    Metric(name="tokens_per_second", unit="1/s", direction="higher", label="further tokens per second"),
    Metric(name="kv_cache_bytes", unit="B", direction="lower", label="KV cache after the prompt", exact=True),
    Metric(name="size_bytes", unit="B", direction="lower", label="size of what is loaded", exact=True),
    Metric(name="silent_units", unit="1", direction="lower", label="units never positive", exact=True),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}


def metric(name: str) -> Metric:
    """The metric of that name. Raises `GatewiseError` with the nearest name when there is none."""
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    return METRICS[name]
