"""The data of `byte-lm`: source files of the Python standard library, a pinned list, read locally and hashed.

The list is fixed here, so that two machines with the same Python read the same bytes and get the same hash. It holds
hand-written modules that CPython 3.11, 3.12 and 3.13 all ship; tables (codec maps, HTML entities), tests and installed
packages are left out. The split is by file: no byte of a held-out file is ever trained on.
"""

import hashlib
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

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
