"""The C client against servers that break the rules: each gets a clear error, and harms nothing."""
import asyncio
import json

import pytest

from talking import (ACK, CONNECTED, CONNECTING, ENDED, ERROR, GAP, JOINED, LEFT, MESSAGE, PRESENCE, WAITING, WELCOME,
                     Rude, Talker, accept_of, frame, resident, upgrade)


def NAMES(value):
    """Of a test by its first parameter alone: others hold all bytes that there are."""
    return value if isinstance(value, str) and value.islower() and len(value) < 30 else ""


def text(**fields):
    return json.dumps(fields).encode()


WELCOMES = text(type="welcome", sender="ann", sender_id="i", session="k" * 22, epoch="e", default_room="general",
                horizon_ms=1, limits={"content": 100}, timestamp="2026-01-02T03:04:05.678Z")


def sends(*frames, after=True):
    """A server that opens a WebSocket well, and then sends this (after its welcome)."""
    async def serve(reader, writer):
        await upgrade(reader, writer)
        if after:
            await reader.read(1)
            writer.write(frame(WELCOMES))
        for one in frames:
            writer.write(one)
    return serve


async def gets(serve, code, words, scheme="ws", **options):
    """What is told of such a server, twice: it is tried again, and the client can be ended."""
    async with Rude(serve) as rude:
        ann = await Talker.start(rude.url(scheme), name="ann", **options)
        for _ in range(2):
            waiting = await ann.get(state=WAITING)
            assert (waiting["code"], words in waiting["message"]) == (code, True), waiting
            assert waiting["message"].isprintable()
        await ann.end()
        return ann


@pytest.mark.parametrize("name,answer,words", ids=NAMES, argvalues=[
    ("404", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP 404 Not Found"),
    ("redirect", b"HTTP/1.1 301 Moved\r\nLocation: ws://else/\r\n\r\n", "HTTP 301 Moved"),
    ("200", b"HTTP/1.1 200 OK\r\n\r\n<html>", "HTTP 200 OK instead of"),
    ("busy", b"HTTP/1.1 503 \x1b[31mred\r\n\r\n", "HTTP 503"),
    ("no HTTP", b"SSH-2.0-OpenSSH_9.2p1\r\n", "does not speak HTTP/1.1"),
    ("1.0", b"HTTP/1.0 101 Switching\r\n\r\n", "does not speak HTTP/1.1"),
    ("lines", b"HTTP/1.1 101 Switching\r\nbroken header\r\n\r\n", "malformed"),
    ("long", b"HTTP/1.1 101 Switching\r\nX: " + b"x" * 17000, "too long"),
    ("many", b"HTTP/1.1 101 Switching\r\n" + b"X: y\r\n" * 4000 + b"\r\n", "too long"),
    ("bare", b"HTTP/1.1 101 Switching\r\n\r\n", "does not upgrade")])
async def test_what_does_not_open_a_websocket(name, answer, words):
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
    await gets(serve, "protocol", words)


@pytest.mark.parametrize("changes,words", [
    ({"accept": b"dGhlIHNhbXBsZSBub25jZQ=="}, "does not fit the key"),
    ({"accept": b"x" * 28}, "does not fit the key"),
    ({"protocol": None}, "does not speak chathub.v1"),
    ({"protocol": b"mqtt"}, "does not speak chathub.v1"),
    ({"extra": b"Sec-WebSocket-Extensions: permessage-deflate\r\n"}, "extension"),
    ({"extra": b"Sec-WebSocket-Protocol: chathub.v1\r\n"}, "twice"),
    ({"extra": b"upgrade: websocket\r\n"}, "twice")])
async def test_an_answer_that_does_not_fit(changes, words):
    async def serve(reader, writer):
        await upgrade(reader, writer, **changes)
    await gets(serve, "protocol", words)


async def test_the_request_is_as_the_rfc_has_it_and_in_pieces_the_answer_fits():
    heads = []

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head)
        answer = (b"HTTP/1.1 101 Go\r\nSERVER: x\r\nupgrade:WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
                  b"Sec-WebSocket-Accept:   " + accept_of(head) + b"  \r\nSec-Websocket-Protocol: chathub.v1\r\n\r\n")
        whole = answer + frame(WELCOMES)
        for at in range(len(whole)):
            writer.write(whole[at:at + 1])
            await writer.drain()
            await asyncio.sleep(0)
    async with Rude(serve) as rude:
        ann = await Talker.start(rude.url() + "/a/path?x=y", name="ann")
        await ann.get(event=WELCOME, sender="ann")
        ann.call("free")
        await ann.end(call=None)
    lines = heads[0].split(b"\r\n")
    assert lines[0] == b"GET /a/path?x=y HTTP/1.1" and f"Host: 127.0.0.1:{rude.port}".encode() in lines
    key, = [line for line in lines if line.startswith(b"Sec-WebSocket-Key: ")]
    assert len(key) == 19 + 24 and key.endswith(b"==")


