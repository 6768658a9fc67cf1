"""Ways that a person forces: by a block or the environment, by name, never silently not."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from planted_clocks import plant

from gatewise.core import GatewiseError
from gatewise.kernels import _block_route, _choice, _products

KEY = {"rows": 8, "dtype": "float32"}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("GATEWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GATEWISE_CHOOSE", raising=False)
    _choice.forget()
    yield
    _choice.forget()


def never() -> object:
    raise AssertionError("this candidate must not be called")


WAYS: dict[str, Callable[[], object]] = {"torch": never, "onednn": never}


def test_a_forced_way_is_taken_without_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    with _choice.forced(linear="onednn"):
        assert _choice.choose("linear.forward", KEY, WAYS) == "onednn"
        with _choice.forced({"linear.forward": "torch"}):
            assert _choice.choose("linear.forward", KEY, WAYS) == "torch"
            assert _choice.choose("linear.by_input", KEY, WAYS) == "onednn"
            assert _choice.asked() == {"linear": "onednn", "linear.forward": "torch"}
        assert _choice.known("linear.by_input", KEY) == "onednn"
    assert {choice.source for choice in _choice.choices()} == {"forced"}
    planted = plant(monkeypatch, torch=0.010, onednn=0.020)
    assert _choice.choose("linear.forward", KEY, planted.candidates()) == "torch"
    assert planted.calls


def test_forcing_leaves_what_was_measured_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    planted = plant(monkeypatch, torch=0.010, onednn=0.005)
    _choice.choose("linear.forward", KEY, planted.candidates())
    with _choice.forced(linear="torch"):
        assert _choice.choose("linear.forward", KEY, WAYS) == "torch"
    assert _choice.choose("linear.forward", KEY, WAYS) == "onednn"
    assert sorted(choice.source for choice in _choice.choices()) == ["forced", "measured"]


def test_forced_by_the_environment_and_the_block_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWISE_CHOOSE", " linear = onednn , ffn=torch,")
    _choice.forget()
    assert _choice.choose("linear.forward", KEY, WAYS) == "onednn"
    assert _choice.choose("ffn.training", KEY, WAYS) == "torch"
    with _choice.forced(linear="torch"):
        assert _choice.choose("linear.forward", KEY, WAYS) == "torch"
    assert _choice.choose("linear.forward", KEY, WAYS) == "onednn"


def test_a_forced_way_that_the_question_lacks_is_not_taken_silently() -> None:
    with _choice.forced(linear="packed"):
        assert _choice.choose("linear.forward", KEY, WAYS) == "torch"
    (choice,) = _choice.choices()
    assert (choice.source, choice.forced, choice.chosen) == ("forced", "packed", "torch")
    assert choice.note == "packed is no way of this here: valid torch, onednn"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "linear=onedn",
            "unknown way of 'linear' 'onedn'; did you mean 'onednn'?\nvalid: onednn, packed, split, torch, turned",
        ),
        ("liner=torch", "unknown question to force a way for 'liner'; did you mean 'linear'?"),
        ("linear.forwards=torch", "did you mean 'linear.forward'?"),
        ("linear.forward=packed", "unknown way of 'linear.forward' 'packed'\nvalid: onednn, split, torch"),
        ("linear", "'linear' is not question=way, such as linear=torch"),
        ("=torch", "unknown question to force a way for ''"),
    ],
)
def test_names_that_nobody_knows_are_refused(monkeypatch: pytest.MonkeyPatch, given: str, message: str) -> None:
    monkeypatch.setenv("GATEWISE_CHOOSE", given)
    _choice.forget()
    with pytest.raises(GatewiseError) as error:
        _choice.choose("linear.forward", KEY, WAYS)
    assert str(error.value).startswith("GATEWISE_CHOOSE: ")
    assert message in str(error.value)
    question, equals, way = given.partition("=")
    monkeypatch.delenv("GATEWISE_CHOOSE")
    _choice.forget()
    if equals:
        with pytest.raises(GatewiseError, match="unknown"), _choice.forced({question: way}):
            pass


def test_the_table_of_questions_is_what_is_asked() -> None:
    assert _choice.QUESTIONS["ffn.inference"] == _block_route.INFERENCE
    assert _choice.QUESTIONS["ffn.training"] == _block_route.TRAINING
    for kind in ("forward", "by_input"):
        assert _choice.QUESTIONS[f"linear.{kind}"] == _products.WAYS
    assert _choice.QUESTIONS["linear.by_weight"] == tuple(_products.BY_WEIGHT)


def test_a_thread_is_forced_alone() -> None:
    seen: list[bool] = []
    with _choice.forced(linear="onednn"):
        other = threading.Thread(target=lambda: seen.append(_choice.is_forced("linear")))
        other.start()
        other.join(60)
        assert _choice.is_forced("linear")
    assert seen == [False]


def test_one_question_of_a_family_is_enough_to_be_forced() -> None:
    assert not _choice.is_forced("linear")
    with _choice.forced({"linear.by_input": "torch"}):
        assert _choice.is_forced("linear")
        assert not _choice.is_forced("ffn")
