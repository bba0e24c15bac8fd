"""Posts that have no answer yet, in the order in which they were made.

A post is waiting (to be sent), or flying (sent over this connection). Both end with its answer: a
position, or an error. A lost connection, or a refusal that passes, puts what was flying back to
waiting, in the old order and under the old cids, by which the hub knows those that it has committed.
"""
from __future__ import annotations

import asyncio
import secrets
from typing import Any, Dict, Mapping, NamedTuple, Optional, Union

from . import _frames
from .errors import CODES, Error

# Posts without an answer at one time. The hub reads on until 64 are uncommitted; a ping has to get through.
MOST_FLYING = 32
# A post's ref is this and its cid: a request that is not understood is answered without the cid.
REF = "post "


class Post(NamedTuple):
    """A post in the outbox, as `Client.post` makes it again after a restart of the program."""

    cid: str
    room: str  # "": the default room
    content: str
    data: Optional[Mapping[str, Any]]


class Sending:
    """A post on its way."""

    __slots__ = ("post", "number", "text", "answered", "waiters", "flying", "first_sent")

    def __init__(self, post: Post, number: int, text: str, answered: "asyncio.Future[Union[int, Error]]") -> None:
        self.post = post
        self.number = number  # of what the client asked, posts and other requests alike
        self.text = text  # the frame
        self.answered = answered
        self.waiters = 0  # for the answer
        self.flying = False
        self.first_sent: Optional[float] = None  # on the loop's clock; None: never


def new_cid() -> str:
    return secrets.token_urlsafe(12)


def frame_of(post: Post) -> str:
    """The post's frame. Error if it can be none."""
    frame: Dict[str, Any] = {"type": "post", "ref": REF + post.cid, "cid": post.cid}
    if post.room:
        frame["room"] = post.room
    if post.content or post.data is None:
        frame["content"] = post.content
    if post.data is not None:
        frame["data"] = dict(post.data)
    return _frames.dump(frame)


class Outbox:
    """All posts of a client that have no answer."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.all: Dict[str, Sending] = {}  # by cid, in order
        self.flying = 0

    def __len__(self) -> int:
        return len(self.all)

    def add(self, sending: Sending) -> None:
        if len(self.all) >= self.most:
            raise Error(CODES["full"], f"{self.most} posts wait for their answers already; await some of them")
        self.all[sending.post.cid] = sending

    def waiting(self) -> Optional[Sending]:
        """The next post to send."""
        if self.flying == len(self.all):
            return None
        return next(one for one in self.all.values() if not one.flying)

    def may_fly(self) -> bool:
        """Whether another one may be sent now."""
        return self.flying < MOST_FLYING

    def fly(self, sending: Sending, now: float) -> None:
        """It is sent."""
        sending.flying = True
        self.flying += 1
        if sending.first_sent is None:
            sending.first_sent = now

    @staticmethod
    def is_too_old(sending: Sending, now: float, horizon: float) -> bool:
        """Whether it was sent so long ago that the hub may have forgotten its cid: again it might be said twice."""
        return sending.first_sent is not None and now - sending.first_sent > horizon

    def lost(self) -> None:
        """What was flying may not have arrived."""
        self.flying = 0
        for sending in self.all.values():
            sending.flying = False

    def back(self, sending: Sending) -> None:
        """It is to be sent again."""
        if sending.flying:
            sending.flying = False
            self.flying -= 1

    def answer(self, cid: str, answer: Union[int, Error]) -> bool:
        """Ends a post. False if there is none of this cid."""
        sending = self.all.pop(cid, None)
        if sending is None:
            return False
        if sending.flying:
            self.flying -= 1
        if not sending.answered.done():
            sending.answered.set_result(answer)
        return True
