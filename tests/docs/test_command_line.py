import importlib.util
import io
import re
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from secondcoder.cli.main import COMMANDS, app

DOCS = Path(__file__).parents[2] / "docs"
# "* `--dev FLOAT`: Size of dev … *[default: 0.2]*", "* `FILE`: Texts … **[required]**"
ENTRY = re.compile(r"^\* `(?P<name>[^`]+)`(?P<rest>.*)$", re.MULTILINE)
NOT_HELP = re.compile(r"\*\[[^\]]*\]\*|\*\*\[required\]\*\*|[:\s]")


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_command_line", DOCS / "generate_command_line.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = load_generator()
GENERATOR.load_commands()


def documented(command: str) -> str:
    """Return the part of the committed page that is about one command."""
    page = (DOCS / "command-line.md").read_text(encoding="utf-8")
    assert f"\n## secondcoder {command}\n" in page, f"{command} is not in the page: run `make docs`"
    return page.split(f"\n## secondcoder {command}\n")[1].split("\n## ")[0]


def help_text(command: str) -> str:
    console = Console(file=io.StringIO(), width=400, color_system=None, force_terminal=False)
    app.help_print([command], console=console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_committed_page_is_what_the_help_says_now() -> None:
    committed = (DOCS / "command-line.md").read_text(encoding="utf-8")
    assert committed == GENERATOR.page(), "the commands' help has changed: run `make docs`"


def test_the_page_does_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = GENERATOR.page()
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert GENERATOR.page() == wide
    assert "\x1b" not in wide


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_does(command: str) -> None:
    assert len(GENERATOR.summary(app[command]).split()) >= 4
    assert GENERATOR.summary(app[command]) in documented(command)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_argument_and_option_has_help_and_is_documented(command: str) -> None:
    entries = {match["name"]: match["rest"] for match in ENTRY.finditer(documented(command))}
    without_help = [name for name, rest in entries.items() if not NOT_HELP.sub("", rest)]
    assert not without_help
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", help_text(command)))
    shown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", documented(command)))
    assert options - shown - {"--help", "--version"} == set()
    assert entries


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_told_about_in_the_readme_or_the_quickstart(command: str) -> None:
    told = "".join(page.read_text(encoding="utf-8") for page in (DOCS.parent / "README.md", DOCS / "quickstart.md"))
    assert f"secondcoder {command}" in told
