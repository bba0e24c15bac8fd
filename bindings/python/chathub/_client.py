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
import functools
import random
import secrets
import ssl as ssl_module
import types
from typing import (Any, AsyncIterator, Deque, Dict, Final, Generator, Iterable, List, Mapping, Optional, Tuple, Type,
                    Union)

from . import _frames
from ._outbox import REF, Outbox, Post, Sending, frame_of, new_cid
from ._rooms import MOST_IN_HELLO, Place, Room, Rooms
from ._wire import Address, Lost, Wire, abort_wire, close_wire, finish, open_wire, parse_url
from .errors import CODES, Error
from .events import (Ack, Bye, Connected, Ended, Entry, Event, Failure, Gap, History, Joined, Left, Message, Person, Pong,
                     Presence, Private, Status, Typing, Waiting, Welcome, Who)

MOST_REQUESTS: Final = 64  # without an answer, beside posts
# Events for each one that `max_events` allows, while somebody waits for an answer that is behind them.
PATIENT: Final = 64
OWN_JOIN: Final = "join "  # begins the refs of joins that nobody asked for but the client itself
MAX_FRAME: Final = 64 << 10  # the hub's standard option max-message
PASSING: Final = frozenset(("busy", "full", "log_failed", "no_memory", "shutdown", "unknown"))
# What the hub does not commit now, but later: the post is sent again under its cid.
LATER: Final = frozenset(("busy", "log_failed", "no_memory", "shutdown", "unknown"))
# Close codes after which the same would happen again: CLOSED is 4001, a session that goes on elsewhere.
TAKEN_OVER: Final = 4001
HOPELESS: Final = {1002: "bad_request", 1003: "bad_request", 1007: "bad_text", 1009: "too_long",
                   TAKEN_OVER: "replaced"}
ABUSE: Final = 1008
MOST_STRIKES: Final = 3  # ends by 1008 in a row, which may be the network's fault

Answer = Union[Event, Error]
Mark = Tuple[Room, Place]


class _Over(Exception):
    """The client has come to its end."""

    def __init__(self, error: Error) -> None:
        super().__init__(str(error))
        self.error = error


class _Request:
    """Something asked that has no answer yet."""

    __slots__ = ("number", "ref", "frame", "answered", "sent", "again")

    def __init__(self, number: int, ref: str, frame: Dict[str, Any], answered: "asyncio.Future[Answer]") -> None:
        self.number = number
        self.ref = ref
        self.frame = frame
        self.answered = answered
        self.sent = False  # on this connection
        self.again = False  # it was sent on an earlier one, and may have been done


