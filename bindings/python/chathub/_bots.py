"""Bots: clients that answer, made of decorated functions. They need no C library, but where they are added to a Server."""
from __future__ import annotations

import asyncio
import inspect
import logging
import shlex
from typing import Any, Awaitable, Callable, Dict, Final, List, Mapping, Optional, Protocol, Sequence, Tuple, Type, TypeVar

from ._client import connect
from .errors import CODES, Error
from .events import Ended, Event, Joined, Message, Presence

logger = logging.getLogger("chathub")

Handler = Callable[..., Any]
H = TypeVar("H", bound=Handler)
# Told of a handler that failed: its error, its name, and the event.
ErrorHandler = Callable[[BaseException, str, Event], Any]

ANYTHING: Final = object


class Chat(Protocol):
    """What a bot speaks through: a Client, or a client inside a server."""

    @property
    def name(self) -> str: ...

    @property
    def sender_id(self) -> str: ...

    def post(self, content: str = "", room: str = "", *, data: Optional[Mapping[str, Any]] = None,
             cid: str = "") -> Awaitable[int]: ...

    def join(self, room: str = "", *, last: Optional[int] = None, now: bool = False) -> Awaitable[Joined]: ...

    def leave(self, room: str = "") -> Awaitable[Any]: ...


class Said:
    """What somebody said, as a bot's handler gets it."""

    __slots__ = ("chat", "message", "args")

    def __init__(self, chat: Chat, message: Message, args: Sequence[str] = ()) -> None:
        self.chat = chat
        self.message = message
        self.args = list(args)  # words behind a command; what is in quotes is one word

    @property
    def room(self) -> str:
        return self.message.room

    @property
    def sender(self) -> str:
        return self.message.sender

    @property
    def content(self) -> str:
        return self.message.content

    def reply(self, content: str, *, data: Optional[Mapping[str, Any]] = None) -> Awaitable[int]:
        """Says something in the same room. On a connection it has to be awaited."""
        return self.chat.post(content, self.message.room, data=data)


