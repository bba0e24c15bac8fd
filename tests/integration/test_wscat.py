"""Sessions that other chat servers' READMEs show, typed into wscat (Debian's node-ws) with chatd as the server."""
import asyncio
import json
import os
import re
import signal
import socket
import time

import pytest

from conftest import PATIENCE
from test_chat_basics import Typed

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
# wscat shows in blue what came, and in green what happened.
CAME, HAPPENED = re.compile(r"\x1b\[34m< ([^\x1b]*)"), re.compile(r"\x1b\[32m([^\x1b]*)")


class Wscat(Typed):
    """wscat, connected to a URL, and how far its frames were looked at."""
    opened = []

    def __init__(self, url):
        super().__init__("wscat", "-c", url)
        self.taken = 0
        self.opened.append(self)

    def found(self, pattern):
        return [match[1] for line in list(self.lines.all) for match in pattern.finditer(line)]

    async def hears(self, *frames):
        """The next frames are these."""
        assert await self.next(len(frames)) == list(frames)

    async def next(self, count):
        end = self.taken + count
        await asyncio.to_thread(self.lines.wait, lambda line: len(self.found(CAME)) >= end or None)
        self.taken, begun = end, self.taken
        return self.found(CAME)[begun:end]

    def heard_nothing_more(self):
        assert self.found(CAME)[self.taken:] == []

    def leave(self):
        """Ctrl+C, as its greeting says."""
        os.write(self.terminal, b"\x03")
        assert self.process.wait(PATIENCE) == 0

    async def is_disconnected(self, code, reason):
        await self.shows(f'Disconnected (code: {code}, reason: "{reason}")')
        assert await asyncio.to_thread(self.process.wait, PATIENCE) == 0


@pytest.fixture
def wscat():
    """Starts wscats: await wscat(url)."""
    async def start(url, word="Connected"):
        one = Wscat(url)
        await one.shows(word)
        return one
    yield start
    while Wscat.opened:
        Wscat.opened.pop().end()


def joined(name):
    return '{"username":"System","content":"%s joined the chat"}' % name


def left(name):
    return '{"username":"System","content":"%s left the chat"}' % name


def stamped(frame, **fields):
    """A frame of realtime or minichat: its keys in their order, and a time stamp at its end."""
    got = json.loads(frame)
    assert list(got) == [*fields, "timestamp"], frame
    assert TIMESTAMP.fullmatch(got.pop("timestamp")), frame
    assert got == fields


async def hear_stamped(who, *frames):
    for got, fields in zip(await who.next(len(frames)), frames):
        stamped(got, **fields)


# ---------------------------------------------------------------------------------------------------- gochat

async def gochat_session(alice, bob):
    """Both are connected, and nobody was named."""
    alice.type('{"username":"alice","content":"Hello, everyone!"}')
    await alice.hears('{"username":"alice","content":"Hello, everyone!"}', joined("alice"))
    bob.type('{"username":"bob","content":"Hi, alice"}')
    for who in (alice, bob):
        await who.hears('{"username":"bob","content":"Hi, alice"}', joined("bob"))
    alice.type('{"username":"mallory","content":"it is still me"}')
    alice.type('{"username":"alice","content":""}')
    alice.type('{"content":"and now?"}')
    for who in (alice, bob):
        await who.hears('{"username":"alice","content":"it is still me"}', '{"username":"alice","content":"and now?"}')
    bob.leave()
    await alice.hears(left("bob"))
    for who in (alice, bob):
        who.heard_nothing_more()


async def test_gochat_where_the_query_asks_for_it_is_silent_until_the_first_message(chatd, wscat):
    url = chatd.url() + "?dialect=gochat"
    await gochat_session(await wscat(url), await wscat(url))


async def test_gochat_where_the_server_is_set_to_it(start_chatd, wscat):
    url = start_chatd("--dialect", "gochat").url()
    await gochat_session(await wscat(url), await wscat(url))


async def test_gochat_where_only_the_first_message_tells(start_chatd, wscat):
    """Whoever observes hears native frames until then (docs/dialects.md); here nobody does."""
    url = start_chatd("--observe-delay", "0").url()
    await gochat_session(await wscat(url), await wscat(url))


async def test_gochat_at_a_server_as_it_comes(chatd, wscat):
    alice = await wscat(chatd.url())
    alice.type('{"username":"alice"}')
    await alice.hears(joined("alice"))
    bob = await wscat(chatd.url())
    bob.type('{"username":"bob","content":"Hi"}')
    for who in (alice, bob):
        await who.hears('{"username":"bob","content":"Hi"}', joined("bob"))
    bob.end()  # without a goodbye
    await alice.hears(left("bob"))


async def test_gochat_wants_a_name_first(chatd, wscat):
    stranger = await wscat(chatd.url() + "?dialect=gochat")
    stranger.type('{"content":"hi"}')
    await stranger.hears('{"username":"System","content":"Error: Username is required in first message"}')
    await stranger.shows("Disconnected (code: 1008")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_gochat_shuts_down_gracefully(chatd, wscat, number):
    url = chatd.url() + "?dialect=gochat"
    alice, silent = await wscat(url), await wscat(url)
    alice.type('{"username":"alice","content":"Hi"}')
    await alice.hears('{"username":"alice","content":"Hi"}', joined("alice"))
    begun = time.monotonic()
    chatd.process.send_signal(number)
    for who in (alice, silent):
        await who.is_disconnected(1001, "Server shutting down")
        who.heard_nothing_more()
    await chatd.ended()
    assert time.monotonic() - begun < 5


