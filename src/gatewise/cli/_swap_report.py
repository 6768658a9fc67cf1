"""What `gatewise swap` says when it is done."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._swap_held_out import in_words

if TYPE_CHECKING:
    from gatewise.surgery import HealReport, Step, SurgeryReport


_WHEN = {
    "exact": "as converted",
    "scaled": "as converted",
    "plain": "before the fit",
    "fitted": "after the fit",
    "reduced": "after the reduction",
    "converted": "before healing",
    "healed": "after healing",
}
"""The steps of a conversion in words."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """A finished swap.

    Attributes:
        report: the surgery's own.
        state: the weights state of what was saved.
        healed: the healing's report, where there was one.
        unseen: what came out on inputs that were held out, by when.
        out: the folder.
        repeats: how many inputs of the calibration file were left out because they stood in it before.
    """

    report: "SurgeryReport"
    state: str
    healed: "HealReport | None"
    unseen: dict[str, Any]
    out: Path
    repeats: int = 0

    @property
    def ecosystem(self) -> dict[str, Any] | None:
        """Whether the family's own loader reads the folder, as its recipe says; None for a model of no family."""
        recipe: dict[str, Any] = json.loads((self.out / "recipe.json").read_text(encoding="utf-8"))
        return recipe.get("ecosystem")

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        told = self.report.to_json() | {"ecosystem": self.ecosystem}
        told |= {"repeats_left_out": self.repeats} if self.unseen else {}
        told |= {when.replace(", ", "_").replace(" ", "_"): each for when, each in self.unseen.items()}
        return told | ({"healing": self.healed.to_json()} if self.healed else {})

    def show(self) -> None:
        """Lines for people."""
        report, healed, ecosystem = self.report, self.healed, self.ecosystem
        _print_sites(report, self.state)
        for step in report.steps:
            _print_step(step, "the inputs that it was fitted on" if len(report.steps) > 1 else "the calibration inputs")
        if healed:
            for step in (healed.before, healed.after):
                _print_step(step, "those of them that healing checks itself on")
            gain = f"the weights of step {healed.best_step} are the best"
            gain = gain if healed.best_step else "it brought no gain, so the weights are those from before it"
            print(f"healed: stopped by {healed.stopped} after {healed.curve[-1][0]} steps; {gain}")
        for when, each in self.unseen.items():
            print(in_words(each, when))
        if self.repeats:
            print(f"{self.repeats} inputs stand in the calibration file more than once: each was used once")
        if ecosystem and ecosystem["reads"]:
            print(f"{ecosystem['loader']} reads it too")
        elif ecosystem:
            print(f"only gatewise.load reads it: {ecosystem['reason']}")
        print(f"parameters {report.parameters_before:,} -> {report.parameters_after:,}; saved in {self.out}")


def _print_sites(report: "SurgeryReport", state: str) -> None:
    print(f"{len(report.sites)} sites now compute {report.to}; weights: {state}")
    for site in report.sites:
        counts = f"{site.parameters_before:,} -> {site.parameters_after:,} parameters"
        kept = f", {site.method}" if site.method else ""
        errors = ", ".join(f"{_share(step.relative)} {_when(step)}" for step in site.steps)
        print(f"  {site.path}: {site.before} -> {site.after}, {counts}{kept}" + (f", error {errors}" if errors else ""))
        if site.note:
            print(f"    {site.note}")
    for path, reason in report.left:
        print(f"  left alone {path}: {reason}")


def _when(step: "Step") -> str:
    return _WHEN.get(step.name, step.name)


def _print_step(step: "Step", where: str) -> None:
    cosine = "" if step.cosine_mean is None else f", cosine {step.cosine_mean:.5f} (least {step.cosine_least:.5f})"
    error = f"error {_share(step.relative)}, at most {step.max:.3g}{cosine}"
    print(f"whole model {_when(step)}, on {where} ({step.rows} rows): {error}")


def _share(relative: float | None) -> str:
    return "not stated" if relative is None else f"{100 * relative:.2g} %"
