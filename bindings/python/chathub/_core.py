"""What runs a hub for Python: it starts and stops it, takes its events, and runs hooks and bots, on one event loop.

The hub has a thread of its own, which never calls Python: what happens waits in its queue, and `_pull` takes all of it
whenever the queue's descriptor is readable. The loop is the one that `start` was awaited on, or (`open`) one on a thread
that is made for it.

While events come thick, the loop does not wake for each: after a pull soon upon another it rests, and then takes what
has gathered; unless somebody waits for an answer, or a hook was asked. A pull costs as much as some 200 events, since
it finds the processor's caches cold; so it rests the longer the more come, until about PLENTY are there. A client whose
events are not read as fast as they come makes the taking pause, so that they wait in the hub's queue, which is bounded,
and in the end in its log; unless an answer or a hook is waited for, since that may be what keeps the reader busy. If
that goes on for long, the client is closed as too slow, and told so by its last event.

Failure modes: whatever ends the hub ends every client's events and fails every answer. Who forgets to stop gets a
ResourceWarning, and the hub is freed all the same; so it is when the interpreter exits. A child made by fork has nothing
of it.
"""
from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import logging
import threading
import warnings
from typing import Any, Callable, Coroutine, Dict, Final, List, Optional, Set, Tuple, TypeVar

from . import _abi
from ._answer import Signal
from ._batch import Asked, Logged, Replied, Stopped, Taker, Told
from ._ffi import library
from ._hooks import Hooks
from ._hub import Hub
from ._local import PATIENT, Inbox
from .errors import CODES, Error
from .events import Closed, Event

logger = logging.getLogger("chathub")
T = TypeVar("T")

THICK: Final = 100  # events a second, from which on it rests
LINGER: Final = 0.01  # seconds of a rest
MANY: Final = 2000  # events a second, from which on it rests longer
PLENTY: Final = 500  # events, for which it is worth a pull
AGAIN: Final = 0.001  # until requests that the hub had no room for are tried once more
LONG: Final = 5.0  # that taking pauses, after which it is told
GRACE: Final = 2.0  # for bots to see the end
EXIT: Final = 5.0  # for the loop's thread, when the interpreter exits
LEVELS: Final = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
NO_STOP = _abi.StopCallback(0)


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    """A thread's: until it is stopped."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=GRACE))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def _log(record: Logged) -> None:
    """A record of the hub's, whose fields may hold anything that a peer sent."""
    if record.lost:
        logger.warning("%d records were lost here, for they came faster than they were taken", record.lost)
    level = LEVELS[record.level] if 0 <= record.level < len(LEVELS) else logging.ERROR
    if logger.isEnabledFor(level):
        fields = "".join(f" {key}={_shown(value)}" for key, value in record.fields.items())
        logger.log(level, "%s%s", record.event, fields, extra={"chathub": record})


def _shown(value: str) -> str:
    return value if value.isascii() and value.isprintable() and value and not set(value) & set(" \"'\\=") else repr(value)