class Client:
    """A client of a hub: made by `connect`, used by `async with`, an asynchronous iterator of its events."""

    def __init__(self, address: Address, *, name: str, session: str, rooms: Mapping[str, Optional[Place]],
                 max_events: int, max_outbox: int, silence: float, patience: float, backoff: Tuple[float, float],
                 ssl: Optional[ssl_module.SSLContext]) -> None:
        self._address, self._ssl = address, ssl
        self._wish = name  # asked for by the program, not given by the hub
        self._session = session
        self._max_events, self._silence, self._patience, self._backoff = max_events, silence, patience, backoff
        self._rooms = Rooms(rooms)
        self._outbox = Outbox(max_outbox)
        self._requests: Dict[str, _Request] = {}  # by ref, in order
        self._page: Optional[_Request] = None  # the one history that may be asked for at a time
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
        self._heard = 0.0
        self._resting = False  # not reading, for nobody takes the events
        self._ask_life = False
        self._held: Optional[asyncio.TimerHandle] = None  # posts wait until then
        self._rejoins: List[asyncio.TimerHandle] = []
        self._refusals = 0  # of posts, in a row
        self._attempts = 0  # to connect, in a row
        self._strikes = 0

    # ---------------------------------------------------------------------------------- life

    async def _start(self) -> None:
        if self._begun:
            raise RuntimeError("a client is used once; connect again for another")
        self._begun = True
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._arrived = asyncio.Event()  # an event, or the end
        self._taken = asyncio.Event()  # there may be room for events again
        self._work = asyncio.Event()  # there may be something to send
        self._settled = asyncio.Event()  # the outbox may be empty
        self._task = self._loop.create_task(self._run())
        try:
            await asyncio.wait({self._ready, self._task}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self.close()
            raise
        if self._crash is not None:
            crash, self._crash = self._crash, None
            raise crash

    def __await__(self) -> Generator[Any, None, Client]:
        async def started() -> Client:
            await self._start()
            return self
        return started().__await__()

    async def __aenter__(self) -> Client:
        await self._start()
        return self

    async def __aexit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                        _traceback: Optional[types.TracebackType]) -> None:
        await self.close()
        crash, self._crash = self._crash, None
        if crash is not None and error is None:
            raise crash

    async def close(self) -> None:
        """Ends the client and its session. What has no answer yet is not waited for: `flush` does that."""
        self._closing = True
        if self._task is None or self._task.done():
            return
        self._task.cancel()
        try:
            await asyncio.wait({self._task})
        except asyncio.CancelledError:
            await finish(self._task)  # without waiting for the hub's part of the goodbye
            raise

    # ---------------------------------------------------------------------------------- what it is

    @property
    def name(self) -> str:
        """The name under which others see this client."""
        return self._welcome.sender if self._welcome else self._wish

    @property
    def sender_id(self) -> str:
        return self._welcome.sender_id if self._welcome else ""

    @property
    def session(self) -> str:
        """The key by which `connect` is the same participant again. Keep it as you would a password."""
        return self._session

    @property
    def default_room(self) -> str:
        """The room that is meant where none is named."""
        return self._welcome.default_room if self._welcome else ""

    @property
    def connected(self) -> bool:
        return self._connected

    @property
    def ended(self) -> Optional[Ended]:
        """How the client came to its end, once it did."""
        return self._ended

    @property
    def rooms(self) -> Tuple[str, ...]:
        """The rooms that this client is in, or goes back into."""
        return tuple(room.name for room in self._rooms.wanted())

    @property
    def places(self) -> Dict[str, Place]:
        """How far each room was read, by the events that were taken: a program that stores its places, each time that
        it has handled an event, goes on there by `connect(…, rooms=places)`."""
        return self._rooms.places()

    @property
    def outbox(self) -> Tuple[Post, ...]:
        """Posts that have no answer yet, in their order."""
        return tuple(sending.post for sending in self._outbox.all.values())

    # ---------------------------------------------------------------------------------- events

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        if not self._begun:
            raise RuntimeError("the client is not connected yet; use: async with chathub.connect(…) as client")
        while not self._events:
            if self._task is None or self._task.done():
                crash, self._crash = self._crash, None
                if crash is not None:
                    raise crash
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        event, mark = self._events.popleft()
        _taken(mark)
        self._taken.set()
        return event

    def _emit(self, event: Event, room: Optional[Room] = None) -> None:
        mark = (room, room.place) if room is not None and room.place is not None else None
        if self._max_events == 0:
            _taken(mark)
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

    # ---------------------------------------------------------------------------------- requests

    def _must_live(self) -> None:
        if not self._begun:
            raise RuntimeError("the client is not connected yet; use: async with chathub.connect(…) as client")
        if self._task is None or self._task.done() or self._closing:
            raise self._end_error()

    def _end_error(self) -> Error:
        if self._ended is not None and self._ended.code:
            return Error(self._ended.code, self._ended.message)
        return Error(CODES["gone"], "the client was closed")

    def _ask(self, kind: str, fields: Mapping[str, Any], empty: str = "") -> _Request:
        """Makes a request of the fields that are not empty; one may be."""
        self._must_live()
        if len(self._requests) >= MOST_REQUESTS:
            raise Error(CODES["busy"], f"{MOST_REQUESTS} requests wait for their answers already; await some of them")
        self._asked += 1
        frame = {"type": kind, "ref": str(self._asked)}
        frame.update({key: value for key, value in fields.items() if key == empty or value not in ("", None)})
        request = _Request(self._asked, str(self._asked), frame, self._loop.create_future())
        _check_size(_frames.dump(frame))
        self._requests[request.ref] = request
        self._taken.set()
        self._work.set()
        return request

    def _answer(self, request: _Request, answer: Answer) -> None:
        self._requests.pop(request.ref, None)
        if self._page is request:
            self._page = None
        if not request.answered.done():
            request.answered.set_result(answer)

    async def _await(self, request: _Request) -> Event:
        """The answer. Who gives up waiting takes back what was not sent yet; what was takes effect all the same."""
        try:
            await asyncio.wait({request.answered})
        finally:
            if not request.sent and not request.again:
                self._answer(request, Error(CODES["gone"], "the request was taken back before it was sent"))
        answer = request.answered.result()
        if isinstance(answer, Error):
            raise answer
        return answer

    async def join(self, room: str = "", *, last: Optional[int] = None, now: bool = False,
                   after: Optional[Place] = None) -> Joined:
        """Enters a room: with its last 50 entries, or the `last` so many, or none of before (`now`), or all `after` a
        place. Entries come as events. The client goes back into it by itself after a lost connection."""
        if (last is not None) + now + (after is not None) > 1:
            raise ValueError("one of last, now and after")
        start: Dict[str, Any] = {"last": last, "now": True if now else None}
        if after is not None:
            start = {"after": after.position, "epoch": after.epoch}
        answer = await self._await(self._ask("join", {"room": room, **start}))
        assert isinstance(answer, Joined)
        return answer

    async def leave(self, room: str = "") -> None:
        """Leaves a room. Its entries that are in the queue of events stay there."""
        request = self._ask("leave", {"room": room})
        known = self._rooms.find(room or self.default_room)
        if known is not None:
            known.leaving = True
            request.answered.add_done_callback(functools.partial(self._after_leave, known, request))
        try:
            await self._await(request)
        except Error as error:
            if error.name != "not_member" or not request.again:
                raise  # else an earlier connection had it done

    def _after_leave(self, room: Room, request: _Request, answered: "asyncio.Future[Answer]") -> None:
        """Whoever still waits for it."""
        room.leaving = False
        answer = answered.result()
        if isinstance(answer, Error) and answer.name == "not_member" and request.again:
            self._rooms.drop(room.name)

    async def history(self, room: str = "", *, before: int = 0, after: int = 0, limit: int = 0) -> History:
        """A page of what was said: the newest entries, those before a position, or the oldest after one; at most
        `limit` and 100. Pages are asked for one after the other, whoever asks."""
        while self._page is not None:
            await asyncio.wait({self._page.answered})
        fields = {"room": room, "before": before or None, "after": after or None, "limit": limit or None}
        self._page = request = self._ask("history", fields)
        answer = await self._await(request)
        assert isinstance(answer, History)
        return answer

    async def who(self, room: str = "", *, after: Optional[Person] = None, limit: int = 0) -> Who:
        """A page of who is in a room, by their names; `after` is the last one of the page before."""
        fields: Dict[str, Any] = {"room": room, "limit": limit or None}
        if after is not None:
            fields.update(after=after.sender, after_id=after.sender_id)
        answer = await self._await(self._ask("who", fields))
        assert isinstance(answer, Who)
        return answer

    async def typing(self, room: str = "", on: bool = True) -> None:
        """Tells a room that one is writing, or has stopped. It lapses after 10 s: repeat it while it lasts."""
        await self._await(self._ask("typing", {"room": room, "on": on}))

    async def status(self, status: str) -> None:
        """Sets the text that is shown with one's name; empty for none."""
        await self._await(self._ask("status", {"status": status}, empty="status"))

    async def ping(self) -> None:
        """Comes back once the hub has answered: whatever was asked before has been done."""
        await self._await(self._ask("ping", {}))

    async def rename(self, name: str) -> str:
        """Takes another name, and answers it as the hub writes it."""
        answer = await self._await(self._ask("hello", {"name": name}))
        assert isinstance(answer, Welcome)
        return answer.sender

    # ---------------------------------------------------------------------------------- posts

    async def post(self, content: str = "", room: str = "", *, data: Optional[Mapping[str, Any]] = None,
                   cid: str = "") -> int:
        """Says something, and answers its position once it is committed, however many connections that takes.

        It is committed once: under its `cid` (made if not given) it is sent again after a lost connection, and a
        program that starts anew may post what it had not heard of under the old cids. Error: it is refused for good, or
        (`unknown`) it may have been committed. Who gives up waiting takes a post back that was not sent yet; one that was
        stays in the outbox.
        """
        sending = self._put(Post(cid or new_cid(), room, content, data))
        sending.waiters += 1
        try:
            await asyncio.wait({sending.answered})
        finally:
            sending.waiters -= 1
            if sending.first_sent is None and not sending.waiters and not sending.answered.done():
                self._answer_post(sending.post.cid, Error(CODES["gone"], "the post was taken back before it was sent"))
        answer = sending.answered.result()
        if isinstance(answer, Error):
            raise answer
        return answer

    def _put(self, post: Post) -> Sending:
        self._must_live()
        known = self._outbox.all.get(post.cid)
        if known is not None and known.post != post:
            raise Error(CODES["cid_reused"])
        if known is not None:
            if known.answered.done():  # who waited was sent away
                known.answered = self._loop.create_future()
            return known
        text = frame_of(post)
        most = self._welcome.max_content if self._welcome else 0
        if most and len(post.content.encode()) > most:
            raise Error(CODES["too_long"], f"a post may have {most} bytes of text")
        _check_size(text)
        self._asked += 1
        sending = Sending(post, self._asked, text, self._loop.create_future())
        self._outbox.add(sending)
        self._taken.set()
        self._work.set()
        return sending

    def _answer_post(self, cid: str, answer: Union[int, Error]) -> None:
        if self._outbox.answer(cid, answer):
            self._work.set()  # another one may fly
        if not self._outbox:
            self._settled.set()

    async def flush(self) -> None:
        """Waits until no post is without an answer."""
        self._must_live()
        while self._outbox:
            self._settled.clear()
            await self._settled.wait()
            if self._ended is not None:
                raise self._end_error()

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
        except _Over as over:
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
            await (close_wire(wire) if self._closing else abort_wire(wire))
            raise
        except BaseException:
            await abort_wire(wire)
            raise
        finally:
            self._lose()
        await abort_wire(wire)
        return self._first(self._judge(wire, lost))

    def _first(self, lost: Lost) -> Lost:
        """Who never was connected is not kept waiting."""
        if not self._ready.done():
            raise _Over(lost.error or Error(CODES["io"], lost.message, retry_after=lost.retry_after or None))
        return lost

    def _judge(self, wire: Wire, lost: Lost) -> Lost:
        """Ends the client if coming back would not help."""
        bye, code = self._bye, lost.close_code
        if not wire.has_close_codes and bye is not None and not bye.retry_after_ms:
            code = TAKEN_OVER  # lines have no codes; every other `bye` says when to come back
        self._strikes = self._strikes + 1 if code == ABUSE else 0
        if code in HOPELESS:
            name = HOPELESS[code]
            raise _Over(Error(CODES[name], None if code == TAKEN_OVER else lost.message))
        if self._strikes >= MOST_STRIKES:
            raise _Over(Error(CODES["abuse"], lost.message))
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
        self._drop_old_posts()
        request = next((one for one in self._requests.values() if not one.sent), None)
        sending = self._outbox.waiting() if self._held is None else None
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

    def _drop_old_posts(self) -> None:
        horizon = self._welcome.horizon_ms / 1000 if self._welcome else 0.0
        for cid in self._outbox.too_old(self._loop.time(), horizon):
            self._answer_post(cid, Error(CODES["unknown"], "it was sent so long ago that the hub may have forgotten its "
                                                           "cid; look whether it is there before you post it again"))

    def _rejoin(self, room: Room) -> None:
        """Goes back into a room by a request of its own."""
        self._asked += 1
        ref = f"{OWN_JOIN}{self._asked}"
        request = _Request(0, ref, {"type": "join", "ref": ref, **room.join_frame()}, self._loop.create_future())
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
            if event is not None:
                self._take(event, _frames.ref_of(frame))

    def _take(self, event: Event, ref: Optional[str]) -> None:
        if isinstance(event, (Message, Entry)):
            self._take_entry(event)
        elif isinstance(event, Ack):
            self._take_ack(event)
        elif isinstance(event, Failure):
            self._take_failure(event, ref)
        elif isinstance(event, Welcome):
            self._take_welcome(event, ref)
        elif isinstance(event, Joined):
            self._take_joined(event, ref)
        elif isinstance(event, Left):
            self._take_left(event, ref)
        elif isinstance(event, Gap):
            room = self._rooms.find(event.room)
            if room is not None:
                room.gap(event)
                self._emit(event, room)
        elif isinstance(event, Bye):
            self._bye = event
        elif isinstance(event, (Presence, Typing, Status, Private)):
            self._emit(event)
        else:
            request = self._requests.get(ref or "")
            if request is not None:
                self._answer(request, event)

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

    def _take_welcome(self, welcome: Welcome, ref: Optional[str]) -> None:
        request = self._requests.get(ref or "")
        if request is not None:  # another name
            self._welcome = welcome
            self._wish = welcome.sender
            self._answer(request, welcome)
            return
        if self._connected:
            return
        again = self._welcome is not None
        self._welcome = welcome
        self._connected = True
        self._attempts = 0
        if self._wish:
            self._wish = welcome.sender
        self._emit(Connected(welcome.sender, welcome.sender_id, again))
        self._work.set()
        if not self._ready.done():
            self._ready.set_result(None)

    def _take_joined(self, joined: Joined, ref: Optional[str]) -> None:
        request = self._requests.get(ref or "")
        anew = request is not None and any(key in request.frame for key in ("last", "now", "after"))
        if request is not None and request.ref.startswith(OWN_JOIN):
            anew = False  # the client's own
        joined = self._rooms.joined(joined, anew)
        self._emit(joined, self._rooms.find(joined.room))
        if request is not None:
            self._answer(request, joined)
        self._work.set()

    def _take_left(self, left: Left, ref: Optional[str]) -> None:
        self._rooms.drop(left.room)
        self._emit(left)
        request = self._requests.get(ref or "")
        if request is not None:
            self._answer(request, left)

    def _take_failure(self, failure: Failure, ref: Optional[str]) -> None:
        if ref == "hello":
            self._refused_hello(failure)
        elif failure.cid or ref is not None and ref.startswith(REF):
            self._refused_post(failure, failure.cid or str(ref)[len(REF):])
        elif ref is not None and ref in self._requests:
            self._refused_request(self._requests[ref], failure)
        elif ref is None and failure.room:
            self._refused_room(failure)
        elif ref is None:
            self._emit(failure)

    def _refused_hello(self, failure: Failure) -> None:
        if failure.name not in PASSING:
            raise _Over(failure.error())
        self._attempts += 1
        raise Lost(failure.message, retry_after=failure.retry_after_ms / 1000, error=failure.error())

    def _refused_request(self, request: _Request, failure: Failure) -> None:
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


