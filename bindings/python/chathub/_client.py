"""The face of a client: what a program asks, posts and reads. How that comes about is told in _talk.py."""
from __future__ import annotations

import asyncio
import functools
import secrets
import ssl as ssl_module
import types
from typing import Any, AsyncIterator, Dict, Final, Generator, Iterable, Mapping, Optional, Tuple, Type, Union

from . import _frames
from ._outbox import Post, Sending, frame_of, new_cid
from ._rooms import Place, Room
from ._talk import MAX_FRAME, Answer, Request, Talk, mark_taken
from ._wire import finish, parse_url
from .errors import CODES, Error
from .events import Ended, Event, History, Joined, Person, Welcome, Who

MOST_REQUESTS: Final = 64  # without an answer, beside posts


class Client(Talk):
    """A client of a hub: made by `connect`, used by `async with`, an asynchronous iterator of its events."""

    # ---------------------------------------------------------------------------------- life

    async def _start(self) -> None:
        if self._begun:
            raise RuntimeError("a client is used once; connect again for another")
        task = self._open()
        try:
            await asyncio.wait({self._ready, task}, return_when=asyncio.FIRST_COMPLETED)
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
        """Ends the client and its session; over tcp:// its rooms are left at once, and its name is free some seconds
        later. What has no answer yet is not waited for: `flush` does that."""
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
    def session(self) -> str:
        """The key by which `connect` is the same participant again. Keep it as you would a password."""
        return self._session

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
        mark_taken(mark)
        self._taken.set()
        return event

    # ---------------------------------------------------------------------------------- requests

    def _must_live(self) -> None:
        if not self._begun:
            raise RuntimeError("the client is not connected yet; use: async with chathub.connect(…) as client")
        if self._task is None or self._task.done() or self._closing:
            raise self._end_error()

    def _ask(self, kind: str, fields: Mapping[str, Any], empty: str = "") -> Request:
        """Makes a request of the fields that are not empty; one may be."""
        self._must_live()
        if len(self._requests) >= MOST_REQUESTS:
            raise Error(CODES["busy"], f"{MOST_REQUESTS} requests wait for their answers already; await some of them")
        self._asked += 1
        frame = {"type": kind, "ref": str(self._asked)}
        frame.update({key: value for key, value in fields.items() if key == empty or value not in ("", None)})
        request = Request(self._asked, str(self._asked), frame, self._loop.create_future())
        self._check_size(_frames.dump(frame))
        self._requests[request.ref] = request
        self._taken.set()
        self._work.set()
        return request

    async def _await(self, request: Request) -> Event:
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

    def _after_leave(self, room: Room, request: Request, answered: "asyncio.Future[Answer]") -> None:
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
        self._check_size(text)
        self._asked += 1
        sending = Sending(post, self._asked, text, self._loop.create_future())
        self._outbox.add(sending)
        self._taken.set()
        self._work.set()
        return sending

    async def flush(self) -> None:
        """Waits until no post is without an answer."""
        self._must_live()
        while self._outbox:
            self._settled.clear()
            await self._settled.wait()
            if self._ended is not None:
                raise self._end_error()

    def _check_size(self, text: str) -> None:
        size = len(text.encode("utf-8", "surrogatepass"))
        told = self._welcome.max_message if self._welcome else 0
        most = min(told or MAX_FRAME, MAX_FRAME)
        if size > most:
            raise Error(CODES["too_long"], f"it makes a frame of {size} bytes, of which a hub takes {most}")


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
