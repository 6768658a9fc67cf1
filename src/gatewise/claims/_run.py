"""Run the plans of claims, each in a study of its own that can be resumed, and grade what the studies hold."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError, MissingExtraError, environment, fewest, same_machine
from gatewise.study import (
    STORE,
    BudgetTooSmallError,
    Goal,
    OtherStudyError,
    Record,
    check_part,
    evaluate,
    machine,
    read_records,
    read_study,
)

from ._available import lacking, on_what_is_here
from ._claim import Claim, count
from ._compare import asked
from ._document import claim_entry, document
from ._grade import INCONCLUSIVE, NOT_TESTABLE, REFUTED, Graded, grade, still_open
from ._kernels import Column, check_here, column, on_kernels
from ._looks import SEARCH_REFUSED, left_untrained, looks
from ._trial import OWN_RATE, STUDIES, Trial, trials_of

Progress = Callable[[str, float], None]

NO_SEARCH = "the first budget did not allow the search (a longer one with another --out does)"


def check_plans(claims: Sequence[Claim]) -> None:
    """Every name in the plans of claims, before anything is run. Raises `GatewiseError` in one line.

    A package or a runtime that is not here is no mistake of the claim's: it is said with the grade.
    """
    lacks = lacking()
    for claim in claims:
        for part in claim.plan.parts if claim.plan else ():
            try:
                check_part(on_what_is_here(part, lacks))
            except MissingExtraError:
                continue
            except GatewiseError as error:
                raise GatewiseError(f"claim {claim.id}: {error}".replace("\n", "; ")) from error


def run_claims(
    claims: Sequence[Claim],
    out: Path | str,
    *,
    beside: Sequence[Claim] = (),
    budget_s: float | None,
    progress: Progress,
    replay: Mapping[str, str],
    own: bool = False,
) -> dict[str, Any]:
    """Test claims and grade them: schema `gatewise.claims/1`.

    Args:
        claims: what to test; those that follow from others or wait for a capability are graded without a run.
        out: where the studies are kept. What was measured there before is not measured again.
        beside: claims that are not run now, and are graded where `out` holds their study from before.
        budget_s: seconds for all of them, shared by what their plans ask for; None gives each what it asks for.
        progress: told what is being done.
        replay: by claim, the command that runs it again.
        own: run the plans on gatewise's kernels too, after the stock ones, for a column that changes no grade.

    Raises:
        GatewiseError: the folder cannot be written, or holds records of another machine; `own` without native kernels.
        KeyboardInterrupt: stopped by the user; what was finished is stored, and is graded by the next call.
    """
    if own:
        check_here()
    folder = Path(out)
    try:
        (folder / STUDIES).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GatewiseError(f"cannot write to {out}: {error.strerror}") from error
    trials = trials_of(claims)
    deadline = None if budget_s is None else time.monotonic() + budget_s
    for trial in trials:
        trial.own = on_kernels(trial)
    running = [*trials, *(trial.own for trial in trials if trial.own and own)]
    for index, trial in enumerate(running):
        if trial.plan is not None:
            _found(trial, folder)  # a study that began without its search goes on so
            _run(trial, folder, _share(running[index:], deadline), progress)
    known = {claim.id for claim in claims}
    earlier = trials_of([claim for claim in beside if claim.id not in known])
    stored = [trial for trial in earlier if _found(trial, folder) and _is_from_here(trial, folder)]
    others = [claim for trial in stored for claim in trial.claims]
    return graded([*claims, *others], [*trials, *stored], folder, budget_s=budget_s, replay=replay)


def _is_stored(trial: Trial, folder: Path) -> bool:
    return trial.plan is not None and (folder / STUDIES / trial.name / STORE).is_file()


def _found(trial: Trial, folder: Path) -> bool:
    """Whether a plan's study is stored, with its search or, where the budget did not allow it, without."""
    if _is_stored(trial, folder):
        return True
    shared = replace(trial, left_out=list(trial.left_out))
    if not shared.share_rate(NO_SEARCH) or not _is_stored(shared, folder):
        return False
    trial.plan, trial.left_out = shared.plan, shared.left_out
    return True


def _is_from_here(trial: Trial, folder: Path) -> bool:
    """Whether a stored study was measured on this machine: another's is not graded as this one's."""
    return not same_machine(read_study(folder / STUDIES / trial.name)["environment"], environment())


def _share(waiting: Sequence[Trial], deadline: float | None) -> float:
    """Seconds for the first of the plans that wait: its part of what is left, by what the plans ask for."""
    first = waiting[0].plan
    assert first is not None
    if deadline is None:
        return first.budget_s
    wanted = sum(trial.plan.budget_s for trial in waiting if trial.plan)
    return max(1.0, (deadline - time.monotonic()) * first.budget_s / wanted)


