"""The C client against servers that break the rules: each gets a clear error, and harms nothing."""
import asyncio
import json
import signal
import socket
import struct

import pytest

from talking import (ACK, CONNECTED, CONNECTING, ENDED, ERROR, GAP, JOINED, LEFT, MESSAGE, PRESENCE, REFUSED, WAITING,
                     WELCOME, Rude, Talker, accept_of, frame, resident, upgrade)


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
            if kind == "leave":
                return  # as it closes
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


async def test_what_a_hub_says_of_a_hello_controls_no_terminal():
    """Nor is it more than a line, where it is told as a state."""
    for code, state in (("denied", REFUSED), ("full", WAITING)):
        for said, told in (("no\x1b[2J\nway", "no [2J way"), ("no \u009b2J", None)):
            async def serve(reader, writer):
                await reader.readline()
                writer.write(text(type="error", ref="chathub:h", code=code, message=said, retry_after_ms=1) + b"\n"
                             if state == WAITING else
                             text(type="error", ref="chathub:h", code=code, message=said) + b"\n")
            async with Rude(serve) as rude:
                ann = await Talker.start(rude.url("tcp"), name="ann")
                message = (await ann.get(state=state))["message"]
                assert message == told if told else message.isprintable() and message
                ann.call("free")
                await ann.end(call=None)


def reset(writer):
    """Ends a connection as a system does whose program left something unread."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def presences(count):
    return b"".join(text(type="presence", room="general", count=number, pad="x" * 1000) + b"\n"
                    for number in range(1, count + 1))


async def behind_its_back(ann, reader, writer, said):
    """The client finds all of this, and the reset, at once; and a post of its host's."""
    await reader.readline()
    ann.process.send_signal(signal.SIGSTOP)
    writer.write(WELCOMES + b"\n" + said)
    await writer.drain()
    ann.post("hi")
    await ann.process.stdin.drain()
    await asyncio.to_thread(reset, writer)
    ann.process.send_signal(signal.SIGCONT)


async def test_what_came_before_a_reset_is_read_and_the_end_is_found_at_once():
    """No heartbeat has to find it."""
    async def serve(reader, writer):
        await behind_its_back(ann, reader, writer, presences(80))
    async with Rude(serve) as rude:
        ann = await Talker.start(rude.url("tcp"), name="ann", heartbeat_ms=1000000)
        await ann.get(event=PRESENCE, count=80)
        await ann.get(state=WAITING)
        ann.call("free")
        await ann.end(call=None)


@pytest.mark.parametrize("before", [0, 80])
async def test_who_is_replaced_does_not_come_back_however_the_connection_ends(before):
    async def serve(reader, writer):
        await behind_its_back(ann, reader, writer,
                              presences(before) + text(type="bye", code="replaced", message="elsewhere") + b"\n")
    async with Rude(serve) as rude:
        ann = await Talker.start(rude.url("tcp"), name="ann")
        assert (await ann.get(state=ENDED))["code"] == "replaced"
        await ann.end(call=None)
        assert rude.connections == 1


def names(answers):
    """A hub that answers the hellos by these, and nothing else; None: it ends the connection. And what was asked."""
    asked = []

    async def serve(reader, writer):
        async for line in reader:
            hello = json.loads(line)
            if hello["type"] != "hello":
                continue
            asked.append(hello["name"])
            answer = answers(hello["name"], len(asked))
            if answer is None:
                writer.close()
                return
            writer.write(text(ref=hello["ref"], **answer) + b"\n")
    return serve, asked


def welcomed(name):
    return {"type": "welcome", "sender": name, "sender_id": "i", "session": "k" * 22}


async def test_a_name_that_was_refused_after_another_is_not_asked_for_again():
    def answer(name, count):
        if count == 4:
            return None
        return welcomed(name) if name != "taken" else {"type": "error", "code": "name_taken", "message": "no"}
    serve, asked = names(answer)
    async with Rude(serve) as rude:
        ann = await Talker.start(rude.url("tcp"), name="ann")
        await ann.get(event=WELCOME)
        ann.call("rename", name="anne")
        ann.call("rename", name="taken")
        await ann.get(event=WELCOME, sender="anne")
        assert (await ann.get(event=ERROR))["code"] == "name_taken"
        ann.call("rename", name="lost")
        await ann.get(state=WAITING)
        ann.call("rename", name="last")
        await ann.get(event=WELCOME, sender="last")
        ann.call("free")
        await ann.end(call=None)
    assert asked[:4] == ["ann", "anne", "taken", "lost"] and set(asked[4:]) <= {"anne", "lost", "last"}


async def test_a_new_name_whose_answer_was_lost_is_asked_for_again():
    serve, asked = names(lambda name, count: None if count == 2 else welcomed(name))
    async with Rude(serve) as rude:
        ann = await Talker.start(rude.url("tcp"), name="ann")
        await ann.get(event=WELCOME)
        ann.call("rename", name="anne")
        await ann.get(event=WELCOME, sender="anne")
        ann.call("free")
        await ann.end(call=None)
    assert asked == ["ann", "anne", "ann", "anne"]


async def test_of_a_key_that_is_there_twice_the_last_value_is_told():
    """As the event's other fields have it; `data` is an object, or is not there."""
    joined = frame(text(type="joined", ref="chathub:j1", room="general", epoch="e", position=5, start=5, count=1))
    chat = frame(b'{"type":"chat","room":"general","position":6,"prev":5,"data":"no object","data": {"a":[1,{}]} , '
                 b'"content":"x","content":"y"}')
    async with Rude(sends(joined, chat)) as rude:
        ann = await Talker.start(rude.url(), name="ann")
        ann.call("join", room="general")
        assert (await ann.get(event=MESSAGE, content="y"))["data"] == '{"a":[1,{}]}'
        ann.call("free")
        await ann.end(call=None)


async def test_a_wait_that_no_number_holds_is_no_wait_without_end():
    """A post that is to be tried again in as many ms as overflow is not tried at once, without end."""
    posts = 0

    async def serve(reader, writer):
        nonlocal posts
        async for line in reader:
            asked = json.loads(line)
            posts += asked["type"] == "post"
            if asked["type"] == "hello":
                writer.write(WELCOMES + b"\n")
            elif asked["type"] == "post":
                writer.write(b'{"type":"error","code":"busy","cid":"hi","retry_after_ms":1e300}\n'
                             + text(type="presence", room="general", count=1) + b"\n")
    async with Rude(serve) as rude:
        ann = await Talker.start(rude.url("tcp"), name="ann")
        ann.post("hi")
        await ann.get(event=PRESENCE)
        ann.ask(type="ping")
        ann.call("close", timeout=50)
        await ann.get(state=ENDED)
        await ann.end(call=None)
    assert posts == 1


async def test_what_is_too_long_for_a_hub_is_not_sent_again_without_end():
    """Lines have no close code: its last word says so."""
    async def serve(reader, writer):
        async for line in reader:
            if b'"post"' in line:
                writer.write(text(type="error", code="too_long", message="a line may have 99 bytes") + b"\n")
                writer.close()
                return
            writer.write(WELCOMES + b"\n")
    async with Rude(serve) as rude:
        ann = await Talker.start(rude.url("tcp"), name="ann")
        ann.post("long")
        assert (await ann.get(state=ENDED))["code"] == "too_long"
        await ann.end(call=None)
    assert rude.connections == 1 and ann.events(ERROR, cid="long")[0]["code"] == "unknown"
