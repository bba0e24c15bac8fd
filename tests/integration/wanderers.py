"""Clients that go from node to node while everything breaks, and write down what they did and were told (histories.py).

They do what docs/protocol.md asks of a client that loses nothing: they show their session, go on after the last entry that they
received, and send again, in order, what has no ack. They leave a node that does not answer, or because they feel like it; some
leave their old connection half-open behind them.
"""
import asyncio
import contextlib
import json
import random
import secrets
import time

import websockets

from histories import History

OUTSTANDING = 4  # posts of one client that have no ack
SILENCE = 1.0  # seconds after which a node is asked whether it is there ...
PATIENCE = 2.0  # ... and so long for its answer, or for a connection
SETTLING = 90  # seconds in which all has to come to rest when the faults have ended
TOLERATED = ("log_failed", "unknown", "busy", "shutdown", "full")  # codes after which something is tried again
LOST = (OSError, EOFError, asyncio.TimeoutError, websockets.WebSocketException, ValueError)


def short(content):
    """A post's text as the history keeps it: what it begins with, and how long it is."""
    begin, _, rest = content.partition(" ")
    return f"{begin} {len(rest)}" if not rest.strip("x") else content


class Gone(OSError):
    """The connection is not worth keeping."""


class LinesTo:
    """A node by lines over its Unix socket."""

    async def open(self, node):
        self.reader, self.writer = await asyncio.open_unix_connection(str(node.text), limit=1 << 22)

    async def next(self):
        line = await self.reader.readline()
        if not line.endswith(b"\n"):
            raise Gone("the end")
        return line

    async def say(self, text):
        self.writer.write(text.encode() + b"\n")
        await self.writer.drain()

    def cut(self):
        self.writer.transport.abort()


class WebSocketTo:
    """A node by WebSocket."""

    async def open(self, node):
        self.socket = await node.web_socket()

    async def next(self):
        return await self.socket.recv()

    async def say(self, text):
        await self.socket.send(text)

    def cut(self):
        self.socket.transport.abort()


