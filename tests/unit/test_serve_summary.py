"""What a record keeps of inputs and outputs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.serve import Standard, fingerprint


def test_a_fingerprint_is_of_names_types_shapes_and_values() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    same = [{"x": x}, {"x": x.copy()}, {"x": np.asfortranarray(x)}]
    assert len({fingerprint(each) for each in same}) == 1
    others = [{"x": x + 1}, {"x": x.reshape(3, 2)}, {"x": x.astype("f8")}, {"z": x}, {"x": x, "z": x}]
    others += [{"x": np.array([[b"ab", b"c"]], object)}, {"x": np.array([[b"a", b"bc"]], object)}]
    assert len({fingerprint(each) for each in [same[0], *others]}) == 8


@given(st.integers(1, 5), st.integers(2, 6), st.randoms())
def test_scores_give_predictions_and_confidences(rows: int, classes: int, chance: object) -> None:
    logits = np.random.default_rng(chance.randrange(9999)).normal(0, 3, (rows, classes))  # type: ignore[attr-defined]
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for outputs in ({"logits": logits}, {"y": shares}, {"z": np.ones((rows, 9)), "probabilities": shares}):
        found = Standard()({}, outputs)
        assert found.predictions == tuple(logits.argmax(1).tolist())
        assert found.confidences == pytest.approx(shares.max(1), rel=1e-6)


def test_an_embedding_has_no_prediction_and_a_number_no_confidence() -> None:
    summary = Standard()
    assert summary({}, {"y": np.full((2, 8), -0.3, np.float32)}).predictions == ()
    found = summary({}, {"y": np.array([[1.5], [2.5]], np.float32)})
    assert (found.predictions, found.confidences) == ((1.5, 2.5), ())


def test_features_are_mean_and_root_of_the_mean_square() -> None:
    x = np.array([[3.0, -4.0], [0.0, 5.0]], np.float32)
    found = Standard()({"x": x}, {"y": x}).features
    assert found == {"x.size": 2.0, "x.mean": 1.0, "x.rms": pytest.approx(12.5**0.5)}


def test_a_share_of_features() -> None:
    summary = Standard(0.3, seed=0)
    x = {"x": np.ones((1, 2), np.float32)}
    kept = sum(bool(summary(x, {"label": np.array([1])}).features) for _ in range(500))
    assert 100 < kept < 200
