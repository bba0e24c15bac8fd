"""A small chat at a terminal, or in a pipe: what `python3 -m chathub` runs."""
from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from typing import Awaitable, Callable, Dict, List, Optional, Sequence, Set, Tuple

from . import events
from ._client import Client, connect
from ._keyboard import Keyboard, fill_standard, open_keyboard, printable
from ._version import __version__
from .errors import Error

HELP = """\
* What you type is said in the room. Commands:
*   /join ROOM       go into a room; what you type is said there from now on
*   /leave [ROOM]    leave a room
*   /who [ROOM]      who is there
*   /nick NAME       be called NAME
*   /me TEXT         say what you do: /me waves
*   /msg ROOM TEXT   say something in another room (one whose name has no spaces)
*   //TEXT           say a text that begins with a slash
*   /help            this list
*   /quit            end (as ctrl-d does)"""

MOST_POSTS = 64  # on their way at one time
LAST_WORDS = 3.0  # seconds for a person's last posts, at the end
MOST_NAMES = 30
INTERRUPTED = 130


def names_of(people: Sequence[events.Person], count: int) -> str:
    names = [printable(person.sender) for person in people[:MOST_NAMES]]
    more = max(count, len(people)) - len(names)
    return ", ".join(names) + (f" and {more} more" if names and more > 0 else "")


def here(room: str, count: int, people: Sequence[events.Person] = ()) -> str:
    names = names_of(people, count)
    return f"{printable(room)} ({count} here{': ' + names if names else ''})"


