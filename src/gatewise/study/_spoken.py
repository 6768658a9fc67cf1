"""What trained arms write after the same prompts, from a part's record: text to read, side by side."""

from collections.abc import Iterator, Sequence
from typing import Any

from ._cells import TRAIN
from ._record import Record

TEMPERATURE = 0.8


def spoken(records: Sequence[Record]) -> Iterator[dict[str, Any]]:
    """For the study's document: by part, what each arm of the first seed writes after the same prompts."""
    for record in records:
        by_arm: dict[str, list[dict[str, str]]] = {}
        for key in (key for key in record.rows if key.startswith(TRAIN)):
            row = dict(record.rows[key]).get(0, {})
            if row.get("continuations"):
                by_arm[key[len(TRAIN) :]] = row["continuations"]
        if by_arm:
            prompts = [entry["prompt"] for entry in next(iter(by_arm.values()))]
            yield {
                "part": record.part.name,
                "texts": [
                    {"prompt": prompt, "by_arm": {arm: rows[number]["text"] for arm, rows in by_arm.items()}}
                    for number, prompt in enumerate(prompts)
                ],
                "facts": {"seed": 0, "temperature": TEMPERATURE, "what": "text to read, no measurement"},
            }
