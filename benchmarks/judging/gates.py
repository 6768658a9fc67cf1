"""When the benchmark fails: a rate of ours that an exact binomial test says cannot be as promised.

Every required rate is a count out of independent studies. It fails when a judge that exactly keeps its promise would
show such a count, or a worse one, with probability below `FALSE_FAILURES` / number of gates (Bonferroni). A sound
judge therefore fails a whole run with a probability of at most `FALSE_FAILURES`, whatever the number of rows.
"""

from dataclasses import dataclass

from scipy.stats import binomtest

FALSE_FAILURES = 0.01


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A promise: `count` of `trials` at a true rate of at most, or of at least, `limit`."""

    name: str
    count: int
    trials: int
    limit: float
    at_most: bool = True

    @property
    def p_value(self) -> float:
        """The chance of a count this bad where the true rate is exactly the limit."""
        side = "greater" if self.at_most else "less"
        return float(binomtest(self.count, self.trials, self.limit, alternative=side).pvalue)

    def line(self) -> str:
        """The gate in words."""
        promised = f"at {'most' if self.at_most else 'least'} {self.limit:.1%}"
        return f"{self.name}: {self.count} of {self.trials}, promised {promised} (p = {self.p_value:.1e})"


def failures(gates: list[Gate]) -> list[Gate]:
    """The promises that are not kept."""
    return [gate for gate in gates if gate.p_value < FALSE_FAILURES / len(gates)]


def interval(count: int, trials: int) -> tuple[float, float]:
    """The 95 % Clopper-Pearson interval of a rate."""
    found = binomtest(count, trials).proportion_ci()
    return float(found.low), float(found.high)
