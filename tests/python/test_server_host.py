"""What a host does beside chatting: erases entries, ends clients, hands connections over."""
import asyncio
import base64
import json
import os
import socket

import chathub
import pytest
from conftest import LISTEN, PATIENCE, Peer, first


async def test_an_entry_is_redacted_for_everybody():
    async with chathub.Server() as server, server.client("bot") as bot:
        await bot.join("tea")
        positions = [await bot.post(f"post {number}", "tea", data={"n": number}) for number in range(3)]
        assert isinstance(await server.redact("tea", positions[1]), chathub.Ok)
        entries = (await bot.history("tea")).entries
        assert [(entry.content, entry.data, entry.redacted) for entry in entries] \
            == [("post 0", {"n": 0}, False), ("", None, True), ("post 2", {"n": 2}, False)]
        async with server.client("late") as late:
            await late.join("tea")
            events = late.events()
            heard = [await first(events, chathub.Message) for _ in range(3)]
            assert [message.redacted for message in heard] == [False, True, False]
            assert [message.position for message in heard] == positions


async def test_redacting_what_is_not_there_is_an_error_each():
    async with chathub.Server() as server:
        position = await server.post("hi")
        answers = [server.redact("", position), server.redact("", position + 1000), server.redact("nowhere", 1),
                   server.redact("", position)]
        assert isinstance(await answers[0], chathub.Ok)
        for answer in answers[1:3]:
            with pytest.raises(chathub.Error, match="not_found"):
                await answer
        await server.me.ping()
        assert answers[3].done()
        answers[3].hush()
        with pytest.raises(chathub.Error, match="bad_position"):
            server.redact("", 0)
        with pytest.raises(chathub.Error, match="bad_room"):
            server.redact("\x07", 1)


async def test_a_client_is_ended_with_a_message():
    server = chathub.Server(LISTEN)
    who = []
    server.authorize("hello")(lambda question: who.append(question.client) or True)
    async with server:
        with Peer(server, "ann") as peer:
            await peer.seen("welcome")
            server.disconnect(who[0], 4000, "enough")
            assert (await peer.seen("bye"))["message"] == "enough"
        with pytest.raises(chathub.Error, match="gone"):
            server.disconnect(who[0] + (1 << 40))
        with pytest.raises(chathub.Error, match="invalid"):
            server.disconnect(who[0], 1)


async def test_a_client_inside_is_ended_like_any_other():
    async with chathub.Server() as server, server.client("bot") as bot:
        await bot.welcome
        server.disconnect(bot.number, 1000, "bye")
        events = [event async for event in bot.events()]
        assert isinstance(events[-1], chathub.Closed) and bot.closed


UPGRADE = ("GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chathub.v1\r\nSec-WebSocket-Key: {}\r\n\r\n")


async def test_a_connection_of_an_http_server_is_handed_over():
    loop = asyncio.get_running_loop()
    async with chathub.Server() as server:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            mine = socket.create_connection(listener.getsockname(), timeout=PATIENCE)
            theirs, _ = listener.accept()
        with mine:
            mine.sendall(UPGRADE.format(base64.b64encode(os.urandom(16)).decode()).encode())
            server.adopt(theirs, theirs.recv(4096))
            assert theirs.fileno() == -1
            answer = await loop.run_in_executor(None, mine.recv, 4096)
            assert answer.startswith(b"HTTP/1.1 101 ")
        assert server.stats().posts == 0


async def test_lines_are_handed_over():
    async with chathub.Server() as server:
        mine, theirs = socket.socketpair()
        with mine, mine.makefile("rb") as file:
            mine.settimeout(PATIENCE)
            server.adopt(theirs, b'{"type":"hello",', kind="lines", url="tcp://?room=lobby")
            mine.sendall(b'"name":"ann"}\n')
            line = await asyncio.get_running_loop().run_in_executor(None, file.readline)
            assert (json.loads(line)["sender"], json.loads(line)["default_room"]) == ("ann", "lobby")


async def test_what_cannot_be_handed_over_stays_the_programs():
    async with chathub.Server() as server:
        mine, theirs = socket.socketpair()
        with mine, theirs:
            with pytest.raises(chathub.Error, match="address"):
                server.adopt(theirs, url="gopher://")
            with pytest.raises(ValueError, match="kind is one of"):
                server.adopt(theirs, kind="post")
            theirs.sendall(b"still here")
            assert mine.recv(100) == b"still here"
        with open("/dev/null", "rb") as file, pytest.raises(chathub.Error, match="invalid"):
            server.adopt(file.fileno())
