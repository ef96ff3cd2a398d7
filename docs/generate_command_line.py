"""Write docs/command-line.md from the commands' own help.

In: the command line as it is. Out: the page; a test compares it with what is committed. Run it with `make docs`.
"""

import sys
from pathlib import Path
from unittest import mock

import cyclopts

from secondcoder.cli.main import COMMANDS, app, load_command

PAGE = Path(__file__).parent / "command-line.md"

_HEAD = """# The command line

This page is made from the commands' help by `docs/generate_command_line.py`; do not edit it.
`secondcoder COMMAND --help` says the same.

Results go to standard output, progress, notes and errors to standard error. With `--json` the result is one JSON
object. Exit codes: 0 done; 2 you must act (what is wrong, then what to do); 3 done, but rows were rejected; 130
interrupted. Any option can stand in `secondcoder.toml` in the working folder, in a section named after its command; see
[quickstart.md](quickstart.md).

"""


def load_commands() -> None:
    """Import the commands, in the order in which a user meets them; the page has that order."""
    for name in COMMANDS:
        load_command(name)


def page() -> str:
    """Return the page as Markdown."""
    load_commands()
    links = "\n".join(f"- [{name}](#secondcoder-{name}): {summary(app[name])}" for name in COMMANDS)
    return f"{_HEAD}{links}\n\n{sections()}"


def sections() -> str:
    """Return the help of every command, with a heading for each."""
    with mock.patch.object(sys, "argv", ["secondcoder"]):  # under `python -m`, cyclopts would name that as the program
        generated = app.generate_docs(output_format="markdown")
    return generated[generated.index("## secondcoder ") :].rstrip() + "\n"  # before it, the app's own list of commands


def summary(command: cyclopts.App) -> str:
    """Return the first paragraph of a command's help, on one line."""
    return " ".join(command.help.strip().split("\n\n")[0].split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
