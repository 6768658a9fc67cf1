"""The data of `byte-lm`: source files of the Python standard library, a pinned list, read locally and hashed.

The list is fixed here, so that two machines with the same Python read the same bytes and get the same hash. It holds
hand-written modules that CPython 3.11, 3.12 and 3.13 all ship; tables (codec maps, HTML entities), tests and installed
packages are left out. The split is by file: no byte of a held-out file is ever trained on.

Text of another kind (the *shifted* text) is the English of Python's own language reference, which is on neither side.
"""

import ast
import hashlib
import re
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError

_TRAIN = """
_collections_abc.py _pydecimal.py _pyio.py _strptime.py _threading_local.py _weakrefset.py abc.py argparse.py ast.py
asyncio/base_events.py asyncio/events.py asyncio/locks.py asyncio/queues.py asyncio/runners.py
asyncio/selector_events.py asyncio/streams.py asyncio/tasks.py base64.py bdb.py bz2.py cmd.py code.py codecs.py
codeop.py collections/__init__.py compileall.py concurrent/futures/_base.py concurrent/futures/process.py
concurrent/futures/thread.py configparser.py contextlib.py copy.py copyreg.py dataclasses.py datetime.py dis.py
doctest.py email/_header_value_parser.py email/feedparser.py email/generator.py email/header.py
email/headerregistry.py email/message.py email/policy.py email/utils.py enum.py filecmp.py fileinput.py fnmatch.py
ftplib.py functools.py getopt.py gettext.py glob.py gzip.py hashlib.py html/parser.py http/client.py http/cookiejar.py
http/cookies.py http/server.py imaplib.py importlib/_bootstrap.py importlib/_bootstrap_external.py
importlib/metadata/__init__.py importlib/util.py inspect.py ipaddress.py json/__init__.py json/decoder.py
json/encoder.py linecache.py logging/__init__.py logging/config.py logging/handlers.py lzma.py mailbox.py
modulefinder.py multiprocessing/connection.py multiprocessing/context.py multiprocessing/managers.py
multiprocessing/pool.py multiprocessing/queues.py multiprocessing/shared_memory.py multiprocessing/synchronize.py
netrc.py numbers.py operator.py optparse.py os.py pdb.py pickle.py pickletools.py pkgutil.py platform.py plistlib.py
poplib.py posixpath.py pprint.py profile.py pstats.py pyclbr.py pydoc.py queue.py quopri.py random.py re/_compiler.py
re/_parser.py reprlib.py runpy.py sched.py selectors.py shelve.py shutil.py smtplib.py socket.py socketserver.py
ssl.py string.py subprocess.py symtable.py tempfile.py threading.py timeit.py tokenize.py trace.py tracemalloc.py
types.py typing.py unittest/case.py unittest/loader.py unittest/main.py unittest/mock.py unittest/result.py
unittest/runner.py unittest/suite.py urllib/parse.py urllib/request.py urllib/robotparser.py uuid.py warnings.py
weakref.py webbrowser.py wsgiref/handlers.py xml/dom/expatbuilder.py xml/dom/minidom.py xml/etree/ElementTree.py
xml/sax/expatreader.py xmlrpc/client.py xmlrpc/server.py zipapp.py zipimport.py zoneinfo/_zoneinfo.py
"""

_HELDOUT = """
calendar.py csv.py difflib.py fractions.py graphlib.py heapq.py shlex.py statistics.py tarfile.py textwrap.py
tomllib/_parser.py traceback.py wave.py
"""

TRAIN_FILES = tuple(_TRAIN.split())
"""Trained on."""

HELDOUT_FILES = tuple(_HELDOUT.split())
"""Never trained on. Modules with a near twin in the training list (`ntpath` and `posixpath`, say) are not here."""

SHIFTED_FILE = "pydoc_data/topics.py"
"""What the `help` command prints: prose, with some tables and code in it."""

SEPARATOR = b"\0"
"""Stands after each file; it occurs in no Python source."""

_MIN_TRAIN_BYTES = 1_000_000
_MIN_HELDOUT_BYTES = 100_000


@dataclass(frozen=True, kw_only=True)
class Split:
    """One side of the split: the files that were read, in the order of the list, and those this Python lacks."""

    files: tuple[str, ...]
    missing: tuple[str, ...]
    text: bytes

    @cached_property
    def sha256(self) -> str:
        """Over each name read and its bytes, in order (the text holds the bytes with a separator after each file)."""
        digest = hashlib.sha256("\n".join(self.files).encode())
        digest.update(SEPARATOR + self.text)
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class StdlibSource:
    """The standard library's source as training and held-out text."""

    train: Split
    heldout: Split

    @cached_property
    def sha256(self) -> str:
        """One hash of both sides: records of different hashes are not compared."""
        return hashlib.sha256(f"{self.train.sha256} {self.heldout.sha256}".encode()).hexdigest()


