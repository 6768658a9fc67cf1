"""docs/published.md says what the program says."""

import re
from pathlib import Path
from typing import Any

import pytest

from gatewise import claims

PAGE = Path(__file__).parents[2] / "docs" / "published.md"
ROW = re.compile(r"^\| ([\w-]+) \| (.+) \| ([-+.\de]+) \| (established|not established|cannot tell) \|$", re.MULTILINE)
ROWS = ROW.findall(PAGE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def results() -> dict[tuple[str, str], dict[str, Any]]:
    return {(each["source"], each["quantity"]): each for each in claims.published()["results"]}


def test_the_table_was_read_whole() -> None:
    text = PAGE.read_text(encoding="utf-8")
    section = text.partition("| source | quantity | value | evidence |")[2].partition("\n\n")[0]
    assert len(ROWS) == section.count("\n|") - 1
    assert len(ROWS) >= 25


@pytest.mark.parametrize(("source", "quantity", "value", "word"), ROWS)
def test_a_row_is_what_the_program_says(
    results: dict[tuple[str, str], dict[str, Any]], source: str, quantity: str, value: str, word: str
) -> None:
    found = results[source, quantity]
    mantissa, letter, _ = value.partition("e")
    digits = len(mantissa.partition(".")[2])
    assert float(f"{found['value']:.{digits}{'e' if letter else 'f'}}") == float(value)
    assert found["evidence"] == word


def test_the_numbers_in_words(results: dict[tuple[str, str], dict[str, Any]]) -> None:
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    survivors = results["shazeer-2020", "pairs that survive Holm, 65,536 steps"]["detail"]["whatever_the_rounding"]
    assert survivors == [17, 20]
    assert "None of the 17 hangs on how the figures were rounded; three more pairs do" in text
    bands = [
        results["marin-2026", f"effective speed-up of GEGLU over SwiGLU, width {width}"]["interval"]
        for width in (512, 768)
    ]
    shown = " and ".join(f"{low:.3f} to {high:.3f}".replace("0.", ".", 1) for low, high in bands)
    assert shown in text
    low, high = results["gelu-2016", "test items that a gap of 7 implies, Twitter POS"]["interval"]
    sizes = results["gelu-2016", "test items that a gap of 7 implies, Twitter POS"]["detail"]["sizes"]
    assert f"leave {sizes} sizes from {low:,} to {high:,} for a gap of 7" in text
