"""What a hub tells: one class for each kind of event, the same for clients and for servers.

Events are immutable named tuples, which are made fast. Use the fields by their names, since later
versions may add some at the end, and tell events apart by isinstance, or by match. Fields are called
as in docs/protocol.md and in struct chathub_event of chathub.h; a text is "" and a number 0 where
there is none. Positions are numbers of entries, times are Unix milliseconds (`when` makes a datetime
of them), and what is called `code` is a number of chathub.errors. (`count` hides a method that tuples
have; nobody needs it.)
"""
from __future__ import annotations

import datetime
from typing import Any, Dict, NamedTuple, Optional, Tuple, Union

from .errors import NAMES, Error

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def _when(time: int) -> datetime.datetime:
    return _EPOCH + datetime.timedelta(milliseconds=time)


class Person(NamedTuple):
    """Somebody in a room. Names may change; `sender_id` does not."""

    sender: str
    sender_id: str
    status: str = ""
    was: str = ""  # the former name, in `renamed`


# ------------------------------------------------------------------------------------------ entries


class Message(NamedTuple):
    """An entry: what somebody said in a room. It is the same, and in the same order, for everybody."""

    room: str
    sender: str
    sender_id: str
    content: str
    cid: str = ""  # the sender's own name for the post
    data: Optional[Dict[str, Any]] = None  # an object of the sender's making
    position: int = 0
    prev: int = 0  # the position before it in the room, 0 for the first
    time: int = 0
    redacted: bool = False  # it was taken back for good: its texts are empty

    @property
    def when(self) -> datetime.datetime:
        return _when(self.time)


class Entry(NamedTuple):
    """An entry of a kind that this version does not know. It has its place in the room all the same."""

    room: str
    position: int
    prev: int
    type: str
    json: Dict[str, Any]  # all of it


class Gap(NamedTuple):
    """Entries of a room after `prev` up to `position` were to come, but are not kept any more.

    If `epoch` is another one than before, the hub's log is another one: positions of before mean
    nothing any more, and `prev` may be above `position`.
    """

    room: str
    prev: int
    position: int
    epoch: str = ""


# ------------------------------------------------------------------------------- being in rooms


class Joined(NamedTuple):
    """This client is in the room. Entries after `start` follow."""

    room: str
    position: int = 0  # of the room's newest entry
    start: int = 0
    count: int = 0  # type: ignore[assignment]  # members
    members: Tuple[Person, ...] = ()  # if the room is small
    presence: int = 0  # number of the last Presence that this reflects
    epoch: str = ""
    observer: bool = False  # it only listens
    again: bool = False  # it was there before, and goes on after a lost connection


class Left(NamedTuple):
    """This client is not in the room any more; `code` is not 0 if it did not ask for that."""

    room: str
    code: int = 0
    message: str = ""


class Presence(NamedTuple):
    """Others came to a room, left it or took another name. In large rooms only the count is told."""

    room: str
    number: int = 0  # counts in the room: if one is missing, ask who is there
    count: int = 0  # type: ignore[assignment]
    joined: Tuple[Person, ...] = ()
    left: Tuple[Person, ...] = ()
    renamed: Tuple[Person, ...] = ()
    members: Tuple[Person, ...] = ()  # everybody, in place of what was told before: with `snapshot`
    snapshot: bool = False


# ------------------------------------------------------------------------------- what is not kept


class Typing(NamedTuple):
    """Somebody is writing, or has stopped. It lapses after 10 s."""

    room: str
    sender: str
    sender_id: str
    on: bool = True


class Status(NamedTuple):
    """Somebody's status is another one; empty: none."""

    room: str
    sender: str
    sender_id: str
    status: str = ""


class Private(NamedTuple):
    """A message for this client alone, from somebody in the same room. It is no entry."""

    room: str
    sender: str
    sender_id: str
    content: str
    time: int = 0

    @property
    def when(self) -> datetime.datetime:
        return _when(self.time)


# ------------------------------------------------------------------------------- answers


class Welcome(NamedTuple):
    """Who this client is. `session` is the key to come back with: keep it as you would a password."""

    sender: str
    sender_id: str
    session: str = ""
    epoch: str = ""
    default_room: str = ""
    horizon_ms: int = 0  # how long cids are remembered at least
    max_content: int = 0  # bytes that a post's content may have; 0: not told
    renamed: bool = False  # it answers a hello that only changed the name
    time: int = 0
    max_message: int = 0  # bytes that a frame or line may have; 0: not told


class Ack(NamedTuple):
    """A post was committed, at this position."""

    room: str
    cid: str
    position: int
    time: int = 0
    dup: bool = False  # it had been committed before
    epoch: str = ""


class Failure(NamedTuple):
    """A request was refused. Requests that are awaited raise chathub.Error instead."""

    code: int
    name: str  # of the code, such as "name_taken"
    message: str
    room: str = ""
    cid: str = ""
    ref: str = ""
    retry_after_ms: int = 0

    def error(self) -> Error:
        """The same as an exception."""
        return Error(self.code, self.message, name=self.name,
                     retry_after=self.retry_after_ms / 1000 if self.retry_after_ms else None, room=self.room)


class History(NamedTuple):
    """A page of what was said, the oldest first. `more`: there is more in the asked direction."""

    room: str
    epoch: str
    entries: Tuple[Union[Message, Entry], ...]
    more: bool


class Who(NamedTuple):
    """A page of who is in a room, of `count` in all."""

    room: str
    count: int  # type: ignore[assignment]
    presence: int
    members: Tuple[Person, ...]
    more: bool


class Pong(NamedTuple):
    """The answer to a ping."""

    time: int = 0


class Ok(NamedTuple):
    """It was done."""


class Bye(NamedTuple):
    """The hub is about to close the connection; come back after `retry_after_ms`."""

    message: str = ""
    retry_after_ms: int = 0
    code: int = 0  # that of `replaced` if the session goes on in another connection


# ------------------------------------------------------------------------------- the connection


class Connected(NamedTuple):
    """A client is connected, and is `sender`. `again`: it was before."""

    sender: str
    sender_id: str
    again: bool = False


class Waiting(NamedTuple):
    """A client lost its connection, or could not make one, and tries again in `delay` seconds."""

    delay: float
    message: str = ""  # what was the matter
    attempt: int = 1  # 1 is the first one after a connection that worked


class Ended(NamedTuple):
    """The last event of a client. `code` is 0 if it was closed as it should be."""

    code: int = 0
    message: str = ""

    @property
    def name(self) -> str:
        return NAMES.get(self.code, "unknown_error") if self.code else ""


class Closed(NamedTuple):
    """The last event of a client inside a server's process."""

    code: int = 0
    message: str = ""


Event = Union[Message, Entry, Gap, Joined, Left, Presence, Typing, Status, Private, Welcome, Ack, Failure, History, Who,
              Pong, Ok, Bye, Connected, Waiting, Ended, Closed]
