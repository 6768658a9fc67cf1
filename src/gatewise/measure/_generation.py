"""Writing text token by token: the calls that are timed, the cache in bytes, perplexity, and continuations to read.

Shapes: B batch, T tokens of the prompt, N new tokens, V vocabulary.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from gatewise import surgery
from gatewise.core import GatewiseError
from gatewise.workloads import Generative, Workload

NEW_TOKENS = 16
"""How many tokens one decode call writes for each item."""


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One arm's generation from one prompt, as calls that can be timed in any order with those of other arms.

    Attributes:
        first_token: read the prompt and pick the first token; returns it, [B]. Its time is the time to first token.
        decode: write `new_tokens` more, greedily, from the cache of the prompt; returns them, [B, N]. The cache is made
            beforehand and never changed, so every call does the same work.
        batch, tokens, new_tokens: the size of the prompt, and what a decode call writes for each item.
        cache_bytes: keys and values of the prompt, exactly as many bytes as their tensors have.
        cache_bytes_per_token: those of one token of one item.
    """

    first_token: Callable[[], Tensor]
    decode: Callable[[], Tensor]
    batch: int
    tokens: int
    new_tokens: int
    cache_bytes: int
    cache_bytes_per_token: float

    def prefill_rate(self, seconds: float) -> float:
        """Prompt tokens per second of a `first_token` call that took so long."""
        return self.batch * self.tokens / seconds

    def decode_rate(self, seconds: float) -> float:
        """New tokens per second, over all items, of a `decode` call that took so long."""
        return self.batch * self.new_tokens / seconds


def generation(workload: Workload, model: nn.Module, inputs: Any, *, new_tokens: int = NEW_TOKENS) -> Generation:
    """The timed calls of one arm for a prompt of `workload.inputs`. The prompt is read once here, for its cache.

    Raises `GatewiseError` for a workload that does not generate, and where prompt and continuation exceed its context.
    """
    made = generative(workload)
    if new_tokens < 1:
        raise GatewiseError(f"at least one new token is needed, got {new_tokens!r}")
    batch, tokens = _size(inputs)
    # The last token that is written is not read again.
    if tokens + new_tokens > made.context:
        raise GatewiseError(
            f"{made.name} holds {made.context} tokens: {tokens} of the prompt and {new_tokens} new ones do not fit"
        )
    with torch.inference_mode():
        logits_BV, cache = made.prefill(model, inputs)
        start_B = logits_BV.argmax(-1)
    held = sum(tensor.nbytes for tensor in made.cache_tensors(cache))

    def first_token() -> Tensor:
        with torch.inference_mode():
            return made.prefill(model, inputs)[0].argmax(-1)

    def decode() -> Tensor:
        with torch.inference_mode():
            token_B, kept = start_B, cache
            written: list[Tensor] = []
            for _ in range(new_tokens):
                logits_BV, kept = made.decode(model, kept, token_B)
                token_B = logits_BV.argmax(-1)
                written.append(token_B)
            return torch.stack(written, dim=1)

    return Generation(
        first_token=first_token,
        decode=decode,
        batch=batch,
        tokens=tokens,
        new_tokens=new_tokens,
        cache_bytes=held,
        cache_bytes_per_token=held / (batch * tokens),
    )


def generative(workload: Workload) -> Generative:
    """The workload itself where it generates. Raises `GatewiseError` where it does not."""
    if not isinstance(workload, Generative):
        raise GatewiseError(f"{workload.name} does not write text token by token\nvalid: byte-lm, causal-lm")
    return workload


def _size(inputs: Any) -> tuple[int, int]:
    ids = inputs.get("input_ids") if isinstance(inputs, dict) else None
    if not isinstance(ids, Tensor) or ids.dim() != 2:
        raise GatewiseError("a prompt is a dict with input_ids, shape [B, T]")
    return ids.shape[0], ids.shape[1]


