"""The one table of report formats, and how they are written. A new format is one file and one line here."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gatewise.core import GatewiseError, Registry

from ._format import Format
from ._read import Document

if TYPE_CHECKING:
    from rich.console import Console


FORMATS: Registry[Format] = Registry(
    "report format",
    group="reports",
    package="gatewise.report",
    table={
        "json": "._json:JSON",
        "markdown": "._markdown:MARKDOWN",
        "html": "._html:HTML",
        "terminal": "._terminal:TERMINAL",
    },
)


def html(document: Document) -> str:
    """The report as one offline HTML page.

    Raises:
        GatewiseError: the document holds a number that JSON has no word for (NaN, infinity).
    """
    return FORMATS["html"].render(document)


def markdown(document: Document) -> str:
    """The report as GitHub-flavoured Markdown."""
    return FORMATS["markdown"].render(document)


def terminal(document: Document, console: "Console | None" = None) -> None:
    """Print the report. Without `console` to stdout, in the terminal's width; `NO_COLOR` is honoured."""
    from ._terminal import show

    show(document, console)


def write(document: Document, out_dir: str | Path) -> list[Path]:
    """Write every format that is a file into `out_dir` (made if needed) and return the paths.

    All texts are rendered before the first file is touched, and each file is replaced in one step, so that a
    reader never sees half a report.

    Raises:
        GatewiseError: the document is not valid (see `html`), or the folder cannot be written.
    """
    folder = Path(out_dir)
    plugins = [FORMATS[name] for name in FORMATS]
    texts = {each.filename: each.render(document) for each in plugins if each.filename}
    return write_texts(folder, texts, "the report")


def write_texts(folder: Path, texts: Mapping[str, str], what: str) -> list[Path]:
    """Write texts by file name, each replaced in one step, and return the paths; `what` they are, for the error.

    Raises:
        GatewiseError: the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in texts.items():
            replace(folder / name, content)
    except OSError as error:
        raise GatewiseError(f"cannot write {what} to {folder}: {error.strerror or error}") from error
    return [folder / name for name in texts]


def replace(path: Path, content: str) -> None:
    """Write beside the target and rename: a killed process leaves the old file or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        # A lone surrogate (a file name that is not UTF-8) has no bytes; its escape is the same text in JSON.
        with open(handle, "wb") as file:
            file.write(content.encode("utf-8", "backslashreplace"))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """The process's file mode mask; the only portable way to read it is to set it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
