"""Small files with a known answer, and a study of one that is quick enough for a test."""

import csv
import random
from pathlib import Path

import pytest

from gatewise.tabular import Asking, Study, TablePlan, _baselines, _network, _scores, study

TOWNS = ("Aachen", "Bonn", "Köln")


def customers(path: Path, *, rows: int = 240, seed: int = 0, **columns: object) -> Path:
    """Churn that depends on age and town, with a little of everything that files bring; `columns` are added."""
    rng = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["customer_id", "age", "town", "since", "spent", "churn", *columns])
        for row in range(rows):
            age, town = rng.randint(18, 80), rng.choice(TOWNS)
            risk = 0.1 + 0.5 * (age < 40) + 0.25 * (town == "Bonn")
            churn = rng.random() < risk
            spent = "" if rng.random() < 0.1 else f"{rng.lognormvariate(3, 1):.2f}"
            since = f"20{rng.randint(20, 23)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
            added = [each(row, churn) if callable(each) else each for each in columns.values()]
            writer.writerow([5000 + 7 * row, age, town, since, spent, "yes" if churn else "no", *added])
    return path


def quick(data: Path, out: Path, *, predict: Path | None = None, resume: bool = False, **plan: object) -> Study:
    """A study with two seeds, one arm and a held-out quarter, unless `plan` says otherwise."""
    settings = {"target": "churn", "seeds": 2, "arms": ("relu",), "folds": 0, **plan}
    asking = Asking(data=data, plan=TablePlan(**settings), predict=predict)  # type: ignore[arg-type]
    return study(asking, out, resume=resume)


def shorten(patch: pytest.MonkeyPatch) -> None:
    """Short trainings, for tests that do not depend on how good they are."""
    patch.setattr(_network, "FEWEST_STEPS", 40)
    patch.setattr(_network, "EPOCHS", 1)
    patch.setattr(_network, "RATES", (2e-3,))
    patch.setattr(_baselines, "ROUNDS", 50)
    patch.setattr(_baselines, "TREES", ((0.1, 6),))
    patch.setattr(_scores, "RESAMPLES", 50)
