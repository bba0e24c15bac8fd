"""A crowd that posts and reads through the deaths of its server, and the book of all that it was told.

Its peers do what docs/protocol.md asks of a client that loses nothing: they show their session, go on after the last
entry that they received, and send again, in order, what has no ack. Whatever the server tells one of them goes into one
book, where it has to agree with everything that it ever told anybody. A random number generator with a known seed
decides who posts what.
"""
import asyncio
import json
import os
import random
import secrets
import time

import websockets

from conftest import PATIENCE, Client

OUTSTANDING = 4  # posts of one peer that have no ack
BIG = 6000  # characters of the largest posts


def new_seed():
    """CHATHUB_SEED, or another one each time; printed, which pytest shows where a test fails."""
    seed = int(os.environ.get("CHATHUB_SEED", secrets.randbits(32)))
    print(f"to have the same again: CHATHUB_SEED={seed}")
    return seed


def compact(frame):
    return json.dumps(frame, separators=(",", ":"))


class Book:
    """What was told: positions are one entry for ever, posts are committed once, acks mean it."""

    def __init__(self):
        self.entries = {}  # position → what it is
        self.posts = {}  # (sender, cid) → position, as shown or acked
        self.acked = {}  # the same, of those that were acked
        self.dups = 0  # acks of repeated posts
        self.heard = 0  # entries shown, to all
        self.faults = []

    def fault(self, *words):
        self.faults.append(" ".join(map(str, words)))

    def post(self, sender, cid, position, how):
        known = self.posts.setdefault((sender, cid), position)
        if known != position:
            self.fault(f"{sender}'s post {cid} is at {known}, and {how} at {position}")

    def entry(self, frame):
        """An entry, as shown live or on a page of history."""
        self.heard += 1
        position = frame["position"]
        what = (frame["room"], frame["prev"], frame["sender_id"], frame.get("cid"), frame["timestamp"],
                hash(frame["content"]))
        known = self.entries.setdefault(position, what)
        if known != what:
            self.fault(f"position {position} is {what}, and was {known}")
        if "cid" in frame:
            self.post(frame["sender"], frame["cid"], position, "shown")

    def ack(self, sender, frame):
        self.post(sender, frame["cid"], frame["position"], "acked")
        self.acked[sender, frame["cid"]] = frame["position"]
        self.dups += frame.get("dup", False)


class Peer:
    """One client: what it has received, and what it has posted that is not acked."""

    def __init__(self, crowd, name, rooms, posts):
        self.crowd, self.book, self.name = crowd, crowd.book, name
        self.session = secrets.token_urlsafe(16)
        self.places = {room: None for room in rooms}  # → [epoch, position] of the last entry received
        self.posts = posts  # whether it posts, in its first room
        self.outbox = {}  # cid → post, in order
        self.made = 0
        self.server = None
        self.replaced = False  # a test shows its session itself

    # ---- what it says

    def hello(self):
        """What is said first in a new connection."""
        rooms = [{"room": room, "now": True} if place is None else
                 {"room": room, "epoch": place[0], "after": place[1]} for room, place in self.places.items()]
        yield compact({"type": "hello", "name": self.name, "session": self.session, "rooms": rooms})
        yield from self.outbox.values()

    def next_posts(self):
        """As many as it takes to have enough without an ack."""
        dice = self.crowd.dice
        while self.posts and self.crowd.posting and len(self.outbox) < OUTSTANDING:
            self.made += 1
            size = dice.randrange(BIG) if dice.random() < self.crowd.big else dice.randrange(200)
            cid = f"{self.name}-{self.made}"
            self.outbox[cid] = compact({"type": "post", "room": next(iter(self.places)), "cid": cid,
                                        "content": f"{self.made} {'x' * size}"})
            yield self.outbox[cid]

    # ---- what it hears

    def take(self, frame):
        """Answers what is to be said to that."""
        kind = frame["type"]
        if kind == "chat":
            self.take_entry(frame)
        elif kind == "ack":
            self.book.ack(self.name, frame)
            self.outbox.pop(frame["cid"], None)
            return self.next_posts()
        elif kind == "joined":
            self.take_joined(frame)
        elif kind == "welcome":
            return self.next_posts()
        elif kind == "gap":
            self.take_gap(frame)
        elif kind == "error":
            self.take_error(frame)
        return ()

    def take_entry(self, frame):
        self.book.entry(frame)
        place = self.places[frame["room"]]
        if place is None:
            self.book.fault(f"{self.name} got {frame} before it had joined")
        elif frame["position"] <= place[1]:
            self.book.fault(f"{self.name} got {frame['position']} again, after {place[1]}")
        elif frame["prev"] != place[1]:
            self.book.fault(f"{self.name} got {frame['position']} after {frame['prev']}, but had {place[1]}")
        else:
            place[1] = frame["position"]

    def take_joined(self, frame):
        place = self.places[frame["room"]]
        if place is None:
            self.places[frame["room"]] = [frame["epoch"], frame["start"]]
        else:
            place[0] = frame["epoch"]
            if frame["start"] != place[1]:
                self.book.fault(f"{self.name} came back after {place}, and was answered {frame}")

    def take_gap(self, frame):
        self.book.fault(f"{self.name} was told {frame} after {self.places[frame['room']]}")

    def take_error(self, frame):
        again = self.outbox.get(frame.get("cid"))
        if frame["code"] not in self.crowd.tolerated or not again:
            self.book.fault(f"{self.name} was told {frame}")
            return
        self.crowd.errors[frame["code"]] = self.crowd.errors.get(frame["code"], 0) + 1
        server = self.server
        delay = frame.get("retry_after_ms", 50) / 1000
        asyncio.get_running_loop().call_later(delay, self.say_again, server, frame["cid"])

    def say_again(self, server, cid):
        if server is self.server and cid in self.outbox:
            self.say([self.outbox[cid]])

    # ---- its connections, one after the other

    async def live(self):
        while True:
            self.server = await self.crowd.server_after(self.server)
            try:
                await self.talk(self.server.chatd)
            except (OSError, EOFError, websockets.WebSocketException, asyncio.TimeoutError):
                pass
            if not self.server.dead and not self.replaced:
                self.book.fault(f"{self.name} lost its connection to a server that lives")

    def say(self, texts):
        raise NotImplementedError

    async def talk(self, chatd):
        raise NotImplementedError


