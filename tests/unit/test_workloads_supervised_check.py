"""A user's own training class whose model and data do not fit is told so by name, before anything is trained."""

import pytest
import torch
from torch import Tensor, nn

from gatewise.core import GatewiseError
from gatewise.study import to_plan
from gatewise.study._training import prepare_training
from gatewise.workloads import Supervised


class Own(Supervised):
    """Two classes that a linear model tells apart; `found` is what `fresh` gives."""

    name = "mine:Own"

    def __init__(self, found: nn.Module, *, highest: int = 1) -> None:
        self.found, self.highest = found, highest

    def side(self, side: str) -> tuple[Tensor, Tensor]:
        del side
        return torch.eye(70, 3), torch.arange(70) % (self.highest + 1)

    def fresh(self, arm: str, *, seed: int, matching: str = "params") -> nn.Module:
        del arm, seed, matching
        return self.found


def test_a_model_that_fits_passes_and_stays_in_its_mode_and_draws_nothing() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5)).train()
    before = torch.get_rng_state()
    Own(model).check(model, "relu")
    assert model.training
    assert torch.equal(before, torch.get_rng_state())


def test_a_class_beyond_the_logits_and_rows_of_another_width_are_told_in_one_line() -> None:
    for own, why in ((Own(nn.Linear(3, 2), highest=2), "out of bounds"), (Own(nn.Linear(4, 2)), "shapes")):
        with pytest.raises(
            GatewiseError, match=f"mine:Own: the model of relu has no loss on held-out items.*{why}"
        ) as e:
            own.check(own.found, "relu")
        assert "\n" not in str(e.value)


def test_what_is_no_module_is_told() -> None:
    with pytest.raises(GatewiseError, match=r"mine:Own: fresh\('relu'\) must give a torch module, not int"):
        Own(nn.Linear(3, 2)).check(3, "relu")


def test_a_study_of_the_built_in_digits_is_prepared() -> None:
    table = {
        "study": {"arms": ["relu", "swiglu"]},
        "subject": {"workload": "digits"},
        "train": {"seeds": 2, "steps": 40},
    }
    (part,) = to_plan(table).parts
    found = prepare_training(part, seed=0)
    assert {arm: facts["unfair"] for arm, facts in found["arms"].items()} == {"relu": None, "swiglu": None}
