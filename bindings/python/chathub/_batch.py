"""From what chathub_take hands out to the events of Python, fast.

A batch is copied as two blocks: the structs, which one struct.Struct unpacks, and the texts, which are decoded and cut
at their NULs at once. The texts of one event lie one behind the other in the order of its fields. Entries, of which
there are most, are made from these; what is rarer, from the frame that native clients get (`json`).
"""
from __future__ import annotations

import ctypes
import json as json_module
import struct
from typing import Any, Callable, Dict, Final, Iterator, List, NamedTuple, Tuple, Union

from . import _abi, _frames
from ._ffi import library
from ._hub import Hub
from .errors import NAMES
from .events import Ack, Closed, Event, Failure, Message

TEXTS: Final = ("room", "sender", "sender_id", "content", "cid", "data", "session", "message", "ref", "json")
NUMBERS: Final = ("size", "type", "client", "position", "prev", "time", "count", "code", "flags", "id")
_TYPES: Final[Dict[Any, str]] = {ctypes.c_uint32: "I", ctypes.c_int32: "i", ctypes.c_uint64: "Q"}

# Numbers and texts of one event.
Row = Tuple[Tuple[Any, ...], Tuple[str, ...]]


class Question(NamedTuple):
    """Somebody asks for something, and a hook decides."""

    action: str  # hello, join, post or history
    client: int  # the number of who asks, for Server.disconnect
    name: str  # its name; for a hello the one that it wishes; "" if none
    sender_id: str  # "" before its first hello
    room: str  # of join, post and history
    content: str  # of a post


class Asked(NamedTuple):
    """A question that waits for its answer."""

    id: int
    question: Question


class Logged(NamedTuple):
    """A record of the hub's log."""

    level: int
    event: str
    fields: Dict[str, str]
    lost: int  # records before this one that there was no room for


class Replied(NamedTuple):
    """An answer, by its `ref` or its `cid`."""

    ref: str
    cid: str
    event: Event


class Stopped(NamedTuple):
    """The hub has stopped. Nothing follows."""


Told = Union[Event, Asked, Logged, Replied, Stopped, None]
ACTIONS: Final = ("hello", "join", "post", "history")


def _row_format(size: int) -> struct.Struct:
    """Of NUMBERS in struct chathub_event; a later library's may be longer."""
    parts, at = ["="], 0
    kinds: Dict[str, Any] = dict(_abi.Event._fields_)
    for name in NUMBERS:
        field = getattr(_abi.Event, name)
        parts.append(f"{field.offset - at}x{_TYPES[kinds[name]]}")
        at = field.offset + field.size
    parts.append(f"{size - at}x")
    return struct.Struct("".join(parts))


_formats: Dict[int, struct.Struct] = {}


def _rows(batch: Any) -> Iterator[Row]:
    """Numbers and texts, event by event."""
    count: int = batch.count
    size = ctypes.c_uint32.from_address(batch.events).value
    unpacker = _formats.get(size)
    if unpacker is None:
        unpacker = _formats[size] = _row_format(size)
    numbers = unpacker.iter_unpack(ctypes.string_at(batch.events, size * count))
    texts = ctypes.string_at(batch.texts, batch.texts_len).decode(errors="replace").split("\0")
    each = (len(texts) - 1) // count
    if each * count != len(texts) - 1 or each < len(TEXTS):
        # Nothing that a hub sends has a NUL in it; should it once, the pointers know.
        return zip(numbers, _texts_by_pointers(batch.events, size, count))
    return zip(numbers, zip(*[iter(texts)] * each))


def _texts_by_pointers(events: int, size: int, count: int) -> Iterator[Tuple[str, ...]]:
    for index in range(count):
        event = _abi.Event.from_address(events + index * size)
        yield tuple((getattr(event, name) or b"").decode(errors="replace") for name in TEXTS)


class Raw(NamedTuple):
    """An event's fields as the library has them."""

    client: int
    position: int
    time: int
    total: int  # its count
    code: int
    flags: int
    id: int
    room: str
    sender: str
    sender_id: str
    content: str
    cid: str
    data: str
    session: str
    message: str
    ref: str
    json: str


_new = tuple.__new__


