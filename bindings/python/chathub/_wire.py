"""Connections that carry frames as texts: WebSocket (by the package `websockets`) and lines over TCP, each also over a
Unix socket.

A wire that ends, or cannot be opened, says so by Lost. What it holds is bounded: frames longer than MAX_FRAME end it.
`abort` is always possible and comes back at once; after it `ended` waits until nothing of the wire is left on the loop.
"""
from __future__ import annotations

import asyncio
import errno
import importlib
import os
import ssl as ssl_module
import urllib.parse
from typing import Any, Awaitable, Callable, Final, NamedTuple, Optional, Sequence, TypeVar

from .errors import CODES, Error

MAX_FRAME: Final = 4 << 20  # bytes; pages and lists of people are far below
QUEUE: Final = 32  # messages that `websockets` reads ahead
GOODBYE: Final = 2.0  # seconds for the other side's goodbye
SUBPROTOCOL: Final = "chathub.v1"
SCHEMES: Final = ("ws", "wss", "tcp", "ws+unix", "tcp+unix")

T = TypeVar("T")


class Lost(Exception):
    """There is no connection any more, or there never was one."""

    def __init__(self, message: str, *, close_code: int = 0, retry_after: float = 0.0,
                 error: Optional[Error] = None) -> None:
        super().__init__(message)
        self.message = message
        self.error = error  # the hub's answer, if that was the reason
        self.close_code = close_code  # of WebSocket, if the other side gave one
        self.retry_after = retry_after  # seconds


class Address(NamedTuple):
    """A URL, taken apart."""

    url: str
    scheme: str
    host: str  # of ws, wss and tcp
    port: int  # of tcp
    path: str  # of a Unix socket
    target: str  # what a WebSocket over a Unix socket asks for


def parse_url(url: str) -> Address:
    """chathub.Error if it cannot be used."""
    def refuse(why: str) -> Error:
        return Error(CODES["address"], f"{url!r}: {why}; use for instance ws://localhost:8080/ws or tcp://localhost:7000")

    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname or "", parts.port or 0
    except ValueError as error:
        raise refuse(str(error)) from None
    if parts.scheme not in SCHEMES:
        raise refuse(f"there is no scheme {parts.scheme!r}" if parts.scheme else "it has no scheme")
    if parts.scheme.endswith("+unix"):
        if parts.netloc or not parts.path.startswith("/"):
            raise refuse(f"the path of the Unix socket has to follow: {parts.scheme}:/path")
        target = urllib.parse.parse_qs(parts.query).get("path", ["/ws"])[0]
        return Address(url, parts.scheme, "", 0, urllib.parse.unquote(parts.path), target)
    if not host:
        raise refuse("it has no host")
    if parts.scheme == "tcp" and not port:
        raise refuse("it has no port")
    return Address(url, parts.scheme, host, port, "", "")


async def within(seconds: float, work: Awaitable[T], undo: Optional[Callable[[T], Awaitable[None]]] = None) -> T:
    """What `work` answers, or Lost if that takes longer. `undo` is for an answer that nobody is there to take."""
    task = asyncio.ensure_future(work)
    taken = False
    try:
        await asyncio.wait({task}, timeout=seconds)
        taken = task.done()
    finally:
        if not taken:
            await finish(task)
            if not task.cancelled() and task.exception() is None and undo:
                await undo(task.result())
    if not taken:
        raise Lost(f"no answer within {seconds:g} s")
    return task.result()


async def outlast(*tasks: "asyncio.Future[Any]") -> None:
    """Waits until all are done, which has to be soon: a cancellation comes through only then. Their exceptions are the
    caller's matter."""
    cancelled: Optional[asyncio.CancelledError] = None
    while not all(task.done() for task in tasks):
        try:
            await asyncio.wait({task for task in tasks if not task.done()})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def finish(*tasks: "asyncio.Future[Any]") -> None:
    """Cancels what is not done, and outlasts it."""
    for task in tasks:
        if not task.done():
            task.cancel()
    await outlast(*tasks)


class Wire:
    """The face of both kinds."""

    async def send(self, text: str) -> None:
        raise NotImplementedError

    async def receive(self) -> str:
        """The next frame. Lost at the end. May be cancelled without losing one."""
        raise NotImplementedError

    def abort(self) -> None:
        """Ends it at once, without a word."""
        raise NotImplementedError

    async def ended(self) -> None:
        """After abort: waits until nothing of it is left on the loop."""
        raise NotImplementedError

    async def goodbye(self, farewell: Sequence[str]) -> None:
        """Ends it in good order, if the other side does its part in time; abort ends that, too. `farewell`: frames to
        send before, where the end alone does not tell that it is for good."""
        raise NotImplementedError


# ------------------------------------------------------------------------------------------ lines