def _words(text: str) -> List[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a lone quote, as in don't
        return text.split()


class Bot:
    """A client that is made of handlers, plain functions or async ones.

        bot = chathub.Bot("clock", rooms=["tea"])

        @bot.command("time")
        def time(said):
            return "It is " + datetime.datetime.now().strftime("%H:%M")

        @bot.on_message
        async def greet(said):
            if "hello" in said.content:
                await said.reply(f"hello {said.sender}!")

        server.add(bot)                        # in a server's process, or
        bot.run("ws://localhost:8080/ws")      # as a client of any hub

    A text that a handler of messages and commands answers is said in the same room. What the bot says itself, and what
    was said before it came, is not handled. Handlers are called one after the other, in the order of events; what takes
    long should be made a task. One that raises is reported to the log "chathub", or to `on_error`, and the bot goes on.
    """

    def __init__(self, name: str, *, rooms: Sequence[str] = ("",), prefix: str = "!", max_events: int = 1000) -> None:
        if isinstance(rooms, str):
            rooms = [rooms]
        self.name = name
        self.rooms: Tuple[str, ...] = tuple(rooms)  # to join; "" is the default room
        self.prefix = prefix  # of commands
        self.max_events = max_events
        self._commands: Dict[str, Handler] = {}
        self._handlers: List[Tuple[Any, Handler]] = []
        self._on_error: Optional[ErrorHandler] = None

    # ---------------------------------------------------------------------------------- decorators

    def command(self, *names: str) -> Callable[[H], H]:
        """Decorates what is called with a Said for a message like `!name word "two words"`."""
        if not names:
            raise ValueError("a command needs a name")

        def add(handler: H) -> H:
            for name in names:
                if name in self._commands:
                    raise ValueError(f"there is a command {name!r} already")
                self._commands[name] = handler
            return handler

        return add

    def on_message(self, handler: H) -> H:
        """Decorates what is called with a Said for each message that is no command of this bot."""
        self._handlers.append((Message, handler))
        return handler

    def on_join(self, handler: H) -> H:
        """Decorates what is called with (room, person) for each who comes into a room that the bot is in."""
        self._handlers.append(("joined", handler))
        return handler

    def on_leave(self, handler: H) -> H:
        """The same for each who goes."""
        self._handlers.append(("left", handler))
        return handler

    def on(self, *kinds: Type[Any]) -> Callable[[H], H]:
        """Decorates what is called with (chat, event) for each event of these classes; without any, for every event."""
        def add(handler: H) -> H:
            self._handlers.append((kinds or ANYTHING, handler))
            return handler
        return add

    def on_error(self, handler: ErrorHandler) -> ErrorHandler:
        """Decorates what is called with (error, name of the handler, event) in place of the report in the log."""
        self._on_error = handler
        return handler

    # ---------------------------------------------------------------------------------- calls

    async def handle(self, chat: Chat, event: Event) -> None:
        """Calls what is to be called for an event."""
        if isinstance(event, Message):
            if event.sender_id != chat.sender_id and not event.redacted:
                await self._message(chat, event)
        elif isinstance(event, Presence):
            for key, people in (("joined", event.joined), ("left", event.left)):
                for person in people:
                    if person.sender_id != chat.sender_id:
                        for handler in self._handlers_of(key):
                            await self._call(handler, event, event.room, person)
        for kinds, handler in self._handlers:
            if kinds is ANYTHING or isinstance(kinds, tuple) and isinstance(event, kinds):
                await self._call(handler, event, chat, event)

    def _handlers_of(self, key: Any) -> List[Handler]:
        return [handler for kinds, handler in self._handlers if kinds is key or kinds == key]

    async def _message(self, chat: Chat, message: Message) -> None:
        content = message.content
        if self.prefix and content.startswith(self.prefix):
            name, _, rest = content[len(self.prefix):].partition(" ")
            command = self._commands.get(name)
            if command is not None:
                await self._answer(command, Said(chat, message, _words(rest)))
                return
        for handler in self._handlers_of(Message):
            await self._answer(handler, Said(chat, message))

    async def _answer(self, handler: Handler, said: Said) -> None:
        text = await self._call(handler, said.message, said)
        if isinstance(text, str) and text:
            try:
                await said.reply(text)
            except Error as error:
                await self._report(error, _name_of(handler), said.message)

    async def _call(self, handler: Handler, event: Event, *arguments: Any) -> Any:
        try:
            result = handler(*arguments)
            return await result if inspect.isawaitable(result) else result
        except Exception as error:
            await self._report(error, _name_of(handler), event)
            return None

    async def _report(self, error: BaseException, name: str, event: Event) -> None:
        if self._on_error is not None:
            try:
                result = self._on_error(error, name, event)
                if inspect.isawaitable(result):
                    await result
                return
            except Exception:
                logger.exception("on_error of the bot %r failed", self.name)
        logger.error("the bot %r: %s failed for %r", self.name, name, event, exc_info=error)

    # ---------------------------------------------------------------------------------- life

    async def attend(self, client: Any, ready: Any) -> None:
        """Lives in a server until that stops: `client` is a LocalClient, `ready` an Answer for who waits for the bot."""
        try:
            await client.welcome
            for room in self.rooms:
                await client.join(room, now=True)
            ready.settle(None)
            async for event in client.events():
                await self.handle(client, event)
        except Error as error:
            ready.fail(error)
        finally:
            ready.fail(Error(CODES["stopped"]))  # if nothing was said of it yet
            client.close()

    async def connect(self, url: str, **options: Any) -> None:
        """Lives on a hub elsewhere, until that or somebody ends it; `options` are those of chathub.connect."""
        async with connect(url, name=self.name, **options) as client:
            for room in self.rooms:
                await client.join(room, now=True)
            async for event in client:
                await self.handle(client, event)
                if isinstance(event, Ended) and event.code:
                    raise Error(event.code, event.message)

    def run(self, url: str, **options: Any) -> None:
        """`connect` for a program that is nothing but a bot. Ctrl-C ends it."""
        try:
            asyncio.run(self.connect(url, **options))
        except KeyboardInterrupt:
            pass


def _name_of(handler: Handler) -> str:
    return getattr(handler, "__qualname__", None) or repr(handler)
