"""A client of any hub, which loses nothing and doubles nothing (docs/protocol.md, "A client that loses nothing").

Happy path: `_run` opens a wire and converses on it by three tasks. `_write` says hello with the session's key and the
rooms, each with the place up to which it was read, then what was asked, then what is in the outbox. `_read` hands
answers to those who wait for them and everything else to the queue of events. `_watch` asks for a sign of life where
there was none for a while.

Failure modes: whichever of the three fails first ends the wire; what was asked or posted and has no answer is sent again
on the next one, after a growing, random wait. A refused hello, a session that goes on elsewhere, and ends that would
come again (a message too long …) end the client for good: Ended is its last event. Who does not take the events is not
read for: reading rests while the queue is full, but for somebody who waits for an answer. Every queue has a bound.
"""
from __future__ import annotations

import asyncio
import collections
import random
import ssl as ssl_module
from typing import Any, Deque, Dict, Final, List, Mapping, Optional, Tuple, Type, Union

from . import _frames
from ._outbox import REF, Outbox, Sending
from ._rooms import MOST_IN_HELLO, Place, Room, Rooms
from ._wire import Address, Lost, Wire, abort_wire, close_wire, finish, open_wire
from .errors import CODES, Error
from .events import (Ack, Bye, Connected, Ended, Entry, Event, Failure, Gap, History, Joined, Left, Message, Ok, Pong,
                     Presence, Private, Status, Typing, Waiting, Welcome, Who)

# Events for each one that `max_events` allows, while somebody waits for an answer that is behind them.
PATIENT: Final = 64
OWN_JOIN: Final = "join "  # begins the refs of joins that nobody asked for but the client itself
MAX_FRAME: Final = 64 << 10  # the hub's standard option max-message
PASSING: Final = frozenset(("busy", "full", "log_failed", "no_memory", "shutdown", "unknown"))
# What the hub does not commit now, but later: the post is sent again under its cid.
LATER: Final = frozenset(("busy", "log_failed", "no_memory", "shutdown", "unknown"))
# Close codes after which the same would happen again: CLOSED is 4001, a session that goes on elsewhere.
TAKEN_OVER: Final = 4001
TOO_LONG: Final = 1009
HOPELESS: Final = {1002: "bad_request", 1003: "bad_request", 1007: "bad_text", TOO_LONG: "too_long",
                   TAKEN_OVER: "replaced"}
ABUSE: Final = 1008
MOST_STRIKES: Final = 3  # ends by 1008 in a row, which may be the network's fault

# What answers a request, beside a Failure.
ANSWERS: Final[Dict[str, Type[Event]]] = {
    "hello": Welcome, "join": Joined, "leave": Left, "history": History, "who": Who, "typing": Ok, "status": Ok,
    "ping": Pong,
}

Answer = Union[Event, Error]
Mark = Tuple[Room, Place]


class Over(Exception):
    """The client has come to its end."""

    def __init__(self, error: Error) -> None:
        super().__init__(str(error))
        self.error = error


class Request:
    """Something asked that has no answer yet."""

    __slots__ = ("number", "ref", "frame", "answered", "sent", "again")

    def __init__(self, number: int, ref: str, frame: Dict[str, Any], answered: "asyncio.Future[Answer]") -> None:
        self.number = number
        self.ref = ref
        self.frame = frame
        self.answered = answered
        self.sent = False  # on this connection
        self.again = False  # it was sent on an earlier one, and may have been done


