"""Bots of decorated functions, in a server's process and on the network."""
import asyncio

import chathub
import pytest
from conftest import LISTEN, PATIENCE, Peer, first_of

def make_bot(**options):
    bot = chathub.Bot("clock", **options)

    @bot.command("time", "clock")
    def time(said):
        return f"{said.sender} wants the time: {' '.join(said.args)}"

    @bot.on_message
    async def greet(said):
        if said.content == "hello":
            await said.reply(f"hello {said.sender}")

    return bot


async def test_commands_and_messages_are_answered():
    server = chathub.Server(LISTEN)
    ready = server.add(make_bot(rooms=["tea", "general"]))
    async with server:
        await ready
        with Peer(server, "ann") as peer:
            peer.send(type="join", room="tea")
            peer.send(content='!time in "New York" now', room="tea")
            assert (await peer.seen("chat", sender="clock"))["content"] == "ann wants the time: in New York now"
            peer.send(content="!clock don't", room="tea")
            assert (await peer.seen("chat", sender="clock"))["content"] == "ann wants the time: don't"
            peer.send(content="hello", room="tea")
            assert (await peer.seen("chat", sender="clock"))["content"] == "hello ann"


async def test_who_comes_and_goes_and_any_event():
    server, seen = chathub.Server(LISTEN), []
    bot = chathub.Bot("host")

    @bot.on_join
    async def came(room, person):
        seen.append(("came", room, person.sender))

    @bot.on_leave
    def went(room, person):
        seen.append(("went", room, person.sender))

    @bot.on(chathub.Typing)
    def types(chat, event):
        seen.append((chat.name, event.sender))

    everything = []
    bot.on()(lambda chat, event: everything.append(type(event)))
    async with server:
        await server.add(bot)
        with Peer(server, "ann") as peer:
            peer.send(type="join")
            peer.send(type="typing", ref=1)
            await peer.seen("ok")
            peer.send(type="leave")
            await peer.seen("left")
            while ("went", "general", "ann") not in seen:
                await asyncio.sleep(0.001)
    assert sorted(set(seen)) == [("came", "general", "ann"), ("host", "ann"), ("went", "general", "ann")]
    assert {chathub.Joined, chathub.Presence, chathub.Typing} <= set(everything)


async def test_a_handler_that_fails_is_reported_and_the_bot_goes_on(caplog):
    bot = make_bot()

    @bot.command("fail")
    def fails(said):
        raise ZeroDivisionError("oh")

    @bot.command("long")
    async def talks(said):
        return "x" * 100000

    async with chathub.Server(LISTEN) as server:
        await server.add(bot)
        with Peer(server, "ann") as peer:
            peer.send(type="join")
            for text in ("!fail", "!long", "hello"):
                peer.send(content=text)
            await peer.seen("chat", content="hello ann")
    assert "fails failed for Message(" in caplog.text and "ZeroDivisionError: oh" in caplog.text
    assert "talks failed" in caplog.text and "too_long" in caplog.text


async def test_on_error_is_told_instead_and_may_fail_itself(caplog):
    bot, told = make_bot(), []

    @bot.command("fail")
    def fails(said):
        raise ZeroDivisionError(said.content)

    @bot.on_error
    async def hear(error, name, event):
        told.append((type(error), name.rsplit(".", 1)[-1], event.content))
        if len(told) == 2:
            raise KeyError("again")

    async with chathub.Server(LISTEN) as server:
        await server.add(bot)
        with Peer(server, "ann") as peer:
            peer.send(type="join")
            peer.send(content="!fail one")
            peer.send(content="!fail two")
            peer.send(content="hello")
            await peer.seen("chat", content="hello ann")
    assert told == [(ZeroDivisionError, "fails", "!fail one"), (ZeroDivisionError, "fails", "!fail two")]
    assert "on_error of the bot 'clock' failed" in caplog.text and caplog.text.count("fails failed for") == 1


async def test_a_bot_does_not_hear_itself():
    bot, heard = chathub.Bot("echo"), []

    @bot.on_message
    def echo(said):
        heard.append(said.content)
        return said.content

    async with chathub.Server(LISTEN) as server:
        await server.add(bot)
        events = server.events()
        await server.post("one")
        await server.post("two")
        seen = 0
        async for event in events:
            seen += isinstance(event, chathub.Message)
            if seen == 4:
                break
    assert heard == ["one", "two"]


async def test_a_bot_whose_name_is_taken_says_so(caplog):
    async with chathub.Server() as server, server.client("clock") as _clock:
        with pytest.raises(chathub.Error, match="name_taken"):
            await server.add(make_bot())
        server.add(make_bot())
        while "the coming of the bot 'clock' was refused: name_taken" not in caplog.text:
            await asyncio.sleep(0.001)


def test_bots_of_a_server_without_asyncio():
    with chathub.Server() as server:
        server.add(make_bot()).result(PATIENCE)
        events = server.events(timeout=PATIENCE)
        server.post("!time now").result(PATIENCE)
        assert first_of(events, chathub.Message, sender="clock").content.endswith("wants the time: now")


async def test_the_same_bot_over_the_network():
    async with chathub.Server(LISTEN) as server:
        bot = asyncio.create_task(make_bot(rooms=["tea"]).connect(server.listeners[0]))
        events = server.events("tea")
        async for event in events:
            if isinstance(event, (chathub.Presence, chathub.Joined)) and event.count == 2:
                break
        await server.post("hello", "tea")
        async for event in events:
            if isinstance(event, chathub.Message) and event.sender == "clock":
                break
        assert event.content.startswith("hello guest-")
        bot.cancel()
        with pytest.raises(asyncio.CancelledError):
            await bot


def test_a_command_is_defined_once():
    bot = make_bot()
    with pytest.raises(ValueError, match="already"):
        bot.command("time")(lambda said: None)
    with pytest.raises(ValueError, match="needs a name"):
        bot.command()