class LinesPeer(Peer, asyncio.Protocol):
    """Over TCP, a line a frame."""
    transport = None

    async def talk(self, chatd):
        self.rest = b""
        self.ended = asyncio.get_running_loop().create_future()
        await asyncio.get_running_loop().create_connection(lambda: self, *chatd.address("tcp"))
        self.say(self.hello())
        try:
            await self.ended
        finally:
            self.transport.abort()

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, _):
        if not self.ended.done():
            self.ended.set_result(None)

    def data_received(self, data):
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.say(self.take(json.loads(line)))

    def say(self, texts):
        for text in texts:
            self.transport.write(text.encode() + b"\n")


class WebSocketPeer(Peer):
    """Over WebSocket, a message a frame."""
    said = None

    async def talk(self, chatd):
        socket = await chatd.connect()
        self.said = asyncio.Queue()
        sender = asyncio.ensure_future(self.send_all(socket))
        try:
            self.say(self.hello())
            async for message in socket:
                self.say(self.take(json.loads(message)))
        finally:
            sender.cancel()
            socket.transport.abort()
            await socket.wait_closed()

    async def send_all(self, socket):
        try:
            while True:
                await socket.send(await self.said.get())
        except websockets.ConnectionClosed:
            pass  # whoever receives is told too

    def say(self, texts):
        for text in texts:
            self.said.put_nowait(text)


class Server:
    """One run of chatd. Dead from just before it is killed: what is lost from then on is no fault."""

    def __init__(self, chatd):
        self.chatd, self.dead = chatd, False