class Talk:
    """What a client has to say and was told, and the connections over which that goes."""

    def __init__(self, address: Address, *, name: str, session: str, rooms: Mapping[str, Optional[Place]],
                 max_events: int, max_outbox: int, silence: float, patience: float, backoff: Tuple[float, float],
                 ssl: Optional[ssl_module.SSLContext]) -> None:
        self._address, self._ssl = address, ssl
        self._wish = name  # asked for by the program, not given by the hub
        self._session = session
        self._max_events, self._silence, self._patience, self._backoff = max_events, silence, patience, backoff
        self._rooms = Rooms(rooms)
        self._outbox = Outbox(max_outbox)
        self._requests: Dict[str, Request] = {}  # by ref, in order
        self._page: Optional[Request] = None  # the one history that may be asked for at a time
        self._asked = 0  # requests and posts, which have these numbers
        self._welcome: Optional[Welcome] = None
        # What waits to be taken, each with the place up to which its room was read then.
        self._events: Deque[Tuple[Event, Optional[Mark]]] = collections.deque()
        self._task: Optional[asyncio.Task[None]] = None
        self._begun = self._closing = False
        self._ended: Optional[Ended] = None
        self._crash: Optional[BaseException] = None
        self._connected = False  # welcomed on the present wire
        self._hello = ""  # what to say first on the present wire
        self._bye: Optional[Bye] = None
        self._too_long = False  # the hub's last word on a wire: a line was, whichever it was
        self._heard = 0.0
        self._resting = False  # not reading, for nobody takes the events
        self._ask_life = False
        self._held: Optional[asyncio.TimerHandle] = None  # posts wait until then
        self._rejoins: List[asyncio.TimerHandle] = []
        self._refusals = 0  # of posts, in a row
        self._attempts = 0  # to connect, in a row
        self._strikes = 0

    def _open(self) -> "asyncio.Task[None]":
        """Begins, on the loop that is running."""
        self._begun = True
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()  # welcomed for the first time
        self._arrived = asyncio.Event()  # an event, or the end
        self._taken = asyncio.Event()  # there may be room for events again
        self._work = asyncio.Event()  # there may be something to send
        self._settled = asyncio.Event()  # the outbox may be empty
        self._task = self._loop.create_task(self._run())
        return self._task

    @property
    def sender_id(self) -> str:
        return self._welcome.sender_id if self._welcome else ""

    @property
    def default_room(self) -> str:
        """The room that is meant where none is named."""
        return self._welcome.default_room if self._welcome else ""

    # ---------------------------------------------------------------------------------- events

    def _emit(self, event: Event, room: Optional[Room] = None) -> None:
        mark = (room, room.place) if room is not None and room.place is not None else None
        if self._max_events == 0:
            mark_taken(mark)
            return
        # A client that cannot connect says so once, however long that lasts.
        if isinstance(event, Waiting) and self._events and isinstance(self._events[-1][0], Waiting):
            self._events.pop()
        self._events.append((event, mark))
        self._arrived.set()

    def _is_full(self) -> bool:
        """Whether reading has to rest. Who waits for an answer has it read past events that nobody takes, for it may
        be the one who does not take them, but not without end."""
        if self._max_events == 0 or len(self._events) < self._max_events:
            return False
        waits = any(not one.answered.done() for one in self._outbox.all.values()) or bool(self._requests)
        if not waits:
            return True
        if len(self._events) < self._max_events * PATIENT:
            return False
        self._stop_waiting()
        return True

    def _stop_waiting(self) -> None:
        """Those who wait are told that the answer is out of reach. Posts stay in the outbox."""
        why = f"{len(self._events)} events wait to be taken, and the answer is behind them; read the client's events"
        for request in list(self._requests.values()):
            self._answer(request, Error(CODES["busy"], why))
        for sending in self._outbox.all.values():
            if not sending.answered.done():
                sending.answered.set_result(Error(CODES["unknown"], why))

    async def _until_taken(self) -> None:
        """Rests until there is room for events, or somebody waits for an answer."""
        while self._is_full():
            self._resting = True
            self._taken.clear()
            await self._taken.wait()
        if self._resting:
            self._resting = False
            self._heard = self._loop.time()

    # ---------------------------------------------------------------------------------- answers

    def _end_error(self) -> Error:
        if self._ended is not None and self._ended.code:
            return Error(self._ended.code, self._ended.message)
        return Error(CODES["gone"], "the client was closed")

    def _answer(self, request: Request, answer: Answer) -> None:
        self._requests.pop(request.ref, None)
        if self._page is request:
            self._page = None
        if not request.answered.done():
            request.answered.set_result(answer)

    def _answer_post(self, cid: str, answer: Union[int, Error]) -> None:
        if self._outbox.answer(cid, answer):
            self._work.set()  # another one may fly
        if not self._outbox:
            self._settled.set()

    # ---------------------------------------------------------------------------------- the connection

    async def _run(self) -> None:
        """Connects, again and again, until the end."""
        error = Error(CODES["gone"], "the client was closed")
        code = 0
        try:
            while True:
                await self._until_taken()
                await self._wait(await self._connect_once())
        except asyncio.CancelledError:
            if not self._closing:
                raise
        except Over as over:
            error, code = over.error, over.error.code
            if not self._ready.done():
                self._crash = error
        except BaseException as crash:  # told to whoever reads, closes or starts
            self._crash = crash
            error = Error(CODES["gone"], f"the client broke: {crash!r}")
            if not isinstance(crash, Exception):
                raise
        finally:
            self._finish(error, code)

    def _finish(self, error: Error, code: int) -> None:
        self._ended = Ended(code, error.message if code else "")
        self._lose()
        for request in list(self._requests.values()):
            self._answer(request, error)
        for cid, sending in list(self._outbox.all.items()):
            sent = sending.first_sent is not None
            self._answer_post(cid, Error(CODES["unknown"], f"{error.message}; the post was sent, and may be committed")
                              if sent else error)
        if self._crash is None:
            self._emit(self._ended)
        self._arrived.set()
        self._settled.set()

    async def _connect_once(self) -> Lost:
        """One connection, to its end: why it ended."""
        try:
            wire = await open_wire(self._address, self._patience, self._ssl)
        except Lost as failed:
            self._attempts += 1
            return self._first(failed)
        try:
            lost = await self._converse(wire)
        except asyncio.CancelledError:
            # In good order only if that was asked for; else the loop itself is ending.
            leaves = [_frames.dump({"type": "leave", "room": room.name}) for room in self._rooms if room.inside]
            await (close_wire(wire, leaves) if self._closing else abort_wire(wire))
            raise
        except BaseException:
            await abort_wire(wire)
            raise
        finally:
            self._lose()
        await abort_wire(wire)
        return self._first(self._judge(lost))

    def _first(self, lost: Lost) -> Lost:
        """Who never was connected is not kept waiting."""
        if not self._ready.done():
            raise Over(lost.error or Error(CODES["io"], lost.message, retry_after=lost.retry_after or None))
        return lost

    def _judge(self, lost: Lost) -> Lost:
        """Ends the client if coming back would not help."""
        bye, code = self._bye, lost.close_code
        if bye is not None and bye.code == CODES["replaced"]:
            code = TAKEN_OVER  # lines have no close codes, and a WebSocket's may get lost
        elif self._too_long and not code:
            code = TOO_LONG
        self._strikes = self._strikes + 1 if code == ABUSE else 0
        if code in HOPELESS:
            name = HOPELESS[code]
            raise Over(Error(CODES[name], None if code == TAKEN_OVER or self._too_long else lost.message))
        if self._strikes >= MOST_STRIKES:
            raise Over(Error(CODES["abuse"], lost.message))
        if bye is None:
            return lost
        return Lost(bye.message or lost.message, close_code=code, retry_after=bye.retry_after_ms / 1000)

    async def _wait(self, lost: Lost) -> None:
        """Until the next attempt."""
        delay = max(self._delay(max(self._attempts - 1, 0)), lost.retry_after)
        self._emit(Waiting(delay, lost.message, max(self._attempts, 1)))
        await asyncio.sleep(delay)

    def _delay(self, times: int) -> float:
        """A random wait that grows."""
        first, most = self._backoff
        return random.uniform(0, min(most, first * 2.0 ** min(times, 30)))

    async def _converse(self, wire: Wire) -> Lost:
        """Talks until the connection is lost."""
        self._begin()
        tasks = [self._loop.create_task(work(wire)) for work in (self._read, self._write, self._watch)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await finish(*tasks)
            # Each of them may have failed by the same loss; what is no loss is not hidden by it, nor by a cancellation.
            failures = [failure for task in tasks if not task.cancelled() and (failure := task.exception())]
            for failure in failures:
                if not isinstance(failure, (Lost, _frames.Nonsense)):
                    raise failure
        for failure in failures:
            if isinstance(failure, Lost):
                return failure
        self._attempts += 1
        return Lost(f"the server does not speak the protocol: {failures[0]}")

    def _begin(self) -> None:
        """What there is to say on a new connection."""
        self._heard = self._loop.time()
        self._bye = None
        self._too_long = False
        self._ask_life = False
        rooms = self._rooms.wanted()
        hello: Dict[str, Any] = {"type": "hello", "ref": "hello", "session": self._session}
        if self._wish:
            hello["name"] = self._wish
        # As many as the hub takes in one, and as fit into a frame.
        frames, size = [], 1024
        for room in rooms[:MOST_IN_HELLO]:
            size += len(_frames.dump(room.join_frame()).encode()) + 1
            if size > MAX_FRAME:
                break
            frames.append(room.join_frame())
        if frames:
            hello["rooms"] = frames
        self._hello = _frames.dump(hello)
        for room in rooms[len(frames):]:
            self._rejoin(room)
        self._work.set()

    def _lose(self) -> None:
        """Nothing is certain of what was sent on the connection."""
        self._connected = False
        self._rooms.lost()
        self._outbox.lost()
        for request in list(self._requests.values()):
            if request.ref.startswith(OWN_JOIN):
                del self._requests[request.ref]  # the client's own; hello names the rooms
            request.again = request.again or request.sent
            request.sent = False
        for timer in [*self._rejoins, *([self._held] if self._held else [])]:
            timer.cancel()
        self._rejoins, self._held = [], None

    # ---------------------------------------------------------------------------------- what is sent

    async def _write(self, wire: Wire) -> None:
        while True:
            text = self._next_text()
            if text is None:
                self._work.clear()
                await self._work.wait()
            else:
                await wire.send(text)

    def _next_text(self) -> Optional[str]:
        if self._hello:
            text, self._hello = self._hello, ""
            return text
        if not self._connected:
            return None
        if self._ask_life:
            self._ask_life = False
            return _frames.dump({"type": "ping"})
        request = next((one for one in self._requests.values() if not one.sent), None)
        sending = self._next_post() if self._held is None else None
        # What was asked first is sent first: a post before a leave is heard before it.
        if sending is not None and (request is None or sending.number < request.number):
            if not self._outbox.may_fly():
                return None
            self._outbox.fly(sending, self._loop.time())
            return sending.text
        if request is None:
            return None
        request.sent = True
        return _frames.dump(request.frame)

    def _next_post(self) -> Optional[Sending]:
        horizon = self._welcome.horizon_ms / 1000 if self._welcome else 0.0
        while True:
            sending = self._outbox.waiting()
            if sending is None or not self._outbox.is_too_old(sending, self._loop.time(), horizon):
                return sending
            self._answer_post(sending.post.cid, Error(
                CODES["unknown"], "it was sent so long ago that the hub may have forgotten its cid; look whether it is "
                                  "there before you post it again"))

    def _rejoin(self, room: Room) -> None:
        """Goes back into a room by a request of its own."""
        self._asked += 1
        ref = f"{OWN_JOIN}{self._asked}"
        request = Request(0, ref, {"type": "join", "ref": ref, **room.join_frame()}, self._loop.create_future())
        self._requests[request.ref] = request
        self._work.set()

    # ---------------------------------------------------------------------------------- signs of life

    async def _watch(self, wire: Wire) -> None:
        await asyncio.sleep(self._patience)
        if not self._connected:
            raise Lost(f"the server did not welcome this client within {self._patience:g} s")
        while True:
            quiet = self._loop.time() - self._heard
            if self._resting or quiet < self._silence:
                await asyncio.sleep(self._silence if self._resting else self._silence - quiet)
                continue
            self._ask_life = True
            self._work.set()
            since = self._heard
            await asyncio.sleep(self._patience)
            if self._heard == since and not self._resting:
                raise Lost(f"the server does not answer within {self._patience:g} s")

    # ---------------------------------------------------------------------------------- what is received

    async def _read(self, wire: Wire) -> None:
        while True:
            await self._until_taken()
            frame = _frames.load(await wire.receive())
            self._heard = self._loop.time()
            event = _frames.event(frame)
            self._too_long = (isinstance(event, Failure) and event.name == "too_long"
                              and not (event.room or event.cid or event.ref))
            if event is not None:
                self._take(event, _frames.ref_of(frame))

    def _take(self, event: Event, ref: Optional[str]) -> None:
        request = self._requests.get(ref) if ref else None
        if request is not None and not isinstance(event, (ANSWERS[request.frame["type"]], Failure)):
            raise _frames.Nonsense(f"a {request.frame['type']} was answered by {type(event).__name__}")
        if isinstance(event, (Message, Entry)):
            self._take_entry(event)
        elif isinstance(event, Ack):
            self._take_ack(event)
        elif isinstance(event, Failure):
            self._take_failure(event, ref, request)
        elif isinstance(event, Welcome):
            self._take_welcome(event, request)
        elif isinstance(event, Joined):
            self._take_joined(event, request)
        elif isinstance(event, Left):
            self._rooms.drop(event.room)
            self._emit(event)
        elif isinstance(event, Gap):
            self._take_gap(event)
        elif isinstance(event, Bye):
            self._bye = event
        elif isinstance(event, (Presence, Typing, Status, Private)):
            self._emit(event)
        if request is not None and not isinstance(event, Failure):
            self._answer(request, event)

    def _take_gap(self, gap: Gap) -> None:
        room = self._rooms.find(gap.room)
        if room is not None:
            room.gap(gap)
            self._emit(gap, room)

    def _take_entry(self, entry: Union[Message, Entry]) -> None:
        room = self._rooms.find(entry.room)
        if room is None or not room.inside:
            return
        for told in room.read(entry):
            self._emit(told, room if told is entry else None)
        if isinstance(entry, Message) and entry.sender_id == self.sender_id:
            sending = self._outbox.all.get(entry.cid)
            if sending is not None and self._rooms.find(sending.post.room or self.default_room) is room:
                self._answer_post(entry.cid, entry.position)

    def _take_ack(self, ack: Ack) -> None:
        self._refusals = 0
        if not ack.position:
            raise _frames.Nonsense("an ack has no position")
        self._answer_post(ack.cid, ack.position)

    def _take_welcome(self, welcome: Welcome, request: Optional[Request]) -> None:
        again = self._welcome is not None
        self._welcome = welcome
        if self._wish or request is not None:
            self._wish = welcome.sender
        if self._connected:
            return  # another name
        self._connected = True
        self._attempts = 0
        self._emit(Connected(welcome.sender, welcome.sender_id, again))
        self._work.set()
        if not self._ready.done():
            self._ready.set_result(None)

    def _take_joined(self, joined: Joined, request: Optional[Request]) -> None:
        # Where the client itself went back into it, it goes on where it stood.
        asked = request is not None and not request.ref.startswith(OWN_JOIN)
        anew = asked and request is not None and any(key in request.frame for key in ("last", "now", "after"))
        joined = self._rooms.joined(joined, anew)
        self._emit(joined, self._rooms.find(joined.room))
        self._work.set()

    def _take_failure(self, failure: Failure, ref: Optional[str], request: Optional[Request]) -> None:
        if ref == "hello":
            self._refused_hello(failure)
        elif failure.cid or ref is not None and ref.startswith(REF):
            self._refused_post(failure, failure.cid or str(ref)[len(REF):])
        elif request is not None:
            self._refused_request(request, failure)
        elif ref is None and failure.room:
            self._refused_room(failure)
        elif ref is None:
            self._emit(failure)

    def _refused_hello(self, failure: Failure) -> None:
        if failure.name not in PASSING:
            raise Over(failure.error())
        self._attempts += 1
        raise Lost(failure.message, retry_after=failure.retry_after_ms / 1000, error=failure.error())

    def _refused_request(self, request: Request, failure: Failure) -> None:
        if request.ref.startswith(OWN_JOIN):
            self._answer(request, failure.error())
            room = failure.room or str(request.frame.get("room", ""))
            self._refused_room(failure._replace(room=room))
        else:
            self._answer(request, failure.error())

    def _refused_room(self, failure: Failure) -> None:
        """A room that was to be gone back into."""
        room = self._rooms.find(failure.room)
        if room is None or room.inside:
            self._emit(failure)
        elif failure.name in LATER:
            delay = max(self._delay(3), failure.retry_after_ms / 1000)
            self._rejoins = [timer for timer in self._rejoins if timer.when() > self._loop.time()]
            self._rejoins.append(self._loop.call_later(delay, self._rejoin, room))
        else:
            self._rooms.drop(room.name)
            self._emit(Left(room.name, failure.code, failure.message))

    def _refused_post(self, failure: Failure, cid: str) -> None:
        sending = self._outbox.all.get(cid)
        if sending is None or not sending.flying:
            return
        room = self._rooms.find(sending.post.room or self.default_room)
        outside = failure.name == "not_member" and room is not None and not room.inside and not room.leaving
        if failure.name not in LATER and not outside:
            self._answer_post(cid, failure.error())
            return
        # It waits, and with it all that were made after it and are not sent yet.
        self._outbox.back(sending)
        delay = max(self._delay(self._refusals), failure.retry_after_ms / 1000)
        self._refusals += 1
        if self._held is None:
            self._held = self._loop.call_later(delay, self._release)

    def _release(self) -> None:
        self._held = None
        self._work.set()


def mark_taken(mark: Optional[Mark]) -> None:
    if mark is not None:
        mark[0].taken = mark[1]
