"""Saving a model as safetensors and a recipe, and loading it again, bit by bit the same.

A model of transformers whose family has a config for it is written in that family's own layout: the tensors under its
names, and `config.json` beside them.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from gatewise.core import GatewiseError

from . import _tensors as tensors
from ._native import Native, is_read, native_layout
from ._recipe import CONFIG, RECIPE, SCHEMA, WEIGHTS, check_weights, file_sha256, read_recipe, weights_path
from ._report import check_model, history, set_history
from ._safetensors import lint
from ._skeleton import CALLER, build_skeleton, check_same
from .builders import BUILDERS, huggingface, modules


def describe(model: nn.Module) -> dict[str, Any]:
    """The recipe of a model as plain data, without its weights (`weights` is None).

    Raises `GatewiseError` when plain data cannot rebuild the model.
    """
    recipe, _ = _describe(model)
    return recipe


Builder = Callable[[], nn.Module]
"""The user's own code that builds a model, as it was before any surgery."""


def save(model: nn.Module, directory: str | Path, *, builder: Builder | None = None) -> Path:
    """Write `model.safetensors` and `recipe.json` into a folder, which is made where it is missing.

    Each file is written beside its place and then renamed. Nothing is pickled. Before anything is written, the model is
    rebuilt from the recipe and compared: a model that would come back as another one is refused.

    A model of transformers whose config can say what was changed gets `config.json` too, and is then loaded once with
    the family's own `from_pretrained` and compared. The recipe's `ecosystem` says whether that loader reads the folder,
    and why not.

    `builder` is for a model of classes that plain data cannot rebuild: it builds the model as it was before surgery,
    and has to be given to `load` again. Nothing of it is stored.

    Returns the folder. Raises `GatewiseError` when the model cannot be described or the folder cannot be written.
    """
    from safetensors import SafetensorError

    check_model(model)
    folder = checked_folder(directory)
    recipe, captured = _describe(model, builder)
    native, reason = _native(model, recipe)
    if native is not None and native.names:
        recipe["tensors"]["names"] = native.names
    try:
        folder.mkdir(parents=True, exist_ok=True)
        recipe["weights"] = _write_weights(folder, captured, native)
        if recipe["builder"]["name"] == "huggingface":
            recipe["ecosystem"] = _write_config(folder, model, recipe, native, reason)
        _write(folder, RECIPE, recipe)
    except (OSError, SafetensorError) as error:
        raise GatewiseError(f"cannot write {folder}: {error}") from error
    return folder


def _native(model: nn.Module, recipe: dict[str, Any]) -> tuple[Native | None, str]:
    """The layout of the model's family, or why there is none."""
    if recipe["builder"]["name"] != "huggingface":
        return None, "it is no model of transformers"
    try:
        return native_layout(model, recipe["builder"]["config"]), ""
    except GatewiseError as error:
        return None, str(error)


def _write_weights(folder: Path, captured: tensors.Captured, native: Native | None) -> dict[str, Any]:
    from safetensors.torch import save_file

    names = native.names if native is not None else {}
    new = folder / f".{WEIGHTS}.{os.getpid()}"
    try:
        stored = {names.get(name, name): tensor for name, tensor in captured.tensors.items()}
        save_file(stored, new, metadata={"format": "pt"})
        facts = {"file": WEIGHTS, "sha256": file_sha256(new), "size_bytes": new.stat().st_size}
        new.replace(folder / WEIGHTS)
    finally:
        new.unlink(missing_ok=True)
    return facts


def _write_config(
    folder: Path, model: nn.Module, recipe: dict[str, Any], native: Native | None, reason: str
) -> dict[str, Any]:
    """Write `config.json` where the family's own loader then reads the folder. A config of an earlier save goes."""
    name = recipe["builder"]["config"]["architecture"]
    path = folder / CONFIG
    if native is not None:
        kept = path.read_bytes() if path.exists() else None
        _write(folder, CONFIG, native.config)
        reason = is_read(type(model), str(folder.resolve()), model, native)
        if reason:
            path.unlink()
            if kept is not None:
                path.write_bytes(kept)
    if reason and path.exists() and _own_config(folder):
        path.unlink()
    return {"loader": f"transformers.{name}.from_pretrained", "reads": not reason, "reason": reason}