def _taken(mark: Optional[Mark]) -> None:
    if mark is not None:
        mark[0].taken = mark[1]


def _check_size(text: str) -> None:
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_FRAME:
        raise Error(CODES["too_long"], f"it makes a frame of {size} bytes, of which a hub takes {MAX_FRAME}")


def connect(url: str, *, name: str = "", session: str = "",
            rooms: Union[Iterable[str], Mapping[str, Optional[Place]]] = (), max_events: int = 1000,
            max_outbox: int = 1000, silence: float = 20.0, patience: float = 15.0,
            backoff: Tuple[float, float] = (1.0, 30.0), ssl: Optional[ssl_module.SSLContext] = None) -> Client:
    """A client of the hub at `url`: ws://, wss://, tcp://HOST:PORT, ws+unix:/path or tcp+unix:/path.

        async with chathub.connect("ws://localhost:8080/ws", name="ann", rooms=["tea"]) as chat:
            async for event in chat:
                …

    The connection is made when the block is entered; Error if that fails. From then on it is made again whenever it is
    lost: Waiting and Connected tell of that, and Ended is the last event.

    name        the name to ask for; without one the hub gives a guest's
    session     the key of an earlier client (its `session`), to be the same participant; made if not given
    rooms       to go into: names, or names with the Place up to which each was read (None: not yet)
    max_events  events that wait to be read, before reading from the hub rests; 0: events are not wanted, drop them
    max_outbox  posts without an answer, beyond which `post` raises Error `full`
    silence     seconds without a word after which the hub is asked whether it is there
    patience    seconds within which a connection, a welcome and that answer have to come
    backoff     seconds: the longest wait before the first attempt to connect again, and before any; in between they
                double. The waits are random, so that not everybody comes at once
    """
    wanted = dict(rooms) if isinstance(rooms, Mapping) else dict.fromkeys([rooms] if isinstance(rooms, str) else rooms)
    if max_events < 0 or max_outbox < 1:
        raise ValueError("max_events has to be 0 or more, max_outbox 1 or more")
    return Client(parse_url(url), name=name, session=session or secrets.token_urlsafe(24), rooms=wanted,
                  max_events=max_events, max_outbox=max_outbox, silence=silence, patience=patience, backoff=backoff,
                  ssl=ssl)
