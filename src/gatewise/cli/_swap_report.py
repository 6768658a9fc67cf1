"""What `gatewise swap` says when it is done."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._swap_held_out import in_words

if TYPE_CHECKING:
    from gatewise.surgery import HealReport, Step, SurgeryReport


@dataclass(frozen=True, kw_only=True)
class Done:
    """A finished swap.

    Attributes:
        report: the surgery's own.
        state: the weights state of what was saved.
        healed: the healing's report, where there was one.
        unseen: what came out on inputs that were held out, by when.
        out: the folder.
    """

    report: "SurgeryReport"
    state: str
    healed: "HealReport | None"
    unseen: dict[str, Any]
    out: Path

    @property
    def ecosystem(self) -> dict[str, Any] | None:
        """Whether the family's own loader reads the folder, as its recipe says; None for a model of no family."""
        recipe: dict[str, Any] = json.loads((self.out / "recipe.json").read_text(encoding="utf-8"))
        return recipe.get("ecosystem")

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        told = self.report.to_json() | {"ecosystem": self.ecosystem}
        told |= {when.replace(", ", "_").replace(" ", "_"): each for when, each in self.unseen.items()}
        return told | ({"healing": self.healed.to_json()} if self.healed else {})

    def show(self) -> None:
        """Lines for people."""
        report, healed, ecosystem = self.report, self.healed, self.ecosystem
        _print_sites(report, self.state)
        for step in (*report.steps, *((healed.before, healed.after) if healed else ())):
            _print_step(step)
        if healed:
            print(f"healed: stopped by {healed.stopped}, the weights of step {healed.best_step} came back")
        for when, each in self.unseen.items():
            if each["cosine_mean"] is not None:
                print(in_words(each, when))
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
        errors = "; ".join(f"{step.name} {_share(step.relative)}" for step in site.steps)
        print(f"  {site.path}: {site.before} -> {site.after}, {counts}{kept}" + (f", error {errors}" if errors else ""))
    for path, reason in report.left:
        print(f"  left alone {path}: {reason}")


def _print_step(step: "Step") -> None:
    cosine = "" if step.cosine_mean is None else f", cosine {step.cosine_mean:.5f} (least {step.cosine_least:.5f})"
    print(f"whole model, {step.name}: error {_share(step.relative)}, at most {step.max:.3g}{cosine}, {step.rows} rows")


def _share(relative: float | None) -> str:
    return "not stated" if relative is None else f"{100 * relative:.2g} %"
