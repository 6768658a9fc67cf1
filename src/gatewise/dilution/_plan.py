"""The plan of a dilution study: the same arms at every level, in two dtypes, from one token to two thousand."""

from gatewise.activations import get
from gatewise.core import GatewiseError, unknown_name
from gatewise.study import Arm, Measure, Part, Plan, Subject

LEVELS = ("operator", "ffn", "layer", "model", "request")
DTYPES = ("float32", "bfloat16")
VALID_DTYPES = (*DTYPES, "float16")
TOKENS = (1, 16, 128, 2048)
BASELINE = "gelu"
WITHOUT = "identity"
"""The arm without an activation: what it saves is the activation's share."""

ARMS = ("relu", "swiglu")
BUDGET_S = 900.0
SIZES = {"dim": 384, "layers": 2, "heads": 6, "context": 2048}
"""Blocks as wide as a small sentence encoder's; few of them, so that 2,048 tokens fit the default budget."""


def plan(
    *,
    arms: tuple[str, ...] = ARMS,
    levels: tuple[str, ...] = LEVELS,
    dtypes: tuple[str, ...] = DTYPES,
    tokens: tuple[int, ...] = TOKENS,
    threads: int = 1,
    budget_s: float = BUDGET_S,
    options: dict[str, int] | None = None,
    seed: int = 0,
) -> Plan:
    """A part for each level and dtype; every arm, GELU first, and the identity in its place.

    `options` are sizes of the workload `levels` that differ from `SIZES`: dim, layers, heads, context.

    Raises:
        GatewiseError: a level, dtype or activation that is unknown, no arms.
    """
    for kind, given, valid in (("level", levels, LEVELS), ("dtype", dtypes, (*DTYPES, "float16"))):
        for name in given:
            if name not in valid:
                raise unknown_name(kind, name, valid)
    wanted = tuple(name for name in arms if name not in (BASELINE, WITHOUT))
    if not wanted or not levels or not dtypes:
        raise GatewiseError("a dilution needs at least one arm beside gelu, one level and one dtype")
    for name in wanted:
        get(name)
    sizes = SIZES | {"context": max(SIZES["context"], *tokens, 1)} | (options or {})
    parts = tuple(
        Part(
            name=f"{level}/{dtype}",
            subject=Subject(workload="levels", options={"level": level, **sizes}),
            arms=tuple(Arm(name=name) for name in (BASELINE, WITHOUT, *wanted)),
            measure=Measure(metrics=("latency",), batch=(1,), tokens=tokens, threads=(threads,), dtype=dtype),
        )
        for level in levels
        for dtype in dtypes
    )
    return Plan(name="dilution: from the operator to the request", parts=parts, budget_s=budget_s, seed=seed)
