"""The command line: it parses, calls and prints. Heavy things are imported inside the commands."""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from gatewise import __version__

from ._arguments import COMMANDS, parser

DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Bad input is one or two lines on standard error and 2."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # gatewise never downloads; say so to the libraries it calls
    parsed = parser(__version__).parse_args(arguments)
    if parsed.command is None:
        parser(__version__).print_help()
        return DONE
    from gatewise.core import GatewiseError  # after parsing: `--help` needs nothing but argparse

    command: Callable[[argparse.Namespace], int] = import_module(COMMANDS[parsed.command], __package__).run
    try:
        return command(parsed)
    except GatewiseError as error:
        print(f"gatewise: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("gatewise: stopped; what was finished is stored, --resume goes on with it", file=sys.stderr)
        return INTERRUPTED
    except (BrokenPipeError, SystemExit) as end:
        if isinstance(end, SystemExit) and not isinstance(end.__context__, BrokenPipeError):
            print("gatewise: the model's own code ended the program", file=sys.stderr)
            return BAD_INPUT
        # The reader of a pipe went away (`gatewise ... | head`); rich turns that into SystemExit. All is said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f"gatewise: cannot write: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BAD_INPUT
