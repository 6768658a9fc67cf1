"""A search as an Optuna study: one trial for each rate of the grid, decided rung by rung, kept in Optuna's journal.

The grid is enqueued, so that every arm is trained at the same rates, and the better half *of all rates* goes on at each
rung. Optuna's `SuccessiveHalvingPruner` would not do: it decides trial by trial, by those that came before, so the
steps that an arm gets would depend on the order of its losses, and arms would not have equal budgets.

What can be promised: the losses, the rate and the record are bit by bit those of the built-in engine, and of a search
that was never killed, for weights come from checkpoints and decisions from losses alone. The journal itself is not the
same file: it holds times of day, and a trial that was cut short stands there as failed, beside the one that went on.

Source: Akiba et al. 2019, Optuna (arXiv 1907.10902); optuna.storages.journal.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from gatewise.core import GatewiseError, MissingExtraError

RATE = "learning_rate"
_PLACE, _SEARCH = "gatewise.place", "gatewise.search"


class Grid(Protocol):
    """What is asked of a search; see `RateSearch`."""

    @property
    def rates(self) -> tuple[float, ...]: ...
    @property
    def seeds(self) -> int: ...
    @property
    def rung_steps(self) -> tuple[int, ...]: ...
    @property
    def standing(self) -> tuple[int, ...]: ...


def check_installed() -> None:
    """Raises `MissingExtraError` where Optuna is not installed."""
    try:
        import optuna  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError:
        raise MissingExtraError("optuna", "optuna") from None


class OptunaHalving:
    """Successive halving over a grid, told to and read back from a study in a journal.

    Args:
        search: the grid, the rungs and the seeds.
        study: its name in the journal; one for each arm.
        journal: the file; it is made. One process writes to it at a time.

    Raises `MissingExtraError` without Optuna, and `GatewiseError` for a journal that cannot be read or that holds
    another search under this name.
    """

    def __init__(self, search: Grid, *, study: str, journal: Path) -> None:
        check_installed()
        import optuna

        self._rates, self._journal = search.rates, journal
        self._rate = optuna.distributions.FloatDistribution(search.rates[0], search.rates[-1], log=True)
        identity = {name: list(getattr(search, name)) for name in ("rates", "rung_steps", "standing")}
        identity["seeds"] = [search.seeds]
        loud = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            self._study = self._open(study, identity)
        finally:
            optuna.logging.set_verbosity(loud)
        self._trials: dict[int, Any] = {}
        """Trials of this process, by place, that have not ended."""

    def _open(self, name: str, identity: dict[str, list[Any]]) -> Any:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        self._journal.parent.mkdir(parents=True, exist_ok=True)
        _mend(self._journal)
        try:
            storage = JournalStorage(JournalFileBackend(str(self._journal)))
            study = optuna.create_study(
                study_name=name,
                storage=storage,
                sampler=optuna.samplers.RandomSampler(seed=0),  # asked for nothing: every rate is enqueued
                pruner=optuna.pruners.NopPruner(),  # `keep` decides, when all rates of a rung have reported
                direction="minimize",
                load_if_exists=True,
            )
        except (OSError, ValueError, KeyError) as error:
            raise GatewiseError(
                f"{self._journal} cannot be read as an Optuna journal: {error}\ndelete it to write it anew"
            ) from error
        known = study.user_attrs.get(_SEARCH)
        if known is not None and known != identity:
            raise GatewiseError(
                f"{self._journal} holds another search of {name}\ngive another --out, or delete the file"
            )
        study.set_user_attr(_SEARCH, identity)
        # What a killed process left: trials that waited, and trials that were under way.
        while study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,)):
            study.ask({RATE: self._rate})
        for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        return study

    def report(self, place: int, steps: int, loss: float) -> None:
        """A loss, into the rate's trial, which begins with its first; one that has ended is checked against it."""
        ended = self._ended(place)
        if ended is None:
            self._trial(place).report(loss, steps)
            return
        known = ended.intermediate_values.get(steps)
        if known != loss:
            raise GatewiseError(
                f"{self._journal} says a loss of {known} at {self._rates[place]:g} after {steps} steps, and it is "
                f"{loss} here: it belongs to another model, plan or machine\ndelete it to write it anew"
            )

    def keep(self, standing: Sequence[int], steps: int, count: int) -> list[int]:
        """The best half at a rung, by the losses in the journal; the trials of the others are pruned."""
        kept = sorted(self._ranked(standing, steps)[:count])
        for place in standing:
            if place not in kept:
                self._end(place, pruned=True)
        return kept

    def best(self, standing: Sequence[int], steps: int) -> int:
        """The best at the end; the trials that came so far are complete."""
        ranked = self._ranked(standing, steps)
        for place in standing:
            self._end(place, pruned=False)
        return ranked[0]

    def _ranked(self, standing: Sequence[int], steps: int) -> list[int]:
        losses = self._losses(steps)
        return sorted(standing, key=lambda place: (losses[place], place))

    def _losses(self, steps: int) -> dict[int, float]:
        """By place, what the journal holds at a rung; of several trials of a rate the last."""
        found: dict[int, float] = {}
        for trial in self._study.get_trials(deepcopy=False):
            if steps in trial.intermediate_values:
                found[trial.user_attrs[_PLACE]] = trial.intermediate_values[steps]
        return found

    def _ended(self, place: int) -> Any:
        """The trial of a rate that has ended with a result, or None."""
        from optuna.trial import TrialState

        states = (TrialState.COMPLETE, TrialState.PRUNED)
        trials = cast("list[Any]", self._study.get_trials(deepcopy=False, states=states))
        return next((trial for trial in trials if trial.user_attrs.get(_PLACE) == place), None)

    def _trial(self, place: int) -> Any:
        if place not in self._trials:
            self._study.enqueue_trial({RATE: self._rates[place]}, user_attrs={_PLACE: place})
            self._trials[place] = self._study.ask({RATE: self._rate})
        return self._trials[place]

    def _end(self, place: int, *, pruned: bool) -> None:
        from optuna.trial import TrialState

        trial = self._trials.pop(place, None)
        if trial is None:
            return  # it ended before, in a process that was killed later
        values = list(self._study.get_trials(deepcopy=False)[trial.number].intermediate_values.values())
        if pruned or not math.isfinite(values[-1]):
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, values[-1])


def _mend(journal: Path) -> None:
    """Cut what a killed process left: half a line at the end, and the lock that it held.

    Optuna passes over half a line as long as it is the last; the next one would be written behind it.
    """
    journal.with_name(journal.name + ".lock").unlink(missing_ok=True)
    if not journal.is_file():
        return
    held = journal.read_bytes()
    whole = held.rfind(b"\n") + 1
    if whole < len(held):
        with journal.open("r+b") as file:
            file.truncate(whole)