class Crowd:
    """`posters` that post in one room each and read there, and `readers` that read in all; a fifth are WebSockets."""

    def __init__(self, seed, posters=20, readers=3, rooms=5, tolerated=(), big=0.1):
        self.dice = random.Random(seed)
        self.big = big  # share of posts that are large
        self.book = Book()
        self.rooms = [f"room {n}" for n in range(rooms)]
        self.posting = True
        self.tolerated, self.errors = tolerated, {}  # codes after which posts are sent again; how often they came
        self.server = None
        self.changed = asyncio.Condition()
        kinds = [WebSocketPeer] + [LinesPeer] * 4
        self.peers = [kinds[n % 5](self, f"poster {n}", [self.rooms[n // 4 % rooms]], True) for n in range(posters)]
        self.peers += [kinds[n % 5](self, f"reader {n}", self.rooms, False) for n in range(readers)]
        self.tasks = [asyncio.ensure_future(peer.live()) for peer in self.peers]

    async def server_after(self, server):
        async with self.changed:
            await self.changed.wait_for(lambda: self.server and self.server is not server and not self.server.dead)
            return self.server

    async def meet(self, chatd):
        """Everybody goes there."""
        self.server = Server(chatd)
        async with self.changed:
            self.changed.notify_all()

    async def kill(self):
        self.server.dead = True
        await asyncio.to_thread(self.server.chatd.kill)

    def check(self):
        """Nothing was wrong so far, and nobody has fallen over."""
        for task in self.tasks:
            if task.done():
                task.result()
        assert not self.book.faults, "\n".join(self.book.faults[:20])

    async def until(self, test, what, every=0.02):
        """Waits until a test is true: as long as something goes on."""
        seen, since = None, time.monotonic()
        while not test():
            self.check()
            now = (len(self.book.acked), self.book.heard)
            if now != seen:
                seen, since = now, time.monotonic()
            assert time.monotonic() < since + PATIENCE, f"it did not come to {what}"
            await asyncio.sleep(every)

    async def settle(self):
        """No more posts: until all are acked, and everybody has received everything."""
        self.posting = False
        await self.until(lambda: not any(peer.outbox for peer in self.peers), "acks of all posts")
        tops = {}
        for position, what in self.book.entries.items():
            tops[what[0]] = max(position, tops.get(what[0], 0))
        for sender, cid in self.book.acked:
            tops[self.room_of(sender)] = max(self.book.acked[sender, cid], tops.get(self.room_of(sender), 0))
        await self.until(lambda: all(place and place[1] >= tops.get(room, 0) for peer in self.peers
                                     for room, place in peer.places.items()), "all entries at all readers")
        self.check()

    def room_of(self, sender):
        return next(iter(next(peer for peer in self.peers if peer.name == sender).places))

    async def end(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    # ---- what the log has in the end

    async def verify(self, chatd, in_order=True):
        """Reads all there is through a client that knows nothing: all that was told is there, once and in order."""
        stranger = await chatd.client("stranger", room=None)
        found, book = {}, self.book
        for room in self.rooms:
            entries = await read_all(stranger, room)
            assert_chain(entries)
            for entry in entries:
                book.entry(entry)
                found[entry["sender"], entry["cid"]] = found.get((entry["sender"], entry["cid"]), 0) + 1
            if in_order:
                assert_senders_order(entries)
        self.check()
        assert not [post for post, times in found.items() if times != 1], "posts that are there more than once"
        assert not [post for post in book.acked if post not in found], "acked posts that are not there"
        assert not [post for post in book.posts if post not in found], "shown posts that are not there"
        await stranger.close()
        return found

    async def repeat_some(self, chatd, count):
        """Posts that were acked, sent once more under their sessions: acked as repeated, at the same positions."""
        posters = [peer for peer in self.peers if peer.posts and peer.made]
        for peer in self.dice.sample(posters, min(count, len(posters))):
            room, peer.replaced = next(iter(peer.places)), True
            client = Client(await chatd.connect())
            await client.hello(None, session=peer.session)
            await client.join(room, now=True)
            history = await read_all(client, room)
            mine = [entry for entry in history if entry["sender"] == peer.name]
            for entry in self.dice.sample(mine, min(3, len(mine))):
                ack = await client.post(entry["content"], room=room, cid=entry["cid"])
                assert ack["dup"] is True and ack["position"] == entry["position"], (ack, entry)
            await client.close()


async def read_all(client, room, **start):
    """All entries of a room, oldest first, by pages from the newest back."""
    if room not in getattr(client, "rooms", ()):
        await client.join(room, **(start or {"now": True}))
        client.rooms = {*getattr(client, "rooms", ()), room}
    entries, before = [], {}
    while True:
        page = await client.ask({"type": "history", "room": room, "limit": 100, **before}, "history")
        entries = page["entries"] + entries
        if not page["more"]:
            return entries
        assert page["entries"], "an empty page with more before it"
        before = {"before": page["entries"][0]["position"]}


def assert_chain(entries):
    """Each entry follows the one before it, in positions that grow."""
    for one, other in zip([{"position": 0}, *entries], entries):
        assert other["prev"] == one["position"] < other["position"], (one, other)


def assert_senders_order(entries):
    """Each sender's posts are there in the order in which they were posted, without a hole."""
    seen = {}
    for entry in entries:
        number = int(entry["content"].split(" ")[0])
        assert number == seen.get(entry["sender"], 0) + 1, (seen.get(entry["sender"]), entry)
        seen[entry["sender"]] = number
