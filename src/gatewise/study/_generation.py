"""Text written token by token in a study: the calls that are timed, caches in bytes, and continuations to read."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from gatewise import measure, surgery
from gatewise.core import GatewiseError
from gatewise.workloads import Generative, Workload

from ._cells import cells
from ._plan import GENERATED, Part
from ._runs import threads
from ._spoken import TEMPERATURE

WRITING = ("first_token", "decode")
PROMPTS, PROMPT_TOKENS, NEW_TOKENS = 3, 48, 64


def check_generation(part: Part, made: Workload) -> None:
    """Raises `GatewiseError` where text is asked of a model that writes none, or more of it than its context holds."""
    if part.measure is None or not any(name in GENERATED for name in part.measure.metrics):
        return
    found = measure.generative(made)
    for arm in part.arms:
        if arm.runtime not in ("", "eager"):
            raise GatewiseError(f"text is written in eager, and the arm {arm.label!r} asks for {arm.runtime!r}")
    for tokens in part.measure.tokens:
        if tokens + measure.NEW_TOKENS > found.context:
            raise GatewiseError(
                f"{made.name} holds {found.context} tokens: a prompt of {tokens} and {measure.NEW_TOKENS} new ones do "
                "not fit\ngive fewer with measure.tokens, or more with the option context"
            )


def written(made: Workload, model: nn.Module, inputs: Any, call: str) -> Callable[[], object]:
    """The timed call of one arm: its first token, or the tokens after it."""
    found = measure.generation(made, model, inputs)
    return found.first_token if call == "first_token" else found.decode


def cache_bytes(part: Part, made: Workload, model: nn.Module, *, seed: int) -> dict[str, int]:
    """Bytes of keys and values after the prompt, by condition; empty where they were not asked for."""
    if part.measure is None or "kv_cache_bytes" not in part.measure.metrics:
        return {}
    return {
        f"batch={batch} tokens={tokens}": measure.generation(made, model, made.inputs(batch, tokens, seed)).cache_bytes
        for batch in part.measure.batch
        for tokens in part.measure.tokens
    }


def prices(part: Part, made: Workload, model: nn.Module, *, seed: int) -> dict[str, float]:
    """Seconds of one call of the baseline for every cell that writes text, by condition and call."""
    found: dict[str, float] = {}
    for cell in cells(part.measure) if part.measure else ():
        if cell.call in WRITING:
            call = written(made, model, made.inputs(cell.batch, cell.tokens, seed), cell.call)
            with threads(1):  # as every price: on a machine that others use, several threads wait for each other
                call()
                start = time.perf_counter()
                call()
                found[f"{cell.batch}x{cell.tokens} {cell.call}"] = time.perf_counter() - start
    return found


def speak(made: Workload, model: nn.Module) -> list[dict[str, str]]:
    """What a model that was just trained writes after fixed held-out prompts; the same draws for every arm."""
    batches: Any = getattr(made, "heldout_batches", None)
    if not isinstance(made, Generative) or batches is None:
        return []
    tokens = min(PROMPT_TOKENS, made.context // 2)
    new = min(NEW_TOKENS, made.context - tokens)
    prompts: torch.Tensor = batches()[0][0][:PROMPTS, :tokens]
    model.eval()
    surgery.mark_weights(model, "trained")
    found = measure.continuations(
        made, {"": model}, {"input_ids": prompts}, new_tokens=new, temperature=TEMPERATURE, seed=0
    )
    return [{"prompt": each.prompt, "text": each.texts[""]} for each in found]
