"""The C client in a process of its own (talker.c), for tests of what it promises; and servers without manners."""
import asyncio
import base64
import hashlib
import json
import os
import pathlib

from conftest import PATIENCE, check_sanitizers, find_program

CONNECTING, CONNECTED, WAITING, REFUSED, ENDED = range(1, 6)
WELCOME, MESSAGE, ACK, ERROR, JOINED, LEFT, PRESENCE, TYPING, STATUS, GAP, HISTORY, WHO, PONG, OK, BYE, CLOSED, \
    PRIVATE = range(1, 18)
DUP = 1
QUICK = {"retry_ms": 50, "retry_max_ms": 200}


def find_talker():
    return find_program("chatd").parents[2] / "tests" / "talker"


class Talker:
    """A host of one connection: what it was told, in order."""

    def __init__(self, process):
        self.process = process
        self.told = []
        self.read = 0  # of `told`, by get
        self.changed = asyncio.Condition()
        self.reader = asyncio.ensure_future(self._read())

    @classmethod
    async def start(cls, url, **options):
        options = {**QUICK, "url": url, **options}
        process = await asyncio.create_subprocess_exec(
            str(find_talker()), json.dumps(options), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, limit=1 << 22)
        return cls(process)

    async def _read(self):
        while line := await self.process.stdout.readline():
            async with self.changed:
                self.told.append(json.loads(line))
                self.changed.notify_all()
        async with self.changed:
            self.told.append(None)
            self.changed.notify_all()

    def call(self, what, **arguments):
        self.process.stdin.write(json.dumps({"call": what, **arguments}).encode() + b"\n")

    def post(self, content, cid=None, room=None):
        self.call("post", content=content, cid=cid or content, room=room)

    def ask(self, **frame):
        self.call("request", json=json.dumps(frame))

    async def get(self, **fields):
        """The next thing told with these fields; what is before it is passed over."""
        def fits(told):
            return told and all(told.get(key) == value for key, value in fields.items())

        async def go():
            async with self.changed:
                while True:
                    while self.read < len(self.told):
                        self.read += 1
                        told = self.told[self.read - 1]
                        if fits(told):
                            return told
                        assert told, f"{fields} did not come; there were:\n" + self.tail()
                    await self.changed.wait()
        try:
            return await asyncio.wait_for(go(), PATIENCE)
        except asyncio.TimeoutError:
            raise AssertionError(f"{fields} did not come; there were:\n" + self.tail()) from None

    async def until(self, test):
        async with self.changed:
            await asyncio.wait_for(self.changed.wait_for(test), 3 * PATIENCE)

    def tail(self):
        return "\n".join(str(told)[:250] for told in self.told[-12:])

    def events(self, kind, **fields):
        return [told for told in self.told if told and told.get("event") == kind
                and all(told[key] == value for key, value in fields.items())]

    def entries(self, room="general"):
        """What the host was told of a room's entries: in order, each once, all that is missing told by a gap."""
        at, entries = None, []
        for told in self.told:
            if told and told.get("room") == room and told.get("event") in (MESSAGE, GAP):
                if told["event"] == GAP:
                    at = told["position"]
                    continue
                assert at is None or (told["prev"] <= at < told["position"]), (at, told)
                at = told["position"]
                entries.append(told)
        positions = [entry["position"] for entry in entries]
        assert len(set(positions)) == len(positions)
        return entries

    async def end(self, status=0, call="close"):
        """Closes it; it has to end well."""
        if call:
            self.call(call, timeout=PATIENCE * 1000)
        await asyncio.wait_for(self.process.wait(), PATIENCE)
        errors = (await self.process.stderr.read()).decode()
        check_sanitizers(errors)
        assert self.process.returncode == status, f"exit {self.process.returncode}: {errors[-3000:]}"
        await self.reader
        return self.told


class Rude:
    """A server that does what a test says, on a port of its own: `serve(reader, writer)` for each connection."""

    def __init__(self, serve):
        self.serve = serve
        self.connections = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def _serve(self, reader, writer):
        self.connections += 1
        try:
            await self.serve(reader, writer)
            await writer.drain()
            await reader.read()  # to its end
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def url(self, scheme="ws"):
        return f"{scheme}://127.0.0.1:{self.port}"


def accept_of(head):
    key = next(line.split(b": ")[1] for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key"))
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


async def upgrade(reader, writer, accept=None, protocol=b"chathub.v1", extra=b""):
    """Opens a WebSocket as a hub does, but for what is given."""
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 b"Sec-WebSocket-Accept: " + (accept or accept_of(head)) + b"\r\n"
                 + (b"Sec-WebSocket-Protocol: " + protocol + b"\r\n" if protocol else b"") + extra + b"\r\n")
    return head


def frame(payload, opcode=1, first=0x80, length=None, mask=None):
    """A server's frame, or nearly one."""
    size = len(payload) if length is None else length
    head = bytes([first | opcode])
    bit = 0x80 if mask else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([bit | 127]) + size.to_bytes(8, "big")
    return head + (mask or b"") + payload


def resident(process):
    """Bytes of memory that a process has."""
    pages = int(pathlib.Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
