"""What crosses between dialects and sessions: private messages, typing and status, lists, order under load, places that
are remembered, and errors of the log."""
import json

import pytest

from conftest import Client
from dialects import DIALECTS, Odd, Peer, Said, State, Told, settle
from wire import TEXT, close, frame

TELLING = ("minichat", "gochat", "multiserver")  # those that have texts for coming and going


@pytest.fixture
def start_chatd(start_chatd):
    """As ever, but for as many pings as `settle` sends."""
    return lambda *args, **options: start_chatd("--control-rate", "1000", *args, **options)


def left_text(name, who):
    return Told(f"{who} has left the chat" if name == "multiserver" else f"{who} left the chat")


def heard(dialect, peer):
    """What came until now, read."""
    settle(peer)
    found = [dialect.read(payload) for payload in peer.frames]
    peer.frames.clear()
    assert not any(isinstance(got, Odd) for got in found), found
    return found


def posts(dialect, peer):
    return [got for got in heard(dialect, peer) if isinstance(got, Said)]


# ------------------------------------------------------------------------------------------------ private messages

@pytest.fixture
def discreet(start_chatd):
    return start_chatd("--presence-all-ms", "0", listen=("ws://127.0.0.1:0/ws?private=yes", "tcp://127.0.0.1:0"))


def enter(dialect, server, name):
    """A client that is in the room: realtime's is from its first message on."""
    peer = dialect.open(server, name)
    if dialect.name == "realtime":
        peer.send(dialect.say(name, "I come"))
    heard(dialect, peer)
    return peer


@pytest.mark.parametrize("name", DIALECTS)
def test_a_private_message_comes_to_whom_it_is_for_in_any_dialect(discreet, name):
    """And to its sender; to nobody else, and to nobody later."""
    realtime, dialect = DIALECTS["realtime"], DIALECTS[name]
    abhi = enter(realtime, discreet, "Abhi")
    bob, twin, other = (enter(dialect, discreet, who) for who in ("bob", "Bob", "other"))
    plain = enter(DIALECTS["multiserver"], discreet, "plain")
    for reader, peer in ((realtime, abhi), (dialect, bob), (dialect, twin), (dialect, other)):
        heard(reader, peer)
    abhi.send(realtime.say("Abhi", "@bob for you alone"))
    own = posts(realtime, abhi)
    assert len(own) == 1 and own[0].sender == "Abhi" and "for you alone" in own[0].text
    for peer in (bob, twin):
        got = [one for one in heard(dialect, peer) if "for you alone" in one.text]
        # the text may say that it is private; where a line is all there is, it is one of the system that begins so
        assert len(got) == 1 and got[0].text.endswith("@bob for you alone"), got
        assert got[0].sender == "Abhi" if name != "multiserver" else got[0].text.startswith("(private) Abhi: ")
    for reader, peer in ((dialect, other), (DIALECTS["multiserver"], plain)):
        assert not [got for got in heard(reader, peer) if "alone" in got.text]
    # not stored
    bob.leave()
    late = Peer(discreet.address("ws"), "dialect=chatservice&token=user:bob")
    DIALECTS["chatservice"].come(late, "bob")
    assert not [got for got in heard(DIALECTS["chatservice"], late) if "alone" in got.text]


async def test_a_native_client_gets_a_private_message_as_such(discreet):
    realtime, nat, other = DIALECTS["realtime"], await discreet.client("nat"), await discreet.client("other")
    abhi = enter(realtime, discreet, "Abhi")
    await nat.chat("I come")
    abhi.send(realtime.say("Abhi", "@nat psst"))
    got = await nat.get("private")
    assert got["sender"] == "Abhi" and "psst" in got["content"] and "position" not in got
    assert not [one for one in await other.quiet() if "psst" in json.dumps(one)]
    assert not [one for one in await nat.quiet() if "psst" in json.dumps(one)]  # once


