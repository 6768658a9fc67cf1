"""Saving a model as safetensors and a recipe, and loading it again, bit by bit the same."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from gatewise.core import GatewiseError

from . import _tensors as tensors
from ._recipe import RECIPE, SCHEMA, WEIGHTS, check_weights, file_sha256, read_recipe, weights_path
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

    `builder` is for a model of classes that plain data cannot rebuild: it builds the model as it was before surgery,
    and has to be given to `load` again. Nothing of it is stored.

    Returns the folder. Raises `GatewiseError` when the model cannot be described or the folder cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    check_model(model)
    folder = checked_folder(directory)
    recipe, captured = _describe(model, builder)
    weights, new = folder / WEIGHTS, folder / f".{WEIGHTS}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            save_file(dict(captured.tensors), new, metadata={"format": "pt"})
            recipe["weights"] = {"file": WEIGHTS, "sha256": file_sha256(new), "size_bytes": new.stat().st_size}
            new.replace(weights)
            new = folder / f".{RECIPE}.{os.getpid()}"
            new.write_text(json.dumps(recipe, indent=1, allow_nan=False) + "\n", encoding="utf-8")
            new.replace(folder / RECIPE)
        finally:
            new.unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        raise GatewiseError(f"cannot write {folder}: {error}") from error
    return folder


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
        tensors.place(model, tensors.Captured(tensors=tensors.FileTensors(path), **recipe["tensors"]))
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
