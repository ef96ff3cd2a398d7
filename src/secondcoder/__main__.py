"""The program ``secondcoder``, also as ``python -m secondcoder``: the command line, which Ctrl-C leaves at any moment.

In: what the user typed. Out: the exit code of `secondcoder.cli.main.main`; 130 where Ctrl-C came while it was starting.
"""

import gc
import os
import signal
import sys
import threading
from types import FrameType

_INTERRUPTED = "Interrupted. Whatever was finished is saved; no file is half written.\n"


def main() -> None:
    """Run the command line."""
    gc.disable()  # a fifth of the time of `--help` is looking for garbage that is not there; commands turn it on again
    pressed: list[int] = []

    def heed(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        raise KeyboardInterrupt

    def lost(unraisable: "sys.UnraisableHookArgs") -> None:
        """Leave where an interrupt came in code whose errors Python drops, such as a finaliser."""
        if unraisable.exc_type is KeyboardInterrupt:
            sys.stderr.write(_INTERRUPTED)
            sys.stderr.flush()
            os._exit(130)
        sys.__unraisablehook__(unraisable)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as under nohup
        signal.signal(signal.SIGINT, heed)
        sys.unraisablehook = lost
    try:
        from secondcoder.cli.main import main as run

        run()
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 0
    except BaseException:
        if not pressed:
            raise
        # While packages are imported, an interrupt may come out as an error of theirs.
        sys.stderr.write(_INTERRUPTED)
        code = 130
    if pressed:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # once more, while Python cleans up, leaves at once
    if any(thread.name.startswith("secondcoder-") for thread in threading.enumerate()):  # one that stands still
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