class Lines(Wire):
    """Lines over TCP or a Unix socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, text: str) -> None:
        try:
            self._writer.write(text.encode() + b"\n")
            await self._writer.drain()
        except OSError as error:
            raise Lost(str(error)) from error

    async def receive(self) -> str:
        try:
            line = await self._reader.readuntil(b"\n")
            return line.decode()
        except asyncio.IncompleteReadError:
            raise Lost("the server closed the connection") from None
        except OSError as error:
            raise Lost(str(error)) from error
        except asyncio.LimitOverrunError:
            raise Lost(f"the server sent a line of more than {MAX_FRAME} bytes") from None
        except UnicodeDecodeError:
            raise Lost("the server sent what is not UTF-8") from None

    def abort(self) -> None:
        self._writer.transport.abort()

    async def ended(self) -> None:
        try:
            await self._writer.wait_closed()
        except OSError:
            pass  # why it ended was told by send or receive

    async def goodbye(self, farewell: Sequence[str]) -> None:
        for text in farewell:
            self._writer.write(text.encode() + b"\n")
        self._writer.close()
        await self.ended()


async def _open_lines(address: Address) -> Wire:
    if address.path:
        return Lines(*await asyncio.open_unix_connection(address.path, limit=MAX_FRAME))
    return Lines(*await asyncio.open_connection(address.host, address.port, limit=MAX_FRAME))


# ------------------------------------------------------------------------------------------ WebSocket


def import_websockets() -> Any:
    """The package, or an ImportError that says where it is to be had."""
    try:
        importlib.import_module("websockets.exceptions")
        return importlib.import_module("websockets")
    except ImportError as error:
        raise ImportError(
            "chathub.connect needs the Python package `websockets` (10.1 or newer) for ws:// URLs; install Debian's "
            "python3-websockets, or connect by tcp://HOST:PORT, which needs nothing") from error


class WebSocket(Wire):
    """A WebSocket of the package `websockets`."""

    def __init__(self, package: Any, socket: Any) -> None:
        self._closed: Any = package.exceptions.ConnectionClosed
        self._socket = socket

    def _lost(self, end: Any) -> Lost:
        received = end.rcvd
        if received is None:
            return Lost("the connection broke")
        reason = received.reason or f"the server closed the connection ({received.code})"
        return Lost(str(reason), close_code=int(received.code))

    async def send(self, text: str) -> None:
        try:
            await self._socket.send(text)
        except self._closed as end:
            raise self._lost(end) from None

    async def receive(self) -> str:
        try:
            text = await self._socket.recv()
        except self._closed as end:
            raise self._lost(end) from None
        if not isinstance(text, str):
            raise Lost("the server sent a binary message")
        return text

    def abort(self) -> None:
        self._socket.transport.abort()

    async def _drain(self) -> None:
        """What was read ahead keeps the package from hearing the end."""
        try:
            while True:
                await self._socket.recv()
        except self._closed:
            pass  # that is what was waited for

    async def _close(self) -> None:
        try:
            await self._socket.close(1000)
        except self._closed:
            pass  # it broke first

    async def ended(self) -> None:
        await self._drain()
        await self._close()

    async def goodbye(self, farewell: Sequence[str]) -> None:
        parts = [asyncio.ensure_future(self._close()), asyncio.ensure_future(self._drain())]
        await outlast(*parts)
        for part in parts:
            part.result()


def _socket_options(address: Address, ssl: Optional[ssl_module.SSLContext]) -> Any:
    options = {"subprotocols": [SUBPROTOCOL], "max_size": MAX_FRAME, "max_queue": QUEUE, "ping_interval": None,
               "open_timeout": None, "close_timeout": GOODBYE, "compression": None}
    if address.scheme == "wss" and ssl is not None:
        options["ssl"] = ssl
    return options


async def _open_websocket(address: Address, ssl: Optional[ssl_module.SSLContext]) -> Wire:
    package = import_websockets()
    options = _socket_options(address, ssl)
    try:
        if address.path:
            socket = await package.unix_connect(address.path, f"ws://localhost{address.target}", **options)
        else:
            socket = await package.connect(address.url, **options)
    except package.exceptions.InvalidURI as error:
        raise Error(CODES["address"], str(error)) from None
    except package.exceptions.WebSocketException as error:
        raise Lost(f"the server takes no WebSocket there: {error}") from error
    wire = WebSocket(package, socket)
    if socket.subprotocol == SUBPROTOCOL:
        return wire
    await abort_wire(wire)
    raise Lost(f"the server does not speak {SUBPROTOCOL} there")


def _reason(error: BaseException) -> str:
    """Why a connection could not be made, in words for a person."""
    number = getattr(error, "errno", None)
    # asyncio puts the address in the place of the words, and getaddrinfo has numbers of its own.
    words = os.strerror(number) if isinstance(number, int) and number > 0 else getattr(error, "strerror", "") or str(error)
    refused = number in (errno.ECONNREFUSED, errno.ENOENT) or f"Errno {errno.ECONNREFUSED}]" in words
    return f"{words}; is the server running there?" if refused else words


async def open_wire(address: Address, seconds: float, ssl: Optional[ssl_module.SSLContext] = None) -> Wire:
    """A connection. Lost if there is none in time; ImportError if `websockets` is missing."""
    work = (_open_lines(address) if address.scheme.startswith("tcp") else _open_websocket(address, ssl))
    try:
        return await within(seconds, work, abort_wire)
    except (OSError, EOFError) as error:
        raise Lost(f"cannot connect to {address.url}: {_reason(error)}") from error


async def abort_wire(wire: Wire) -> None:
    """Ends it at once."""
    wire.abort()
    ending = asyncio.ensure_future(wire.ended())
    await outlast(ending)
    ending.result()


async def close_wire(wire: Wire, farewell: Sequence[str] = ()) -> None:
    """Ends it in good order, or else at once, if the other side takes too long to do its part."""
    leaving = asyncio.ensure_future(wire.goodbye(farewell))
    try:
        await asyncio.wait({leaving}, timeout=GOODBYE)
    finally:
        wire.abort()  # first: `websockets` does not let a goodbye be cancelled before its time is over
        await finish(leaving)
        await abort_wire(wire)
    if not leaving.cancelled():
        leaving.result()