class Wanderer:
    def __init__(self, crowd, name, rooms, posts, kind):
        self.crowd, self.history, self.name, self.posts, self.kind = crowd, crowd.history, name, posts, kind
        self.dice = random.Random(f"{crowd.seed} {name}")
        self.session, self.id = secrets.token_urlsafe(16), None
        self.places = {room: None for room in rooms}  # → [epoch, position] of the last entry received
        self.epochs = {}  # of rooms, as last told; a place has that under which its entry was received
        self.inside = set()  # rooms that it is in, on this connection
        self.outbox = {}  # cid → post, in order
        self.made = 0
        self.order = asyncio.Lock()  # who has it says posts
        self.node, self.line, self.halves = None, None, []

    # ---- where it goes

    async def live(self):
        while True:
            self.node = self.dice.choice([node for node in self.crowd.nodes if node is not self.node] or self.crowd.nodes)
            self.inside = set()
            with contextlib.suppress(*LOST):
                line = self.kind()
                try:
                    await asyncio.wait_for(line.open(self.node), PATIENCE)
                    self.line = line
                    await self.talk(line)
                finally:
                    self.line = None
                    self.leave(line)
            await asyncio.sleep(self.dice.uniform(0, 0.2))

    def leave(self, line):
        """Cut off, or forgotten: then the node has to find out by itself."""
        if hasattr(line, "socket") or hasattr(line, "writer"):
            if self.dice.random() < 0.3 and len(self.halves) < 3:
                self.halves.append(line)
            else:
                line.cut()

    async def talk(self, line):
        await self.say(self.hello())
        stay, asked = time.monotonic() + self.dice.expovariate(1 / self.crowd.stay), False
        pending = None
        try:
            while time.monotonic() < stay or not self.crowd.wandering:
                pending = pending or asyncio.ensure_future(line.next())
                done, _ = await asyncio.wait([pending], timeout=PATIENCE if asked else SILENCE)
                if not done and asked:
                    raise Gone("no answer")
                if not done:
                    await self.say({"type": "ping"})
                    asked = True
                    continue
                text, pending, asked = pending.result(), None, False
                await self.take(json.loads(text))
        finally:
            if pending:
                pending.cancel()
                with contextlib.suppress(asyncio.CancelledError, *LOST):
                    await pending

    # ---- what it says

    async def say(self, frame):
        await asyncio.wait_for(self.line.say(json.dumps(frame)), PATIENCE)

    def hello(self):
        return {"type": "hello", "ref": "hello", "name": self.name, "session": self.session,
                "rooms": [self.start(room) for room in self.places]}

    def start(self, room):
        place = self.places[room]
        return {"room": room, "now": True} if place is None else {"room": room, "epoch": place[0], "after": place[1]}

    async def post_on(self):
        """Posts, as long as the crowd does."""
        room = next(iter(self.places))
        while self.crowd.posting:
            await asyncio.sleep(self.dice.uniform(0, 2 * self.crowd.pace))
            if len(self.outbox) < OUTSTANDING and self.places[room] is not None:
                with contextlib.suppress(AttributeError, *LOST):
                    await self.post(room)

    async def post(self, room):
        async with self.order:
            self.made += 1
            cid = f"{self.name}-{self.made}"
            size = self.dice.randrange(6000) if self.dice.random() < 0.1 else self.dice.randrange(100)
            content = f"{cid} {'x' * size}"
            self.outbox[cid] = {"type": "post", "room": room, "cid": cid, "content": content}
            self.history.add("sent", self.name, room=room, cid=cid, content=short(content))
            if room in self.inside:
                await self.say(self.outbox[cid])

    async def say_outbox(self, room=None):
        """All that has no ack, in its order; and from then on, what is posted in this room is said at once."""
        async with self.order:
            self.inside |= {room} if room else set()
            for frame in list(self.outbox.values()):
                await self.say(frame)

    def later(self, frame, what):
        """Does that again when the node thinks that it may work, if it is still the same connection."""
        line, delay = self.line, frame.get("retry_after_ms", 100) / 1000

        async def again():
            await asyncio.sleep(min(delay, 5))
            if self.line is line:
                with contextlib.suppress(AttributeError, *LOST):
                    await what()
        self.crowd.begin(again())

    # ---- what it hears

    async def take(self, frame):
        kind = frame["type"]
        if kind == "chat":
            self.take_entry(frame)
        elif kind == "ack":
            self.history.add("acked", self.name, room=frame["room"], cid=frame["cid"], position=frame["position"])
            self.outbox.pop(frame["cid"], None)
        elif kind == "welcome":
            self.id = frame["sender_id"]
        elif kind == "joined":
            await self.take_joined(frame)
        elif kind == "gap":
            self.history.add("gap", self.name, room=frame["room"], **{"from": frame["from"], "to": frame["to"]})
            self.places[frame["room"]] = [frame["epoch"], frame["to"]]
        elif kind == "error":
            self.take_error(frame)
        elif kind == "left":
            self.inside.discard(frame["room"])
            self.later(frame, lambda: self.say({"type": "join", **self.start(frame["room"])}))
        elif kind == "bye":
            raise Gone("bye")

    def take_entry(self, frame):
        self.history.add("entry", self.name, room=frame["room"], position=frame["position"], prev=frame["prev"],
                         cid=frame.get("cid"), content=short(frame["content"]))
        self.crowd.heard += 1
        if frame["position"] > self.places[frame["room"]][1]:
            self.places[frame["room"]] = [self.epochs[frame["room"]], frame["position"]]

    async def take_joined(self, frame):
        room = frame["room"]
        self.history.add("joined", self.name, room=room, epoch=frame["epoch"], start=frame["start"], asked=self.places[room],
                         node=self.node.name)
        self.epochs[room] = frame["epoch"]
        if self.places[room] is None:
            self.places[room] = [frame["epoch"], frame["start"]]
        if self.posts and room == next(iter(self.places)):
            await self.say_outbox(room)
        self.inside.add(room)

    def take_error(self, frame):
        code, cid, room = frame["code"], frame.get("cid"), frame.get("room")
        self.crowd.errors[code] = self.crowd.errors.get(code, 0) + 1
        if frame.get("ref") == "hello":
            if code not in (*TOLERATED, "name_taken"):
                self.crowd.wrong.append(f"{self.name} says hello and is told {frame}")
            raise Gone(code)
        if cid in self.outbox and code in (*TOLERATED, "not_member"):
            self.history.add("refused", self.name, cid=cid, code=code)
            self.later(frame, self.say_outbox)
        elif room in self.places and cid is None and code in TOLERATED:
            self.inside.discard(room)
            self.later(frame, lambda: self.say({"type": "join", **self.start(room)}))
        elif cid is None or cid in self.outbox:
            self.crowd.wrong.append(f"{self.name} is told {frame}")