def test_a_private_message_to_nobody_is_heard_by_nobody(discreet):
    realtime, minichat = DIALECTS["realtime"], DIALECTS["minichat"]
    other = enter(minichat, discreet, "other")
    abhi = enter(realtime, discreet, "Abhi")
    heard(minichat, other)
    abhi.send(realtime.say("Abhi", "@nobody where are you"))
    found = heard(realtime, abhi)
    assert len(found) == 1 and (found[0].text.startswith("Error: ") or found[0].sender == "Abhi")
    assert not heard(minichat, other)


@pytest.mark.parametrize("text", ["@", "@ ", "@ x", "@bob", "@bobby hi", " @bob hi", "bob@bob hi"])
def test_what_only_looks_private_harms_nobody(discreet, text):
    """Whatever it is taken for, it is said once or answered once, under one name."""
    realtime = DIALECTS["realtime"]
    abhi, bob = enter(realtime, discreet, "Abhi"), enter(realtime, discreet, "bob")
    heard(realtime, abhi)
    abhi.send(realtime.say("Abhi", text))
    found = heard(realtime, abhi)
    assert len(found) == 1, found
    if not text.startswith("@"):
        assert found == heard(realtime, bob) == [Said("Abhi", text)]


@pytest.mark.parametrize("name", [name for name in DIALECTS if name != "realtime"])
def test_only_realtime_has_private_messages(discreet, name):
    dialect = DIALECTS[name]
    alice, bob, other = (enter(dialect, discreet, who) for who in ("alice", "bob", "other"))
    alice.send(dialect.say("alice", "@bob for all"))
    settle(alice)
    assert posts(dialect, bob) == posts(dialect, other) == [Said("alice", "@bob for all")]


# ------------------------------------------------------------------------------------------------ state

async def test_typing_and_status_cross_between_minichat_and_native_clients(start_chatd):
    chatd = start_chatd("--presence-all-ms", "0")
    minichat, nat = DIALECTS["minichat"], await chatd.client("nat")
    others = {name: enter(dialect, chatd, "other") for name, dialect in DIALECTS.items() if name != "minichat"}
    bob = enter(minichat, chatd, "bob")
    for name, peer in others.items():
        heard(DIALECTS[name], peer)
    for request, told in (({"type": "typing"}, "typing"), ({"type": "typing", "on": False}, "stopped typing"),
                          ({"type": "status", "status": "at lunch"}, "at lunch"),
                          ({"type": "status", "status": ""}, "online")):
        await nat.send(request)
        assert minichat.read(bob.next()) == State("nat", told)
    for text, kind, field, value in (("typing", "typing", "on", True), ("stopped typing", "typing", "on", False),
                                     ("away", "status", "status", "away"), ("online", "status", "status", "online")):
        bob.send(json.dumps({"type": "status", "content": text}))
        assert minichat.read(bob.next()) == State("bob", text)
        assert (await nat.get(kind, sender="bob"))[field] == value
    bob.send('{"type":"status","content":"away"}')
    await nat.get("status", sender="bob", status="away")
    members = (await nat.ask({"type": "who"}, "who"))["members"]
    assert [one["status"] for one in members if one["sender"] == "bob"] == ["away"]
    for name, peer in others.items():  # who have no form for it
        assert not heard(DIALECTS[name], peer), name


@pytest.mark.parametrize("name", ["multiserver", "realtime", "gochat"])
async def test_who_has_said_nothing_is_in_no_list(chatd, name):
    """multiserver's and realtime's clients receive before they are somebody."""
    dialect, nat = DIALECTS[name], await chatd.client("nat")
    peer = dialect.open(chatd, "bob", come=False)
    settle(peer)

    async def who():
        return sorted(one["sender"] for one in (await nat.ask({"type": "who"}, "who"))["members"])

    assert await who() == ["nat"]
    dialect.come(peer, "bob")
    if name == "realtime":
        peer.send(dialect.say("bob", "hi"))
    await nat.get("presence", count=2)
    assert await who() == ["bob", "nat"]
    peer.leave()
    await nat.get("presence", count=1)
    assert await who() == ["nat"]


