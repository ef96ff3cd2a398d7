"""What belongs to the whole process, kept as it was while a library that changes it is at work.

In: a block of work. Out: nothing. OpenVINO's processor plugin gives the thread a signal stack of its own, and frees
it with the plugin; where several plugins come and go out of order, the thread is left with one that is gone, and the
next Ctrl-C is a segmentation fault. Where a conversion fails, OpenVINO leaves the root logger changed.
"""

import contextlib
import ctypes
import logging
import sys
from collections.abc import Iterator


class _Stack(ctypes.Structure):
    """stack_t of sigaltstack(2)."""

    _fields_ = (("pointer", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def same_signal_stack() -> Iterator[None]:
    """Give the thread the signal stack back, behind the block, that it had before it."""
    if sys.platform != "linux":
        yield
        return
    exchange = ctypes.CDLL(None, use_errno=True).sigaltstack
    before = _Stack()
    known = exchange(None, ctypes.byref(before)) == 0
    try:
        yield
    finally:
        if known:
            exchange(ctypes.byref(before), None)


@contextlib.contextmanager
def same_logging() -> Iterator[None]:
    """Leave the root logger as it was: where a conversion fails, OpenVINO leaves it deaf to warnings."""
    root = logging.getLogger()
    level, filters, handlers = root.level, list(root.filters), list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        root.filters, root.handlers = filters, handlers
