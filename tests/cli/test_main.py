"""The table of commands: each line is its command's own first paragraph, and `--help` imports no command."""

import importlib
import inspect
import subprocess
import sys

import pytest

from secondcoder.cli.main import COMMANDS, main


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_line_is_the_first_paragraph_of_its_docstring(name: str) -> None:
    file, line = COMMANDS[name]
    command = getattr(importlib.import_module(f"secondcoder.cli.{file}"), name)
    written = inspect.getdoc(command)
    assert written is not None
    assert line == " ".join(written.split("\n\n")[0].split())


@pytest.mark.parametrize("first", [False, True], ids=["behind", "first"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_own_help_shows_its_whole_docstring(
    name: str, first: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help", name] if first else [name, "--help"])
    assert left.value.code == 0
    file, _ = COMMANDS[name]
    written = inspect.getdoc(getattr(importlib.import_module(f"secondcoder.cli.{file}"), name)) or ""
    shown = " ".join(capsys.readouterr().out.split())
    told = written.split("Args:")[0].split("Parameters\n")[0]
    assert " ".join(told.split()) in shown


def test_help_imports_no_command_and_nothing_heavy() -> None:
    script = (
        "import sys; from secondcoder.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(*sorted(name for name in sys.modules if name.startswith(('secondcoder.', 'numpy', 'torch', 'pyarrow'))),"
        " file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stderr.split()) == {
        "secondcoder.cli",
        "secondcoder.cli.main",
        "secondcoder.environment",
        "secondcoder.errors",
    }
    assert all(name in done.stdout for name in COMMANDS)
