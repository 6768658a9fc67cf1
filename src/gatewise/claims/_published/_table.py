"""What a source printed: arms with mean, SD and n, and what was to be compared. Plain data that validates itself."""

from dataclasses import dataclass, field
from decimal import Decimal

NOT_STATED = "not stated"
ANALYSES = ("welch-holm", "pooled-t", "one-sample-t", "error-counts")


@dataclass(frozen=True, kw_only=True)
class Printed:
    """A figure as it was printed; the true one lies within half a unit of the last digit."""

    digits: Decimal

    @property
    def value(self) -> float:
        """The figure itself."""
        return float(self.digits)

    @property
    def half_unit(self) -> float:
        """Half a unit of the last printed digit."""
        exponent = self.digits.as_tuple().exponent
        return float(Decimal(5).scaleb(exponent - 1)) if isinstance(exponent, int) else 0.0

    def minus(self, other: "Printed") -> float:
        """The difference of two figures, without the noise of binary fractions."""
        return float(self.digits - other.digits)

    @property
    def low(self) -> float:
        """The smallest number that prints like this."""
        return self.value - self.half_unit

    @property
    def high(self) -> float:
        """The largest number that prints like this."""
        return self.value + self.half_unit


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One row of a table. `n` is None where the source does not say how many runs there were."""

    name: str
    mean: Printed
    sd: Printed | None = None
    n: int | None = None


@dataclass(frozen=True, kw_only=True)
class Beats:
    """A relation between two groups: each of `arms` is better than each of `than`."""

    arms: tuple[str, ...]
    than: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """One column of figures over arms, with what its arms share and which analyses it asks for."""

    name: str
    quantity: str
    better: str
    arms: tuple[Arm, ...]
    analyses: tuple[str, ...]
    unit: str = ""
    statistic: str = "mean"
    steps: int | None = None
    matched: tuple[str, ...] = ()
    unmatched: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    alpha: float = 0.05
    against: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    beats: tuple[Beats, ...] = ()
    target: Printed | None = None
    items: int | None = None
    items_source: str = ""
    published_p: dict[str, float] = field(default_factory=dict[str, float])

    def arm(self, name: str) -> Arm:
        """The arm of this name."""
        return next(arm for arm in self.arms if arm.name == name)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """A standard deviation between runs, how many runs it comes from, and where it was printed."""

    sd: float
    n: int
    source: str


@dataclass(frozen=True, kw_only=True)
class NoiseOf:
    """A standard deviation that stands in a table already."""

    table: str
    arm: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """The loss and the token rate of one side of a speed-up, and over how many runs."""

    name: str
    loss: Printed
    tokens_per_second: float
    n: int | None = None


@dataclass(frozen=True, kw_only=True)
class Speedup:
    """Two sides, and the loss curve `floor + A * compute ** -exponent` that turns a loss into compute."""

    name: str
    base: Run
    variant: Run
    floor: float
    exponent: float
    noise: tuple[Noise | NoiseOf, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Two columns whose order is compared: a table of this file, and a table of this file or `source/table`."""

    of: str
    other: str
    names: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class SampleSize:
    """How many runs an arm a two-sided test needs to see `difference`, given the noise."""

    difference: float
    noise: Noise | NoiseOf
    correlation: float | None = None
    power: float = 0.8
    alpha: float = 0.05


@dataclass(frozen=True, kw_only=True)
class Source:
    """Everything taken from one source."""

    name: str
    title: str
    reference: str
    setting: str = ""
    tables: tuple[Table, ...] = ()
    agreements: tuple[Agreement, ...] = ()
    speedups: tuple[Speedup, ...] = ()
    sample_sizes: tuple[SampleSize, ...] = ()
