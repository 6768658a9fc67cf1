"""Published tables from TOML: those of the package and anybody's own."""

import tomllib
from collections.abc import Iterable
from dataclasses import fields
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError, unknown_name

from ._fields import Fields, one_line
from ._table import (
    ANALYSES,
    NOT_STATED,
    Agreement,
    Arm,
    Beats,
    Noise,
    NoiseOf,
    Run,
    SampleSize,
    Source,
    Speedup,
    Table,
)

LEAST_ARMS = 2


class Tables:
    """Sources whose tables are found by `source/table`."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self.sources = tuple(sources)

    @classmethod
    def packaged(cls) -> "Tables":
        """The sources that come with the package, in the order of their names."""
        folder = files(__package__ or "") / "tables"
        names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".toml"))
        return cls(read_source(name, (folder / name).read_text(encoding="utf-8")) for name in names)

    def check(self, source: Source) -> None:
        """Raises `GatewiseError` where the names of somebody's own source could be taken for those of one here."""
        if source.name in {each.name for each in self.sources}:
            raise GatewiseError(
                f"{source.name}: the package has a source of this name; give yours another one: [source] name = ..."
            )
        taken = {f"{each.name}/{table.name}" for each in (*self.sources, source) for table in each.tables}
        for table in source.tables:
            if table.name in taken:
                raise GatewiseError(f"{source.name}: a table called {table.name!r} hides the table of that source")

    def find(self, name: str, near: Source) -> tuple[Source, Table]:
        """The table called `table` in the source `near`, or `source/table` anywhere. Raises `GatewiseError`."""
        known = {f"{source.name}/{table.name}": (source, table) for source in self.sources for table in source.tables}
        known |= {table.name: (near, table) for table in near.tables}
        known |= {f"{near.name}/{table.name}": (near, table) for table in near.tables}
        if name not in known:
            raise one_line(near.name, unknown_name("table", name, known))
        return known[name]

    def noise(self, noise: Noise | NoiseOf, near: Source) -> Noise:
        """A standard deviation between runs, looked up where it stands in a table."""
        if isinstance(noise, Noise):
            return noise
        source, table = self.find(noise.table, near)
        if noise.arm not in (names := [arm.name for arm in table.arms]):
            raise one_line(near.name, unknown_name("arm", noise.arm, names))
        arm = table.arm(noise.arm)
        if arm.sd is None or arm.n is None or arm.n < 2:
            raise GatewiseError(f"{near.name}: {noise.table} gives no SD of at least two runs for {noise.arm!r}")
        return Noise(sd=arm.sd.value, n=arm.n, source=f"{source.name}, {table.name}, {arm.name}")