class Core:
    """All of a server but its face."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.inboxes: Dict[int, Inbox] = {}
        self.opening = threading.RLock()  # while a client has no number yet
        self.hooks = Hooks(self.hub)
        self.started = self.stopping = False
        self.ended = False  # nothing is taken any more
        self._stops = 0  # that wait for the end
        self.is_paused = False
        self.is_resting = False  # whoever asks something ends that, by `hurry`
        self.loop: Optional[asyncio.AbstractEventLoop] = None
        self._thread: Optional[threading.Thread] = None
        self._taker = Taker(self.hub)
        self._fd = -1
        self._watched = False
        self._timer: Optional[asyncio.TimerHandle] = None
        self._pulled = 0.0  # when something was taken last
        self._rate = 0.0  # events a second, of late
        self._hook_asked = False  # by the batch that was taken last
        self._pauses = 0
        self._signal = Signal()
        self._waiting: Dict[int, List[Event]] = {}  # of the batch that is sorted
        self._gone: List[Tuple[int, Closed]] = []
        self._has_stopped = False  # the hub says so
        self._tasks: Set[asyncio.Task[Any]] = set()

    # ---------------------------------------------------------------------------------- start

    def _prepare(self) -> None:
        if self.started:
            raise Error(CODES["started"], "a server is started once; make another")
        self.hub.must_be_ours()
        self.started = True
        if self.hooks:
            self.hub.call(library.chathub_queue_questions, self.hooks.mask)
        least = logger.getEffectiveLevel()
        level = next((number for number, one in enumerate(LEVELS) if one >= least), len(LEVELS))
        self.hub.call(library.chathub_queue_log, level)

    def _start_hub(self) -> None:
        self.hub.call(library.chathub_start_thread)
        self._fd = self.hub.call(library.chathub_queue_fd)

    async def start(self) -> None:
        """On the running loop. Opening a log may take a while, so it is done on another thread."""
        self._prepare()
        loop = asyncio.get_running_loop()
        starting = loop.run_in_executor(None, self._start_hub)
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Freed when the start has come to its end, which it cannot be kept from.
            starting.add_done_callback(self._abandon)
            raise
        except BaseException:
            self.finish()
            raise
        self._begin(loop)

    def _abandon(self, starting: "asyncio.Future[None]") -> None:
        starting.exception()
        self.finish()

    def open(self) -> None:
        """With a loop on a thread of its own."""
        self._prepare()
        try:
            self._start_hub()
        except BaseException:
            self.finish()
            raise
        loop = asyncio.new_event_loop()
        # It refers to the loop alone: the server may be collected while it runs.
        self._thread = threading.Thread(target=_run_loop, args=(loop,), name="chathub", daemon=True)
        self._thread.start()
        self._do(loop, self._begin, loop)

    @staticmethod
    def _do(loop: asyncio.AbstractEventLoop, function: Callable[..., T], *arguments: Any) -> T:
        """Calls it on the loop's thread."""
        done: concurrent.futures.Future[T] = concurrent.futures.Future()

        def call() -> None:
            try:
                done.set_result(function(*arguments))
            except BaseException as error:
                done.set_exception(error)

        loop.call_soon_threadsafe(call)
        return done.result()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        _cores.add(self)
        self._watch()
        self._pull()

    def add_task(self, work: Coroutine[Any, Any, Any], refuse: Callable[[Error], object]) -> None:
        """Has something done on the loop until it is done or the server stops; from any thread. `refuse` is told if the
        server stops before it begins."""
        loop = self.loop
        if loop is None or self.ended or self.stopping:
            work.close()
            raise Error(CODES["stopped"])

        running = loop

        def begin() -> None:
            if self.ended:
                work.close()
                refuse(Error(CODES["stopped"]))
                return
            task = running.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        if asyncio._get_running_loop() is loop:
            begin()
            return
        try:
            loop.call_soon_threadsafe(begin)
        except RuntimeError:  # the loop is closed
            work.close()
            raise Error(CODES["stopped"]) from None

    # ---------------------------------------------------------------------------------- taking

    def _watch(self) -> None:
        if not self._watched and self.loop is not None:
            self.loop.add_reader(self._fd, self._pull)
            self._watched = True

    def _unwatch(self) -> None:
        if self._watched and self.loop is not None:
            self._watched = False
            if not self.loop.is_closed():
                self.loop.remove_reader(self._fd)

    def _later(self, delay: float) -> None:
        """Pulls then, whatever the descriptor says."""
        self._unwatch()
        assert self.loop is not None
        if self._timer is None:
            self._timer = self.loop.call_later(delay, self._pull_late)

    def _pull_late(self) -> None:
        self._timer = None
        self.is_resting = False
        self._pull()

    def _rest_or_watch(self, count: int, seconds: float) -> None:
        """So many came in these seconds."""
        rate = count / max(seconds, 0.0001)
        # Before the look whether somebody waits: who asks now sees the one, or is seen by the other.
        self.is_resting = rate > THICK and not self._hook_asked
        if not self.is_resting or self._is_asked():
            self.is_resting = False
            self._rate = 0.0
            self._watch()
            return
        self._rate += (rate - self._rate) / 4 if self._rate else rate
        # While it rests, clients wait for hooks: then it is never long.
        self._later(LINGER if self.hooks else min(LINGER * max(1.0, self._rate / MANY), PLENTY / self._rate))

    def hurry(self) -> None:
        """An answer is to be taken when it comes; from any thread."""
        loop = self.loop
        try:
            if loop is not None:
                loop.call_soon_threadsafe(self._end_rest)
        except RuntimeError:
            pass  # the loop is closed

    def _end_rest(self) -> None:
        if self.is_resting and self._timer is not None and not self.ended:
            self._timer.cancel()
            self._timer = None
            self.is_resting = False
            self._watch()

    def _pull(self) -> None:
        if self.ended or self.loop is None:
            return
        try:
            count = self._take()
        except Error as error:
            # No memory, as a rule: they are still there.
            logger.error("events cannot be taken now: %s", error)
            self._later(0.1)
            return
        now = self.loop.time()
        if self.ended:
            return
        if self._must_pause():
            self.is_paused = True
            self._pauses += 1
            self.loop.call_later(LONG, self._tell_pause, self._pauses)
            self._unwatch()
            if not self._must_pause():  # the reader came in between
                self.resume()
        else:
            self._rest_or_watch(count, now - self._pulled)
        if count:
            self._pulled = now

    def _is_asked(self) -> bool:
        """Whether somebody waits for an answer."""
        return any([inbox.waits for inbox in list(self.inboxes.values())])

    def _must_pause(self) -> bool:
        if self.stopping:
            return False
        full = self._full()
        if not full:
            return False
        if not self.hooks and not self._is_asked():
            return True
        for inbox in full:
            if inbox.count >= inbox.max_events * PATIENT:
                self._give_up(inbox)
        return False

    def _full(self) -> List[Inbox]:
        """Clients whose readers are behind."""
        return [inbox for inbox in list(self.inboxes.values())
                if inbox.is_read and inbox.count >= inbox.max_events and not inbox.over]

    def _tell_pause(self, number: int) -> None:
        """Everybody waits for one reader. That is as it should be for a while."""
        if self.is_paused and self._pauses == number and not self.ended:
            names = ", ".join(repr(inbox.name or "a guest") for inbox in self._full())
            logger.warning("no events are taken for %s s, since %s does not read its events; close it if it need not",
                           LONG, names)

    def _give_up(self, inbox: Inbox) -> None:
        error = Error(CODES["slow"], f"{inbox.count} events wait to be read, and an answer is waited for behind them")
        logger.error("client %r is closed: %s", inbox.name, error.message)
        self.close_client(inbox)
        closed = Closed(error.code, error.message)
        inbox.put([closed])
        inbox.end(closed, error)

    def resume(self) -> None:
        """Goes on taking; from any thread."""
        loop = self.loop
        if not self.is_paused or loop is None:
            return
        self.is_paused = False
        try:
            loop.call_soon_threadsafe(self._pull)
        except RuntimeError:
            pass  # the loop is closed

    def _take(self) -> int:
        waiting = self._waiting
        self._hook_asked = False
        try:
            count = self._taker.take(waiting, self)
            for number, events in waiting.items():
                inbox = self._inbox(number)
                if inbox is not None and not inbox.over:
                    inbox.put(events)
        finally:
            waiting.clear()
        for number, closed in self._gone:
            inbox = self.inboxes.pop(number, None)
            if inbox is not None and not inbox.over:
                inbox.end(closed, Error(closed.code or CODES["gone"], closed.message or "the client was closed"))
        self._gone.clear()
        if self._has_stopped:
            self.finish()
        return count

    def _inbox(self, number: int) -> Optional[Inbox]:
        inbox = self.inboxes.get(number)
        if inbox is None and number:
            with self.opening:
                inbox = self.inboxes.get(number)
        return inbox

    def acked(self, client: int, cid: str, position: int) -> bool:
        inbox = self._inbox(client)
        answer = inbox.posts.pop(cid, None) if inbox is not None else None
        if answer is None:
            return False
        answer.settle(position)
        return True

    def told(self, client: int, told: Told) -> None:
        if isinstance(told, Replied):
            inbox = self._inbox(client)
            told = inbox.replied(told) if inbox is not None else None
        elif isinstance(told, Asked):
            self._hook_asked = True
            self.hooks.ask(told)
            return
        elif isinstance(told, Logged):
            _log(told)
            return
        elif isinstance(told, Stopped):
            self._has_stopped = True
            return
        if told is None:
            return
        if isinstance(told, Closed):
            self._gone.append((client, told))
        self._waiting.setdefault(client, []).append(told)

    # ---------------------------------------------------------------------------------- clients

    def close_client(self, inbox: Inbox) -> None:
        """From any thread, and from finalizers."""
        try:
            if self.hub.is_open and not inbox.over:
                self.hub.call(library.chathub_close, inbox.number)
                if self.is_paused and not inbox.closing.done():
                    self.resume()
                elif self.is_resting:
                    self.hurry()
        except Error:
            pass  # it is closed, or all is

    def send_soon(self, inbox: Inbox) -> None:
        """Has requests handed over that the hub had no room for; from any thread."""
        loop = self.loop
        try:
            if loop is not None:
                loop.call_soon_threadsafe(self._send_later, inbox)
        except RuntimeError:
            pass  # the loop is closed, and the server with it

    def _send_later(self, inbox: Inbox) -> None:
        if self.loop is not None and not self.ended:
            self.loop.call_later(AGAIN, self._send, inbox)

    def _send(self, inbox: Inbox) -> None:
        if not inbox.over and not inbox.send_unsent():
            self._send_later(inbox)

    # ---------------------------------------------------------------------------------- the end

    def _begin_stop(self) -> None:
        """No hook decides any more, and the hub is told to stop."""
        self.stopping = True
        self.hooks.cancel()
        try:
            self.hub.call(library.chathub_stop, NO_STOP, None)
        except Error as error:
            if error.code != CODES["stopped"]:  # by itself: it tells so in its queue
                raise
        self.is_paused = False
        self._pull()

    async def stop(self) -> None:
        """In good order. Comes back when nothing of it is left."""
        loop = self.loop
        if self.hub.is_forked or loop is None or loop.is_closed():
            self.finish()
            return
        if asyncio.get_running_loop() is not loop:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.stop(), loop))
            return
        self._stops += 1
        try:
            if not self.ended and not self.stopping:
                self._begin_stop()
            while not self.ended:
                await self._signal.wait_task(lambda: self.ended)
            # Bots see the end of their events, and end by that.
            others = {task for task in self._tasks if task is not asyncio.current_task()}
            if others:
                await asyncio.wait(others, timeout=GRACE)
        finally:
            self.finish()
            for task in self._tasks - {asyncio.current_task()}:
                task.cancel()
            self._stops -= 1
            if self._thread is not None and not self._stops:
                loop.call_soon(loop.stop)

    def close(self) -> None:
        """The same from a thread that does not run the server."""
        loop, thread = self.loop, self._thread
        if self.hub.is_forked or loop is None or thread is None and (self.ended or not loop.is_running()):
            self.finish()
            return
        if asyncio._get_running_loop() is loop or threading.current_thread() is thread:
            raise RuntimeError("this thread runs the server: await server.stop(), or close it on another")
        if not loop.is_closed():
            try:
                if not self.ended:
                    asyncio.run_coroutine_threadsafe(self.stop(), loop).result()
            finally:  # also if a Ctrl-C ends the wait: at once, then
                self.end()
        if thread is not None:
            thread.join()

    def end(self) -> None:
        """At once and without a word, from any thread and from finalizers: when somebody forgot to stop."""
        loop = self.loop
        if self.hub.is_forked or loop is None or loop.is_closed():
            self.finish()
            return
        # Never from here: this may have come in the middle of a pull.
        try:
            if loop.is_running():
                loop.call_soon_threadsafe(self._end_on_loop)
                return
        except RuntimeError:
            pass  # closed in between
        self.finish()

    def _end_on_loop(self) -> None:
        self.finish()
        if self._thread is not None and self.loop is not None:
            self.loop.stop()

    def finish(self) -> None:
        """Nothing of the hub is left after this: on the loop's thread, or when no loop runs."""
        self.ended = True
        if not self.hub.is_forked:  # the loop's epoll is the parent's, too
            self._unwatch()
            if self._timer is not None:
                self._timer.cancel()
            self.hooks.cancel()
        self.hub.free()
        error = Error(CODES["stopped"], "the server has stopped")
        while self.inboxes:
            self.inboxes.popitem()[1].end(None, error)
        self._signal.wake()
        _cores.discard(self)

    def join(self, timeout: float) -> None:
        if self._thread is not None:
            self._thread.join(timeout)

    @property
    def is_forgotten(self) -> bool:
        """Whether it runs, and ought to have been stopped."""
        return self.started and not self.ended and not self.hub.is_forked


_cores: Set[Core] = set()  # that run: weak references would not outlive the server's own


def _exit() -> None:
    """The interpreter exits: threads of the hub must not meet what it takes down."""
    cores = list(_cores)
    for core in cores:
        if core.is_forgotten:
            warnings.warn("a server was not stopped; use async with, with, stop() or close()", ResourceWarning)
            core.end()
    for core in cores:
        core.join(EXIT)


atexit.register(_exit)