def goal_of(claims: Sequence[Claim]) -> Goal:
    """A study goes on while some comparison of these claims is open: at their margins, along what they go over."""
    strictest = min(claim.alpha / max(1, sum(count(each, claim.plan) for each in claim.relations)) for claim in claims)

    def still(records: Sequence[Record]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for claim in claims:
            entries = [item for relation in claim.relations for item in asked(relation, records)]
            for part, guards in still_open(entries, claim.alpha).items():
                found.setdefault(part, set()).update(guards)
        return found

    return Goal(open=still, processes=fewest(strictest))


def _run(trial: Trial, folder: Path, budget_s: float, progress: Progress) -> None:
    assert trial.plan is not None
    where = folder / STUDIES / trial.name
    names = ", ".join(claim.id for claim in trial.claims)
    started = time.monotonic()
    try:
        evaluate(
            replace(trial.plan, budget_s=budget_s),
            where,
            resume=(where / STORE).exists(),
            progress=lambda text, left_s: progress(f"{names}: {text}", left_s),
            goal=goal_of(trial.claims),
        )
    except BudgetTooSmallError as error:
        trial.failure, trial.too_small = str(error).replace("\n", "; "), True
    except OtherStudyError:
        raise  # records of another machine must not be graded as this one's
    except GatewiseError as error:
        trial.failure = str(error).replace("\n", "; ")
    trial.seconds = time.monotonic() - started
    left_s = budget_s - trial.seconds
    if trial.failure.startswith(SEARCH_REFUSED) and left_s > 0 and trial.share_rate(trial.failure):
        trial.failure = ""
        _run(trial, folder, left_s, progress)
        trial.seconds = time.monotonic() - started


def graded(
    claims: Sequence[Claim], trials: Sequence[Trial], folder: Path, *, budget_s: float | None, replay: Mapping[str, str]
) -> dict[str, Any]:
    """The document of claims, from what the studies in the folder hold."""
    entries: dict[str, dict[str, Any]] = {}
    for trial in trials:
        where = folder / STUDIES / trial.name
        records = read_records(where) if _is_stored(trial, folder) else []
        trial.dropped = left_untrained(read_study(where)["study"]["dropped"], records) if records else []
        trial.looks = looks(trial.plan, folder / STUDIES) if trial.plan else []
        beside = _beside(trial, folder)
        for claim in trial.claims:
            found, again = _grade(claim, trial, records), replay.get(claim.id, "")
            own = column(trial.own, beside.get(claim.id), command=again, claim=claim.id)
            entries[claim.id] = claim_entry(claim, found, trial=trial, records=records, replay=again, own=own)
    waiting = [claim for claim in claims if claim.id not in entries]
    while waiting:
        # A claim that follows from one that itself follows comes after it.
        names = {claim.id for claim in waiting}
        ready = [claim for claim in waiting if claim.follows not in names]
        for claim in ready or waiting:
            found, own = _untested(claim, entries), Column(grade=None, reason="it has no run of its own")
            again = replay.get(claim.id, "")
            entries[claim.id] = claim_entry(claim, found, trial=None, records=[], replay=again, own=own)
        waiting = [claim for claim in waiting if claim.id not in entries]
    return document([entries[claim.id] for claim in claims], machine(), budget_s)


def _beside(trial: Trial, folder: Path) -> dict[str, Graded]:
    """By claim, its grade on gatewise's kernels, where a study of them is stored or just failed."""
    own = trial.own = trial.own or on_kernels(trial)
    if own is None or own.plan is None:
        return {}
    stored = _found(own, folder) and _is_from_here(own, folder)
    if not stored and not own.failure:
        return {}
    records = read_records(folder / STUDIES / own.name) if stored else []
    own.looks = looks(own.plan, folder / STUDIES)
    return {claim.id: _grade(claim, own, records) for claim in own.claims}


def _grade(claim: Claim, trial: Trial, records: Sequence[Record]) -> Graded:
    if trial.plan is None:
        return Graded(grade=NOT_TESTABLE, reason=trial.left_out[0]["reason"])
    entries = [item for relation in claim.relations for item in asked(relation, records)]
    if trial.failure and not any(item.effects for item in entries):
        word = INCONCLUSIVE if trial.too_small else NOT_TESTABLE
        return Graded(grade=word, reason=trial.failure)
    if not any(not item.relation.control for item in entries):
        missing = [each["reason"] for each in trial.left_out if each["what"] != OWN_RATE]
        reason = missing[0] if missing else "nothing was measured that could decide it"
        return Graded(grade=NOT_TESTABLE if missing else INCONCLUSIVE, reason=reason)
    found = grade(entries, claim.alpha / max(1, len(trial.looks)))
    if any(each["what"] == OWN_RATE for each in trial.left_out):
        found = replace(found, reason=f"{found.reason} (at one learning rate for all arms: none has its own)")
    if trial.failure:
        found = replace(found, reason=f"{found.reason} (the run ended early: {trial.failure})")
    return found


def _untested(claim: Claim, entries: Mapping[str, Mapping[str, Any]]) -> Graded:
    """The grade of a claim without a run of its own. It falls with the one it rests on, and needs more to stand."""
    if claim.waits_for:
        return Graded(grade=NOT_TESTABLE, reason=f"waits for {claim.waits_for}")
    other = entries.get(claim.follows)
    if other is None:
        return Graded(grade=INCONCLUSIVE, reason=f"it rests on {claim.follows}, which was not run")
    word = other["grade"]
    reason = f"it rests on {claim.follows}, which is {word}"
    return Graded(grade=REFUTED if word == REFUTED else INCONCLUSIVE if word != NOT_TESTABLE else word, reason=reason)
