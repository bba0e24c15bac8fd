"""A hub made for being tested against: it says over lines what a test's script tells it to say, true or not.

Each connection is given to the next script, an `async def script(peer)`, and is cut off when the script has ended; the last
script is for all further connections, too. A script that fails, fails the test: FakeHub.check.
"""
import asyncio
import json

from conftest import PATIENCE


class Peer:
    """The client at one connection."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.hello = None

    async def next(self):
        line = await asyncio.wait_for(self.reader.readline(), PATIENCE)
        if not line:
            raise EOFError
        return json.loads(line)

    async def get(self, kind):
        """The next request of this type; others are passed over."""
        while (frame := await self.next())["type"] != kind:
            pass
        return frame

    def say(self, what, **fields):
        self.write(json.dumps({"type": what, **fields}).encode() + b"\n")

    def write(self, raw):
        self.writer.write(raw)

    async def welcome(self, horizon_ms=60000, epoch="e", **start):
        """Welcomes it, into the rooms that its hello names."""
        self.hello = await self.get("hello")
        self.say("welcome", ref=self.hello["ref"], sender=self.hello.get("name", "guest-abcdef"), sender_id="id",
                 session=self.hello["session"], epoch=epoch, default_room="general", horizon_ms=horizon_ms,
                 limits={"content": 32768})
        for room in self.hello.get("rooms", ()):
            self.joined(room["room"], **{"start": room.get("after", 0), "epoch": epoch, **start})
        return self.hello

    def joined(self, room, start=0, epoch="e", **fields):
        self.say("joined", room=room, epoch=epoch, position=start, start=start, count=1, presence=0, **fields)

    def chat(self, position, prev, content="", room="tea", **fields):
        self.say("chat", room=room, position=position, prev=prev, sender="bob", **{
            "sender_id": "other", "content": content or f"at {position}", "timestamp": "2026-01-02T03:04:05.678Z",
            **fields})

    def ack(self, post, position, **fields):
        self.say("ack", room=post.get("room", "general"), cid=post["cid"], position=position, epoch="e", **fields)

    def refuse(self, request, code, **fields):
        named = {key: request[key] for key in ("ref", "cid", "room") if key in request}
        self.say("error", code=code, message=f"it is {code}", **named, **fields)

    async def stay(self):
        """Until the client goes."""
        while await self.reader.read(1 << 16):
            pass


class FakeHub:
    def __init__(self, *scripts):
        self.scripts = list(scripts)
        self.failures, self.writers, self.tasks = [], [], set()
        self.connections = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.url = "tcp://127.0.0.1:%d" % self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind, *_):
        self.server.close()
        await self.server.wait_closed()
        for writer in self.writers:
            writer.transport.abort()
        if self.tasks:
            _, late = await asyncio.wait(self.tasks, timeout=PATIENCE)
            assert not late
        if kind is None:
            assert not self.failures, self.failures

    async def serve(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        self.writers.append(writer)
        script = self.scripts[min(self.connections, len(self.scripts) - 1)]
        self.connections += 1
        try:
            await script(Peer(reader, writer))
            await writer.drain()
            writer.close()  # what was said still arrives
            await writer.wait_closed()
        except (EOFError, OSError):
            pass  # the client has gone
        except Exception as error:
            self.failures.append(error)
        finally:
            writer.transport.abort()
            self.tasks.discard(asyncio.current_task())