async def test_the_list_of_minichat_has_everybody_of_any_dialect(start_chatd):
    chatd = start_chatd("--presence-all-ms", "0")
    peers = [enter(DIALECTS[name], chatd, f"a {name}") for name in DIALECTS]
    nat = await chatd.client("a native one")
    last = DIALECTS["minichat"].open(chatd, "the last")
    assert DIALECTS["minichat"].read(last.next()) == Told("Welcome, the last")
    online = DIALECTS["minichat"].read(last.next()).text
    assert online.startswith("online: ")
    assert set(online[len("online: "):].split(", ")) == {"the last", nat.name, *(f"a {name}" for name in DIALECTS)}
    assert peers


# ------------------------------------------------------------------------------------------------ order

@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("name", DIALECTS)
def test_left_comes_after_the_last_post_and_joined_after_the_first(request, start_chatd, log_path, name, kind):
    """However much is under way, and however long its commit takes."""
    if kind == "sqlite":
        request.getfixturevalue("sqlite")
    chatd = start_chatd(log=log_path if kind == "sqlite" else "memory")
    dialect, count = DIALECTS[name], 300
    watchers = {telling: DIALECTS[telling].open(chatd, "watcher") for telling in TELLING}
    settle(*watchers.values())
    for peer in watchers.values():
        peer.frames.clear()
    bob = dialect.open(chatd, "bob", come=name != "gochat")
    if name == "gochat":
        bob.send(dialect.say("bob", "first"))
    elif name == "realtime":
        bob.send(dialect.say("bob", "I come"))
    for telling, peer in watchers.items():
        found = []
        while not found or found[-1] not in (Told("bob joined the chat"), Told("bob has joined the chat")):
            found.append(DIALECTS[telling].read(peer.next()))
        assert (Said("bob", "first") in found) == (name == "gochat")
    bob.raw.send(b"".join(frame(TEXT, dialect.say("bob", f"{n}")) for n in range(count)) + close(1000))
    for telling, peer in watchers.items():
        found = []
        while not found or found[-1] != left_text(telling, "bob"):
            found.append(DIALECTS[telling].read(peer.next()))
        wanted = [Said("bob", f"{n}") for n in range(count)]
        assert [got for got in found if isinstance(got, Said) and got.text != "I come"] == wanted, telling


# ------------------------------------------------------------------------------------------------ places

def missed(chatd, name="minichat"):
    """Bob leaves, three things are said, and bob comes again: which of them he gets."""
    dialect = DIALECTS[name]
    alice, bob = enter(dialect, chatd, "alice"), enter(dialect, chatd, "bob")
    other = enter(dialect, chatd, "other")
    bob.leave()
    other.leave()
    settle(alice)
    for n in range(3):
        alice.send(dialect.say("alice", str(n)))
    settle(alice)
    return [got.text for got in posts(dialect, enter_silently(dialect, chatd, "bob"))]


def enter_silently(dialect, chatd, name):
    peer = dialect.open(chatd, name)
    settle(peer)
    return peer


@pytest.mark.parametrize("name, args, wanted", [
    ("minichat", [], ["0", "1", "2"]), ("minichat", ["--join-history", "1"], ["0", "1", "2"]),
    ("minichat", ["--join-history", "0"], ["0", "1", "2"]), ("chatservice", ["--join-history", "1"], ["0", "1", "2"]),
    ("gochat", [], ["0", "1", "2"]),
    # not remembered: what a new client gets
    ("minichat", ["--join-history", "1", "--replay-names", "0"], ["2"]), ("gochat", ["--replay-names", "0"], []),
    ("chatservice", ["--join-history", "1", "--replay-time", "0s"], ["2"]),
    # one place only, which is that of who left last
    ("minichat", ["--join-history", "1", "--replay-names", "1"], ["2"]),
])
def test_where_a_name_stood_is_remembered_within_bounds(start_chatd, name, args, wanted):
    assert missed(start_chatd("--presence-all-ms", "0", *args), name) == wanted


