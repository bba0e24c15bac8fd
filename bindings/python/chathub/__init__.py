"""A chat hub for Python: servers with bots and hooks in this process, and clients of any hub.

    async with chathub.connect("ws://localhost:8080/ws", name="ann") as chat:
        await chat.join("tea")
        await chat.post("hi", room="tea")
        async for event in chat:
            if isinstance(event, chathub.Message):
                print(event.sender, event.content)

Clients need no C library; `connect` over WebSocket needs the package `websockets`. `Server` and what
belongs to it load libchathub when they are used for the first time.
"""
from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Dict, List

from ._bots import Bot, Chat, Said
from ._client import Client, connect
from ._outbox import Post
from ._rooms import Place
from ._version import __version__
from .errors import Error
from .events import (Ack, Bye, Closed, Connected, Ended, Entry, Event, Failure, Gap, History, Joined, Left, Message, Ok,
                     Person, Pong, Presence, Private, Status, Typing, Waiting, Welcome, Who)

if TYPE_CHECKING:
    from ._answer import Answer as Answer
    from ._batch import Question as Question
    from ._ffi import library_version as library_version
    from ._hooks import Denied as Denied
    from ._local import Events as Events, LocalClient as LocalClient
    from ._server import Option as Option, Server as Server, Stats as Stats, has as has, options as options

__all__ = [
    "Ack", "Bot", "Bye", "Chat", "Client", "Closed", "Connected", "Ended", "Entry", "Error", "Event", "Failure", "Gap",
    "History", "Joined", "Left", "Message", "Ok", "Person", "Place", "Pong", "Post", "Presence", "Private", "Said",
    "Status", "Typing", "Waiting", "Welcome", "Who", "__version__", "connect",
]

# What needs the C library, and the module that has it: imported when it is used for the first time.
_LAZY: Dict[str, str] = {
    "Answer": "_answer", "Denied": "_hooks", "Events": "_local", "LocalClient": "_local", "Option": "_server",
    "Question": "_batch", "Server": "_server", "Stats": "_server", "has": "_server", "library_version": "_ffi",
    "options": "_server",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'chathub' has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> List[str]:
    return sorted([*globals(), *_LAZY])
