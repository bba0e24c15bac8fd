"""Clients inside the server's process: what they ask for, and the events that come of it.

A request is handed to the hub at once, on whatever thread. The hub keeps 64 of a client that it has not come to yet;
more wait here, in their order, and are handed over as it comes to them. Each answer finds its Answer by the `ref` that
was made for it, or for posts by the `cid`.

Events wait in batches, as they came from the hub, for one reader (`Events`), a task or a thread. The hub's queue is one
for all clients, so who reads too slowly holds up the taking of it (see _core.py) instead of losing something.
"""
from __future__ import annotations

import collections
import ctypes
import itertools
import json
import logging
import secrets
import threading
import types
from typing import (TYPE_CHECKING, Any, AsyncIterator, Callable, Deque, Dict, Final, Iterator, List, Mapping, Optional,
                    Tuple, Type)

from . import _abi
from ._answer import Answer, Signal
from ._batch import Replied
from ._ffi import library
from ._hub import encode
from ._rooms import Place
from .errors import CODES, Error
from .events import Ack, Closed, Event, Failure, History, Joined, Left, Ok, Person, Pong, Welcome, Who

if TYPE_CHECKING:
    from ._core import Core

logger = logging.getLogger("chathub")

MOST_UNSENT: Final = 1024  # requests that wait until the hub has room for them
MAX_EVENTS: Final = 1000  # that wait to be read, before the queue is not taken any more
# As many for each of these while somebody waits for an answer, which is behind them in the queue.
PATIENT: Final = 64
NO_EVENTS = _abi.EventCallback(0)  # none: events wait in the hub's queue

_Call = Tuple[Callable[..., int], Tuple[Any, ...]]