class Taker:
    """Takes the events of one hub. One thread at a time."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._batch = _abi.Batch(size=ctypes.sizeof(_abi.Batch))
        self._by_reference = ctypes.byref(self._batch)

    def take(self, waiting: Dict[int, List[Event]], told: Callable[[int, Told], None]) -> int:
        """Puts the events of clients into `waiting`, and calls `told` for what needs more than that, in order. Answers
        how many there were."""
        count = self._hub.call(library.chathub_take, self._by_reference)
        if not count:
            return 0
        sort(_rows(self._batch), waiting, told)
        return count


def sort(rows: Iterator[Row], waiting: Dict[int, List[Event]], told: Callable[[int, Told], None]) -> None:
    last, events = -1, []  # type: int, List[Event]
    is_message, new, message = _abi.EVENT_MESSAGE, _new, Message
    for (_, kind, client, position, prev, time, count, code, flags, number), texts in rows:
        if kind == is_message:
            room, sender, sender_id, content, cid, data, _, _, _, json = texts[:10]
            if client != last:
                last, events = client, waiting.setdefault(client, [])
            if data or not content:
                events.append(_rare_message(json))
            else:
                events.append(new(message, (room, sender, sender_id, content, cid, None, position, prev, time, False)))
            continue
        try:
            event = _MAKERS.get(kind, _unknown)(Raw(client, position, time, count, code, flags, number, *texts[:10]))
        except _frames.Nonsense as error:
            told(client, Logged(_abi.ERROR, f"an event of type {kind} makes no sense and is left out: {error}", {}, 0))
            continue
        told(client, event)


def _rare_message(json: str) -> Event:
    """An entry with data, or one that was redacted."""
    return _frames.message(_frames.load(json))


def _epoch(json: str) -> str:
    return json.partition('"epoch":"')[2].partition('"')[0]


def _ack(raw: Raw) -> Told:
    ack = Ack(raw.room, raw.cid, raw.position, raw.time, bool(raw.flags & _abi.DUP), _epoch(raw.json))
    return Replied(raw.ref, raw.cid, ack)


def _error(raw: Raw) -> Told:
    retry = _frames.load(raw.json).get("retry_after_ms", 0) if raw.json else 0
    name = NAMES.get(raw.code, "unknown_error")
    return Replied(raw.ref, raw.cid, Failure(raw.code, name, raw.message, raw.room, raw.cid, raw.ref, retry))


def _reply(raw: Raw) -> Told:
    event = _frames.event(_frames.load(raw.json))
    return None if event is None else Replied(raw.ref, "", event)


def _plain(raw: Raw) -> Told:
    return _frames.event(_frames.load(raw.json))


def _closed(raw: Raw) -> Told:
    return Closed(raw.code, raw.message)


def _question(raw: Raw) -> Told:
    action = ACTIONS[raw.code] if 0 <= raw.code < len(ACTIONS) else str(raw.code)
    return Asked(raw.id, Question(action, raw.client, raw.sender, raw.sender_id, raw.room, raw.content))


def _logged(raw: Raw) -> Told:
    fields = json_module.loads(raw.json) if raw.json else {}
    return Logged(raw.code, raw.message, fields, raw.total)


def _stopped(_raw: Raw) -> Told:
    return Stopped()


def _unknown(_raw: Raw) -> Told:
    return None  # of a later version


_MAKERS: Final[Dict[int, Callable[[Raw], Told]]] = {
    _abi.EVENT_WELCOME: _reply, _abi.EVENT_ACK: _ack, _abi.EVENT_ERROR: _error, _abi.EVENT_JOINED: _reply,
    _abi.EVENT_LEFT: _reply, _abi.EVENT_PRESENCE: _plain, _abi.EVENT_TYPING: _plain, _abi.EVENT_STATUS: _plain,
    _abi.EVENT_GAP: _plain, _abi.EVENT_HISTORY: _reply, _abi.EVENT_WHO: _reply, _abi.EVENT_PONG: _reply,
    _abi.EVENT_OK: _reply, _abi.EVENT_BYE: _plain, _abi.EVENT_CLOSED: _closed, _abi.EVENT_PRIVATE: _plain,
    _abi.EVENT_QUESTION: _question, _abi.EVENT_LOG: _logged, _abi.EVENT_STOPPED: _stopped,
}