def read_file(path: Path) -> Source:
    """The tables of somebody's own file. Raises `GatewiseError` for what is missing or makes no sense."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise GatewiseError(f"cannot read the tables in {path}: {reason}") from error
    try:
        return read_source(path.name, text)
    except RecursionError:  # the parser's, or that of printing what is wrong: nothing of its trace would help
        raise GatewiseError(f"{path.name} is nested too deeply to be read") from None


def read_source(name: str, text: str) -> Source:
    """The source that a TOML text describes; `name` stands before every error."""
    try:
        # Decimal keeps the digits: 1.960 was printed to a thousandth, 1.96 was not.
        document = tomllib.loads(text, parse_float=Decimal)
    except ValueError as error:  # a TOMLDecodeError, or a number of more digits than Python converts
        raise GatewiseError(f"{name} is not valid TOML: {error}") from error
    top = Fields(name, document, ("source", "table", "agreement", "speedup", "sample_size"))
    head = Fields(f"{name}: [source]", top.raw("source") or {}, ("name", "title", "reference", "setting"))
    tables = tuple(_table(f"{name}: table {i}", item) for i, item in enumerate(top.tables("table"), 1))
    names = [table.name for table in tables]
    _unique(top, "table", names)
    source = Source(
        name=head.text("name", Path(name).stem),
        title=head.text("title", ""),
        reference=head.text("reference", ""),
        setting=head.text("setting", ""),
        tables=tables,
        agreements=tuple(_agreement(f"{name}: agreement {i}", each) for i, each in _numbered(top, "agreement")),
        speedups=tuple(_speedup(f"{name}: speedup {i}", each) for i, each in _numbered(top, "speedup")),
        sample_sizes=tuple(_sample_size(f"{name}: sample_size {i}", each) for i, each in _numbered(top, "sample_size")),
    )
    if not (source.tables or source.speedups or source.sample_sizes):
        raise top.refuse("there is nothing to recompute; it needs at least one [[table]]")
    return source


def _numbered(top: Fields, key: str) -> Iterable[tuple[int, Any]]:
    return enumerate(top.tables(key), 1)


def _unique(place: Fields, kind: str, names: list[str]) -> None:
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise place.refuse(f"two {kind}s are called {doubled!r}")


def _table(where: str, value: object) -> Table:
    keys = tuple(item.name for item in fields(Table))
    got = Fields(where, value, (*keys, "n"))
    if isinstance(got.raw("name"), str):
        got.where = where.rpartition(": ")[0] + f": table {got.raw('name')!r}"
    number = _number_of_runs(got, None)
    arms = tuple(_arm(got, item, i, number) for i, item in enumerate(got.tables("arms"), 1))
    names = [arm.name for arm in arms]
    _unique(got, "arm", names)
    target = got.printed("target") if "target" in got else None
    if len(arms) < (1 if target else LEAST_ARMS):
        raise got.refuse(f"a table needs at least two arms, this one has {len(arms)}; with a target one is enough")
    items = got.count("items")
    chosen = got.texts("analyses") or _chosen(target is not None, items is not None)
    table = Table(
        name=got.text("name", "table"),
        quantity=got.text("quantity", got.text("name", "table")),
        better=got.choice("better", ("higher", "lower")),
        arms=arms,
        analyses=chosen,
        unit=got.text("unit", ""),
        statistic=got.choice("statistic", ("mean", "median"), "mean"),
        steps=got.count("steps"),
        matched=got.texts("matched"),
        unmatched=got.texts("unmatched"),
        caveats=got.texts("caveats"),
        alpha=got.between("alpha", 0, 1, 0.05),
        against=got.text("against", ""),
        pairs=tuple(_pair(got, item) for item in got.tables("pairs")),
        beats=tuple(_beats(got, item) for item in got.tables("beats")),
        target=target,
        items=items,
        items_source=got.text("items_source", ""),
        published_p=_published(got),
    )
    _check_names(got, table, names)
    _check_analyses(got, table)
    return table


def _chosen(has_target: bool, has_items: bool) -> tuple[str, ...]:
    if has_target:
        return ("one-sample-t",)
    return ("error-counts",) if has_items else ("welch-holm",)


def _number_of_runs(got: Fields, default: int | None) -> int | None:
    if got.raw("n") == NOT_STATED:
        return None
    return got.count("n") if "n" in got else default


def _arm(table: Fields, value: object, position: int, number: int | None) -> Arm:
    got = Fields(f"{table.where}, arm {position}", value, ("name", "mean", "sd", "n"))
    name = got.text("name")
    got.where = f"{table.where}, arm {name!r}"
    mean = got.printed("mean")
    sd = got.printed("sd") if "sd" in got else None
    if sd is not None and sd.value < 0:
        raise got.refuse(f"sd must be above 0, not {sd.value:g}")
    if sd is not None and sd.value == 0:
        raise got.refuse("an sd of 0 means that no spread was measured; leave it out")
    if sd is not None and "n" not in got and "n" not in table:
        raise got.refuse(f'there is an sd but no n; give the number of runs, or n = "{NOT_STATED}"')
    return Arm(name=name, mean=mean, sd=sd, n=_number_of_runs(got, number))


def _pair(got: Fields, value: object) -> tuple[str, str]:
    if not isinstance(value, list) or len(value) != 2 or value[0] == value[1]:
        raise got.refuse(f'pairs must be a list of two different arms each, such as [["a", "b"]], not {value}')
    return value[0], value[1]


def _beats(got: Fields, value: object) -> Beats:
    item = Fields(f"{got.where}, beats", value, ("arms", "than"))
    both = item.texts("arms"), item.texts("than")
    if not both[0] or not both[1] or set(both[0]) & set(both[1]):
        raise item.refuse("it needs two lists of different arms: { arms = [...], than = [...] }")
    return Beats(arms=both[0], than=both[1])


def _published(got: Fields) -> dict[str, float]:
    value = got.raw("published_p") or {}
    item = Fields(f"{got.where}, published_p", value, value if isinstance(value, dict) else ())
    return {key: item.between(key, 0, 1) for key in value}


def _check_names(got: Fields, table: Table, names: list[str]) -> None:
    groups = [name for each in table.beats for name in (*each.arms, *each.than)]
    against = [table.against] if table.against else []
    for name in [*against, *(name for pair in table.pairs for name in pair), *groups, *table.published_p]:
        if name not in names:
            raise one_line(got.where, unknown_name("arm", name, names))


def _check_analyses(got: Fields, table: Table) -> None:
    for analysis in table.analyses:
        if analysis not in ANALYSES:
            raise one_line(got.where, unknown_name("analysis", analysis, ANALYSES))
    if "pooled-t" in table.analyses and not (table.against or table.pairs):
        raise got.refuse('pooled-t needs the arm to compare with: against = "NAME", or pairs = [["a", "b"]]')
    if "one-sample-t" in table.analyses and table.target is None:
        raise got.refuse("one-sample-t needs a target")
    if "error-counts" in table.analyses and table.items is None:
        raise got.refuse("error-counts needs items, the size of the test set")
    outside = [arm.name for arm in table.arms if not 0 <= arm.mean.value <= 100]
    if "error-counts" in table.analyses and outside:
        raise got.refuse(f"error-counts needs percentages; {outside[0]!r} is not between 0 and 100")


def _agreement(where: str, value: object) -> Agreement:
    got = Fields(where, value, ("of", "with", "names"))
    names = got.raw("names") or {}
    checked = Fields(f"{where}, names", names, names if isinstance(names, dict) else ())
    return Agreement(of=got.text("of"), other=got.text("with"), names={key: checked.text(key) for key in names})


def _noise(where: str, value: object) -> Noise | NoiseOf:
    if isinstance(value, dict) and "table" in value:
        named = Fields(where, value, ("table", "arm"))
        return NoiseOf(table=named.text("table"), arm=named.text("arm"))
    got = Fields(where, value, ("sd", "n", "from", "table", "arm"))
    number = got.count("n")
    if number is None or number < 2:
        raise got.refuse("an sd needs n, the number of runs it comes from, of at least 2")
    return Noise(sd=got.number("sd", above=0), n=number, source=got.text("from"))


def _run(where: str, value: object, floor: float) -> Run:
    got = Fields(where, value, ("name", "loss", "tokens_per_second", "n"))
    loss = got.printed("loss")
    if loss.value <= floor:
        raise got.refuse(f"loss must be above the floor of {floor:g}, not {loss.value:g}")
    rate = got.number("tokens_per_second", above=0)
    return Run(name=got.text("name"), loss=loss, tokens_per_second=rate, n=_number_of_runs(got, None))


def _speedup(where: str, value: object) -> Speedup:
    got = Fields(where, value, tuple(item.name for item in fields(Speedup)))
    floor = got.number("floor")
    return Speedup(
        name=got.text("name"),
        base=_run(f"{where}, base", got.raw("base"), floor),
        variant=_run(f"{where}, variant", got.raw("variant"), floor),
        floor=floor,
        exponent=got.number("exponent", above=0),
        noise=tuple(_noise(f"{where}, noise", item) for item in got.tables("noise")),
    )


def _sample_size(where: str, value: object) -> SampleSize:
    got = Fields(where, value, tuple(item.name for item in fields(SampleSize)))
    return SampleSize(
        difference=got.number("difference", above=0),
        noise=_noise(f"{where}, noise", got.raw("noise")),
        correlation=got.between("correlation", -1, 1) if "correlation" in got else None,
        power=got.between("power", 0, 1, 0.8),
        alpha=got.between("alpha", 0, 1, 0.05),
    )
