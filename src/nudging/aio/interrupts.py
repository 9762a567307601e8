"""Ctrl-C, where Python's own way leaves things broken.

Python raises KeyboardInterrupt wherever the main thread happens to be. In the midst of an import,
of taking a lock, or of handing work to another thread, that leaves what can't go on; in a
destructor it is lost.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

_SOON = 0.01
_PATIENCE = 100
"""How often an interrupt is put off in a row, at most."""
_put_off = 0


def handle(number: int, frame: FrameType | None) -> None:
    """A handler of SIGINT that raises KeyboardInterrupt, but a moment later within an import: the
    interpreter would keep locks that every other import waits for."""
    global _put_off
    importing = frame is not None and frame.f_code.co_filename.startswith("<frozen importlib")
    if importing and _put_off < _PATIENCE:
        _put_off += 1
        _again()
        return
    _put_off = 0
    raise KeyboardInterrupt


def lost(told: sys.UnraisableHookArgs) -> None:
    """A `sys.unraisablehook`: an interrupt that came within what can't raise (a destructor, a
    callback from C) comes again, or the work would go on as if nobody had pressed Ctrl-C."""
    if issubclass(told.exc_type, KeyboardInterrupt):
        _again()
    else:
        sys.__unraisablehook__(told)


def _again() -> None:
    def later() -> None:
        time.sleep(_SOON)
        if hasattr(signal, "pthread_kill"):  # wakes the main thread, if that waits
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        else:
            _thread.interrupt_main()

    # `threading` takes locks to start one, and it may be the interrupted code that holds them
    _thread.start_new_thread(later, ())


class Held:
    """A block that an interrupt ends in the block's own way; KeyboardInterrupt comes at its end."""

    def __init__(self, instead: Callable[[], None]) -> None:
        """`instead`: is called when an interrupt comes. At the second it is raised at once."""
        self._instead = instead
        self._held = self._came = False

    def __enter__(self) -> None:
        self._before = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is threading.main_thread() and self._before in (
            signal.default_int_handler,
            handle,
        ):
            self._held = True
            signal.signal(signal.SIGINT, self._hold)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        if self._came:
            raise KeyboardInterrupt
        self._came = True
        self._instead()

    def __exit__(self, *_: object) -> None:
        if self._held:
            signal.signal(signal.SIGINT, self._before)
        if self._came:
            raise KeyboardInterrupt
