"""Frames of the native protocol (docs/protocol.md) and the events that they stand for.

What comes from a server is checked here: a field of a wrong type, or one that is missing where an
event means nothing without it, is a Nonsense. Unknown fields are passed over, and so are frames of
unknown types that are no entries.
"""
from __future__ import annotations

import datetime
import json
import re
from typing import Any, Callable, Dict, Final, List, Mapping, Optional, Tuple, Type, TypeVar, Union

from . import events
from .errors import CODES, UNKNOWN_CODE, Error

Frame = Mapping[str, Any]
T = TypeVar("T")

POSITION_END: Final = 1 << 53
SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
# As json writes it; what is behind an odd number of backslashes is no text of that kind.
NUL: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class Nonsense(ValueError):
    """The other side does not speak the protocol."""


def load(text: Union[str, bytes]) -> Dict[str, Any]:
    """The object of a frame."""
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Nonsense(f"what came is no JSON: {error}") from None
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        raise Nonsense("what came is no object with a type")
    if SURROGATE.search(text if isinstance(text, str) else text.decode(errors="replace")):
        try:  # half of a pair is no text, and could not be written anywhere
            json.dumps(frame, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise Nonsense("a text holds half a character (a surrogate)") from None
    return frame


def _once(pairs: List[Tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        raise Error(CODES["bad_json"], "a key is twice in an object (Python's 1 and \"1\" are the same key in JSON)")


def dump(frame: Frame) -> str:
    """The text of a request. Error if no hub can read it: it would be answered by an error without its ref."""
    try:
        text = json.dumps(frame, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except UnicodeEncodeError:
        raise Error(CODES["bad_text"], "the text holds half a character (a surrogate)") from None
    except RecursionError:
        raise Error(CODES["bad_request"], '"data" nests too deep') from None
    except ValueError as error:
        raise Error(CODES["bad_json"], str(error)) from None
    if NUL.search(text):
        raise Error(CODES["bad_text"], "the text holds a NUL character")
    if "data" in frame:
        json.loads(text, object_pairs_hook=_once)
    return text


# ------------------------------------------------------------------------------------------ fields


def _field(frame: Frame, key: str, kind: Type[T], default: T) -> T:
    value = frame.get(key)
    if value is None:
        return default
    if type(value) is not kind:
        raise Nonsense(f'"{key}" of a {frame.get("type", "person")!r} is a {type(value).__name__}')
    return value


def text(frame: Frame, key: str) -> str:
    return _field(frame, key, str, "")


def flag(frame: Frame, key: str, default: bool = False) -> bool:
    return _field(frame, key, bool, default)


def number(frame: Frame, key: str) -> int:
    value = _field(frame, key, int, 0)
    if not 0 <= value < POSITION_END:
        raise Nonsense(f'"{key}" is {value}')
    return value


def needed(frame: Frame, key: str) -> str:
    value = told_again(frame, key)
    if not value:
        raise Nonsense(f'a {frame.get("type", "person")!r} has no "{key}"')
    return value


def told_again(frame: Frame, key: str) -> str:
    """A text that the client may have to send back, in which there can be no NUL."""
    value = text(frame, key)
    if "\0" in value:
        raise Nonsense(f'"{key}" holds a NUL character')
    return value


def time_of(frame: Frame) -> int:
    """The time stamp in Unix ms."""
    stamp = text(frame, "timestamp")
    if not stamp:
        return 0
    try:
        when = datetime.datetime.fromisoformat(stamp[:-1] + "+00:00" if stamp.endswith("Z") else stamp)
        return round(when.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise Nonsense(f'"timestamp" is {stamp[:64]!r}') from None


def _list(frame: Frame, key: str) -> Tuple[Dict[str, Any], ...]:
    value = frame.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise Nonsense(f'"{key}" is no list of objects')
    return tuple(value)


def people(frame: Frame, key: str) -> Tuple[events.Person, ...]:
    return tuple(events.Person(text(one, "sender"), text(one, "sender_id"), text(one, "status"), text(one, "was"))
                 for one in _list(frame, key))


def code_of(frame: Frame) -> int:
    """The number of a frame's code; 0 if it has none, or one of a later version."""
    return CODES.get(text(frame, "code"), UNKNOWN_CODE)


def ref_of(frame: Frame) -> Optional[str]:
    """The `ref`, of which ours are texts."""
    ref = frame.get("ref")
    return ref if isinstance(ref, str) else None


# ------------------------------------------------------------------------------------------ events


def message(frame: Frame) -> events.Message:
    data = frame.get("data")
    if data is not None and not isinstance(data, dict):
        raise Nonsense('"data" is no object')
    position = number(frame, "position")
    if not position:
        raise Nonsense("an entry has no position")
    return events.Message(needed(frame, "room"), text(frame, "sender"), text(frame, "sender_id"),
                          text(frame, "content"), text(frame, "cid"), data, position, number(frame, "prev"),
                          time_of(frame), flag(frame, "redacted"))


def entry(frame: Frame) -> events.Entry:
    return events.Entry(needed(frame, "room"), number(frame, "position"), number(frame, "prev"), text(frame, "type"),
                        dict(frame))


def _any_entry(frame: Frame) -> Union[events.Message, events.Entry]:
    return message(frame) if frame.get("type") == "chat" else entry(frame)


def _gap(frame: Frame) -> events.Gap:
    return events.Gap(needed(frame, "room"), number(frame, "from"), number(frame, "to"), told_again(frame, "epoch"))


def _joined(frame: Frame) -> events.Joined:
    return events.Joined(needed(frame, "room"), number(frame, "position"), number(frame, "start"),
                         number(frame, "count"), people(frame, "members"), number(frame, "presence"),
                         told_again(frame, "epoch"), flag(frame, "observer"))


def _left(frame: Frame) -> events.Left:
    return events.Left(needed(frame, "room"), code_of(frame), text(frame, "message"))


def _presence(frame: Frame) -> events.Presence:
    return events.Presence(needed(frame, "room"), number(frame, "number"), number(frame, "count"),
                           people(frame, "joined"), people(frame, "left"), people(frame, "renamed"),
                           people(frame, "members"), flag(frame, "snapshot"))


def _typing(frame: Frame) -> events.Typing:
    return events.Typing(needed(frame, "room"), text(frame, "sender"), text(frame, "sender_id"),
                         flag(frame, "on", True))


def _status(frame: Frame) -> events.Status:
    return events.Status(needed(frame, "room"), text(frame, "sender"), text(frame, "sender_id"),
                         text(frame, "status"))


def _private(frame: Frame) -> events.Private:
    return events.Private(text(frame, "room"), text(frame, "sender"), text(frame, "sender_id"),
                          text(frame, "content"), time_of(frame))


def _welcome(frame: Frame) -> events.Welcome:
    limits = frame.get("limits")
    if limits is not None and not isinstance(limits, dict):
        raise Nonsense('"limits" is no object')
    return events.Welcome(needed(frame, "sender"), needed(frame, "sender_id"), text(frame, "session"),
                          text(frame, "epoch"), text(frame, "default_room"), number(frame, "horizon_ms"),
                          number(limits or {}, "content"), flag(frame, "renamed"), time_of(frame),
                          number(limits or {}, "message"))


def _ack(frame: Frame) -> events.Ack:
    return events.Ack(text(frame, "room"), text(frame, "cid"), number(frame, "position"), time_of(frame),
                      flag(frame, "dup"), text(frame, "epoch"))


def _error(frame: Frame) -> events.Failure:
    ref = frame.get("ref")
    shown = "" if ref is None else ref if isinstance(ref, str) else json.dumps(ref)
    return events.Failure(code_of(frame), text(frame, "code"), text(frame, "message"), text(frame, "room"),
                          text(frame, "cid"), shown, number(frame, "retry_after_ms"))


def _history(frame: Frame) -> events.History:
    return events.History(needed(frame, "room"), text(frame, "epoch"),
                          tuple(map(_any_entry, _list(frame, "entries"))), flag(frame, "more"))


def _who(frame: Frame) -> events.Who:
    return events.Who(needed(frame, "room"), number(frame, "count"), number(frame, "presence"),
                      people(frame, "members"), flag(frame, "more"))


def _pong(frame: Frame) -> events.Pong:
    return events.Pong(time_of(frame))


def _ok(_frame: Frame) -> events.Ok:
    return events.Ok()


def _bye(frame: Frame) -> events.Bye:
    return events.Bye(text(frame, "message"), number(frame, "retry_after_ms"), code_of(frame))


_MAKERS: Final[Dict[str, Callable[[Frame], events.Event]]] = {
    "chat": message, "gap": _gap, "joined": _joined, "left": _left, "presence": _presence, "typing": _typing,
    "status": _status, "private": _private, "welcome": _welcome, "ack": _ack, "error": _error, "history": _history,
    "who": _who, "pong": _pong, "ok": _ok, "bye": _bye,
}


def event(frame: Frame) -> Optional[events.Event]:
    """The event of a frame; None if it is to be passed over."""
    maker = _MAKERS.get(frame["type"])
    if maker is not None:
        return maker(frame)
    # Whatever has both of these is a link of its room's chain, whatever its type.
    return entry(frame) if "position" in frame and "prev" in frame else None