def _read(root: Path, names: Sequence[str]) -> Split:
    found = [name for name in names if (root / name).is_file()]
    text = b"".join((root / name).read_bytes() + SEPARATOR for name in found)
    return Split(files=tuple(found), missing=tuple(name for name in names if name not in found), text=text)


@lru_cache(maxsize=2)
def read(root: Path | None = None) -> StdlibSource:
    """Read the pinned files below `root` (default: this Python's standard library), once per process.

    Raises `GatewiseError` when so little is there that a model cannot be trained on it (a Python without sources).
    """
    root = root or Path(sysconfig.get_path("stdlib"))
    source = StdlibSource(train=_read(root, TRAIN_FILES), heldout=_read(root, HELDOUT_FILES))
    if len(source.train.text) < _MIN_TRAIN_BYTES or len(source.heldout.text) < _MIN_HELDOUT_BYTES:
        raise GatewiseError(
            f"byte-lm needs the standard library's source files; found {len(source.train.files)} of {len(TRAIN_FILES)}"
            f" training and {len(source.heldout.files)} of {len(HELDOUT_FILES)} held-out files below {root}\n"
            "valid: a Python 3.11 or newer that ships its .py files"
        )
    return source


@lru_cache(maxsize=2)
def shifted(root: Path | None = None) -> Split:
    """The prose of the language reference, one topic after the other. Raises `GatewiseError` where it is missing."""
    path = (root or Path(sysconfig.get_path("stdlib"))) / SHIFTED_FILE
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GatewiseError(f"text of another kind is read from {SHIFTED_FILE}, which this Python lacks") from error
    topics = [value for node in ast.walk(tree) if isinstance(node, ast.Dict) for value in node.values]
    prose = [topic.value for topic in topics if isinstance(topic, ast.Constant) and isinstance(topic.value, str)]
    text = b"".join(topic.encode() + SEPARATOR for topic in prose)
    if len(text) < _MIN_HELDOUT_BYTES:
        raise GatewiseError(f"{path} yields {len(text)} bytes of prose; at least {_MIN_HELDOUT_BYTES} are needed")
    return Split(files=(SHIFTED_FILE,), missing=(), text=text)


SLICES = ("prose", "names", "signs", "space")
_NAMES, _SIGNS, _SPACE = 1, 2, 3
# Scanned from the left, so that a quote in a comment opens nothing and a # in a string starts none.
_PROSE = re.compile(
    rb"#[^\n]*"
    rb'|"""(?:\\.|[^\\])*?"""|\'\'\'(?:\\.|[^\\])*?\'\'\''
    rb'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'',
    re.DOTALL,
)
_CLASS_OF_BYTE = bytes(
    _SPACE if byte in b" \t\n\r\f\0" else _NAMES if chr(byte).isalpha() or byte == ord("_") or byte > 127 else _SIGNS
    for byte in range(256)
)


def slices_of(text: bytes) -> bytes:
    """For each byte of Python source the index in `SLICES` of the slice that it belongs to.

    `prose` is everything in comments and string literals, docstrings above all. Of the rest, letters and `_` are
    `names` (keywords too), blanks and line ends are `space`, digits, operators and brackets are `signs`.
    """
    marks = bytearray(text.translate(_CLASS_OF_BYTE))
    for found in _PROSE.finditer(text):
        marks[found.start() : found.end()] = bytes(len(found[0]))
    return bytes(marks)


class StdlibText:
    """The sides of this source, as `byte-lm` reads them."""

    def text(self, side: str) -> bytes:
        """The text of `train`, `heldout` or `shifted`."""
        if side == "shifted":
            return shifted().text
        source = read()
        return (source.train if side == "train" else source.heldout).text

    def slices(self) -> tuple[tuple[str, ...], bytes]:
        """The names of the slices, and for each held-out byte which one it is in."""
        return SLICES, slices_of(self.text("heldout"))

    def facts(self) -> dict[str, Any]:
        """Files, bytes, hashes, the split, what this Python lacks. Null where the shifted text is missing."""
        source = read()
        found: dict[str, Any] = {"source": "Python standard library, .py files", "sha256": source.sha256}
        for side, split in (("train", source.train), ("heldout", source.heldout)):
            found[f"{side}_files"] = len(split.files)
            found[f"{side}_bytes"] = len(split.text)
            found[f"{side}_sha256"] = split.sha256
            found[f"{side}_missing"] = list(split.missing)
        try:
            other = shifted()
            found |= {"shifted_bytes": len(other.text), "shifted_sha256": other.sha256}
        except GatewiseError:
            found |= {"shifted_bytes": None, "shifted_sha256": None}
        return found | {"split": "by file", "heldout_names": list(source.heldout.files)}
