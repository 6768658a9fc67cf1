"""Repeated calls bit by bit, the stochastic map beside GELU, and calls that run backward."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewise import activations
from gatewise.core import GatewiseError
from gatewise.measure import repeats, same_bits, with_backward
from gatewise.workloads import StochasticGELU, workload

FFN = workload(name="ffn", options={"dim": 8})
OPERATOR = workload(name="operator", options={"dim": 8})
BYTES = workload(name="byte-lm", options={"dim": 16, "layers": 1, "context": 16})


# -- repeats


def test_a_model_repeats_itself_and_a_stochastic_one_does_not() -> None:
    x = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    fixed, random = activations.FeedForward(64, activation="gelu"), StochasticGELU(torch.Generator().manual_seed(0))
    assert repeats(lambda: fixed(x), 5) == [0.0] * 5
    assert repeats(lambda: random(x), 5) == [1.0] * 5


def test_each_repeat_is_compared_with_the_first() -> None:
    answers = iter([1.0, 1.0, 2.0, 1.0, 3.0])
    assert repeats(lambda: torch.tensor(next(answers)), 4) == [0.0, 1.0, 0.0, 1.0]


def test_a_call_that_hands_out_the_same_memory_is_seen_through() -> None:
    out = torch.zeros(3)
    assert repeats(lambda: out.add_(1.0), 3) == [1.0] * 3


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (torch.tensor([0.0]), torch.tensor([-0.0]), False),
        (torch.tensor([math.nan]), torch.tensor([math.nan]), True),
        (torch.tensor([1.0]), torch.tensor([1.0 + 2**-23]), False),
        (torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64), False),
        (torch.zeros(2, 3), torch.zeros(3, 2), False),
        (torch.eye(3), torch.eye(3).T, True),
        (torch.tensor(1.0), torch.tensor(1.0), True),
        (torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16), True),
    ],
)
def test_bits_are_compared_and_not_numbers(one: torch.Tensor, other: torch.Tensor, same: bool) -> None:
    assert same_bits(one, other) is same


def test_no_repeat_says_nothing() -> None:
    with pytest.raises(GatewiseError, match="at least one repeat"):
        repeats(lambda: torch.zeros(1), 0)


# -- the stochastic map


def test_gelu_is_the_expectation_of_the_stochastic_map() -> None:
    """Each x is kept in a share of the draws that lies within 5 standard errors of Phi(x)."""
    draws = 20_000
    x = torch.tensor([-3.0, -1.5, -0.75, -0.1, 0.1, 0.75, 1.5, 3.0])
    made = StochasticGELU(torch.Generator().manual_seed(1))
    answers = made(x.expand(draws, -1))
    assert bool(((answers == 0) | (answers == x)).all())
    reference = torch.from_numpy(activations.get("gelu").reference(x.double().numpy()))
    phi = reference / x.double()
    error = x.abs().double() * (phi * (1 - phi) / draws).sqrt()
    assert bool(((answers.double().mean(0) - reference).abs() <= 5 * error).all())
    # The bound is tight enough to tell GELU from its neighbours.
    silu = torch.nn.functional.silu(x.double())
    assert bool(((answers.double().mean(0) - silu).abs() > 5 * error).any())


@given(st.integers(0, 2**31), st.sampled_from([torch.float32, torch.bfloat16, torch.float64]))
@settings(max_examples=20, deadline=None)
def test_the_map_keeps_shape_and_dtype_and_follows_its_generator(seed: int, dtype: torch.dtype) -> None:
    x = torch.linspace(-4, 4, 24, dtype=dtype).reshape(2, 3, 4)
    one, two = (StochasticGELU(torch.Generator().manual_seed(seed))(x) for _ in range(2))
    assert same_bits(one, two)
    assert one.shape == x.shape
    assert one.dtype == dtype


def test_the_stochastic_map_is_no_arm() -> None:
    assert not [name for name in activations.names() if "soi" in name or "stochastic" in name]


# -- backward


@pytest.mark.parametrize("arm", ["gelu", "swiglu"])
def test_the_gradients_are_those_of_the_sum(arm: str) -> None:
    model = FFN.build(arm, matching="params", seed=0)[0]
    x = FFN.inputs(2, 3, 0)
    call = with_backward(FFN.run)
    outputs = [call(model, x) for _ in range(3)]  # gradients do not add up over calls
    assert all(torch.equal(output, model(x).flatten(1)) for output in outputs)
    assert not outputs[0].requires_grad
    assert not x.requires_grad
    found = [parameter.grad for parameter in model.parameters()]
    expected = torch.autograd.grad(model(x).sum(), list(model.parameters()))
    assert all(a is not None and torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(("arm", "key"), [("gelu", "x_BTD"), ("swiglu", "gate_up_BTE")])
def test_inputs_take_gradients_where_there_are_no_parameters(arm: str, key: str) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    def run(model: torch.nn.Module, inputs: Any) -> torch.Tensor:
        seen.append(inputs)
        return OPERATOR.run(model, inputs)

    inputs = OPERATOR.inputs(2, 3, 0)
    with_backward(run)(OPERATOR.build(arm, matching="params", seed=0)[0], inputs)
    assert all(tensor.grad is None for tensor in inputs.values())
    gradients = {name: tensor.grad for name, tensor in seen[0].items()}
    assert [name for name, gradient in gradients.items() if gradient is not None] == [key]
    assert seen[0][key].data_ptr() == inputs[key].data_ptr()


@pytest.mark.parametrize("made", [FFN, BYTES], ids=["ffn", "byte-lm"])
def test_a_backward_call_works_where_the_loop_forbids_gradients(made: Any) -> None:
    model, inputs = made.original(), made.inputs(2, 4, 0)
    with torch.inference_mode():
        with_backward(made.run)(model, inputs)
        assert torch.is_inference_mode_enabled()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_tuples_are_passed_through() -> None:
    def run(model: torch.nn.Module, inputs: Any) -> torch.Tensor:
        x, index = inputs
        assert x.requires_grad
        assert index.dtype == torch.long
        return model(x)[index]

    assert with_backward(run)(torch.nn.Identity(), (torch.ones(3), torch.tensor([0, 2]))).tolist() == [1.0, 1.0]


def test_nothing_to_learn_is_refused() -> None:
    with pytest.raises(GatewiseError, match="no gradient to time"):
        with_backward(lambda model, inputs: inputs.float())(torch.nn.Identity(), torch.zeros(2, dtype=torch.long))