@pytest.mark.parametrize("name,bytes_,code,words", ids=NAMES, argvalues=[
    ("masked", frame(b"abcd", mask=b"1234"), "protocol", "broke the WebSocket protocol"),
    ("reserved bit", frame(b"{}", first=0xc0), "protocol", "broke the WebSocket protocol"),
    ("reserved opcode", frame(b"{}", opcode=3), "protocol", "broke the WebSocket protocol"),
    ("continues nothing", frame(b"{}", opcode=0), "protocol", "broke the WebSocket protocol"),
    ("text within a text", frame(b"{", first=0) + frame(b"}"), "protocol", "broke the WebSocket protocol"),
    ("long ping", frame(b"x" * 126, opcode=9), "protocol", "broke the WebSocket protocol"),
    ("ping in pieces", frame(b"x", opcode=9, first=0), "protocol", "broke the WebSocket protocol"),
    ("not UTF-8", frame(b'{"type":"\xff"}'), "protocol", "broke the WebSocket protocol"),
    ("half a character", frame(b'{"type":"\xc3'), "protocol", "broke the WebSocket protocol"),
    ("close of one byte", frame(b"x", opcode=8), "protocol", "broke the WebSocket protocol"),
    ("binary", frame(b"{}", opcode=2), "protocol", "broke the WebSocket protocol"),
    ("longer than long", frame(b"x", length=1 << 63), "protocol", "broke the WebSocket protocol"),
    ("very long", frame(b"x", length=(1 << 62)), "too_long", "more than 1048576 bytes"),
    ("a bit too long", frame(b"x", length=(1 << 20) + 1), "too_long", "more than 1048576 bytes"),
    ("too long in pieces", frame(b"x" * 4096, first=0) + frame(b"x" * 4096, opcode=0, first=0) * 256, "too_long",
     "more than"),
    ("no JSON", frame(b"hello\x1b[31m"), "protocol", 'it sent "hello" …'),
    ("a list", frame(b"[1]"), "protocol", 'it sent "[1]"'),
    ("deep", frame(b"[" * 100000), "protocol", "does not speak this protocol"),
    ("a huge position", frame(text(type="chat", room="general", position=1 << 60, prev=0)), "protocol", "it sent"),
    ("a long epoch", frame(text(type="joined", room="general", epoch="e" * 65)), "protocol", "it sent"),
    ("closed 1000", frame(b"\x03\xe8", opcode=8), "io", "closed the connection (1000)"),
    ("closed 1013", frame(b"\x03\xf5later", opcode=8), "io", "later (1013)"),
    ("closed without", frame(b"", opcode=8), "io", "closed the connection (1005)"),
    ("closed with controls", frame(b"\x03\xf5\x1b[31m", opcode=8), "io", "closed the connection (1013)")])
async def test_frames_that_are_none(name, bytes_, code, words):
    await gets(sends(bytes_), code, words)


@pytest.mark.parametrize("status,code", [(1002, "protocol"), (1003, "protocol"), (1007, "protocol"), (1008, "abuse"),
                                         (1009, "too_long"), (4001, "replaced")])
async def test_what_would_come_again_is_the_end(status, code):
    async with Rude(sends(frame(status.to_bytes(2, "big") + b"why", opcode=8))) as rude:
        ann = await Talker.start(rude.url(), name="ann")
        ann.post("hi")
        assert (await ann.get(state=ENDED))["code"] == code
        await ann.end(call=None)
        assert rude.connections == 1
    assert ann.events(ERROR, cid="hi")


@pytest.mark.parametrize("name,bytes_,code,words", ids=NAMES, argvalues=[
    ("no JSON", b"SSH-2.0-OpenSSH_9.2p1\r\n", "protocol", 'it sent "SSH-2.0-OpenSSH_9.2p1"'),
    ("not UTF-8", b"\xff\n", "protocol", "not UTF-8"),
    ("endless", b"x" * 300000, "too_long", "too long"),
    ("the end", None, "io", "the server ended the connection")])
async def test_lines_that_are_none(name, bytes_, code, words):
    async def serve(reader, writer):
        await reader.readline()
        if bytes_ is None:
            writer.close()
        else:
            writer.write(bytes_)
    await gets(serve, code, words, "tcp", max_frame=200000)


async def test_a_server_that_says_nothing_is_given_up():
    async def nothing(reader, writer):
        await reader.read()
    await gets(nothing, "io", "does not open the WebSocket in time", timeout_ms=100)
    await gets(nothing, "io", "nothing is heard of the hub", "tcp", timeout_ms=200, heartbeat_ms=100)


async def test_a_server_that_never_welcomes_is_given_up():
    async def chatters(reader, writer):
        while not writer.is_closing():
            writer.write(b'{"type":"ok"}\n')
            await asyncio.sleep(0.02)
    await gets(chatters, "io", "does not answer the hello", "tcp", timeout_ms=100)


