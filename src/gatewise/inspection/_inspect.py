"""Opens a model, finds its sites, and looks at data where there is any."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from gatewise.core import GatewiseError
from gatewise.graphs import find_sites

from ._arrays import check_arrays, read_arrays
from ._inspection import DECLARED, PROBED, Inspection
from ._open import open_target
from ._opened import Opened
from ._seen import Tally, seen_at, unit_axis

if TYPE_CHECKING:
    from torch import nn

Data = str | Path | Mapping[str, NDArray[Any]]


def inspect(
    target: "str | Path | nn.Module", *, inputs: object = None, data: Data | None = None, ranges: bool = True
) -> Inspection:
    """Which activation stands where in a model, found by computing it, not by its name.

    Args:
        target: a workload's name, a model folder, `package.module:function`, `file.py:function`, a `.onnx`, `.xml`
            (OpenVINO) or `.safetensors` file, or a live module with its `inputs`.
        inputs: what a live module is called with: a tensor, a tuple of arguments, a dict of keyword arguments.
        data: a `.npz` file or arrays by the inputs' names, for ranges and dead units; a live model has data of its own.
        ranges: False: a live model is not run on data of its own.

    Raises:
        GatewiseError: no such model, a broken file, a model that fails, data that does not fit.
    """
    opened = open_target(target, inputs)
    if opened.graph is None:
        if data is not None:
            raise GatewiseError(f"{opened.source} cannot be run here, so --data has no use")
        return Inspection(
            source=opened.source,
            format=opened.format,
            how=DECLARED,
            facts=opened.facts,
            sites=opened.declared,
            left=(),
            weights=opened.weights,
        )
    sites, left = find_sites(opened.graph)
    seen, source = _look(opened, sites, data) if ranges or data is not None else ({}, "")
    return Inspection(
        source=opened.source,
        format=opened.format,
        how=PROBED,
        facts=opened.facts,
        sites=tuple(sites),
        left=tuple(left),
        weights=opened.weights,
        graph=opened.graph,
        seen=seen,
        data=source,
    )


def _look(opened: Opened, sites: Any, data: Data | None) -> tuple[dict[str, dict[str, Any]], str]:
    """What went into each site by its output's name, and what data that was."""
    if data is None and not opened.own_data:
        return {}, ""
    if opened.observe is None or opened.graph is None:
        raise GatewiseError(f"{opened.source}: data can be run through PyTorch models and ONNX files only")
    arrays = None
    if data is not None:
        arrays = check_arrays(data, "the data") if isinstance(data, Mapping) else read_arrays(Path(data))
    tallies = {name: Tally(axis=unit_axis(opened.graph, name)) for site in sites for name in site.inputs}
    source = opened.observe(arrays, {name: one.add for name, one in tallies.items()})
    seen = {name: one.seen() for name, one in tallies.items() if one.values}
    found = {site.output: seen_at(site, seen) for site in sites}
    return {name: value for name, value in found.items() if value is not None}, source