class Crowd:
    """`posters`, who post in one room each and read there, and `readers`, who read in all; a third of them by WebSocket.

    Rooms and names are this seed's alone, so that many crowds can use one cluster, one after the other.
    """

    def __init__(self, seed, nodes, posters=9, readers=3, rooms=3, pace=0.05, stay=3.0):
        self.seed, self.nodes, self.pace, self.stay = seed, nodes, pace, stay
        self.history, self.errors, self.wrong = History(), {}, []
        self.rooms = [f"{seed} room.{number}" for number in range(rooms)]
        self.posting = self.wandering = True
        self.heard = 0
        self.small = set()  # tasks
        kinds = (LinesTo, LinesTo, WebSocketTo)
        self.people = [Wanderer(self, f"p{number}-of-{seed}", [self.rooms[number % rooms]], True, kinds[number // 3 % 3])
                       for number in range(posters)]
        self.people += [Wanderer(self, f"r{number}-of-{seed}", self.rooms, False, kinds[number % 3])
                        for number in range(readers)]

    async def __aenter__(self):
        self.tasks = [asyncio.ensure_future(one.live()) for one in self.people]
        self.posts = [asyncio.ensure_future(one.post_on()) for one in self.people if one.posts]
        await self.until(lambda: all(all(one.places.values()) for one in self.people), "all in their rooms")
        return self

    async def __aexit__(self, *_):
        for task in [*self.tasks, *self.posts, *self.small]:
            task.cancel()
        await asyncio.gather(*self.tasks, *self.posts, *self.small, return_exceptions=True)
        for one in self.people:
            for line in one.halves:
                line.cut()

    def begin(self, small):
        task = asyncio.ensure_future(small)
        self.small.add(task)
        task.add_done_callback(self.small.discard)

    async def until(self, test, what, patience=SETTLING):
        deadline = time.monotonic() + patience
        while not test():
            self.check()
            assert time.monotonic() < deadline, f"it did not come to {what() if callable(what) else what}; {self.state()}"
            await asyncio.sleep(0.02)

    def check(self):
        for task in [*self.tasks, *self.posts]:
            if task.done() and task.exception():
                raise task.exception()
        assert not self.wrong, "\n".join(self.wrong[:10])

    def state(self):
        waiting = {one.name: (one.node and one.node.name, list(one.outbox)[:4], one.places) for one in self.people}
        return f"errors: {self.errors}; who, where, unacked, places: {waiting}"

    # ---- the end of it

    async def settle(self):
        """No more posts and no more going about: all posts are acked, and everybody has what there is."""
        self.posting = self.wandering = False
        await asyncio.gather(*self.posts)
        await self.until(lambda: not any(one.outbox for one in self.people), "acks of all posts")
        tops = {}
        for event in self.history.events:
            if event["kind"] in ("acked", "entry"):
                tops[event["room"]] = max(event["position"], tops.get(event["room"], 0))
        await self.until(lambda: all(one.inside >= set(one.places) and all(
            place[1] >= tops.get(room, 0) for room, place in one.places.items()) for one in self.people),
            lambda: f"all entries at all readers, up to {tops}")
        for node in self.nodes:
            await self.read(node)

    async def read(self, node):
        """All that this node says there is; and that who is there is the same on each."""
        stranger = await node.client(room=None)
        people = {room: {one.id for one in self.people if room in one.places} for room in self.rooms}
        for room in self.rooms:
            await ask_until(stranger, {"type": "join", "room": room, "now": True}, "joined")
            await self.see(stranger, node, room, people[room])
            entries = await read_all(stranger, room)
            self.history.add("final", node.name, room=room, entries=entries)
        await stranger.close()

    async def see(self, stranger, node, room, people):
        deadline = time.monotonic() + 30
        while True:
            answer = await stranger.ask({"type": "who", "room": room, "limit": 200}, "who")
            there = {one["sender_id"] for one in answer["members"] if not one["sender"].startswith("guest-")}
            if there == people:
                return
            names = {one.id: one.name for one in self.people}
            assert time.monotonic() < deadline, (f"{node.name} says of {room}: not there {[names[i] for i in people - there]}, "
                                                 f"too many {[names.get(i, i) for i in there - people]}: {answer}")
            await asyncio.sleep(0.1)


async def ask_until(client, request, kind):
    """The answer; a request that cannot be done now is made again when it may."""
    deadline = time.monotonic() + SETTLING
    while True:
        answer = await client.ask(request)
        if answer["type"] == kind:
            return answer
        assert answer.get("code") in TOLERATED and time.monotonic() < deadline, answer
        await asyncio.sleep(answer.get("retry_after_ms", 100) / 1000)


async def read_all(client, room):
    """All entries of a room, oldest first, by pages from the newest back, as the history keeps them."""
    entries, before = [], {}
    while True:
        page = await ask_until(client, {"type": "history", "room": room, "limit": 100, **before}, "history")
        entries = page["entries"] + entries
        if not page["more"]:
            break
        assert page["entries"], "an empty page with more before it"
        before = {"before": page["entries"][0]["position"]}
    return [{"position": one["position"], "prev": one["prev"], "cid": one.get("cid"),
             "content": short(one["content"])} for one in entries]