class Inbox:
    """What the server keeps of a client, until the hub has told that it is closed."""

    def __init__(self, core: Core, name: str, max_events: int) -> None:
        self.core = core
        self.name = name
        self.number = 0
        self.max_events = max_events
        self.signal = Signal()
        self.batches: Deque[List[Event]] = collections.deque()
        self.current: Iterator[Event] = iter(())  # of the batch that is being read
        self.put_count = self.got_count = 0  # each changed by one side only
        self.is_read = False  # somebody has begun to
        self.is_dropping = False  # until then, for there are too many
        self.is_closing = False  # somebody waits for its end
        self.over = False  # nothing more comes
        self.closed: Optional[Closed] = None
        self.welcome: Answer[Welcome] = Answer(f"the hello of {name or 'a guest'}")
        self.closing: Answer[Closed] = Answer(f"the end of {name or 'a guest'}")
        self.answers: Dict[str, Answer[Any]] = {}  # by ref
        self.posts: Dict[str, Answer[int]] = {}  # by cid
        self.redacts: Deque[Answer[Ok]] = collections.deque()  # in the order asked
        self._refs = itertools.count(1)
        self._cids = itertools.count(1)
        self._post = f"a post of {name or 'a guest'}"
        self._prefix = secrets.token_hex(8)
        self._unsent: Deque[Tuple[_Call, Answer[Any]]] = collections.deque()
        self._sending = threading.RLock()  # so that requests stay in order

    # ---------------------------------------------------------------------------------- events

    @property
    def count(self) -> int:
        """Events that wait to be read."""
        return self.put_count - self.got_count

    def put(self, events: List[Event]) -> None:
        if not self.max_events or self.is_dropping and not self.is_read:
            return
        if not self.is_read and self.count + len(events) > self.max_events:
            self.is_dropping = True
            self.batches.clear()
            self.got_count = self.put_count
            logger.warning("nobody reads the events of client %r; they are dropped until somebody does. Read its "
                           "events(), or make it with max_events=0", self.name)
            return
        self.put_count += len(events)
        self.batches.append(events)
        self.signal.wake()

    def has_more(self) -> bool:
        return bool(self.batches) or self.over

    def next_batch(self) -> bool:
        try:
            batch = self.batches.popleft()
        except IndexError:
            return False
        self.got_count += len(batch)
        self.current = iter(batch)
        if self.core.is_paused and self.count <= self.max_events // 2:
            self.core.resume()
        return True

    # ---------------------------------------------------------------------------------- answers

    def new_ref(self) -> str:
        return str(next(self._refs))

    def new_cid(self) -> str:
        return f"{self._prefix}-{next(self._cids)}"

    @property
    def waits(self) -> bool:
        """Whether something asked has no answer yet."""
        return bool(self.answers or self.posts or self.redacts or self.is_closing or not self.welcome.done())

    def replied(self, reply: Replied) -> Optional[Event]:
        """Hands an answer to who waits for it. What is an event for all is given back."""
        event = reply.event
        answer = self._find(reply)
        if answer is None:
            if reply.ref or (isinstance(event, Ack) and event.cid):
                return event if isinstance(event, (Joined, Left)) else None
            return event
        if isinstance(event, Failure):
            answer.fail(event.error())
        elif isinstance(event, Ack):
            answer.settle(event.position)
        else:
            answer.settle(event)
        return event if isinstance(event, (Joined, Left)) else None

    def _find(self, reply: Replied) -> Optional[Answer[Any]]:
        if reply.ref:
            return self.answers.pop(reply.ref, None)
        if reply.cid:
            return self.posts.pop(reply.cid, None)
        event = reply.event
        if isinstance(event, (Welcome, Failure)) and not self.welcome.done():
            return self.welcome
        # Without ref and cid, only what the host's redacts are told is an Ok.
        if self.redacts and isinstance(event, (Ok, Failure)):
            return self.redacts.popleft()
        return None

    def end(self, closed: Optional[Closed], error: Error) -> None:
        """Nothing comes any more: those who wait are told so."""
        self.closed = closed
        waiting: List[Answer[Any]] = [self.welcome, *self.redacts, *self.answers.values(), *self.posts.values()]
        waiting += [answer for _, answer in self._unsent]
        self.answers.clear()
        self.posts.clear()
        self.redacts.clear()
        self._unsent.clear()
        for answer in waiting:
            answer.fail(error)
        self.closing.settle(closed or Closed(error.code, error.message))
        self.over = True
        self.signal.wake()

    # ---------------------------------------------------------------------------------- requests

    def send(self, answer: Answer[Any], function: Callable[..., int], *arguments: Any) -> None:
        """Hands a request over, behind those that wait."""
        self.core.hub.must_be_ours()
        self._send_or_keep(answer, function, arguments)
        if self.core.is_paused:
            self.core.resume()  # its answer has to be taken
        elif self.core.is_resting:
            self.core.hurry()

    def _send_or_keep(self, answer: Answer[Any], function: Callable[..., int], arguments: Tuple[Any, ...]) -> None:
        with self._sending:
            if not self._unsent:
                try:
                    self.core.hub.call(function, self.number, *arguments)
                    return
                except Error as error:
                    if error.code != CODES["busy"]:
                        raise
            if len(self._unsent) >= MOST_UNSENT:
                raise Error(CODES["busy"], f"{MOST_UNSENT} requests of this client wait already; wait for answers")
            self._unsent.append(((function, arguments), answer))
        self.core.send_soon(self)

    def send_unsent(self) -> bool:
        """False: some have to wait on."""
        with self._sending:
            while self._unsent:
                (function, arguments), answer = self._unsent[0]
                try:
                    self.core.hub.call(function, self.number, *arguments)
                except Error as error:
                    if error.code == CODES["busy"]:
                        return False
                    self.drop(answer)
                    answer.fail(error)
                self._unsent.popleft()
        return True

    def drop(self, answer: Answer[Any]) -> None:
        for table in (self.answers, self.posts):
            for key, one in list(table.items()):
                if one is answer:
                    table.pop(key, None)
        if answer in self.redacts:
            self.redacts.remove(answer)

    def ask(self, kind: str, fields: Mapping[str, Any]) -> Answer[Any]:
        ref = self.new_ref()
        answer: Answer[Any] = Answer(f"{kind} of {self.name or 'a guest'}")
        frame = {"type": kind, "ref": int(ref)}
        frame.update({key: value for key, value in fields.items() if value is not None})
        text = json.dumps(frame, separators=(",", ":")).encode()
        self.answers[ref] = answer
        try:
            self.send(answer, library.chathub_request, text, len(text))
        except BaseException:
            self.answers.pop(ref, None)
            raise
        return answer

    def post(self, content: str, room: str, cid: str) -> Answer[int]:
        cid = cid or self.new_cid()
        answer: Answer[int] = Answer(self._post)
        text = encode(content, "the content")
        where = encode(room, "the room") if room else None
        self.posts[cid] = answer
        try:
            self.send(answer, library.chathub_post, where, text, len(text), encode(cid, "the cid"))
        except BaseException:
            self.posts.pop(cid, None)
            raise
        return answer

    def redact(self, room: str, position: int) -> Answer[Ok]:
        answer: Answer[Ok] = Answer(f"the redaction of {position} in {room}")
        where = encode(room, "the room") if room else None
        self.core.hub.must_be_ours()
        with self._sending:  # they are answered in the order in which they are sent
            self.redacts.append(answer)
            try:
                self.send(answer, library.chathub_redact, where, position)
            except BaseException:
                self.redacts.remove(answer)
                raise
        return answer


