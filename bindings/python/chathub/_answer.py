"""What a hub will answer to a request: to be awaited, waited for on any thread, or left alone."""
from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any, Callable, Generator, Generic, List, Optional, TypeVar

from .errors import CODES, Error

T = TypeVar("T")
logger = logging.getLogger("chathub")


def wake_task(loop: asyncio.AbstractEventLoop, future: "asyncio.Future[None]") -> None:
    """Makes a task go on that waits for this future of its loop; from any thread."""
    def wake() -> None:
        if not future.done():
            future.set_result(None)
    try:
        if asyncio._get_running_loop() is loop:
            wake()
        else:
            loop.call_soon_threadsafe(wake)
    except RuntimeError:
        pass  # its loop is closed: nobody waits any more


class Signal:
    """Wakes those who wait, tasks and threads, each once."""

    __slots__ = ("_wakers",)

    def __init__(self) -> None:
        self._wakers: List[Callable[[], object]] = []

    def wake(self) -> None:
        wakers = self._wakers
        while wakers:
            try:
                waker = wakers.pop()
            except IndexError:
                return
            waker()

    def _remove(self, waker: Callable[[], object]) -> None:
        try:
            self._wakers.remove(waker)
        except ValueError:
            pass

    async def wait_task(self, is_there: Callable[[], bool], timeout: Optional[float] = None) -> bool:
        """Until it is there, or perhaps is; False if the time, in seconds, is over. (asyncio.wait_for swallows a
        cancellation that comes together with what is waited for, before Python 3.12.)"""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        woken = False

        def waker() -> None:
            nonlocal woken
            woken = True
            wake_task(loop, future)

        timer = None if timeout is None else loop.call_later(max(timeout, 0), wake_task, loop, future)
        self._wakers.append(waker)
        try:
            if not is_there():
                await future
                return woken
            return True
        finally:
            self._remove(waker)
            if timer is not None:
                timer.cancel()

    def wait_thread(self, is_there: Callable[[], bool], timeout: Optional[float]) -> bool:
        """The same for a thread; False if the time, in seconds, is over."""
        lock = threading.Lock()
        lock.acquire()
        waker = lock.release
        self._wakers.append(waker)
        try:
            return is_there() or lock.acquire(timeout=-1 if timeout is None else max(timeout, 0))
        finally:
            self._remove(waker)


class Answer(Generic[T]):
    """The answer to a request that was made: `await answer`, or `answer.result()` on a thread without a loop.

    Nobody has to wait for it: a refusal that nobody asks for is written to the log "chathub".
    """

    __slots__ = ("_what", "_value", "_error", "_done", "_seen", "_signal")

    def __init__(self, what: str) -> None:
        self._what = what
        self._value: Optional[T] = None
        self._error: Optional[Error] = None
        self._done = self._seen = False
        self._signal = Signal()

    def done(self) -> bool:
        return self._done

    def settle(self, value: T) -> None:
        if not self._done:
            self._value, self._done = value, True
            self._signal.wake()

    def fail(self, error: Error) -> None:
        if not self._done:
            # Without the frames that it came through, which may refer to this answer.
            self._error, self._done = error.with_traceback(None), True
            self._signal.wake()

    def _take(self) -> T:
        self._seen = True
        if self._error is not None:
            raise Error(self._error.code, self._error.message, name=self._error.name,
                        retry_after=self._error.retry_after, room=self._error.room)
        value: Any = self._value
        return value  # type: ignore[no-any-return]

    def __await__(self) -> Generator[Any, None, T]:
        while not self._done:
            yield from self._signal.wait_task(self.done).__await__()
        return self._take()

    def result(self, timeout: Optional[float] = None) -> T:
        """Waits for it: seconds at most, then TimeoutError. Not where an event loop runs: await it there."""
        if not self._done and asyncio._get_running_loop() is not None:
            raise RuntimeError(f"waiting for {self._what} would hold up this thread's event loop: await it")
        if not self._done and not self._signal.wait_thread(self.done, timeout) and not self._done:
            raise TimeoutError(f"no answer to {self._what} within {timeout} s")
        return self._take()

    def peek(self) -> Optional[T]:
        """The answer, if it came and is no refusal."""
        return self._value

    def exception(self) -> Optional[Error]:
        """Why it was refused, if it was."""
        self._seen = True
        return self._error

    def hush(self) -> None:
        """Nobody needs to be told if it is refused."""
        self._seen = True

    def __repr__(self) -> str:
        state = "waiting" if not self._done else f"refused: {self._error}" if self._error else repr(self._value)
        return f"<chathub.Answer to {self._what}: {state}>"

    def __del__(self) -> None:
        error: Optional[Error] = getattr(self, "_error", None)
        if error is not None and not self._seen:
            logger.log(logging.INFO if error.code in _ENDS else logging.WARNING, "%s was refused: %s", self._what, error)


# A server that stops, a client that was closed: whoever did it knows.
_ENDS = frozenset((CODES["stopped"], CODES["gone"], CODES["shutdown"]))
