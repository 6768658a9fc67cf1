"""The page about plans names everything that a plan can name, and the record what it can hold."""

import json
import re
from pathlib import Path

import pytest

from gatewise.core import METRICS
from gatewise.runtimes import RUNTIMES
from gatewise.workloads import WORKLOADS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "plan.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([a-z0-9_-]+)`", PAGE))
BESIDE = ("moves", "selection", "generation")


@pytest.mark.parametrize("name", [*METRICS, *RUNTIMES.table, *WORKLOADS.table])
def test_the_page_names_it(name: str) -> None:
    assert name in NAMED


def test_the_page_says_what_stands_beside_the_comparisons() -> None:
    held = json.loads((DOCS / "result.schema.json").read_text(encoding="utf-8"))["properties"]
    assert set(BESIDE) <= NAMED & set(held)


def test_the_page_says_which_workloads_train_and_which_write() -> None:
    told: list[str] = []
    for row in (line for line in PAGE.splitlines() if re.match(r"\| `[a-z0-9-]+`(, `[a-z0-9-]+`)* \|", line)):
        names, _, *marks = [cell.strip() for cell in row.strip("|").split("|")]
        for name in (name for name in re.findall(r"`([a-z0-9-]+)`", names) if name in WORKLOADS):
            told.append(name)
            kind = WORKLOADS[name]
            assert marks == ["yes" * hasattr(kind, "fresh"), "yes" * hasattr(kind, "prefill")], name
    assert sorted(told) == sorted(WORKLOADS.table)
