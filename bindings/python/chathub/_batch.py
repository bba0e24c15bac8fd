"""From what chathub_take hands out to the events of Python, fast.

A batch is copied as two blocks: the structs, whose columns are read as arrays, and the texts, which are decoded and cut
at their NULs at once. The texts of one event lie one behind the other in the order of its fields. Entries, of which
there are most, are made from these; what is rarer, from the frame that native clients get (`json`).
"""
from __future__ import annotations

import ctypes
import itertools
import json as json_module
import struct
from typing import Any, Callable, Dict, Final, List, NamedTuple, Protocol, Tuple, Union

from . import _abi, _frames
from ._ffi import library
from ._hub import Hub
from .errors import NAMES
from .events import Ack, Closed, Event, Failure, Message

TEXTS: Final = ("room", "sender", "sender_id", "content", "cid", "data", "session", "message", "ref", "json")
NUMBERS: Final = ("client", "position", "time", "count", "code", "flags", "id")
_TYPES: Final[Dict[Any, str]] = {ctypes.c_uint32: "I", ctypes.c_int32: "i", ctypes.c_uint64: "Q"}


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


def _row_format() -> struct.Struct:
    """Of NUMBERS in struct chathub_event."""
    parts, at = ["="], 0
    kinds: Dict[str, Any] = dict(_abi.Event._fields_)
    for name in NUMBERS:
        field = getattr(_abi.Event, name)
        parts.append(f"{field.offset - at}x{_TYPES[kinds[name]]}")
        at = field.offset + field.size
    return struct.Struct("".join(parts))


class Raw(NamedTuple):
    """An event's fields as the library has them: NUMBERS, then TEXTS."""

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


_ROW: Final = _row_format()
_WORD: Final = 8
_CLIENT, _POSITION, _PREV, _TIME = (getattr(_abi.Event, name).offset // _WORD
                                    for name in ("client", "position", "prev", "time"))
# The first word of an event of this type: its size, and behind that the type.
_HEAD: Final = struct.Struct("=II")
_ROOM, _SENDER, _SENDER_ID, _CONTENT, _CID, _DATA, _REF, _JSON = (
    TEXTS.index(name) for name in ("room", "sender", "sender_id", "content", "cid", "data", "ref", "json"))
_NONE, _NOT, _MESSAGE = itertools.repeat(None), itertools.repeat(False), itertools.repeat(Message)


_new: Final[Callable[..., Message]] = tuple.__new__


class Sink(Protocol):
    """Who is told of events."""

    def told(self, client: int, told: Told) -> None:
        """Of what is more than an entry, in order."""

    def acked(self, client: int, cid: str, position: int) -> bool:
        """Of a post's ack, which comes often; False: nobody waits for it, and it is to be told."""


class Taker:
    """Takes the events of one hub. One thread at a time."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._batch = _abi.Batch(size=ctypes.sizeof(_abi.Batch))
        self._by_reference = ctypes.byref(self._batch)

    def take(self, waiting: Dict[int, List[Event]], sink: Sink) -> int:
        """Puts the events of clients into `waiting`, and tells `sink` what needs more than that. Answers how many there
        were."""
        count = self._hub.call(library.chathub_take, self._by_reference)
        if count:
            sort(self._batch, waiting, sink)
        return count


def _texts(batch: Any, size: int) -> Tuple[List[str], int]:
    """All texts, and how many each event has."""
    count: int = batch.count
    texts = ctypes.string_at(batch.texts, batch.texts_len).decode(errors="replace").split("\0")
    each = (len(texts) - 1) // count
    is_later = size > ctypes.sizeof(_abi.Event)  # which may have more texts
    if each * count == len(texts) - 1 and (each == len(TEXTS) or each > len(TEXTS) and is_later):
        return texts, each
    # Nothing that a hub sends has a NUL in it; should it once, the pointers know.
    texts = []
    for index in range(count):
        event = _abi.Event.from_address(batch.events + index * size)
        texts += [(getattr(event, name) or b"").decode(errors="replace") for name in TEXTS]
    return texts, len(TEXTS)


def sort(batch: Any, waiting: Dict[int, List[Event]], sink: Sink) -> None:
    """Column by column, which is several times as fast as event by event: all are made messages of, even those few
    that are none. Events of a later library may be longer."""
    size = ctypes.c_uint32.from_address(batch.events).value
    block = ctypes.string_at(batch.events, size * batch.count)
    texts, each = _texts(batch, size)
    words, step = memoryview(block).cast("Q"), size // _WORD
    heads, clients = words[::step].tolist(), words[_CLIENT::step].tolist()
    contents, datas = texts[_CONTENT::each], texts[_DATA::each]
    messages: List[Event] = list(map(_new, _MESSAGE, zip(
        texts[_ROOM::each], texts[_SENDER::each], texts[_SENDER_ID::each], contents, texts[_CID::each], _NONE,
        words[_POSITION::step].tolist(), words[_PREV::step].tolist(), words[_TIME::step].tolist(), _NOT)))
    (head,) = _WORDS.unpack(_HEAD.pack(size, _abi.EVENT_MESSAGE))
    client = clients[0]
    if heads.count(head) == clients.count(client) == len(heads) and not any(datas) and all(contents):
        waiting.setdefault(client, []).extend(messages)
        return
    for index, (kind, client, message, content, data) in enumerate(zip(heads, clients, messages, contents, datas)):
        if kind != head:
            _sort_other(block, index * size, texts, index * each, sink)
            continue
        if data or not content:
            try:
                message = _rare_message(texts[index * each + _JSON])
            except _frames.Nonsense as error:
                sink.told(client, _left_out(_abi.EVENT_MESSAGE, error))
                continue
        events = waiting.get(client)
        if events is None:
            events = waiting[client] = []
        events.append(message)


_WORDS: Final = struct.Struct("=Q")


def _sort_other(block: bytes, at: int, texts: List[str], first: int, sink: Sink) -> None:
    kind = _HEAD.unpack_from(block, at)[1]
    numbers = _ROW.unpack_from(block, at)
    if kind == _abi.EVENT_ACK and not texts[first + _REF]:
        if sink.acked(numbers[0], texts[first + _CID], numbers[1]):
            return
    maker = _MAKERS.get(kind)
    if maker is None:
        return  # of a later version
    try:
        told = maker(Raw._make((*numbers, *texts[first:first + len(TEXTS)])))
    except _frames.Nonsense as error:
        told = _left_out(kind, error)
    sink.told(numbers[0], told)


def _left_out(kind: int, error: _frames.Nonsense) -> Logged:
    return Logged(_abi.ERROR, f"an event of type {kind} makes no sense and is left out: {error}", {}, 0)


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


_MAKERS: Final[Dict[int, Callable[[Raw], Told]]] = {
    _abi.EVENT_WELCOME: _reply, _abi.EVENT_ACK: _ack, _abi.EVENT_ERROR: _error, _abi.EVENT_JOINED: _reply,
    _abi.EVENT_LEFT: _reply, _abi.EVENT_PRESENCE: _plain, _abi.EVENT_TYPING: _plain, _abi.EVENT_STATUS: _plain,
    _abi.EVENT_GAP: _plain, _abi.EVENT_HISTORY: _reply, _abi.EVENT_WHO: _reply, _abi.EVENT_PONG: _reply,
    _abi.EVENT_OK: _reply, _abi.EVENT_BYE: _plain, _abi.EVENT_CLOSED: _closed, _abi.EVENT_PRIVATE: _plain,
    _abi.EVENT_QUESTION: _question, _abi.EVENT_LOG: _logged, _abi.EVENT_STOPPED: _stopped,
}
