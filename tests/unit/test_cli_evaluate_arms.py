"""`--arms` of `gatewise evaluate`: names, and an arm in another matching."""

import argparse
from typing import Any

import pytest

from gatewise.cli._evaluate import _tables
from gatewise.core import GatewiseError
from gatewise.study import to_plan


def parsed(arms: str | None) -> argparse.Namespace:
    asked: dict[str, Any] = {"plan": None, "workload": "byte-lm", "arms": arms, "seeds": 2, "budget": None}
    return argparse.Namespace(**asked, settings=[])


def test_a_matching_behind_a_colon_makes_an_arm_of_its_own() -> None:
    (part,) = to_plan(_tables(parsed("gelu, swiglu,swiglu:none"))).parts
    assert [(arm.label, arm.name, arm.matching) for arm in part.arms] == [
        ("gelu", "gelu", "params"),
        ("swiglu", "swiglu", "params"),
        ("swiglu-none", "swiglu", "none"),
    ]


def test_a_kernel_behind_a_colon_makes_an_arm_of_its_own() -> None:
    (part,) = to_plan(_tables(parsed("swiglu,swiglu:gatewise,swiglu:none:gatewise,gelu:stock"))).parts
    assert [(arm.label, arm.matching, arm.kernel) for arm in part.arms] == [
        ("swiglu", "params", "stock"),
        ("swiglu+gatewise", "params", "gatewise"),
        ("swiglu-none+gatewise", "none", "gatewise"),
        ("gelu+stock", "params", "stock"),
    ]


@pytest.mark.parametrize("wrong", ["", " ", "gelu,,relu", "gelu,"])
def test_an_empty_name_is_refused(wrong: str) -> None:
    with pytest.raises(GatewiseError, match="--arms needs names"):
        to_plan(_tables(parsed(wrong)))


@pytest.mark.parametrize("arms", ["gelu,swiglu:gatwise", "gelu,swiglu:", "gelu,swiglu:foo"])
def test_an_unknown_word_behind_an_arm_names_matchings_and_kernels(arms: str) -> None:
    with pytest.raises(GatewiseError, match="unknown matching or kernel of the arm 'swiglu'") as error:
        _tables(parsed(arms))
    assert "gatewise" in str(error.value)
    assert "params" in str(error.value)
