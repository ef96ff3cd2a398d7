"""The command ``secondcoder``: words in, exit code out.

In: what the user typed, and ``secondcoder.toml``. Out: 0 done; 2 the user must act; 3 done, but rows were rejected; 130
interrupted with everything saved. Errors become two lines here, what and how, and nowhere else.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cyclopts

from secondcoder.cli import check, compare, curve, demo, evaluate, export, label, models, train, tune
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
for _command in (
    demo.demo,
    check.check,
    train.train,
    evaluate.evaluate,
    compare.compare,
    curve.curve,
    tune.tune,
    evaluate.report,
    models.models,
    models.show,
    models.tokens,
    label.label,
    label.merge,
    export.export,
):
    app.command(_command)


def main(words: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code."""
    words = list(sys.argv[1:] if words is None else words)
    prepare_environment()
    try:
        _check_config()
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
    commands = [name for name in app if not name.startswith("-")]
    for name, value in found.items():
        if not isinstance(value, dict):
            raise SettingsError(
                f"{CONFIG_FILE}: {name} stands outside a section.", "Write it under a command, such as [train]."
            )
        if name not in commands:
            raise SettingsError(
                f"{CONFIG_FILE}: there is no command {name!r}.",
                f"{nearest(name, commands)}The commands are {', '.join(commands)}.",
            )
