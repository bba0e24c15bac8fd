"""Servers: a hub in this process."""
from __future__ import annotations

import ctypes
import datetime
import socket as socket_module
import types
import warnings
from typing import (TYPE_CHECKING, Any, Callable, Dict, Final, List, Mapping, NamedTuple, Optional, Tuple,
                    Type, TypeVar, Union)

from . import _abi
from ._answer import Answer
from ._core import Core
from ._ffi import library
from ._hooks import Hook
from ._hub import encode
from ._local import MAX_EVENTS, Events, LocalClient, open_client
from .errors import CODES, Error
from .events import Ok

if TYPE_CHECKING:
    from ._bots import Bot

H = TypeVar("H", bound=Hook)

Value = Union[str, bool, int, datetime.timedelta]
_TYPES: Final = ("text", "switch", "number", "size", "time", "list")
_ADOPTED: Final = {"http": _abi.ADOPT_HTTP, "websocket": _abi.ADOPT_WEBSOCKET, "lines": _abi.ADOPT_LINES}


class Option(NamedTuple):
    """An option of a server, as `chatd --help all` lists it."""

    name: str
    type: str  # text, switch, number, size (bytes), time (ms) or list
    standard: str
    help: str
    group: str
    min: int
    max: int
    live: bool  # it may be set while the server runs


class Stats(NamedTuple):
    """Counts of a server: struct chathub_stats of chathub.h says what each is."""

    clients: int
    observers: int
    sessions: int
    rooms: int
    members: int
    drafts: int
    connections: int
    window_bytes: int
    held_bytes: int
    behind: int
    posts: int
    dups: int
    refused: int
    bad_requests: int
    deliveries: int
    writes: int
    pages: int
    gaps: int
    log_commits: int
    log_failures: int
    log_pages: int
    log_down: int


def options() -> List[Option]:
    """All options that a server has."""
    found: List[Option] = []
    option = _abi.Option(size=ctypes.sizeof(_abi.Option))
    while library.chathub_option_at(len(found), ctypes.byref(option)) == 0:
        found.append(Option(option.name.decode(), _TYPES[option.type] if option.type < len(_TYPES) else "text",
                            option.standard.decode(), option.help.decode(), option.group.decode(), option.min,
                            option.max, bool(option.live)))
    return found


def has(feature: str) -> bool:
    """Whether the library was built with a feature: "sqlite", "nats" or "unicode"."""
    return bool(library.chathub_has(encode(feature, "the feature")))


def _spelled(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime.timedelta):
        return f"{round(value.total_seconds() * 1000)}ms"
    return str(value)


