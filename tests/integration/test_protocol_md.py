"""docs/protocol.md is true: each of its examples happens so on the real server, over WebSocket and over TCP, and every
error code and every field is in it."""

import asyncio
import json
import re

import pytest
import websockets

from conftest import PATIENCE, ROOT

TEXT = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
HEADER = (ROOT / "libchathub" / "include" / "chathub.h").read_text(encoding="utf-8")
DIALECT = ROOT / "libchathub" / "dialect"


class WebSocket:
    def __init__(self, socket):
        self.socket = socket

    @classmethod
    async def connect(cls, server, options):
        protocols = ["chathub.v1"] if "v1" in options else None
        return cls(await websockets.connect(server.url("ws"), subprotocols=protocols, ping_interval=None))

    async def send(self, text):
        await self.socket.send(text)

    async def receive(self):
        """None: it was closed."""
        try:
            return await self.socket.recv()
        except websockets.ConnectionClosed:
            return None

    def close_code(self):
        return self.socket.close_code

    async def end(self):
        await self.socket.close()


class Lines:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, server, options):
        assert "v1" not in options
        return cls(*await asyncio.open_connection(*server.address("tcp"), limit=1 << 20))

    async def send(self, text):
        self.writer.write(text.encode() + b"\n")
        await self.writer.drain()

    async def receive(self):
        line = await self.reader.readline()
        return line.decode().rstrip("\n") if line else None

    def close_code(self):
        return None  # lines have none

    async def end(self):
        self.writer.close()


# ------------------------------------------------------------------------------------------------------- examples


def blocks(kind):
    found = re.findall(rf"^```{kind}\b(.*)\n((?:.*\n)*?)```$", TEXT, re.M)
    return [(options.split(), body.splitlines()) for options, body in found]


CHATS, PEOPLE = blocks("chat"), blocks("lines")
RUNS = [
    pytest.param(lines, options, transport, id=f"{number}-{transport.__name__}")
    for number, (options, lines) in enumerate(CHATS)
    for transport in (WebSocket, Lines)
    if not (transport is Lines and "v1" in options)
]


# Lines that the document leaves out.
PRESENCE = re.compile(r"\* .+ (joined|left) .+ \(\d+ here\)|\* .+ is now .+")


def match(wanted, got, known):
    """Whether `got` is what is wanted; notes in `known` what the names stand for."""
    if isinstance(wanted, str) and wanted.startswith("…"):
        return wanted == "…" or known.setdefault(wanted, got) == got
    if isinstance(wanted, dict):
        return (
            isinstance(got, dict)
            and list(wanted) == list(got)
            and all(match(value, got[key], known) for key, value in wanted.items())
        )
    if isinstance(wanted, list):
        return (
            isinstance(got, list)
            and len(wanted) == len(got)
            and all(match(a, b, known) for a, b in zip(wanted, got))
        )
    return type(wanted) is type(got) and wanted == got


def fill(value, known):
    """What the client sends, with the values that are known by now."""
    for name in sorted(known, key=len, reverse=True):
        value = value.replace(f'"{name}"', json.dumps(known[name], ensure_ascii=False))
    return value


class Example:
    def __init__(self, server, transport, options):
        self.server, self.transport, self.options = server, transport, options
        self.clients, self.known = {}, {}
        self.wanted = {}  # by client: frames that the document shows next, in any order

    async def client(self, name):
        if name not in self.clients:
            self.clients[name] = await self.transport.connect(self.server, self.options)
        return self.clients[name]

    async def frame(self, name):
        client = await self.client(name)
        text = await asyncio.wait_for(client.receive(), PATIENCE)
        assert text is not None, f"{name} was closed ({client.close_code()}), wanted: {self.wanted[name]}"
        return json.loads(text)

    async def settle(self, name):
        """Receives until all is there that the document shows for this client."""
        wanted = self.wanted.pop(name, [])
        while wanted:
            self.wanted[name] = wanted
            got = await self.frame(name)
            for one in wanted:
                known = dict(self.known)
                if match(one, got, known):
                    self.known = known
                    wanted.remove(one)
                    break
            else:
                assert got["type"] == "presence", f"{name} got {got}, wanted one of {wanted}"
        self.wanted.pop(name, None)

    async def settle_all(self):
        for name in list(self.wanted):
            await self.settle(name)

    async def closed(self, name, code):
        await self.settle(name)
        client = await self.client(name)
        while await asyncio.wait_for(client.receive(), PATIENCE) is not None:
            pass
        assert client.close_code() in (None, code)

    async def step(self, line):
        name, direction, text = re.fullmatch(r"(\w*)([<>]) (.*)", line).groups()
        close = re.fullmatch(r"\(closed with (\d+)\)", text)
        if direction == ">":
            await self.settle_all()
            await (await self.client(name)).send(fill(text, self.known))
        elif close:
            await self.closed(name, int(close[1]))
        else:
            self.wanted.setdefault(name, []).append(json.loads(text))

    async def run(self, lines):
        try:
            for line in lines:
                await self.step(line)
            await self.settle_all()
        finally:
            for client in self.clients.values():
                await client.end()