class Chat:
    """One chat."""

    def __init__(self, client: Client, keyboard: Keyboard, rooms: Sequence[str], last: Optional[int]) -> None:
        self.client, self.keyboard, self.last = client, keyboard, last
        self.first_rooms = rooms
        self.room = ""  # where what is typed is said
        self.failed = self.lost = False  # something was refused; not sent at the end
        self.posts: Set[asyncio.Task[None]] = set()
        self.commands: Dict[str, Callable[[str], Awaitable[None]]] = {
            "join": self.join, "leave": self.leave, "who": self.who, "nick": self.nick, "me": self.me,
            "msg": self.message, "say": self.message, "help": self.help,
        }

    # ---- what is shown

    def tell(self, text: str) -> None:
        self.keyboard.show(f"* {text}")

    def complain(self, text: str) -> None:
        self.failed = True
        self.keyboard.show(f"! {printable(text)}", 1 if self.keyboard.is_person else 2)

    async def listen(self) -> None:
        async for event in self.client:
            self.show(event)

    def show(self, event: events.Event) -> None:
        if isinstance(event, events.Message):
            self.keyboard.show(self.said(event))
        elif isinstance(event, events.Private):
            self.keyboard.show(f"[{printable(event.room)}] (private) {printable(event.sender)}: "
                               f"{printable(event.content)}")
        elif isinstance(event, events.Presence):
            self.show_presence(event)
        elif isinstance(event, events.Joined) and not event.again:
            self.tell(f"you joined {here(event.room, event.count, event.members)}")
        elif isinstance(event, events.Left):
            self.show_left(event)
        elif isinstance(event, events.Gap):
            self.tell(f"some messages of {printable(event.room)} are no longer kept")
        elif isinstance(event, events.Waiting):
            self.tell(f"not connected ({printable(event.message)}); trying again in {event.delay:.0f} s")
        elif isinstance(event, events.Connected):
            self.tell(f"{'connected again' if event.again else 'connected'} as {printable(event.sender)}")
        elif isinstance(event, events.Failure):
            self.complain(event.message)
        elif isinstance(event, events.Ended) and event.code:
            self.complain(event.message)

    @staticmethod
    def said(message: events.Message) -> str:
        room, sender, content = map(printable, (message.room, message.sender, message.content))
        if message.redacted:
            return f"[{room}] (removed)"
        # As chats have it since IRC (XEP-0245): the text itself says so.
        if content.startswith("/me "):
            return f"[{room}] * {sender} {content[4:]}"
        return f"[{room}] {sender}: {content}"

    def show_presence(self, event: events.Presence) -> None:
        me = self.client.sender_id
        for people, verb in ((event.joined, "joined"), (event.left, "left")):
            others = [person for person in people if person.sender_id != me]
            if others:
                self.tell(f"{names_of(others, len(others))} {verb} {here(event.room, event.count)}")
        for person in event.renamed:
            if person.sender_id != me:
                self.tell(f"{printable(person.was)} is now {printable(person.sender)}")

    def show_left(self, event: events.Left) -> None:
        why = f": {printable(event.message)}" if event.message else ""
        self.tell(f"you left {printable(event.room)}{why}")
        if event.room == self.room:
            self.room = next(iter(self.client.rooms), "")
        if event.code:
            self.failed = True

    # ---- what is typed

    async def type(self) -> None:
        """Until the end of what is typed, and of what that said."""
        while True:
            line = await self.keyboard.next()
            if self.keyboard.left_out:
                self.keyboard.left_out = 0
                self.complain("a line was too long, and is left out")
            if line is None or line.strip() == "/quit":
                break
            if line.strip():
                await self.do(line)
        if self.posts:
            _, left = await asyncio.wait(self.posts, timeout=LAST_WORDS if self.keyboard.is_person else None)
            if left:
                self.lost = True
                self.complain(f"{len(left)} of your messages may not have been sent")

    async def do(self, line: str) -> None:
        if not line.startswith("/") or line.startswith("//"):
            await self.say(self.room, line[1:] if line.startswith("//") else line)
            return
        word, _, rest = line[1:].partition(" ")
        command = self.commands.get(word)
        if command is None:
            self.complain("there is no such command; type /help, or // to say a text that begins with a slash")
            return
        # Who waits for an answer cannot type /quit.
        if self.keyboard.is_person and not self.client.connected and word in ("join", "leave", "who", "nick"):
            self.complain("not connected; try again later")
            return
        try:
            await command(rest.strip())
        except Error as error:
            self.complain(error.message)

    async def say(self, room: str, text: str) -> None:
        """Does not wait for the answer: what is typed next may be /quit."""
        if not room:
            self.complain("you are in no room; go into one: /join ROOM")
            return
        if self.keyboard.is_person and len(self.posts) >= MOST_POSTS:
            self.complain("not sent: too many of your messages wait to be sent")
            return
        while len(self.posts) >= MOST_POSTS:
            await asyncio.wait(self.posts, return_when=asyncio.FIRST_COMPLETED)
        task = asyncio.ensure_future(self.post(room, text))
        self.posts.add(task)
        task.add_done_callback(self.posts.discard)
        await asyncio.sleep(0)  # it is asked for before what is typed next

    async def post(self, room: str, text: str) -> None:
        try:
            await self.client.post(text, room)
        except Error as error:
            self.complain(f"not sent: {error.message}")

    async def join(self, room: str) -> None:
        if not room:
            self.complain("say which room: /join ROOM")
            return
        self.room = (await self.client.join(room, last=self.last)).room

    async def leave(self, room: str) -> None:
        await self.client.leave(room or self.room)

    async def who(self, room: str) -> None:
        page = await self.client.who(room or self.room)
        self.tell(here(page.room, page.count, page.members))

    async def nick(self, name: str) -> None:
        if not name:
            self.complain("say which name: /nick NAME")
            return
        self.tell(f"you are now {printable(await self.client.rename(name))}")

    async def me(self, text: str) -> None:
        await self.say(self.room, f"/me {text}")

    async def message(self, rest: str) -> None:
        room, _, text = rest.partition(" ")
        if not text.strip():
            self.complain("say where and what: /msg ROOM TEXT")
            return
        await self.say(room, text.strip())

    async def help(self, _rest: str) -> None:
        self.keyboard.show(HELP)

    # ---- all of it

    async def run(self) -> None:
        for room in self.first_rooms or ("",):
            self.room = (await self.client.join(room, last=self.last)).room
        listening = asyncio.ensure_future(self.listen())
        typing = asyncio.ensure_future(self.type())
        try:
            await asyncio.wait({listening, typing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended_by_hub = listening.done()
            await settle([listening, typing, *self.posts])
        for task in (listening, typing):
            if not task.cancelled():
                task.result()
        if not ended_by_hub:  # what came before the answers to the last posts is in the queue
            await self.client.close()
            await self.listen()


async def settle(tasks: List["asyncio.Future[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def parse(arguments: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python3 -m chathub", description="A small chat at a terminal, or in a pipe.",
        epilog="Exit status: 0; 1 if there was no connection, the hub ended it, or something was refused and "
               "nobody at a terminal was told; 2 if this command was not understood.")
    parser.add_argument("url", help="for instance ws://localhost:8080/ws or tcp://localhost:7000")
    parser.add_argument("--name", default="", help="the name to have; else the hub gives a guest's")
    parser.add_argument("--room", action="append", default=[], help="a room to go into, in place of the hub's standard "
                                                                    "room; may be given several times")
    parser.add_argument("--last", type=int, metavar="N", help="begin with a room's last N messages (the hub's standard "
                                                              "is 50)")
    parser.add_argument("--version", action="version", version=f"chathub {__version__}")
    return parser.parse_args(arguments)


async def chat(options: argparse.Namespace, keyboard: Keyboard) -> bool:
    """Whether all went well."""
    async with connect(options.url, name=options.name) as client:
        one = Chat(client, keyboard, options.room, options.last)
        keyboard.open()
        try:
            await one.run()
        finally:
            keyboard.close()
        if one.lost or client.ended is not None and client.ended.code:
            return False
        return keyboard.is_person or not one.failed  # a person has seen it


async def until_interrupted(options: argparse.Namespace, keyboard: Keyboard) -> int:
    """The exit status."""
    loop = asyncio.get_running_loop()
    work = asyncio.ensure_future(chat(options, keyboard))
    interrupted: List[int] = []

    def interrupt(number: int) -> None:
        interrupted.append(number)
        work.cancel()

    signals: Tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, interrupt, number)
    try:
        return 0 if await work else 1
    except asyncio.CancelledError:
        if not interrupted:
            raise
        return INTERRUPTED if interrupted[0] == signal.SIGINT else 128 + interrupted[0]
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def run(arguments: Optional[Sequence[str]] = None) -> int:
    """The program."""
    fill_standard()
    options = parse(arguments)
    try:
        return asyncio.run(until_interrupted(options, open_keyboard()))
    except Error as error:
        advice = "; choose another by --name" if error.name == "name_taken" else ""
        print(f"chathub: {printable(error.message)}{advice}", file=sys.stderr)
    except ImportError as error:
        print(f"chathub: {error}", file=sys.stderr)
    except BrokenPipeError:
        pass  # who read what is shown has gone
    return 1
