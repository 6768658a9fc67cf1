"""Writes docs/cli.md from the argument parser; `--check` fails when the file is out of date."""

import argparse
import sys
from pathlib import Path

from gatewise import __version__
from gatewise.cli._arguments import parser

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"


def _option(action: argparse.Action) -> str:
    name = ", ".join(action.option_strings) or str(action.metavar)
    value = f" {action.metavar}" if action.option_strings and action.nargs != 0 and action.metavar else ""
    choices = f" ({', '.join(map(str, action.choices))})" if action.choices and action.option_strings else ""
    return f"| `{name}{value}` | {action.help}{choices} |"


def reference() -> str:
    """The page as it should be."""
    top = parser(__version__)
    commands = next(action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    helps = {choice.dest: choice.help for choice in commands._choices_actions}
    lines = ["# Command line", "", "Generated from the parser by `scripts/cli_reference.py`.", ""]
    for name, command in commands.choices.items():
        lines += [f"## gatewise {name}", "", f"{str(helps[name]).capitalize()}. {command.description}", ""]
        actions = [action for action in command._actions if action.dest != "help"]
        lines += ["| option | meaning |", "|---|---|", *(_option(action) for action in actions), ""]
        lines += [f"{command.epilog}.", ""] if command.epilog else []
    return "\n".join(lines)


def main() -> int:
    """Write or check the page."""
    if "--check" in sys.argv:
        return 0 if PAGE.read_text(encoding="utf-8") == reference() else 1
    PAGE.write_text(reference(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