class Events:
    """The events of a client, for one reader: `async for` in a task, or `for` on a thread.

    Reading may be left and gone on with later. It ends after Closed, when the server stops, and for `timeout` if nothing
    came for so many seconds.
    """

    def __init__(self, inbox: Inbox, keeper: object, timeout: Optional[float]) -> None:
        self._inbox = inbox
        self._keeper = keeper  # the client, which would be closed if it were collected
        self._timeout = timeout
        inbox.is_read, inbox.is_dropping = True, False

    async def __aiter__(self) -> AsyncIterator[Event]:
        inbox = self._inbox
        while True:
            for event in inbox.current:
                yield event
            if inbox.next_batch():
                continue
            if inbox.over:
                return
            if not await inbox.signal.wait_task(inbox.has_more, self._timeout) and not inbox.has_more():
                return

    def __iter__(self) -> Iterator[Event]:
        inbox = self._inbox
        while True:
            yield from inbox.current
            if inbox.next_batch():
                continue
            if inbox.over:
                return
            if not inbox.signal.wait_thread(inbox.has_more, self._timeout) and not inbox.has_more():
                return


class LocalClient:
    """A client inside the server's process: a full participant. Made by Server.client, usable at once and from any
    thread; its requests take effect in the order in which they are made.

    Requests answer an Answer: await it, call its result() on a thread, or leave it alone. A client that nothing refers
    to any more is closed.
    """

    def __init__(self, inbox: Inbox, owner: object) -> None:
        self._inbox = inbox
        self._owner = owner  # the server, which lives as long as its clients

    # ---------------------------------------------------------------------------------- who it is

    @property
    def number(self) -> int:
        """Its number in the hub, which log records and questions name."""
        return self._inbox.number

    @property
    def welcome(self) -> Answer[Welcome]:
        """The hub's answer to its name: refused with `name_taken`, for instance."""
        return self._inbox.welcome

    def _welcomed(self) -> Optional[Welcome]:
        answer = self._inbox.welcome
        return answer.peek() if answer.done() else None

    @property
    def name(self) -> str:
        welcome = self._welcomed()
        return welcome.sender if welcome else self._inbox.name

    @property
    def sender_id(self) -> str:
        """Its public id; "" until it is welcome."""
        welcome = self._welcomed()
        return welcome.sender_id if welcome else ""

    @property
    def closed(self) -> bool:
        return self._inbox.over

    # ---------------------------------------------------------------------------------- what happens

    def events(self, timeout: Optional[float] = None) -> Events:
        """Its events, for one reader at a time: `async for` or `for`. `timeout`: seconds without any, after which the
        iteration ends."""
        return Events(self._inbox, self, timeout)

    # ---------------------------------------------------------------------------------- requests

    def join(self, room: str = "", *, last: Optional[int] = None, now: bool = False,
             after: Optional[Place] = None) -> Answer[Joined]:
        """Enters a room: with its last 50 entries, or the `last` so many, or none of before (`now`), or all `after` a
        place. Entries come as events."""
        if (last is not None) + now + (after is not None) > 1:
            raise ValueError("one of last, now and after")
        fields: Dict[str, Any] = {"room": room or None, "last": last, "now": True if now else None}
        if after is not None:
            fields.update(after=after.position, epoch=after.epoch)
        return self._inbox.ask("join", fields)

    def leave(self, room: str = "") -> Answer[Left]:
        return self._inbox.ask("leave", {"room": room or None})

    def post(self, content: str = "", room: str = "", *, data: Optional[Mapping[str, Any]] = None,
             cid: str = "") -> Answer[int]:
        """Says something; answered by its position once it is committed. Any room but the default one has to be joined
        first. Under a `cid` of one's own it may be posted again without being doubled."""
        if data is None and cid not in self._inbox.posts:
            return self._inbox.post(content, room, cid)
        fields = {"content": content or None, "room": room or None, "data": data, "cid": cid or self._inbox.new_cid()}
        return self._inbox.ask("post", fields)

    def request(self, type: str, **fields: Any) -> Answer[Event]:
        """Any request of the native protocol (docs/protocol.md)."""
        if "ref" in fields:
            raise ValueError("ref is made here, to find the answer by")
        return self._inbox.ask(type, fields)

    def history(self, room: str = "", *, before: int = 0, after: int = 0, limit: int = 0) -> Answer[History]:
        """A page of what was said: the newest entries, those before a position, or the oldest after one; at most
        `limit` and 100. One page at a time."""
        return self._inbox.ask("history", {"room": room or None, "before": before or None, "after": after or None,
                                           "limit": limit or None})

    def who(self, room: str = "", *, after: Optional[Person] = None, limit: int = 0) -> Answer[Who]:
        """A page of who is in a room, by their names; `after` is the last one of the page before."""
        fields: Dict[str, Any] = {"room": room or None, "limit": limit or None}
        if after is not None:
            fields.update(after=after.sender, after_id=after.sender_id)
        return self._inbox.ask("who", fields)

    def typing(self, room: str = "", on: bool = True) -> Answer[Ok]:
        """Tells a room that one is writing, or has stopped. It lapses after 10 s."""
        return self._inbox.ask("typing", {"room": room or None, "on": on})

    def status(self, status: str) -> Answer[Ok]:
        """Sets the text that is shown with one's name; empty for none."""
        return self._inbox.ask("status", {"status": status})

    def rename(self, name: str) -> Answer[Welcome]:
        return self._inbox.ask("hello", {"name": name})

    def ping(self) -> Answer[Pong]:
        """Answered once whatever was asked before has been done."""
        return self._inbox.ask("ping", {})

    def close(self) -> Answer[Closed]:
        """Leaves, once its requests were heard. Closed is its last event."""
        self._inbox.closing.hush()
        self._inbox.is_closing = True
        self._inbox.core.close_client(self._inbox)
        return self._inbox.closing

    # ---------------------------------------------------------------------------------- life

    async def __aenter__(self) -> LocalClient:
        try:
            await self.welcome
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(self, _kind: Optional[Type[BaseException]], _error: Optional[BaseException],
                        _traceback: Optional[types.TracebackType]) -> None:
        await self.close()

    def __enter__(self) -> LocalClient:
        try:
            self.welcome.result()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, _kind: Optional[Type[BaseException]], _error: Optional[BaseException],
                 _traceback: Optional[types.TracebackType]) -> None:
        self.close().result()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<chathub.LocalClient {self.name!r}, {state}>"

    def __del__(self) -> None:
        inbox: Optional[Inbox] = getattr(self, "_inbox", None)
        if inbox is not None and not inbox.over:
            inbox.core.close_client(inbox)


def open_client(core: Core, name: str, max_events: int) -> Inbox:
    """Says hello. The server knows the client before its first event is looked at."""
    inbox = Inbox(core, name, max_events)
    number = ctypes.c_uint64()
    wished = encode(name, "the name") if name else None
    core.hub.must_be_ours()
    with core.opening:
        core.hub.call(library.chathub_client, wished, NO_EVENTS, None, ctypes.byref(number))
        inbox.number = number.value
        core.inboxes[number.value] = inbox
    if core.ended:  # at once, in between: nobody else ends this one
        core.inboxes.pop(inbox.number, None)
        inbox.end(None, Error(CODES["stopped"], "the server has stopped"))
    if core.is_paused:
        core.resume()
    return inbox
