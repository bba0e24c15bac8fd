"""What is typed, and what is shown beside it.

At a terminal GNU readline keeps the line that is being typed below what is shown, by its callback interface: one thread,
a character at a time when there is one. The module `readline` cannot do that, so the same library is used by ctypes. Where
it is missing, and with pipes, lines are just read and written.
"""
from __future__ import annotations

import asyncio
import collections
import ctypes
import os
import signal
import sys
import unicodedata
from typing import Any, Deque, Optional

LIBRARIES = ("libreadline.so.8", "libreadline.so.7", "libreadline.8.dylib")
LONGEST = 1 << 20  # bytes of a line from a pipe
PIECE = 1 << 16
# Turn the direction of text, so that it reads as something else than it is.
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    """The text on one line, without what could control a terminal."""
    shown = []
    for char in text:
        if char == "\n":
            shown.append("⏎")
        elif char == "\t":
            shown.append(" ")
        elif char in _TURNING or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp", "Cn"):
            shown.append(f"\\u{ord(char):04x}")
        else:
            shown.append(char)
    return "".join(shown)


def write(text: str, file: int = 1) -> None:
    """All of it. The terminal may be one that does not wait (readline leaves it as it is)."""
    left = text.encode("utf-8", "backslashreplace")
    while left:
        try:
            left = left[os.write(file, left):]
        except BlockingIOError:
            os.set_blocking(file, True)


class Keyboard:
    """Lines from a pipe, a file or a plain terminal."""

    is_person = False

    def __init__(self, file: int = 0) -> None:
        self._file = file
        self._held = b""
        self._ended = self._skipping = False
        self.left_out = 0  # lines that were too long
        self._ready: Optional[asyncio.Event] = None

    def open(self) -> None:
        self._ready = asyncio.Event()

    def close(self) -> None:
        pass

    def show(self, line: str, file: int = 1) -> None:
        write(line + "\n", file)

    async def next(self) -> Optional[str]:
        """The next line; None at the end."""
        while True:
            line, found, rest = self._held.partition(b"\n")
            if not found and len(self._held) > LONGEST:
                self._held, self._skipping = b"", True
            elif found or self._ended:
                self._held = rest
                if self._skipping:
                    self._skipping = False
                    self.left_out += 1
                elif found or line:
                    return line.rstrip(b"\r").decode("utf-8", "surrogateescape")
                else:
                    return None
            else:
                await self._read()

    async def _read(self) -> None:
        await self._readable()
        piece = os.read(self._file, PIECE)
        self._ended = not piece
        self._held += piece

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._ready is not None
        self._ready.clear()
        try:
            loop.add_reader(self._file, self._ready.set)
        except PermissionError:
            return  # a file, which never lets one wait
        try:
            await self._ready.wait()
        finally:
            loop.remove_reader(self._file)


class Readline(Keyboard):
    """A person at a terminal."""

    is_person = True
    PROMPT = b"> "

    def __init__(self, library: Any) -> None:
        super().__init__()
        self._library = library
        self._free = ctypes.CDLL(None).free
        self._free.argtypes, self._free.restype = [ctypes.c_void_p], None
        self._handler_type = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        self._handler = self._handler_type(self._typed)
        library.rl_callback_handler_install.argtypes = [ctypes.c_char_p, self._handler_type]
        library.rl_callback_handler_install.restype = None
        library.rl_callback_read_char.restype = library.rl_callback_handler_remove.restype = None
        library.rl_redisplay.restype = library.rl_resize_terminal.restype = None
        library.rl_prep_terminal.argtypes, library.rl_prep_terminal.restype = [ctypes.c_int], None
        library.add_history.argtypes, library.add_history.restype = [ctypes.c_char_p], None
        self._lines: Deque[Optional[str]] = collections.deque()
        self._open = False

    def open(self) -> None:
        super().open()
        loop = asyncio.get_running_loop()
        self._library.rl_callback_handler_install(self.PROMPT, self._handler)
        self._open = True
        loop.add_reader(self._file, self._library.rl_callback_read_char)
        loop.add_signal_handler(signal.SIGWINCH, self._library.rl_resize_terminal)
        loop.add_signal_handler(signal.SIGCONT, self._continued)

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._file)
        loop.remove_signal_handler(signal.SIGWINCH)
        loop.remove_signal_handler(signal.SIGCONT)
        if self._open:
            self._open = False
            self._library.rl_clear_visible_line()
            self._library.rl_callback_handler_remove()

    def _continued(self) -> None:
        """The shell had the terminal in between."""
        if self._open:
            self._library.rl_prep_terminal(1)
            self._library.rl_forced_update_display()

    def _typed(self, line: Optional[int]) -> None:
        """Called by readline, which shows an exception to nobody: only keeps the line."""
        assert self._ready is not None
        if line is None:
            self._lines.append(None)
            self._open = False
            self._library.rl_callback_handler_remove()
        else:
            raw = ctypes.string_at(line)
            self._free(line)
            if raw.strip():
                self._library.add_history(raw)
            self._lines.append(raw.decode("utf-8", "surrogateescape"))
        self._ready.set()

    def show(self, line: str, file: int = 1) -> None:
        if not self._open:
            super().show(line, file)
            return
        self._library.rl_clear_visible_line()
        write(line + "\n", file)
        self._library.rl_on_new_line()
        self._library.rl_redisplay()

    async def next(self) -> Optional[str]:
        assert self._ready is not None
        while not self._lines:
            self._ready.clear()
            await self._ready.wait()
        return self._lines.popleft()


def fill_standard() -> None:
    """Where the process was given no standard input or output, so that a socket is not taken for one."""
    for file in range(3):
        try:
            os.fstat(file)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


def open_keyboard() -> Keyboard:
    """That of the process."""
    if sys.stdin and sys.stdout and sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        for name in LIBRARIES:
            try:
                return Readline(ctypes.CDLL(name))
            except (OSError, AttributeError):
                continue
    return Keyboard()
