"""The column of gatewise's own kernels: the same plans with them in every arm, graded beside the claim.

A claim is graded on stock implementations. What stands here never changes a grade: our kernels never grade themselves.
"""

from dataclasses import dataclass, replace

from gatewise import kernels
from gatewise.core import GatewiseError
from gatewise.study import KERNELS, Part

from ._available import Lacking, runtimes_of, without
from ._grade import Graded
from ._trial import STUDIES, Trial

GATEWISE = KERNELS[1]
ASKED = f" --kernels {GATEWISE}"


@dataclass(frozen=True, kw_only=True)
class Column:
    """What stands in the column: a grade with its reason, or the reason why there is none.

    Attributes:
        study: where its record is, below the claims' folder.
    """

    grade: str | None
    reason: str
    study: str | None = None


def on_kernels(trial: Trial) -> Trial | None:
    """The trial with native kernels in every arm, of the same claims; None where nothing of its plan can have them."""
    if trial.plan is None:
        return None
    lacks = unfit()
    parts: list[Part] = []
    left_out: list[dict[str, str]] = list(trial.left_out)
    for part in trial.plan.parts:
        rest = without(part, lacks)
        left_out += [
            {"what": f"part {part.name}, runtime {name}", "reason": lacks[name]}
            for name in runtimes_of(part)
            if name in lacks
        ]
        if rest is None or _elsewhere(part):
            left_out.append({"what": f"part {part.name}", "reason": "native kernels do not run in it"})
            continue
        parts.append(replace(rest, arms=tuple(replace(arm, kernel=GATEWISE) for arm in rest.arms)))
    if not parts:
        return None
    return Trial(plan=replace(trial.plan, parts=tuple(parts)), left_out=left_out, claims=list(trial.claims))


def unfit() -> Lacking:
    """The runtimes that run no operators of ours, each with that reason."""
    from gatewise.runtimes import RUNTIMES  # torch comes with it

    return {name: "it runs no native kernels" for name in RUNTIMES if not RUNTIMES[name].custom_operators}


def _elsewhere(part: Part) -> bool:
    return part.measure is not None and (part.measure.device != "cpu" or part.measure.dtype == "float16")


def check_here() -> None:
    """Raises `GatewiseError` where there are no native kernels."""
    status = kernels.status()
    if status.path is None:
        raise GatewiseError(f"claims on kernels = {GATEWISE}: the native kernels are absent: {status.reason}")


def column(own: Trial | None, found: Graded | None, *, command: str, claim: str) -> Column:
    """What stands in the column of a claim: its grade on native kernels, or why there is none."""
    status = kernels.status()
    if found is not None and own is not None:
        study = f"{STUDIES}/{own.name}" if found.comparisons else None
        return Column(grade=found.grade, reason=found.reason, study=study)
    if own is None:
        return Column(grade=None, reason="nothing of its plan runs on native kernels")
    if status.path is None:
        return Column(grade=None, reason=f"native kernels are absent here: {status.reason}")
    again = (command or f"gatewise claims {claim}").removesuffix(ASKED)
    return Column(grade=None, reason=f"not run on native kernels; {again}{ASKED} does")