@pytest.mark.parametrize("name", ["multiserver", "realtime"])
def test_who_has_a_name_only_later_gets_nothing_again(chatd, name):
    assert missed(chatd, name) == []


def test_a_room_of_chatservice_that_was_left_goes_on_where_it_was_left(start_chatd):
    """Each room by itself; joining twice is joining once."""
    chatd, dialect = start_chatd("--join-history", "0"), DIALECTS["chatservice"]
    alice, bob = (dialect.open(chatd, name, come=False) for name in ("alice", "bob"))

    def do(peer, action, room, **more):
        peer.send(json.dumps({"action": action, "room": room, **more}))
        settle(peer)

    for room in ("red", "blue"):
        for peer in (alice, bob, bob):
            do(peer, "join", room)
    do(bob, "leave", "red")
    for n in range(3):
        do(alice, "message", "red", payload={"text": f"red {n}"})
    do(alice, "message", "blue", payload={"text": "blue"})
    assert posts(dialect, bob) == [Said("alice", "blue")]
    do(bob, "join", "red")
    assert posts(dialect, bob) == [Said("alice", f"red {n}") for n in range(3)]
    do(bob, "join", "red")
    do(alice, "message", "red", payload={"text": "once"})
    assert posts(dialect, bob) == [Said("alice", "once")]


# ------------------------------------------------------------------------------------------------ errors, logs

@pytest.mark.parametrize("name", DIALECTS)
def test_what_could_not_be_committed_is_told_by_an_error_line(sqlite, start_logged, name):
    """A disk that has too little left, here."""
    chatd = start_logged("--log-free", "1024g", "--presence-all-ms", "0")
    dialect = DIALECTS[name]
    other = dialect.open(chatd, "other")
    settle(other)
    other.frames.clear()
    peer = dialect.open(chatd, "bob")
    settle(peer)
    peer.frames.clear()
    peer.send(dialect.say("bob", "hi"))
    while not isinstance(got := dialect.read(peer.next()), Told) or not got.text.startswith("Error: "):
        assert not isinstance(got, (Said, Odd)), got
    assert not posts(dialect, peer) and not posts(dialect, other)
    assert not peer.ended


def test_no_token_and_no_text_stands_in_the_log(start_chatd):
    chatd = start_chatd()
    peer = DIALECTS["chatservice"].open(chatd, "alice")
    peer.send(DIALECTS["chatservice"].say("alice", "a secret"))
    peer.next()
    peer.leave()
    chatd.record("disconnected")
    chatd.stop()
    assert not any(word in line for line in chatd.log.all for word in ("token=", "user:", "a secret"))


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("who", ["x" * 64, "ü" * 32, "Zoë Müller-Lüdenscheidt", "人", "a.b-c_d!", "O'Neill"])
def test_names_are_printable_text_with_inner_spaces(need_unicode, chatd, name, who):
    """Of up to 64 bytes; shown as they were given."""
    need_unicode(who)
    dialect = DIALECTS[name]
    peer = enter(dialect, chatd, who)
    peer.send(dialect.say(who, "hi"))
    assert posts(dialect, peer) == [Said(who, "hi")]


async def test_nobody_takes_a_name_that_the_server_could_have(chatd):
    """By a second hello neither: a native client's rename is told under true names only."""
    minichat, nat = DIALECTS["minichat"], await chatd.client("nat")
    watcher = enter(minichat, chatd, "watcher")
    for bad in ("System", "server", "SYSTEM_MSG:x", "guest-abc"):
        assert (await nat.ask({"type": "hello", "name": bad}, "error"))["code"] == "name_reserved"
        other = Client(await chatd.connect())
        assert (await other.ask({"type": "hello", "name": bad}, "error"))["code"] == "name_reserved"
    await nat.hello("nat the second")
    await nat.post("done")
    while (got := minichat.read(watcher.next())) != Said("nat the second", "done"):
        assert not isinstance(got, Odd) and not (isinstance(got, Told) and got.text.startswith("System")), got
