"""Writing token by token: the cache against the full pass, the timed calls, perplexity, continuations."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewise import measure, surgery, train
from gatewise.core import GatewiseError
from gatewise.workloads import Generative, workload
from gatewise.workloads._byte_lm import ByteLMWorkload

SMALL = ByteLMWorkload(
    data="synthetic", dim=16, layers=2, heads=2, context=48, batch=4, heldout_windows=12, heldout_batch=4
)


def untrained(arm: str = "gelu", made: ByteLMWorkload = SMALL) -> torch.nn.Module:
    return made.fresh(arm, seed=0).eval()


@pytest.fixture(scope="module")
def trained() -> dict[str, torch.nn.Module]:
    models: dict[str, torch.nn.Module] = {}
    for arm in ("gelu", "swiglu"):
        model = SMALL.fresh(arm, seed=0)
        step = train.step_runner(SMALL, arm, seed=0, plan=train.TrainPlan(steps=200), model=model)
        for _ in range(60):
            step()
        surgery.mark_weights(model.eval(), "trained")
        models[arm] = model
    return models


# -- byte-lm's cache


@pytest.mark.parametrize("recent", [0, 3])
@pytest.mark.parametrize("arm", ["gelu", "swiglu"])
@given(cuts=st.lists(st.integers(1, 12), min_size=1, max_size=6), seed=st.integers(0, 100))
@settings(max_examples=15)
def test_reading_in_pieces_gives_the_logits_of_the_full_pass(arm: str, recent: int, cuts: list[int], seed: int) -> None:
    made = ByteLMWorkload(dim=16, layers=2, heads=2, context=72, recent=recent)
    model = made.fresh(arm, seed=0).eval()
    ids = made.inputs(2, sum(cuts), seed)["input_ids"]
    with torch.inference_mode():
        full = model(ids)
        cache, read = None, 0
        for cut in cuts:
            logits, cache = model.read(ids[:, read : read + cut], cache)
            read += cut
            torch.testing.assert_close(logits, full[:, read - 1], rtol=1e-4, atol=1e-5)
    assert cache is not None
    assert cache.tokens == read
    assert [tuple(tensor.shape) for tensor in made.cache_tensors(cache)] == [(2, 2, read, 8)] * 4


def test_a_cache_is_a_value() -> None:
    model, ids = untrained(), SMALL.inputs(2, 20, 0)["input_ids"]
    with torch.inference_mode():
        _, cache = SMALL.prefill(model, {"input_ids": ids})
        before = [tensor.clone() for tensor in SMALL.cache_tensors(cache)]
        one, longer = SMALL.decode(model, cache, ids[:, 0])
        SMALL.decode(model, cache, ids[:, 1])
        other, _ = SMALL.decode(model, cache, ids[:, 0])
    assert torch.equal(one, other)
    assert all(torch.equal(a, b) for a, b in zip(before, SMALL.cache_tensors(cache), strict=True))
    assert (cache.tokens, longer.tokens) == (20, 21)


def test_the_context_is_a_limit_and_foreign_models_are_refused() -> None:
    with torch.inference_mode():
        _, cache = SMALL.prefill(untrained(), SMALL.inputs(1, 48, 0))
        with pytest.raises(GatewiseError, match="holds 48 bytes: 48 are read, 1 more do not fit"):
            SMALL.decode(untrained(), cache, torch.zeros(1, dtype=torch.long))
    with pytest.raises(GatewiseError, match="this is a Linear"):
        SMALL.prefill(torch.nn.Linear(1, 1), SMALL.inputs(1, 4, 0))


def test_swapped_arms_generate_too(tmp_path) -> None:
    model, _ = SMALL.build("geglu", matching="params", seed=0)
    SMALL.save(model, tmp_path)
    loaded = SMALL.load(tmp_path)
    calls = measure.generation(SMALL, loaded, SMALL.inputs(2, 8, 0), new_tokens=3)
    assert calls.decode().shape == (2, 3)


# -- the timed calls


def test_calls_write_what_full_passes_write_and_repeat() -> None:
    model, inputs = untrained(), SMALL.inputs(3, 10, 0)
    calls = measure.generation(SMALL, model, inputs, new_tokens=5)
    first, written = calls.first_token(), calls.decode()
    assert torch.equal(calls.decode(), written)
    assert torch.equal(calls.first_token(), first)
    ids = inputs["input_ids"]
    with torch.inference_mode():
        for token in [first, *written.T]:
            assert torch.equal(model(ids)[:, -1].argmax(-1), token)
            ids = torch.cat((ids, token[:, None]), dim=1)


def test_the_calls_stand_in_the_timing_loop_side_by_side() -> None:
    inputs = SMALL.inputs(1, 10, 0)
    arms = {arm: measure.generation(SMALL, untrained(arm), inputs, new_tokens=2) for arm in ("gelu", "swiglu")}
    before = {label: calls.decode() for label, calls in arms.items()}
    effort = measure.Effort(seconds=0.0, fewest=2)
    times = measure.interleave({label: calls.decode for label, calls in arms.items()}, effort=effort, seed=0)
    assert {len(values) for values in times.values_s.values()} == {4}
    assert all(torch.equal(calls.decode(), before[label]) for label, calls in arms.items())


def test_cache_bytes_are_exact_and_rates_are_counts_over_seconds() -> None:
    calls = measure.generation(SMALL, untrained(), SMALL.inputs(3, 10, 0))
    # keys and values, layers, batch, tokens, width, bytes of a float32
    assert calls.cache_bytes == 2 * 2 * 3 * 10 * 16 * 4
    assert calls.cache_bytes_per_token == 2 * 2 * 16 * 4
    assert (calls.batch, calls.tokens, calls.new_tokens) == (3, 10, measure.NEW_TOKENS)
    assert calls.prefill_rate(0.5) == 60.0
    assert calls.decode_rate(0.5) == 3 * 16 / 0.5
    half = measure.generation(SMALL, untrained().bfloat16(), SMALL.inputs(3, 10, 0))
    assert half.cache_bytes == calls.cache_bytes // 2


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen"])
def test_shared_heads_make_a_smaller_cache(family: str) -> None:
    pytest.importorskip("transformers")
    made = workload(
        name="causal-lm",
        options={"family": family, "dim": 32, "layers": 3, "heads": 4, "vocab": 50, "context": 32},
    )
    model, _ = made.build("swiglu", matching="params", seed=0)
    calls = measure.generation(made, model, made.inputs(2, 7, 0), new_tokens=4)
    heads = 4 if family == "gpt2" else 1
    assert calls.cache_bytes == 2 * 3 * 2 * 7 * heads * 8 * 4
    assert torch.equal(calls.decode(), calls.decode())
    assert calls.first_token().shape == (2,)


@pytest.mark.parametrize(
    ("tokens", "new", "words"),
    [(40, 9, "48 tokens: 40 of the prompt and 9 new ones do not fit"), (4, 0, "at least one new token")],
)
def test_what_does_not_fit_is_refused(tokens: int, new: int, words: str) -> None:
    with pytest.raises(GatewiseError, match=words):
        measure.generation(SMALL, untrained(), SMALL.inputs(1, tokens, 0), new_tokens=new)


def test_other_workloads_do_not_generate() -> None:
    made = workload(name="ffn", options={"dim": 8})
    assert not isinstance(made, Generative)
    with pytest.raises(GatewiseError, match="ffn does not write text token by token\nvalid: byte-lm, causal-lm"):
        measure.generation(made, made.original(), made.inputs(1, 1, 0))


# -- perplexity


def test_perplexity_is_two_to_the_held_out_loss(trained: dict[str, torch.nn.Module]) -> None:
    found = measure.perplexity(SMALL, trained["gelu"])
    assert len(found.bits) == 12
    with torch.no_grad():
        losses = [SMALL.loss(trained["gelu"], batch).item() for batch in SMALL.heldout_batches()]  # of equal size
    assert math.log2(found.value) == pytest.approx(sum(losses) / len(losses), rel=1e-6)
    fresh = SMALL.fresh("gelu", seed=0).eval()
    surgery.mark_weights(fresh, "trained")
    assert found.value < 0.7 * measure.perplexity(SMALL, fresh).value


def test_perplexity_of_weights_that_were_not_trained_is_refused() -> None:
    for model in (SMALL.original(), untrained()):
        with pytest.raises(GatewiseError, match="perplexity needs trained weights, and these are"):
            measure.perplexity(SMALL, model)
    with pytest.raises(GatewiseError, match="causal-lm has no held-out text"):
        measure.perplexity(workload(name="causal-lm"), torch.nn.Linear(1, 1))


# -- continuations


def test_continuations_share_prompts_and_chance(trained: dict[str, torch.nn.Module]) -> None:
    inputs, before = SMALL.inputs(2, 16, 0), torch.random.get_rng_state()
    models = {"gelu": trained["gelu"], "twin": trained["gelu"], "swiglu": trained["swiglu"]}
    one = measure.continuations(SMALL, models, inputs, new_tokens=30, seed=1)
    assert one == measure.continuations(SMALL, models, inputs, new_tokens=30, seed=1)
    assert one != measure.continuations(SMALL, models, inputs, new_tokens=30, seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert [each.prompt for each in one] == [SMALL.text(row) for row in inputs["input_ids"].tolist()]
    for each in one:
        assert each.texts["gelu"] == each.texts["twin"]
        assert len(each.texts["gelu"].encode()) >= 30
    assert any(each.texts["gelu"] != each.texts["swiglu"] for each in one)


def test_temperature_zero_is_greedy(trained: dict[str, torch.nn.Module]) -> None:
    inputs = SMALL.inputs(1, 16, 0)
    calls = measure.generation(SMALL, trained["gelu"], inputs, new_tokens=9)
    greedy = [*calls.first_token().tolist(), *calls.decode()[0].tolist()]
    (found,) = measure.continuations(SMALL, {"a": trained["gelu"]}, inputs, new_tokens=10, temperature=0.0)
    assert found.texts["a"] == SMALL.text(greedy)


def test_tokens_are_drawn_as_often_as_their_probability_says() -> None:
    from gatewise.measure._generation import _pick

    shares = torch.tensor([0.1, 0.0, 0.6, 0.3])
    draws = torch.linspace(0, 1, 10_001, dtype=torch.float64)[:-1]
    picked = _pick(shares.log().expand(10_000, 4), draws, 1.0)
    counts = torch.bincount(picked, minlength=4) / 10_000
    torch.testing.assert_close(counts, shares, rtol=0, atol=2e-4)
    cold = _pick(shares.log().expand(10_000, 4), draws, 0.5)
    expected = shares.square() / shares.square().sum()
    torch.testing.assert_close(torch.bincount(cold, minlength=4) / 10_000, expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"new_tokens": 33}, "room for 1 to 32 tokens after this prompt, not 33"),
        ({"temperature": -1.0}, "temperature must be"),
        ({"temperature": float("nan")}, "temperature must be"),
    ],
)
def test_wrong_settings_of_continuations_are_refused(
    change: dict[str, float], words: str, trained: dict[str, torch.nn.Module]
) -> None:
    with pytest.raises(GatewiseError, match=words):
        measure.continuations(SMALL, trained, SMALL.inputs(1, 16, 0), **{"new_tokens": 4, **change})  # pyright: ignore[reportArgumentType]
    with pytest.raises(GatewiseError, match="text needs trained weights"):
        measure.continuations(SMALL, {"a": SMALL.original()}, SMALL.inputs(1, 16, 0), new_tokens=2)
