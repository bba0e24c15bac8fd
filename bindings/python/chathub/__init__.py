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
from typing import Any, Dict, List

from ._client import Client, connect
from ._outbox import Post
from ._rooms import Place
from ._version import __version__
from .errors import Error
from .events import (Ack, Bye, Closed, Connected, Ended, Entry, Event, Failure, Gap, History, Joined, Left, Message, Ok,
                     Person, Pong, Presence, Private, Status, Typing, Waiting, Welcome, Who)

__all__ = [
    "Ack", "Bye", "Client", "Closed", "Connected", "Ended", "Entry", "Error", "Event", "Failure", "Gap", "History",
    "Joined", "Left", "Message", "Ok", "Person", "Place", "Pong", "Post", "Presence", "Private", "Status", "Typing",
    "Waiting", "Welcome", "Who", "__version__", "connect",
]

# What needs the C library, and the module that has it: imported when it is used for the first time.
_LAZY: Dict[str, str] = {
    "library_version": "_ffi",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'chathub' has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> List[str]:
    return sorted([*globals(), *_LAZY])
