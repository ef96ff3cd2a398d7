"""The command ``secondcoder``: words in, exit code out.

In: what the user typed, and ``secondcoder.toml``. Out: 0 done; 2 the user must act; 3 done, but rows were rejected; 130
interrupted with everything saved. Errors become two lines here, what and how, and nowhere else.
"""

import gc
import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import cyclopts

from secondcoder.environment import prepare_environment
from secondcoder.errors import InterruptedRunError, SecondcoderError, SettingsError, nearest

CONFIG_FILE = Path("secondcoder.toml")

app = cyclopts.App(
    name="secondcoder",
    help="Train a second coder: fine-tune a transformer on hand-labelled texts, judge it, label the corpus.",
    config=cyclopts.config.Toml(CONFIG_FILE, must_exist=False, search_parents=False),
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
# Command → its file here and its line in `--help`, the first paragraph of its docstring. The files are imported when
# they are used, so that `--help` stays quick.
COMMANDS = {
    "demo": ("demo", "Go the whole way on an example: check, train, evaluate and label, offline, in minutes."),
    "check": ("check", "Say what is in a file of texts, and what is wrong with it, before anything is trained."),
    "train": ("train", "Fine-tune a model on a hand-labelled file; figures on dev. The test part stays closed."),
    "evaluate": (
        "evaluate",
        "Judge a run on its test part, which is thereby opened and written down, or on newly labelled data.",
    ),
    "compare": (
        "compare",
        "Compare two runs that were judged on the same rows, and say whether the difference is real.",
    ),
    "curve": (
        "curve",
        "Say whether more labels would help: train on more and more of train, judge on dev. "
        "The test part stays closed.",
    ),
    "tune": (
        "tune",
        "Try hyper-parameters and keep the best run, chosen on dev (extra tune). The test part stays closed.",
    ),
    "report": ("evaluate", "Make a run's report again."),
    "models": (
        "models",
        "Show the families of models that can be fine-tuned: size, languages, speed on this machine, "
        "when to take which.",
    ),
    "show": ("models", "Show a run or a model: labels, layers, parameters, figures."),
    "tokens": (
        "models",
        "Show a text as a model sees it: tokens, ids, attention mask, windows, and what was cut.",
    ),
    "label": (
        "label",
        "Label every text of a corpus; all its columns are kept, the label and its probability are added.",
    ),
    "merge": ("label", "Put the shards of a labelled corpus together, in the order of the input."),
    "export": (
        "export",
        "Write a run's model for OpenVINO or ONNX Runtime, after comparing its labels with torch's on dev.",
    ),
}
for _name, (_file, _line) in COMMANDS.items():
    app.command(f"secondcoder.cli.{_file}:{_name}", name=_name, help=_line)


def load_command(name: str) -> None:
    """Import a command; its own help then shows its whole docstring in place of its line."""
    file, _ = COMMANDS[name]
    del app[name]
    app.command(getattr(import_module(f"secondcoder.cli.{file}"), name))


def main(words: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code."""
    words = list(sys.argv[1:] if words is None else words)
    prepare_environment()
    try:
        _check_config()
        named = next((word for word in words if not word.startswith("-")), "")
        if named in COMMANDS:
            gc.enable()  # `secondcoder.__main__` turned it off for the start
            load_command(named)
        code: Any = app(words)
    except SecondcoderError as error:
        _tell(error, as_json="--json" in words)
        code = 130 if isinstance(error, InterruptedRunError) else 2
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted. Whatever was finished is saved; no file is half written.\n")
        code = 130
    except BrokenPipeError:  # the reader, `head` for one, has seen enough
        sys.stderr.close()
        code = 0
    sys.exit(code if isinstance(code, int) else 0)


def _tell(error: SecondcoderError, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps({"error": error.what, "cure": error.cure}, ensure_ascii=False) + "\n")
    sys.stderr.write(f"error: {error.what}\n")
    if error.cure:
        sys.stderr.write(f"  {error.cure}\n")


def _check_config() -> None:
    """Refuse what cyclopts would pass over in silence: options outside a command's section, unknown commands."""
    if not CONFIG_FILE.is_file():
        return
    import tomllib

    try:
        found = tomllib.loads(CONFIG_FILE.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"Cannot read {CONFIG_FILE}: {error}.", "Fix the file.") from error
    for name, value in found.items():
        if not isinstance(value, dict):
            raise SettingsError(
                f"{CONFIG_FILE}: {name} stands outside a section.", "Write it under a command, such as [train]."
            )
        if name not in COMMANDS:
            raise SettingsError(
                f"{CONFIG_FILE}: there is no command {name!r}.",
                f"{nearest(name, COMMANDS)}The commands are {', '.join(COMMANDS)}.",
            )
