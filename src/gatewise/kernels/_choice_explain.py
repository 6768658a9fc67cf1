"""What the kernels run here and which ways were chosen on this machine, as plain data. Needs no torch."""

from typing import Any

from . import _choice, _choice_file
from ._choice import choices as choices
from ._choice import forced as forced
from ._choice import forget as forget
from ._choice_file import Choice as Choice
from ._library import status


def explain() -> dict[str, Any]:
    """Everything that says which code a call takes on this machine.

    Returns:
        `native_kernels` (`instruction_set`, `path`, `reason`), `machine` (what must be equal for a choice to hold),
        `kept` (`path` of the file of choices, `reason`), `forced` (way by question, here and now), `questions` (the
        ways of each, the stock one first) and `choices`: those of the file, by question and key.

    Raises `GatewiseError` where GATEWISE_CHOOSE names what nobody knows.
    """
    native, kept = status(), _choice_file.status()
    found = sorted(_choice_file.load().values(), key=_choice_file.order)
    return {
        "native_kernels": {
            "instruction_set": native.instruction_set,
            "path": None if native.path is None else str(native.path),
            "reason": native.reason,
        },
        "machine": _choice_file.machine(),
        "kept": {"path": None if kept.path is None else str(kept.path), "reason": kept.reason},
        "forced": _choice.asked(),
        "questions": {question: list(ways) for question, ways in _choice.QUESTIONS.items()},
        "choices": [each.plain() for each in found],
    }