@dataclass(frozen=True, kw_only=True)
class Perplexity:
    """How well a model predicts held-out text.

    Attributes:
        bits: the mean loss of each held-out window, in bits per token, in their fixed order: equal for all arms, so
            that they can be compared in pairs.
    """

    bits: tuple[float, ...]

    @property
    def value(self) -> float:
        """2 to the mean loss: among how many equally likely tokens the model, on average, has to choose."""
        return 2.0 ** fmean(self.bits)


def perplexity(workload: Workload, model: nn.Module) -> Perplexity:
    """Perplexity on the held-out text of a workload that has `heldout_batches` and `token_losses`.

    Raises `GatewiseError` for weights that are not marked as trained (see `surgery.mark_weights`), and for a workload
    without held-out text.
    """
    made: Any = generative(workload)
    if not all(hasattr(made, name) for name in ("heldout_batches", "token_losses")):
        raise GatewiseError(f"{workload.name} has no held-out text to predict: its weights are random")
    _check_trained("perplexity", model)
    with torch.inference_mode():
        losses = [made.token_losses(model, batch).mean(dim=1) for batch in made.heldout_batches()]
    bits = tuple(float(value) for value in torch.cat(losses).double().tolist())
    return Perplexity(bits=bits)


def _check_trained(what: str, model: nn.Module) -> None:
    state = surgery.weights_state(model)
    if state not in ("trained", "converted"):
        raise GatewiseError(f"{what} needs trained weights, and these are {state}: train the model first")


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """One prompt and what each arm writes after it, by label."""

    prompt: str
    texts: dict[str, str]


def continuations(
    workload: Workload,
    models: Mapping[str, nn.Module],
    inputs: Any,
    *,
    new_tokens: int = 64,
    temperature: float = 0.8,
    seed: int = 0,
) -> tuple[Continuation, ...]:
    """What each arm writes after the same prompts, side by side, as text to read; it is no measurement.

    All arms are given the same random numbers, one for each item and position, so that they part only where their
    probabilities do. Temperature 0 takes the likeliest token. The global generator is neither read nor moved.

    Raises `GatewiseError` for a workload or weights without text, and where the continuation exceeds the context.
    """
    made = generative(workload)
    batch, tokens = _size(inputs)
    if new_tokens < 1 or tokens + new_tokens > made.context:
        room = made.context - tokens
        raise GatewiseError(f"{made.name} has room for 1 to {room} tokens after this prompt, not {new_tokens}")
    if not 0.0 <= temperature < float("inf"):
        raise GatewiseError(f"temperature must be a number of at least 0, got {temperature!r}")
    for model in models.values():
        _check_trained("text", model)
    prompts = [made.text(row) for row in inputs["input_ids"].tolist()]
    draws_NB = torch.rand((new_tokens, batch), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    written = {label: _sample(made, model, inputs, draws_NB, temperature) for label, model in models.items()}
    return tuple(
        Continuation(prompt=prompt, texts={label: made.text(rows[item]) for label, rows in written.items()})
        for item, prompt in enumerate(prompts)
    )


def _sample(made: Generative, model: nn.Module, inputs: Any, draws_NB: Tensor, temperature: float) -> list[list[int]]:
    """The tokens that one arm writes, a list for each item."""
    written: list[Tensor] = []
    with torch.inference_mode():
        logits_BV, cache = made.prefill(model, inputs)
        for number, draw_B in enumerate(draws_NB):
            if number:
                logits_BV, cache = made.decode(model, cache, written[-1])
            written.append(_pick(logits_BV, draw_B, temperature))
    return torch.stack(written, dim=1).tolist()


def _pick(logits_BV: Tensor, draw_B: Tensor, temperature: float) -> Tensor:
    """The token at which the probabilities, added up in the tokens' order, pass the drawn number."""
    if temperature == 0.0:
        return logits_BV.argmax(-1)
    shares_BV = torch.softmax(logits_BV.double() / temperature, dim=-1).cumsum(-1)
    draw_B1 = (draw_B.to(shares_BV.device).unsqueeze(1) * shares_BV[:, -1:]).contiguous()
    return torch.searchsorted(shares_BV.contiguous(), draw_B1, right=True).squeeze(1).clamp(max=logits_BV.shape[1] - 1)
