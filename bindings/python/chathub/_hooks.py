"""Authorize hooks: what a server asks its host before it lets somebody do something."""
from __future__ import annotations

import asyncio
import collections
import inspect
import logging
from typing import Awaitable, Callable, Deque, Dict, Final, List, Set, Tuple, Union

from ._batch import ACTIONS, Asked, Question
from ._ffi import library
from ._hub import Hub
from .errors import CODES, Error

logger = logging.getLogger("chathub")

MOST: Final = 100  # questions that are decided at the same time; more wait, one for each client at most

# Yes, no, or no with a text for the client.
Verdict = Union[bool, str, None]
Hook = Callable[[Question], Union[Verdict, Awaitable[Verdict]]]


class Denied(Exception):
    """Raised by a hook: no, and the text is told to the client."""


class Hooks:
    """The hooks of one server. After its start all is done on its event loop."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._hooks: Dict[str, List[Hook]] = {}
        self._waiting: Deque[Asked] = collections.deque()
        self._tasks: Set[asyncio.Task[None]] = set()
        self._closed = False

    def add(self, action: str, hook: Hook) -> None:
        if action not in ACTIONS:
            raise ValueError(f"there is no action {action!r} to authorize; there are {', '.join(ACTIONS)}")
        self._hooks.setdefault(action, []).append(hook)

    def __bool__(self) -> bool:
        return bool(self._hooks)

    @property
    def mask(self) -> int:
        """As chathub_queue_questions has it."""
        return sum(1 << ACTIONS.index(action) for action in self._hooks)

    def ask(self, asked: Asked) -> None:
        if self._closed:
            return
        self._waiting.append(asked)
        self._decide_next()

    def cancel(self) -> None:
        """The server stops: what is undecided stays so."""
        self._closed = True
        self._waiting.clear()
        for task in list(self._tasks):
            task.cancel()

    def _decide_next(self) -> None:
        while self._waiting and len(self._tasks) < MOST and not self._closed:
            task = asyncio.get_running_loop().create_task(self._decide(self._waiting.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._decided)

    def _decided(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("an answer to a question could not be given", exc_info=task.exception())
        self._decide_next()

    async def _decide(self, asked: Asked) -> None:
        allow, message = False, ""
        for hook in self._hooks.get(asked.question.action, []):
            allow, message = await self._call(hook, asked.question)
            if not allow:
                break
        text = message.replace("\0", " ").encode(errors="replace") if message else None
        try:
            self._hub.call(library.chathub_answer, asked.id, int(allow), text)
        except Error as error:
            if error.code == CODES["gone"]:
                logger.info("the answer to whether %s may %s came too late", asked.question.name or "a guest",
                            asked.question.action)
            elif error.code != CODES["stopped"]:
                raise

    async def _call(self, hook: Hook, question: Question) -> Tuple[bool, str]:
        name = getattr(hook, "__qualname__", repr(hook))
        try:
            verdict = hook(question)
            if inspect.isawaitable(verdict):
                verdict = await verdict
        except Denied as denied:
            return False, str(denied)
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and self._closed:
                raise  # the server stops; else it is something that the hook waited for
            logger.exception("the authorize hook %s failed, which counts as no: %r", name, question._replace(content="…"))
            return False, ""
        if isinstance(verdict, bool):
            return verdict, ""
        if isinstance(verdict, str):
            return False, verdict
        logger.error("the authorize hook %s has to answer True, False or a text that says why not, and answered %r, "
                     "which counts as no", name, verdict)
        return False, ""
