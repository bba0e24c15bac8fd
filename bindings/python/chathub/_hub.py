"""The handle of a hub: calls from any thread, errors as exceptions, and an end that comes once, and last.

A hub must be freed when no call of it runs any more, on whatever thread. So each call is counted while it runs; who
frees takes the handle away first, and then waits for the calls that still run, which are short. No lock is held while
calling: the collector may run a finalizer in the middle of anything, and that finalizer may call, too. After a fork the
child has no handle at all.
"""
from __future__ import annotations

import ctypes
import os
import threading
import time
import weakref
from typing import Any, Callable, Final, List, Optional

from ._ffi import library
from .errors import CODES, Error

FREEING: Final = 2.0  # seconds to wait for calls that still run


def encode(text: str, what: str) -> bytes:
    """A text for the library, which knows its end by a NUL."""
    if "\0" in text:
        raise Error(CODES["bad_text"], f"{what} holds a NUL character")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Error(CODES["bad_text"], f"{what} holds half of a surrogate pair, which is no text") from None


class Hub:
    """One hub of the library."""

    def __init__(self) -> None:
        self._handle: Optional[int] = None
        self._closed = ""  # why there is no handle
        self._running: List[None] = []  # one for each call that runs now
        self._freeing = threading.Lock()
        self.kept: List[Any] = []  # what the library points to until the hub is freed
        handle = ctypes.c_void_p()
        result = library.chathub_new(ctypes.byref(handle))
        if result < 0:
            raise Error(result)
        self._handle = handle.value
        _hubs.add(self)

    def call(self, function: Callable[..., int], *arguments: Any) -> int:
        """Its result, if that is no error."""
        self._running.append(None)
        try:
            handle = self._handle
            if handle is None:
                raise self._gone()
            result = function(handle, *arguments)
            if result < 0:
                raise self._error(handle, result)
            return result
        finally:
            self._running.pop()

    def text(self, function: Callable[..., int], *arguments: Any) -> str:
        """What a function writes that answers the length which it has uncut."""
        size = 256
        while True:
            out = ctypes.create_string_buffer(size)
            length = self.call(function, *arguments, out, size)
            if length < size:
                return out.value.decode(errors="replace")
            size = length + 1

    def _error(self, handle: int, result: int) -> Error:
        problem: bytes = library.chathub_problem(handle) or b""
        return Error(result, problem.decode(errors="replace") or None)

    def _gone(self) -> Error:
        if self._closed == "fork":
            return Error(CODES["fork"])
        return Error(CODES["stopped"], "the server was closed")

    def must_be_ours(self) -> None:
        """Before a lock is waited for that a thread of the parent's may have held at the fork."""
        if self._handle is None:
            raise self._gone()

    @property
    def is_open(self) -> bool:
        return self._handle is not None

    @property
    def is_forked(self) -> bool:
        """Whether this is a child of the process that made the hub."""
        return self._closed == "fork"

    def free(self) -> None:
        """Ends whatever still runs, and frees everything. Later calls are errors; a second time does nothing."""
        if not self._freeing.acquire(blocking=False):
            return
        handle, self._handle = self._handle, None
        if handle is None:
            return
        end = time.monotonic() + FREEING
        while self._running:
            # A call that began before, on another thread. What never comes back keeps the hub.
            if time.monotonic() > end:
                return
            time.sleep(0.0005)
        library.chathub_free(handle)
        self.kept.clear()

    def forget(self) -> None:
        """In a fork's child: the hub is the parent's."""
        self._handle, self._closed = None, "fork"
        self._running.clear()

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.free()


_hubs: "weakref.WeakSet[Hub]" = weakref.WeakSet()


def _forget_all() -> None:
    for hub in list(_hubs):
        hub.forget()


os.register_at_fork(after_in_child=_forget_all)