class Server:
    """A hub in this process, with listeners, options, and clients, hooks and bots of the program's own.

        async with chathub.Server("ws://127.0.0.1:8080/ws", log="sqlite:chat.db") as server:
            async for event in server.events():
                …

        with chathub.Server("ws://127.0.0.1:8080/ws") as server:
            for event in server.events():
                …

    Listeners are URLs as in chathub.h; options are those of `chatd --help all`, with _ for -. With `async with` hooks
    and bots run on that event loop; with `with`, on a thread of the server's own. A server is used once. Its methods may
    be called on any thread.

    It has a client of its own, made when `client`'s requests are first used on the server itself (`post`, `events`,
    `join` …): `name` is its name, without one it is a guest.
    """

    def __init__(self, *listeners: str, name: str = "", **options: Value) -> None:
        self._core = Core()
        self._name = name
        self._own: Optional[LocalClient] = None
        self._bots: List[Tuple[Bot, Answer[None]]] = []
        try:
            for option, value in options.items():
                self.set(option, value)
            for url in listeners:
                self.listen(url)
        except BaseException:
            self._core.finish()
            raise

    # ---------------------------------------------------------------------------------- settings

    def set(self, option: str, value: Value) -> None:
        """Sets an option, as a text ("64k", "10s", "yes"), number, bool or timedelta. Options marked `live` may change
        while the server runs."""
        self._core.hub.call(library.chathub_set, encode(option.replace("_", "-"), "the option"),
                            encode(_spelled(value), "the value"))

    def get(self, option: str) -> str:
        """The present value, as a text that `set` takes."""
        return self._core.hub.text(library.chathub_get, encode(option.replace("_", "-"), "the option"))

    def fold(self, name: str) -> str:
        """The form by which names of people and rooms are compared: "Staff" and "STAFF" have one. Hooks get names as they were
        typed; who keeps lists of them keeps this form."""
        return self._core.hub.text(library.chathub_fold, encode(name, "the name"))

    def options(self) -> Dict[str, str]:
        """All options with their present values."""
        return {option.name: self.get(option.name) for option in options()}

    def listen(self, url: str) -> None:
        """Adds a listener, which is opened by the start."""
        self._core.hub.call(library.chathub_listen, encode(url, "the listener"))

    def asset(self, path: str, type: str, content: Union[bytes, str]) -> None:
        """Serves this by GET at exactly `path` on every WebSocket listener; `type` is its Content-Type."""
        data = content.encode() if isinstance(content, str) else bytes(content)
        kept = ctypes.create_string_buffer(data, max(len(data), 1))
        self._core.hub.kept.append(kept)
        self._core.hub.call(library.chathub_asset, encode(path, "the path"), encode(type, "the type"), kept, len(data))

    def authorize(self, *actions: str) -> Callable[[H], H]:
        """Decorates a hook, plain or async, that is asked before each of these: hello, join, post, history.

            @server.authorize("join", "post")
            async def members_only(question):
                return question.room != "staff" or await is_staff(question.name)

        It answers True, False, or a text: no, and that is told to the client. Raising means no, too: Denied without
        further ado, anything else is reported. Hooks of one action are asked one after the other until one says no. They
        have the time of the option authorize_timeout.
        """
        if not actions:
            raise ValueError('name what is to be authorized: "hello", "join", "post", "history"')
        if self._core.started:
            raise Error(CODES["started"])

        def add(hook: H) -> H:
            for action in actions:
                self._core.hooks.add(action, hook)
            return hook

        return add

    def add(self, bot: Bot) -> Answer[None]:
        """Lets a bot take part, from the start or from now on. It may be awaited, once the server runs, until the bot is
        in its rooms."""
        ready: Answer[None] = Answer(f"the coming of the bot {bot.name!r}")
        if self._core.loop is None:
            self._bots.append((bot, ready))
        else:
            self._run_bot(bot, ready)
        return ready

    def _run_bot(self, bot: Bot, ready: Answer[None]) -> None:
        client = LocalClient(open_client(self._core, bot.name, bot.max_events), None)
        self._core.add_task(bot.attend(client, ready), ready.fail)

    # ---------------------------------------------------------------------------------- life

    async def start(self) -> None:
        """Opens the log and the listeners; hooks and bots run on this event loop. `async with` does it."""
        await self._core.start()
        await self._begun()

    async def _begun(self) -> None:
        try:
            while self._bots:
                self._run_bot(*self._bots.pop(0))
        except BaseException:
            await self._core.stop()
            raise

    async def stop(self) -> None:
        """Says goodbye to clients and comes back when all are gone, within the option stop_time."""
        await self._core.stop()

    def open(self) -> None:
        """`start` for programs without an event loop, on a thread of the server's own. `with` does it."""
        self._core.open()
        try:
            while self._bots:
                self._run_bot(*self._bots.pop(0))
        except BaseException:
            self._core.close()
            raise

    def close(self) -> None:
        """`stop` for programs without an event loop."""
        self._core.close()

    async def __aenter__(self) -> Server:
        await self.start()
        return self

    async def __aexit__(self, _kind: Optional[Type[BaseException]], _error: Optional[BaseException],
                        _traceback: Optional[types.TracebackType]) -> None:
        await self.stop()

    def __enter__(self) -> Server:
        self.open()
        return self

    def __exit__(self, _kind: Optional[Type[BaseException]], _error: Optional[BaseException],
                 _traceback: Optional[types.TracebackType]) -> None:
        self.close()

    def __del__(self) -> None:
        core: Optional[Core] = getattr(self, "_core", None)
        if core is not None and core.is_forgotten:
            warnings.warn(f"{self!r} was not stopped; use async with, with, stop() or close()", ResourceWarning,
                          source=self)
            core.end()

    def __repr__(self) -> str:
        core = self._core
        state = "stopped" if core.ended else "running" if core.loop is not None else "not started"
        return f"<chathub.Server, {state}>"

    # ---------------------------------------------------------------------------------- what there is

    @property
    def listeners(self) -> List[str]:
        """The URLs of the listeners that are open, with their real ports."""
        urls: List[str] = []
        try:
            while True:
                urls.append(self._core.hub.text(library.chathub_listener, len(urls)))
        except Error as error:
            if error.code != CODES["not_found"]:
                raise
        return urls

    def stats(self) -> Stats:
        out = _abi.Stats(size=ctypes.sizeof(_abi.Stats))
        self._core.hub.call(library.chathub_stats, ctypes.byref(out))
        return Stats(*[getattr(out, name) for name in Stats._fields])

    # ---------------------------------------------------------------------------------- clients

    def client(self, name: str = "", *, max_events: int = MAX_EVENTS) -> LocalClient:
        """A client inside this process. It is usable at once; `async with` or `with` waits until the hub has let it in,
        and closes it. `max_events`: how many may wait to be read before the server does not take more of them for
        anybody; 0: its events are not wanted."""
        if max_events < 0:
            raise ValueError("max_events has to be 0 or more")
        return LocalClient(open_client(self._core, name, max_events), self)

    @property
    def me(self) -> LocalClient:
        """The server's own client."""
        own = self._own
        if own is None or own.closed:
            with self._core.opening:
                own = self._own
                if own is None or own.closed:
                    # It must not keep the server, nor has it events that anybody reads, so far.
                    own = self._own = LocalClient(open_client(self._core, self._name, 0), None)
        return own

    def events(self, *rooms: str, timeout: Optional[float] = None) -> Events:
        """What happens in these rooms (or the default one), from now on, as the server's own client sees it: it joins
        them. For one reader: `async for` or `for`; `timeout`: seconds without any event, after which it ends."""
        own = self.me
        if not own._inbox.max_events:
            own._inbox.max_events = MAX_EVENTS
        for room in rooms or ("",):
            own.join(room, now=True)
        return Events(own._inbox, (self, own), timeout)

    def post(self, content: str = "", room: str = "", *, data: Optional[Mapping[str, Any]] = None,
             cid: str = "") -> Answer[int]:
        """Says something as the server's own client, from any thread."""
        return self.me.post(content, room, data=data, cid=cid)

    def redact(self, room: str, position: int) -> Answer[Ok]:
        """Removes the text of an entry, everywhere and for good; its position stays. "" is the default room."""
        return self.me._inbox.redact(room, position)

    def disconnect(self, client: int, code: int = 1000, message: str = "") -> None:
        """Ends a client of any kind, by the number that a question or a log record named. With code 1000 its session
        ends; with 1008 or 4000 to 4999 it may come back."""
        self._core.hub.call(library.chathub_disconnect, client, code, encode(message, "the message"))

    def adopt(self, connection: Union[socket_module.socket, int], data: bytes = b"", *, kind: str = "http",
              url: Optional[str] = None, subprotocol: Optional[str] = None) -> None:
        """Hands a connection of the program's own server over, with the bytes that were already read of it.

        kind  "http": `data` is the beginning of a request, as if the hub had accepted the socket; "websocket": the
              upgrade was answered, with `subprotocol`; "lines": as on a tcp:// listener
        url   the listener that it is to count for, with a query as in chathub.h

        The socket is the hub's then: it is detached. On an Error it is still the program's.
        """
        if kind not in _ADOPTED:
            raise ValueError(f"kind is one of {', '.join(_ADOPTED)}")
        fd = connection if isinstance(connection, int) else connection.fileno()
        held = ctypes.create_string_buffer(data, max(len(data), 1))
        adoption = _abi.Adoption(size=ctypes.sizeof(_abi.Adoption), fd=fd, reserved=0,
                                 url=None if url is None else encode(url, "the URL"),
                                 bytes=ctypes.addressof(held), len=len(data),
                                 subprotocol=None if subprotocol is None else encode(subprotocol, "the subprotocol"))
        setattr(adoption, "as", _ADOPTED[kind])
        # Nobody must close the number once it is the hub's, nor use it for something else before.
        self._core.hub.call(library.chathub_adopt, ctypes.byref(adoption))
        if not isinstance(connection, int):
            connection.detach()