def _own_config(folder: Path) -> bool:
    """Whether the `config.json` of a folder was written by an earlier save."""
    try:
        return bool(read_recipe(folder).get("ecosystem", {}).get("reads"))
    except GatewiseError:
        return False


def _write(folder: Path, name: str, content: dict[str, Any]) -> None:
    new = folder / f".{name}.{os.getpid()}"
    try:
        new.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        new.replace(folder / name)
    finally:
        new.unlink(missing_ok=True)


def checked_folder(directory: object) -> Path:
    """A folder's name as a path. Raises `GatewiseError` for what cannot be one."""
    if not isinstance(directory, (str, os.PathLike)) or not str(directory).strip() or "\0" in str(directory):
        raise GatewiseError(f"a folder's name is text, not {directory!r}")
    return Path(directory)


def load(directory: str | Path, *, builder: Builder | None = None) -> nn.Module:
    """The model of a folder, in eval mode, bit by bit what was saved; its parameters lie in memory of their own.

    A folder without `recipe.json` but with Hugging Face's `config.json` is read as such. Nothing in the folder is
    executed; `builder` is the caller's own code, for a model that was saved with one.

    Raises `GatewiseError` when a file is missing, broken, of a newer schema or not the one described.
    """
    folder = checked_folder(directory)
    if not folder.is_dir():
        raise GatewiseError(f"there is no folder {str(folder)!r}")
    if not (folder / RECIPE).exists():
        if (folder / "config.json").exists():
            from ._huggingface_folder import load_huggingface

            return load_huggingface(folder)
        raise GatewiseError(f"{str(folder)!r} is no model folder: neither recipe.json nor config.json is in it")
    recipe = read_recipe(folder)
    path = weights_path(folder, recipe)
    check_weights(path, recipe)
    lint(path)
    model = build_skeleton(recipe["builder"], recipe["edits"], builder)
    try:
        named = dict(recipe["tensors"])
        stored = tensors.Renamed(tensors.FileTensors(path), named.pop("names", {}))
        tensors.place(model, tensors.Captured(tensors=stored, **named))
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise GatewiseError(f"the tensors in {path.parent / RECIPE} do not fit the model: {error}") from error
    if recipe["builder"]["name"] not in (CALLER, *BUILDERS.table):
        model.gatewise_builder = recipe["builder"]  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    set_history(model, {key: recipe[key] for key in ("weights_state", "edits", "surgeries")})
    return model


def _describe(model: nn.Module, caller: Builder | None = None) -> tuple[dict[str, Any], tensors.Captured]:
    past = history(model)
    edits = past["edits"]
    own: Any = getattr(model, "gatewise_builder", None)
    if caller is not None:
        builder: dict[str, Any] = {"name": CALLER, "config": {}}
    elif own is not None:
        if not isinstance(own, dict) or set(own) != {"name", "config"} or not isinstance(own["config"], dict):
            raise GatewiseError("`gatewise_builder` must be {'name': NAME, 'config': {...}} and nothing else")
        builder = {"name": own["name"], "config": own["config"]}
    elif huggingface.is_pretrained(model):
        builder = {"name": "huggingface", "config": huggingface.describe(model)}
    else:
        # The tree is described as it stands, so the edits that led to it are not to be repeated.
        builder, edits = {"name": "modules", "config": modules.describe(model)}, []
    try:
        builder = json.loads(json.dumps(builder, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise GatewiseError(f"the builder config of {type(model).__name__} is no plain JSON: {error}") from error
    check_same(model, build_skeleton(builder, edits, caller))
    captured = tensors.capture(model)
    recipe = {
        "schema": SCHEMA,
        "builder": builder,
        "edits": edits,
        "surgeries": past["surgeries"],
        "weights_state": past["weights_state"],
        "tensors": captured.to_json(),
        "weights": None,
    }
    return recipe, captured
