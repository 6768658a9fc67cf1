"""A changed model in its family's own layout: the config and the tensor names under which transformers reads it.

Two kinds of change have a place in a config: another function in the field that names it (`hidden_act` and kin), and a
switch that turns a plain feed-forward block into a gated one. Which field, and whether it really does, is found by
trying: a model is built from each changed config, and its sites and tensors are compared with those of the model.
"""

import json
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gatewise import activations
from gatewise.core import GatewiseError

from . import _tensors as tensors
from ._blocks import is_linear
from ._gate import simple_gate
from ._native_config import Asked, changed_configs
from ._report import history
from ._sites import FoundSite, Paths, locate
from ._tree import children
from .builders import huggingface

FOREIGN = (ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""What the constructors of a family may raise for a config that they were not made for."""


@dataclass(frozen=True, kw_only=True)
class Native:
    """What transformers needs to read a model.

    Attributes:
        config: the content of `config.json`.
        names: the model's name of a tensor to the family's, where the two differ.
    """

    config: dict[str, Any]
    names: dict[str, str] = field(default_factory=dict)


def native_layout(model: nn.Module, described: dict[str, Any]) -> Native:
    """The layout of a model of transformers whose builder config is `described`.

    Raises `GatewiseError` that says why, where the family has no layout for it.
    """
    if not history(model)["edits"]:
        return Native(config=_settings(model, model, described["architecture"]))
    asked, sites = _asked(model), locate(model)
    reason = ""
    for config in changed_configs(described["config"], asked):
        try:
            return _fitted(model, sites, described, config)
        except GatewiseError as error:
            # The reason of a layout that came nearer than the bare config says more.
            reason = reason or str(error)
        except FOREIGN as error:
            reason = reason or f"{described['architecture']} does not take that config: {error}"
    raise GatewiseError(reason)


def is_read(cls: Any, folder: str, model: nn.Module, native: Native) -> str:
    """Load the folder with the family's own loader and compare; why it is not the model, or an empty string."""
    try:
        with huggingface.quiet(), torch.random.fork_rng(devices=[]):
            read, info = cls.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
    except (*FOREIGN, ImportError) as error:
        return f"its from_pretrained does not take it: {(str(error).strip().splitlines() or [''])[0]}"
    if info["missing_keys"] or info["mismatched_keys"]:
        return f"its from_pretrained misses {sorted(map(str, info['missing_keys']))[:2]}"
    theirs = tensors.all_tensors(read)
    for name, tensor in model.named_parameters(remove_duplicate=False):
        other = theirs.get(native.names.get(name, name))
        if other is None or other.dtype != tensor.dtype or not torch.equal(other, tensor.detach().cpu()):
            return f"its from_pretrained gives {name!r} other numbers"
    return ""


def _asked(model: nn.Module) -> Asked:
    """What the surgeries of a model put in, as it stands now."""
    units = {path: unit for path, unit in model.named_modules() if isinstance(unit, activations.GatedUnit)}
    acts = {each.name for each in model.modules() if isinstance(each, activations.Activation)}
    widths = {unit.gate.out_features for unit in units.values()}
    befores = {
        site["before"]
        for entry in history(model)["surgeries"]
        for site in entry.get("sites", [])
        if site["after"] in acts or simple_gate(site["after"]) in acts
    }
    return Asked(
        acts=tuple(sorted(acts)),
        befores=tuple(
            sorted({(simple_gate(name) or name) if name in activations.names() else name for name in befores})
        ),
        gates=tuple(sorted({unit.name for unit in units.values()})),
        hidden=widths.pop() if len(widths) == 1 else None,
    )


def _fitted(model: nn.Module, sites: list[FoundSite], described: dict[str, Any], config: dict[str, Any]) -> Native:
    """The layout by this config. Raises `GatewiseError` where it does not describe the model."""
    family = described["architecture"]
    other = huggingface.build({**described, "config": config}).eval()
    mine, theirs = tensors.all_tensors(model), tensors.all_tensors(other)
    for name, tensor in theirs.items():
        # Sites are found by running them, so the numbers have to be some; the layers of new gates have none yet.
        tensor.data = mine[name].detach().cpu() if _alike(mine.get(name), tensor) else _numbers(tensor)
    found = locate(other)
    units = {path: part for path, part in model.named_modules() if isinstance(part, activations.GatedUnit)}
    names = _gate_names(model, units, other, found)
    for name, tensor in mine.items():
        there = theirs.get(names.get(name, name))
        if there is None or there.shape != tensor.shape:
            raise GatewiseError(_why_not(family, name, tensor, there, bool(units)))
    extra = sorted(set(theirs) - {names.get(name, name) for name in mine})
    if extra:
        raise GatewiseError(f"{family} would have {extra[0]!r}, which the model does not have")
    _compare_sites(sites, units, found, family)
    return Native(config=_settings(other, model, family), names=names)


def _settings(other: Any, model: nn.Module, family: str) -> dict[str, Any]:
    """The content of `config.json`: that of the family's model, with the class and the dtype of the weights."""
    settings: dict[str, Any] = json.loads(other.config.to_json_string())
    settings.pop("_name_or_path", None)  # a path of this machine
    dtype = next((tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()), torch.float32)
    return settings | {"architectures": [family], "dtype": str(dtype).removeprefix("torch.")}


def _alike(one: Tensor | None, other: Tensor) -> bool:
    return one is not None and one.shape == other.shape


def _numbers(like: Tensor) -> Tensor:
    if not like.is_floating_point():
        return torch.zeros_like(like)
    return torch.linspace(-1.0, 1.0, max(1, like.numel()))[: like.numel()].cos().mul(0.5).reshape(like.shape)


def _why_not(family: str, name: str, tensor: Tensor, there: Tensor | None, gated: bool) -> str:
    if gated and there is None and name.endswith(".bias"):
        return (
            f"the gated block of {family} has no bias where {name!r} stands, and without biases "
            "nothing gives the b_up = 1 that keeps the function"
        )
    if there is None:
        return f"{family} has no place for {name!r}"
    return f"{name!r} is {list(tensor.shape)}, and in {family} it would be {list(there.shape)}"


def _gate_names(
    model: nn.Module, units: dict[str, activations.GatedUnit], other: nn.Module, found: list[FoundSite]
) -> dict[str, str]:
    """The tensors of every gated unit, and of the layer back beside it, under the other model's names."""
    places = {_owner(path): each for each in found if each.site.gated for path in each.site.paths}
    linears, family, names = Paths(other), type(other).__name__, dict[str, str]()
    for path in units:
        owner, _, slot = path.rpartition(".")
        if owner not in places:
            raise GatewiseError(f"{family} has no gated feed-forward block of its own at {owner!r}")
        backs = [key for key, part in children(model.get_submodule(owner)).items() if key != slot and is_linear(part)]
        block = places[owner].blocks[0]
        if len(backs) != 1 or block.fused is not None or block.gate is None or block.up is None or block.down is None:
            raise GatewiseError(f"the gated block of {family} at {owner!r} packs its matrices another way")
        pairs = {f"{path}.gate": block.gate, f"{path}.up": block.up, f"{owner}.{backs[0]}": block.down}
        for mine, there in pairs.items():
            names |= {f"{mine}.{leaf}": f"{linears.of(there)[0]}.{leaf}" for leaf in ("weight", "bias")}
    held = tensors.all_tensors(model)
    return {mine: theirs for mine, theirs in names.items() if mine in held and mine != theirs}


def _compare_sites(
    sites: list[FoundSite], units: dict[str, activations.GatedUnit], found: list[FoundSite], family: str
) -> None:
    """Raises `GatewiseError` where the two do not compute the same function at the same place."""
    owners = {_owner(path): unit.name for path, unit in units.items()}
    mine, theirs = ({_place(path, owners): name for path, name in _functions(each)} for each in (sites, found))
    mine |= owners
    for path in sorted({*mine, *theirs}):
        if mine.get(path) != theirs.get(path):
            raise GatewiseError(
                f"{family} names one function for all its blocks: {path!r} would compute "
                f"{theirs.get(path, 'nothing')}, and the model computes {mine.get(path, 'nothing')} there"
            )


def _functions(sites: list[FoundSite]) -> Iterator[tuple[str, str]]:
    return ((path, each.site.before) for each in sites for path in each.site.paths)


def _place(path: str, owners: Container[str]) -> str:
    """Where a site counts: a block that has become gated counts as a whole."""
    return _owner(path) if _owner(path) in owners else path


def _owner(path: str) -> str:
    return path.rpartition(".")[0]