async def test_gochat_takes_nobody_in_while_it_shuts_down(chatd, wscat):
    alice = await wscat(chatd.url() + "?dialect=gochat")
    alice.process.send_signal(signal.SIGSTOP)  # it does not answer the close, and holds the server up
    chatd.process.send_signal(signal.SIGTERM)
    chatd.record("disconnected")  # it has said goodbye
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(chatd.address("ws"), PATIENCE)
    alice.process.send_signal(signal.SIGCONT)
    await alice.is_disconnected(1001, "Server shutting down")
    await chatd.ended()


# ---------------------------------------------------------------------------------------------------- realtime

HELLO = {"sender": "Abhi", "content": "Hello, World!"}


@pytest.mark.parametrize("args, query", [((), "?dialect=realtime"), (("--dialect", "realtime"), "")])
async def test_realtime_brings_a_message_back_with_its_time_and_to_who_never_spoke(start_chatd, wscat, args, query):
    url = start_chatd(*args).url() + query
    abhi, silent = await wscat(url), await wscat(url)
    abhi.type('{"sender":"Abhi","content":"Hello, World!"}')
    for who in (abhi, silent):
        await hear_stamped(who, HELLO)
    abhi.type('{"sender":"Somebody else","content":"<b>&"}')
    for who in (abhi, silent):
        await hear_stamped(who, {"sender": "Somebody else", "content": "<b>&"})
    abhi.leave()
    silent.type('{"sender":"Riya","content":"Anybody here?"}')
    await hear_stamped(silent, {"sender": "Riya", "content": "Anybody here?"})
    for who in (abhi, silent):
        who.heard_nothing_more()


async def test_realtime_at_a_server_as_it_comes(chatd, wscat):
    abhi, riya = await wscat(chatd.url()), await wscat(chatd.url())
    riya.type('{"sender":"Riya","content":"I am here"}')
    await hear_stamped(riya, {"sender": "Riya", "content": "I am here"})
    abhi.type('{"sender":"Abhi","content":"Hello, World!"}')
    await hear_stamped(riya, HELLO)
    await abhi.shows("\x1b[34m< ", '"Hello, World!"')
    stamped(abhi.found(CAME)[-1], **HELLO)


async def test_realtime_at_a_server_as_it_comes_is_understood_by_who_never_speaks(start_chatd, wscat):
    """It observes, from the moment when it is clear that it says nothing: natively, with the members that it knows."""
    url = start_chatd("--observe-delay", "1ms").url()
    silent, abhi = await wscat(url), await wscat(url)
    abhi.type('{"sender":"Abhi","content":"Hello, World!"}')
    got = json.loads((await silent.next(1))[0])
    assert {key: got[key] for key in HELLO} == HELLO and TIMESTAMP.fullmatch(got["timestamp"])


async def test_realtime_says_goodbye(chatd, wscat):
    abhi = await wscat(chatd.url() + "?dialect=realtime")
    chatd.process.send_signal(signal.SIGTERM)
    await abhi.is_disconnected(1001, "Server shutting down")
    abhi.heard_nothing_more()
    await chatd.ended()


# ---------------------------------------------------------------------------------------------------- minichat

def system(content):
    return {"type": "system", "content": content, "sender": ""}


def said(name, content, kind="chat"):
    return {"type": kind, "content": content, "sender": name}


@pytest.mark.parametrize("query", ["", "&dialect=minichat"])
async def test_minichat(chatd, wscat, query):
    alice = await wscat(f"{chatd.url()}?username=alice{query}")
    await hear_stamped(alice, system("Welcome, alice"), said("", "online: alice", "status"),
                       system("alice joined the chat"))
    alice.type('{"type":"chat","content":"hi","sender":"mallory","timestamp":"yesterday"}')
    await hear_stamped(alice, said("alice", "hi"))
    bob = await wscat(f"{chatd.url()}?username=bob{query}")
    await hear_stamped(bob, system("Welcome, bob"), said("", "online: alice, bob", "status"), said("alice", "hi"),
                       system("bob joined the chat"))
    await hear_stamped(alice, system("bob joined the chat"))
    alice.type('{"type":"status","content":"typing"}')
    await hear_stamped(bob, said("alice", "typing", "status"))
    bob.leave()
    await alice.shows('"bob left the chat"')


async def test_minichat_wants_a_name(chatd, wscat):
    await wscat(f"{chatd.url()}?dialect=minichat", "Unexpected server response: 400")


# ---------------------------------------------------------------------------------------------------- multiserver

async def test_multiserver(chatd, wscat):
    url = chatd.url() + "?dialect=multiserver"
    welcome = "SYSTEM_MSG:Welcome to chat server main! Please type your username to begin."
    alice, bob = await wscat(url), await wscat(url)
    for who in (alice, bob):
        await who.hears(welcome)
    alice.type("alice")
    await alice.hears("SYSTEM_MSG:Username set to alice. Welcome to the chat!", "SYSTEM_MSG:alice has joined the chat")
    await bob.hears("SYSTEM_MSG:alice has joined the chat")
    alice.type("SYSTEM_MSG:hi, {all}")
    for who in (alice, bob):
        await who.hears("alice: SYSTEM_MSG:hi, {all}")
    bob.type("bob")
    await bob.hears("SYSTEM_MSG:Username set to bob. Welcome to the chat!", "SYSTEM_MSG:bob has joined the chat")
    await alice.hears("SYSTEM_MSG:bob has joined the chat")
    bob.leave()
    await alice.hears("SYSTEM_MSG:bob has left the chat")
    for who in (alice, bob):
        who.heard_nothing_more()
