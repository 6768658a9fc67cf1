"""Objects: immutable folders called by the hash of what they hold, published whole or not at all."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError

MANIFEST = "manifest.json"
_STAGED = ".new-"
_STALE_S = 24 * 3600.0
"""A staged folder of this age was left by a process that was killed."""


@contextmanager
def staged(objects: Path) -> Generator[Path]:
    """A folder to build an object in; what is not published is gone afterwards."""
    objects.mkdir(parents=True, exist_ok=True)
    _sweep(objects)
    try:
        folder = Path(tempfile.mkdtemp(prefix=_STAGED, dir=objects))
    except OSError as error:
        raise GatewiseError(f"cannot write to {objects}: {error.strerror or error}") from error
    try:
        yield folder
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise GatewiseError(f"{objects}: the disk is full; nothing was registered") from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, objects: Path, digest: str, manifest: Mapping[str, Any]) -> bool:
    """Give a staged folder its name, with everything safe on disk first.

    Returns whether it is new; an object that is there already stays as it is.
    """
    target = objects / digest
    if target.is_dir():
        return False
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    folder.chmod(0o755)  # a temporary folder is for its owner alone, and a server may run as another user
    for path in (*folder.rglob("*"), folder):
        _sync(path)
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # another process was first, with the same content
            return False
        raise
    _sync(objects)
    return True


def file_hashes(folder: Path) -> dict[str, str]:
    """The sha256 of every file by its path in the folder, without the manifest. Raises `GatewiseError` for a link."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise GatewiseError(f"{path} is no plain file")
        if path.is_file() and name != MANIFEST:
            with path.open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def digest_of(content: Mapping[str, Any]) -> str:
    """The sha256 of plain data."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def differences(folder: Path, registered: Mapping[str, str]) -> list[str]:
    """What is no longer as registered, a line each."""
    now = file_hashes(folder)
    lines = [f"{name} is missing" for name in registered if name not in now]
    lines += [f"{name} was added" for name in now if name not in registered]
    return lines + [f"{name} was changed" for name, digest in registered.items() if now.get(name, digest) != digest]


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an object. Raises `GatewiseError` where it is missing or damaged."""
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GatewiseError(f"cannot read {path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise GatewiseError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
    if not isinstance(found, dict):
        raise GatewiseError(f"{path} is damaged: no JSON object")
    return found


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _sweep(objects: Path) -> None:
    for left in objects.glob(f"{_STAGED}*"):
        try:
            if time.time() - left.stat().st_mtime > _STALE_S:
                shutil.rmtree(left, ignore_errors=True)
        except OSError:
            continue
