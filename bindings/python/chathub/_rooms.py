"""Rooms in which a client is or wants to be, and how far it has read in each.

The epoch under which a position was read belongs to the position: the one that `joined` tells takes
its place only with the next entry, for until then the position still means the old one.
"""
from __future__ import annotations

import unicodedata
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Union

from .events import Entry, Gap, Joined, Message

MOST_IN_HELLO = 64


class Place(NamedTuple):
    """How far a room was read: the position of an entry, and the epoch under which it was received."""

    position: int
    epoch: str


def key_of(name: str) -> str:
    """By what names of rooms are compared, near enough to what the hub does to find one's own."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


class Room:
    """One room."""

    __slots__ = ("name", "place", "taken", "epoch", "inside", "entered", "leaving")

    def __init__(self, name: str, place: Optional[Place] = None) -> None:
        self.name = name
        self.place = place  # up to which it was received; None: it is not known yet where to begin
        self.taken = place  # up to which its events were taken by the program
        self.epoch = ""  # as this connection was told
        self.inside = False  # on this connection
        self.entered = False  # on some connection
        self.leaving = False  # not gone back into

    def join_frame(self) -> Dict[str, Any]:
        """How to go on in it."""
        if self.place is None:
            return {"room": self.name}
        return {"room": self.name, "after": self.place.position, "epoch": self.place.epoch}

    def joined(self, joined: Joined, anew: bool) -> None:
        """`anew`: it was asked for to begin there, wherever it stood."""
        self.name = joined.room
        self.epoch = joined.epoch
        self.inside = self.entered = True
        if anew or self.place is None:
            self.place = Place(joined.start, joined.epoch)

    def gap(self, gap: Gap) -> None:
        self.place = Place(gap.position, gap.epoch or self.epoch)

    def read(self, entry: Union[Message, Entry]) -> List[Union[Message, Entry, Gap]]:
        """What is to be told: nothing if the entry was received before."""
        place = self.place or Place(entry.prev, self.epoch)
        if entry.position <= place.position:
            return []
        told: List[Union[Message, Entry, Gap]] = []
        if entry.prev > place.position:  # the hub says so by a `gap`; if it did not, it is one all the same
            told.append(Gap(self.name, place.position, entry.prev, self.epoch))
        self.place = Place(entry.position, self.epoch)
        told.append(entry)
        return told


class Rooms:
    """All rooms of a client."""

    def __init__(self, wanted: Mapping[str, Optional[Place]]) -> None:
        self._by_key: Dict[str, Room] = {key_of(name): Room(name, place) for name, place in wanted.items()}
        self._by_name: Dict[str, Room] = {}  # as the hub calls them

    def __iter__(self) -> Iterator[Room]:
        return iter(self._by_key.values())

    def find(self, name: str) -> Optional[Room]:
        return self._by_name.get(name) or self._by_key.get(key_of(name))

    def joined(self, joined: Joined, anew: bool) -> Joined:
        """The event with what is known of before."""
        room = self.find(joined.room)
        if room is None:
            room = self._by_key[key_of(joined.room)] = Room(joined.room)
        again = room.entered or room.place is not None
        room.joined(joined, anew)
        self._by_name[joined.room] = room
        return joined._replace(again=again)

    def drop(self, name: str) -> None:
        room = self.find(name)
        if room is not None:
            self._by_key = {key: one for key, one in self._by_key.items() if one is not room}
            self._by_name = {key: one for key, one in self._by_name.items() if one is not room}

    def lost(self) -> None:
        """The connection was."""
        for room in self:
            room.inside = False

    def wanted(self) -> List[Room]:
        """Those to go on in."""
        return [room for room in self if not room.leaving]

    def places(self) -> Dict[str, Place]:
        """How far the program has taken what came."""
        return {room.name: room.taken for room in self.wanted() if room.taken is not None}
