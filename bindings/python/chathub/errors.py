"""What can go wrong: one exception for all that a hub refuses, and the table of its codes."""
from __future__ import annotations

from typing import Dict, Final, Optional, Tuple

# number, name on the wire, what it means and what to do: CHATHUB_ERRORS of chathub.h, row by row.
TABLE: Final[Tuple[Tuple[int, str, str], ...]] = (
    (-1, "no_memory", "out of memory; try again later"),
    (-2, "invalid", "an argument is not valid"),
    (-3, "started", "not possible once the hub has started; set it before"),
    (-4, "stopped", "the hub is stopping or not started"),
    (-5, "fork", "this process is a fork of the one that made the hub; make a hub of its own"),
    (-6, "gone", "there is no such client any more"),
    (-7, "busy", "too much is under way; try again shortly"),
    (-8, "full", "a limit of the hub is reached; try again later or raise the limit"),
    (-9, "option", "there is no option of this name"),
    (-10, "value", "the value does not fit the option"),
    (-11, "address", "the address cannot be used"),
    (-12, "in_use", "the address is in use by another program; choose another port or stop it"),
    (-13, "permission", "the system does not permit it"),
    (-14, "insecure",
     "refusing to listen beyond this machine without authentication; see option insecure"),
    (-15, "io", "the system answered with an error"),
    (-16, "feature", "this build of the library lacks the feature"),
    (-17, "not_found", "there is no such thing"),
    (-20, "bad_json", "not a JSON object; send one object per frame or line"),
    (-21, "bad_request", "the request has a wrong or unknown field"),
    (-22, "unknown_type", "there is no request of this type"),
    (-23, "bad_name", "this is no acceptable name; use printable letters, digits and inner spaces"),
    (-24, "name_taken", "the name is in use; choose another, or show the session that has it"),
    (-25, "name_required", "say hello with a free name first"),
    (-26, "name_reserved", "the name is reserved; choose another"),
    (-27, "bad_room",
     "this is no acceptable room name; use printable letters, digits and inner spaces"),
    (-28, "no_room", "there is no such room, and rooms are not made by joining here"),
    (-29, "not_member", "not a member of this room; join it first"),
    (-30, "too_many_rooms", "in too many rooms; leave one first"),
    (-31, "too_long", "too long"),
    (-32, "bad_text", "the text holds control characters or is not UTF-8"),
    (-33, "empty", "there is nothing in it"),
    (-34, "denied", "not allowed"),
    (-35, "bad_cid", "this is no acceptable cid; use 1 to 64 printable ASCII characters"),
    (-36, "cid_reused", "this cid was used for another post; make a new one for each post"),
    (-37, "dup", "this post was committed before"),
    (-38, "log_failed", "the log could not take it; try again later with the same cid"),
    (-39, "unknown", "it is not known whether it was committed; send it again with the same cid"),
    (-40, "bad_session", "a session key has 22 to 64 characters of A-Z a-z 0-9 - _"),
    (-41, "replaced", "the session goes on in another connection"),
    (-42, "abuse", "too many requests that could not be understood"),
    (-43, "slow", "the other side takes no data"),
    (-44, "one_at_a_time", "one such request at a time; wait for its answer"),
    (-45, "shutdown", "the server is shutting down; come back shortly"),
    (-46, "bad_position", "this is no position; use one that an entry had"),
    (-47, "protocol", "the other side does not keep to the protocol; is this the address of a hub?"),
)

NAMES: Final[Dict[int, str]] = {code: name for code, name, _ in TABLE}
CODES: Final[Dict[str, int]] = {name: code for code, name, _ in TABLE}
MEANINGS: Final[Dict[int, str]] = {code: text for code, _, text in TABLE}

# The code of a name that this version does not know: a later hub's.
UNKNOWN_CODE: Final = 0


class Error(Exception):
    """Something was refused, or could not be done.

    `code` is the number in chathub.h (negative; 0 if the hub is newer than this package and has a
    code that is not in its table), `name` its name on the wire, such as "name_taken", and `message`
    says what was wrong and what to do. `room` is the one that it is about, or "". `retry_after` is in
    how many seconds to try again, if the hub said so.
    """

    def __init__(self, code: int, message: Optional[str] = None, *, name: Optional[str] = None,
                 retry_after: Optional[float] = None, room: str = "") -> None:
        self.code: int = code
        self.name: str = name if name is not None else NAMES.get(code, "unknown_error")
        self.message: str = message if message else MEANINGS.get(code, self.name)
        self.retry_after = retry_after
        self.room: str = room
        super().__init__(f"{self.name}: {self.message}" + (f" (room {room!r})" if room else ""))

    @classmethod
    def named(cls, name: str, message: Optional[str] = None, *,
              retry_after: Optional[float] = None) -> Error:
        """The error of a name on the wire."""
        return cls(CODES.get(name, UNKNOWN_CODE), message, name=name, retry_after=retry_after)

    def __reduce__(self) -> Tuple[object, ...]:
        return _rebuilt, (self.code, self.message, self.name, self.retry_after, self.room)


def _rebuilt(code: int, message: str, name: str, retry_after: Optional[float], room: str) -> Error:
    return Error(code, message, name=name, retry_after=retry_after, room=room)
