"""The plan of a dilution: the same arms at every level and dtype, sizes that all levels share, bad input."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise import dilution
from gatewise.core import GatewiseError
from gatewise.study import check_part


def test_every_level_and_dtype_is_a_part_with_gelu_first_and_the_identity() -> None:
    plan = dilution.plan()
    assert [part.name for part in plan.parts] == [f"{a}/{b}" for a in dilution.LEVELS for b in dilution.DTYPES]
    for part in plan.parts:
        level, _, dtype = part.name.partition("/")
        assert part.baseline == "gelu"
        assert [arm.label for arm in part.arms] == ["gelu", "identity", "relu", "swiglu"]
        assert {arm.matching for arm in part.arms} == {"params"}
        assert part.measure is not None
        assert part.measure.dtype == dtype
        assert part.measure.tokens == (1, 16, 128, 2048)
        assert part.subject.options == {"level": level, **dilution.SIZES}
        check_part(part)


@given(
    arms=st.lists(st.sampled_from(["relu", "silu", "geglu", "gelu", "identity"]), min_size=1, unique=True),
    levels=st.lists(st.sampled_from(dilution.LEVELS), min_size=1, unique=True),
    tokens=st.lists(st.integers(1, 5000), min_size=1, max_size=4, unique=True),
)
def test_the_parts_differ_in_level_alone(arms: list[str], levels: list[str], tokens: list[int]) -> None:
    if not set(arms) - {"gelu", "identity"}:
        with pytest.raises(GatewiseError, match="at least one arm beside gelu"):
            dilution.plan(arms=tuple(arms), levels=tuple(levels), tokens=tuple(tokens))
        return
    plan = dilution.plan(arms=tuple(arms), levels=tuple(levels), tokens=tuple(tokens), options={"dim": 48})
    assert len(plan.parts) == 2 * len(levels)
    first = plan.parts[0]
    for part in plan.parts:
        assert part.arms == first.arms
        assert {**part.subject.options, "level": ""} == {**first.subject.options, "level": ""}
        assert part.subject.options["context"] >= max(tokens)
        assert part.subject.options["dim"] == 48


def test_what_the_plan_is_asked_for_it_has() -> None:
    plan = dilution.plan(threads=2, budget_s=60.0, seed=7, dtypes=("float16",), options={"layers": 3})
    assert (plan.budget_s, plan.seed) == (60.0, 7)
    assert {part.measure.threads for part in plan.parts if part.measure} == {(2,)}
    assert {part.measure.dtype for part in plan.parts if part.measure} == {"float16"}
    assert {part.subject.options["layers"] for part in plan.parts} == {3}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"levels": ("modle",)}, "did you mean 'model'"),
        ({"dtypes": ("float23",)}, "did you mean 'float32'"),
        ({"levels": ()}, "at least one arm beside gelu, one level and one dtype"),
        ({"dtypes": ()}, "at least one arm beside gelu, one level and one dtype"),
        ({"tokens": ()}, "tokens must be a list of whole numbers above 0"),
        ({"tokens": (0,)}, "tokens must be a list of whole numbers above 0"),
        ({"threads": 0}, "threads must be a list of whole numbers above 0"),
        ({"arms": ("rellu",)}, "did you mean 'relu'"),
        ({"levels": ("model", "model")}, "two parts have the same name"),
    ],
)
def test_bad_input_is_refused_in_at_most_two_lines(given: dict[str, object], words: str) -> None:
    with pytest.raises(GatewiseError, match=words) as caught:
        dilution.plan(**given)  # type: ignore[arg-type]
    assert len(str(caught.value).splitlines()) <= 2


def test_an_unknown_size_is_refused_before_anything_is_built() -> None:
    plan = dilution.plan(arms=("relu",), options={"dims": 3})
    with pytest.raises(GatewiseError, match="did you mean 'dim'"):
        check_part(plan.parts[0])
