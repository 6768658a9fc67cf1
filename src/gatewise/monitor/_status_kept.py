"""What a server was told about judging, kept beside its records, so that looking again judges in the same way."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError, unknown_name

NAME, SCHEMA = "monitor.json", "gatewise.monitor-settings/1"
SECTIONS = ("judge", "drift", "errors", "estimate", "machine", "service")
"""`judge`: as `--set` takes it; `drift`, `errors`: of `DriftSettings`, `ErrorSettings`; `estimate`: `learn`, a number;
`machine`: of `Machine`; `service`: `registry`, a path, and `aliases` and `before`, by model, as they are since
`since_ns`. There is a watch for errors where the section is there."""


def keep_settings(folder: str | Path, sections: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write down the settings of the judge, the drift watches and the machine; replaces what was there at once.

    Raises:
        GatewiseError: a section that nobody knows, or a folder that cannot be written.
    """
    for name in sections:
        if name not in SECTIONS:
            raise unknown_name("section", name, SECTIONS)
    path = Path(folder) / NAME
    text = json.dumps({"schema": SCHEMA, **sections}, indent=1, allow_nan=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}.tmp")
        beside.write_text(f"{text}\n", encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise GatewiseError(f"cannot write {path}: {error.strerror}") from error
    return path


def kept_settings(folder: Path) -> dict[str, dict[str, Any]]:
    """What is kept, by section; empty where nothing is. Raises `GatewiseError` for a damaged file."""
    path = folder / NAME
    try:
        found = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise GatewiseError(f"{path} is damaged: {error}\nwithout it the settings are the default ones") from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise GatewiseError(f"{path} does not hold {SCHEMA}")
    held: dict[str, Any] = {name: found[name] for name in SECTIONS if name in found}
    if not all(isinstance(section, dict) for section in held.values()):
        raise GatewiseError(f"{path} is damaged: each of {', '.join(SECTIONS)} is an object")
    return held
