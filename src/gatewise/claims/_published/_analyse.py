"""Runs over the tables of a source whatever analyses their data allow."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ._counts import count_results
from ._pairs import all_pairs, named_pairs, pair_results, relations, survivors
from ._ranks import agreement_results
from ._read import Tables, read_file
from ._result import Result
from ._sample_size import sample_size_results
from ._speedup import speedup_results
from ._table import Source, Table
from ._target import target_results

SCHEMA = "gatewise.published/1"


def published(file: Path | None = None) -> dict[str, Any]:
    """Recompute published tables: those of the package, or those of one TOML file in the same format.

    Each entry of `results` has `source quantity value evidence` with `reason`, `unit`, `detail` and, where there is
    one, `interval`; `tables` holds the figures they were computed from. Raises `GatewiseError` for a bad file,
    and for one whose names are those of the package.
    """
    tables = Tables.packaged()
    if file is None:
        sources = tables.sources
    else:
        sources = (read_file(file),)
        tables.check(sources[0])
    return {
        "schema": SCHEMA,
        "results": [result.document(source.name) for source in sources for result in source_results(source, tables)],
        "tables": [_described(source) for source in sources],
    }


def source_results(source: Source, tables: Tables) -> Iterator[Result]:
    """Everything that can be said about one source."""
    for table in source.tables:
        yield from _table_results(table)
    yield from agreement_results(source, tables)
    yield from speedup_results(source, tables)
    yield from sample_size_results(source, tables)


def _table_results(table: Table) -> Iterator[Result]:
    if "welch-holm" in table.analyses:
        pairs = all_pairs(table)
        yield survivors(table, pairs)
        yield from relations(table, pairs)
        yield from pair_results(table, "welch-holm", pairs)
    if "pooled-t" in table.analyses:
        yield from pair_results(table, "pooled-t", named_pairs(table))
    if "one-sample-t" in table.analyses:
        yield from target_results(table)
    if "error-counts" in table.analyses:
        yield from count_results(table)


def _described(source: Source) -> dict[str, Any]:
    return {
        "source": source.name,
        "title": source.title,
        "reference": source.reference,
        "setting": source.setting,
        "tables": [_table(table) for table in source.tables],
    }


def _table(table: Table) -> dict[str, Any]:
    return {
        "name": table.name,
        "quantity": table.quantity,
        "unit": table.unit,
        "better": table.better,
        "statistic": table.statistic,
        "steps": table.steps,
        "matched": list(table.matched),
        "unmatched": list(table.unmatched),
        "caveats": list(table.caveats),
        "arms": [
            {
                "name": arm.name,
                "mean": arm.mean.value,
                "sd": arm.sd.value if arm.sd is not None else None,
                "n": arm.n,
            }
            for arm in table.arms
        ],
    }