async def test_a_flood_of_pings_costs_no_memory():
    pongs = 0

    async def serve(reader, writer):
        nonlocal pongs
        await upgrade(reader, writer)
        writer.write(frame(WELCOMES))
        for _ in range(100):
            writer.write(frame(b"x" * 8, opcode=9) * 1000)
            await writer.drain()
            while len(await reader.read(65536)) == 65536:
                pass
        writer.write(frame(text(type="presence", room="general", count=7)))
        pongs += 1
    async with Rude(serve) as rude:
        ann = await Talker.start(rude.url(), name="ann")
        await ann.get(event=WELCOME)
        before = resident(ann.process)
        await ann.get(event=PRESENCE, count=7)
        assert resident(ann.process) - before < 64 << 20  # with a sanitizer's quarantine
        ann.call("free")
        await ann.end(call=None)


async def test_a_server_that_reads_nothing_makes_nothing_grow():
    """Pings without end, to which nobody takes the answers."""
    async def serve(reader, writer):
        await upgrade(reader, writer)
        reader._transport.pause_reading()
        writer.write(frame(WELCOMES))
        while not writer.is_closing():
            writer.write(frame(b"x" * 120, opcode=9) * 100)
            await writer.drain()
    async with Rude(serve) as rude:
        ann = await Talker.start(rude.url(), name="ann")
        waiting = await ann.get(state=WAITING)
        assert waiting["code"] == "slow", waiting
        ann.call("free")
        await ann.end(call=None)


async def test_entries_that_come_twice_or_from_the_past_are_passed_over_and_holes_are_told():
    def chat(position, prev, content, kind="chat"):
        return frame(text(type=kind, room="general", position=position, prev=prev, sender="b", sender_id="j",
                          content=content))
    joined = frame(text(type="joined", ref="chathub:j1", room="general", epoch="e", position=5, start=5, count=1))
    async with Rude(sends(chat(1, 0, "before joined"), joined, chat(6, 5, "six"), chat(6, 5, "six"), chat(4, 3, "four"),
                          chat(8, 7, "eight"), chat(9, 8, "of a later kind", "entry"), chat(10, 9, "ten"),
                          frame(text(type="gap", room="general", **{"from": 10}, to=3, epoch="f")),
                          chat(4, 3, "another four"), chat(5, 4, "elsewhere").replace(b"general", b"general2"[:7]),
                          frame(text(type="chat", room="nowhere", position=99, prev=98, content="no")),
                          frame(text(type="chat", content="no position")),
                          frame(text(type="left", room="general", code="denied")), chat(6, 5, "after left"),
                          frame(text(type="ack", cid="nobody's", position=1)),
                          frame(text(type="what", room="general")), frame(b"{}"), frame(b""),
                          frame(text(type="presence", room="general", count=9)))) as rude:
        ann = await Talker.start(rude.url(), name="ann")
        ann.call("join", room="general")
        await ann.get(event=PRESENCE, count=9)
        ann.call("free")
        await ann.end(call=None)
    told = [one.get("content") or (one["event"], one["prev"], one["position"])
            for one in ann.told if one and one.get("event") in (MESSAGE, GAP)]
    assert told == ["six", (GAP, 6, 7), "eight", "ten", (GAP, 10, 3), "another four", "elsewhere"]
    assert ann.events(LEFT)[0]["code"] == "denied" and not ann.events(ACK)


async def test_rooms_nobody_asked_for_are_no_more_than_64():
    many = [frame(text(type="joined", room=f"r{number}", epoch="e", position=0, start=0, count=1))
            for number in range(100)]
    async with Rude(sends(*many, frame(text(type="presence", room="general", count=9)))) as rude:
        ann = await Talker.start(rude.url(), name="ann")
        await ann.get(event=PRESENCE, count=9)
        ann.call("join", room="mine")
        assert (await ann.get(failed="join"))["code"] == "too_many_rooms"
        ann.call("free")
        await ann.end(call=None)
    assert len(ann.events(JOINED)) == 64


async def test_a_refusal_for_now_is_tried_again():
    """A hello, a join and a post that are answered by errors that pass."""
    seen = {}

    async def serve(reader, writer):
        async for line in reader:
            asked = json.loads(line)
            kind = asked["type"]
            seen[kind] = seen.get(kind, 0) + 1
            if seen[kind] == 1:
                code = {"hello": "full", "join": "log_failed", "post": "unknown"}[kind]
                writer.write(text(type="error", code=code, message="not now", retry_after_ms=10,
                                  **{key: asked[key] for key in ("ref", "cid") if key in asked}) + b"\n")
            elif kind == "hello":
                writer.write(WELCOMES + b"\n")
            elif kind == "join":
                writer.write(text(type="joined", ref=asked["ref"], room="tea", epoch="e", position=0, start=0, count=1)
                             + b"\n")
            else:
                writer.write(text(type="ack", room="tea", cid=asked["cid"], position=1, epoch="e") + b"\n")
    async with Rude(serve) as rude:
        ann = await Talker.start(rude.url("tcp"), name="ann")
        ann.call("join", room="tea")
        ann.post("hi", room="tea")
        assert (await ann.get(state=WAITING))["message"] == "not now"
        await ann.get(state=CONNECTING)
        await ann.get(state=CONNECTED)
        await ann.get(event=JOINED)
        await ann.get(event=ACK, cid="hi")
        await ann.end()
    assert not ann.events(ERROR) and seen == {"hello": 2, "join": 2, "post": 2}