@pytest.mark.parametrize("lines, options, transport", RUNS)
async def test_example_happens_as_documented(chatd, lines, options, transport):
    await Example(chatd, transport, options).run(lines)


@pytest.mark.parametrize("options, lines", PEOPLE, ids=range(len(PEOPLE)))
async def test_lines_for_people_happen_as_documented(chatd, options, lines):
    person = await Lines.connect(chatd, options)
    for line in lines:
        if line.startswith("> "):
            await person.send(line[2:])
            continue
        pattern = ".*".join(re.escape(part) for part in line[2:].split("…"))
        while True:
            got = await asyncio.wait_for(person.receive(), PATIENCE)
            if not PRESENCE.fullmatch(got) or re.fullmatch(pattern, got):
                break
        assert re.fullmatch(pattern, got), f"got {got!r}, wanted {line[2:]!r}"
    await person.end()


def test_there_are_examples():
    assert len(CHATS) >= 10 and PEOPLE


# ------------------------------------------------------------------------------------------------------ reference


def section(title):
    return re.search(rf"^## {title}\n((?:(?!^## ).*\n)*)", TEXT, re.M)[1]


def test_every_error_is_documented_with_its_text():
    errors = dict(re.findall(r'X\(\w+,\s*-\d+,\s*"(\w+)",\s*"([^"]+)"\)', HEADER.replace("\\\n", "")))
    assert len(errors) > 30
    assert dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", section("Errors"), re.M)) == errors


def written_fields():
    source = (DIALECT / "native_encode.c").read_text(encoding="utf-8")
    return set(re.findall(r'\\"(\w+)\\":', source))


def read_fields():
    source = "".join((DIALECT / name).read_text(encoding="utf-8") for name in ("native_decode.c", "reading.c"))
    return set(re.findall(r'\b(?:chi_reading_\w+|read_\w+)\(\w+,\s*"(\w+)"', source))


def test_every_field_is_documented():
    table = section("All fields")
    named = {field for row in re.findall(r"^\| (`[^|]*) \|", table, re.M) for field in re.findall(r"`(\w+)`", row)}
    assert {"position", "sender_id"} <= written_fields() and {"session", "before"} <= read_fields()
    assert named == written_fields() | read_fields()


def number(text):
    """A limit as the document or the options write it: `64 KiB`, `64k`, `100,000`, `10 s`."""
    digits, unit = re.fullmatch(r"([\d,]+) ?([A-Za-z]*)", text).groups()
    scale = {"": 1, "bytes": 1, "k": 1024, "KiB": 1024, "s": 1}[unit]
    return int(digits.replace(",", "")) * scale


def test_every_limit_has_the_default_of_its_option():
    source = (ROOT / "libchathub" / "options.c").read_text(encoding="utf-8")
    checked = 0
    for row in re.findall(r"^\| .* \|$", section("Limits"), re.M):
        _, default, options, _ = [cell.strip() for cell in row.strip("|").split("|")]
        names = re.findall(r"`([a-z-]+)`", options)
        values = default.split(" and ") if names else []
        assert len(names) == len(values), row
        for name, value in zip(names, values):
            standard = re.search(rf'ROW\("{name}", \w+, \w+, "([^"]*)"', source)
            assert standard, f"there is no option {name}"
            assert number(standard[1]) == number(value), name
            checked += 1
    assert checked > 10


async def test_a_welcome_tells_the_first_two_limits(start_chatd):
    alice = await start_chatd("--max-content", "100", "--max-message", "1k").client("alice")
    assert (await alice.ask({"type": "hello"}))["limits"] == {"content": 100, "message": 1024}


async def test_errors_to_what_could_not_be_read_have_no_cid(chatd):
    alice = await chatd.client("alice")
    wrong = {"type": "post", "content": 7, "cid": "c-1"}
    error = await alice.ask(wrong)
    assert error["code"] == "bad_request" and error["ref"] and "cid" not in error
    await alice.send(json.dumps({**wrong, "ref": 1})[:-1])
    error = await alice.get("error")
    assert error["code"] == "bad_json" and not error.keys() & {"ref", "cid"}
