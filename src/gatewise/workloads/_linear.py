"""Linear classifiers of scikit-learn, where it is installed: what a net has to beat to be worth its name."""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from torch import Tensor

Texts = Sequence[tuple[str, ...]]


def pixel_accuracy(train: tuple[Tensor, Tensor], heldout: tuple[Tensor, Tensor]) -> float | None:
    """Held-out accuracy of logistic regression on the numbers of each item; None without scikit-learn."""
    if find_spec("sklearn") is None:
        return None
    linear: Any = import_module("sklearn.linear_model")
    model = linear.LogisticRegression(C=0.1, max_iter=300)
    model.fit(train[0].flatten(1).numpy(), train[1].numpy())
    return float(model.score(heldout[0].flatten(1).numpy(), heldout[1].numpy()))


def text_accuracy(train: tuple[Texts, Sequence[int]], heldout: tuple[Texts, Sequence[int]]) -> float | None:
    """Held-out accuracy of a linear support vector classifier on TF-IDF of words and pairs; None without scikit-learn.

    Term frequencies are logarithmic, and what stands in one training text alone is left out. Nothing was tuned.
    """
    if find_spec("sklearn") is None:
        return None
    text: Any = import_module("sklearn.feature_extraction.text")
    svm: Any = import_module("sklearn.svm")
    tfidf = text.TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2, token_pattern=r"\S+")
    x = tfidf.fit_transform(" ".join(words) for words in train[0])
    model = svm.LinearSVC(C=0.3, random_state=0).fit(x, list(train[1]))
    return float(model.score(tfidf.transform(" ".join(words) for words in heldout[0]), list(heldout[1])))
