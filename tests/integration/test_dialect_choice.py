"""Which dialect a connection speaks, and what all five have in common: origins, silence, a restart of the server."""
import json
import re
import urllib.parse

import pytest

from conftest import Client
from dialects import DIALECTS, Odd, Peer, Refused, Said, State, Told, settle
from wire import PONG, TEXT, Raw, frame, upgrade

V1 = "Sec-WebSocket-Protocol: chathub.v1"


@pytest.fixture
def start_chatd(start_chatd):
    """As ever, but for as many pings as `settle` sends."""
    return lambda *args, **options: start_chatd("--control-rate", "1000", *args, **options)


def spoken(peer):
    """The dialect that a connection without a subprotocol shows to speak. Its client's name is `probe`."""
    settle(peer)
    if peer.frames:
        first = peer.next()
        return "multiserver" if first.startswith(b"SYSTEM_MSG:Welcome") else \
            "minichat" if DIALECTS["minichat"].read(first) == Told("Welcome, probe") else first
    peer.send('{"action":"join","room":"general"}')
    settle(peer, may_close=True)  # gochat's first message has to have a username
    answer = peer.next() if peer.frames else None
    if answer is None:
        peer.send(DIALECTS["chatservice"].say("probe", "hi"))
        return "chatservice" if DIALECTS["chatservice"].read(peer.next()) == Said("probe", "hi") else None
    shape = list(json.loads(answer))
    return {"username": "gochat", "sender": "realtime", "type": "native"}[shape[0]]


# chatd's options; the listener's query; the client's query; what is spoken
CHOICES = [
    ([], "", "dialect=native", "native"),
    *(([], "", DIALECTS[name].chosen("probe"), name) for name in DIALECTS),
    *(([], f"dialect={name}", DIALECTS[name].query("probe"), name) for name in DIALECTS),
    *((["--dialect", name], "", DIALECTS[name].query("probe"), name) for name in DIALECTS),
    ([], "", "token=user:probe", "chatservice"),
    ([], "", "username=probe", "minichat"),
    ([], "", "token=user:probe&username=other", "chatservice"),
    ([], "", "x=1&username=probe", "minichat"),
    # what the client says is before what the listener says, and both before the rest of the query
    ([], "dialect=gochat", "dialect=realtime", "realtime"),
    ([], "dialect=gochat", "dialect=native", "native"),
    ([], "dialect=gochat", "username=probe", "gochat"),
    ([], "dialect=multiserver", "token=user:probe", "multiserver"),
    ([], "dialect=multiserver", "dialect=minichat&username=probe", "minichat"),
    (["--dialect", "realtime"], "dialect=gochat", "", "gochat"),
    (["--dialect", "realtime"], "", "username=probe", "realtime"),
    (["--dialect", "realtime"], "", "dialect=multiserver", "multiserver"),
    (["--dialect", "native"], "", "username=probe", "native"),
    (["--dialect", "gochat"], "dialect=native", "username=probe", "native"),
]


@pytest.mark.parametrize("args, listener, query, wanted", CHOICES)
def test_what_is_said_first_decides(start_chatd, args, listener, query, wanted):
    url = "ws://127.0.0.1:0/ws" + (f"?{listener}" if listener else "")
    chatd = start_chatd("--observe-delay", "0", *args, listen=(url,))
    assert spoken(Peer(chatd.address("ws"), query)) == wanted


@pytest.mark.parametrize("listener, query", [
    ("", "dialect=gochat"), ("dialect=multiserver", ""), ("", "username=probe"), ("dialect=minichat", ""),
    ("dialect=chatservice", "dialect=minichat")])
def test_the_subprotocol_is_before_all_else(start_chatd, listener, query):
    """The built-in page works on every listener."""
    chatd = start_chatd(listen=("ws://127.0.0.1:0/ws" + (f"?{listener}" if listener else ""),))
    peer = Peer(chatd.address("ws"), query, V1)
    assert peer.headers["sec-websocket-protocol"] == "chathub.v1"
    peer.send('{"type":"ping","ref":1}')
    assert [json.loads(peer.next())["type"] for _ in range(2)] == ["welcome", "pong"]


@pytest.mark.parametrize("query", ["dialect=none", "dialect=GOCHAT", "dialect=gochat%00",
                                   "username=bob&dialect=klingon"])
def test_an_unknown_dialect_is_refused(chatd, query):
    with pytest.raises(Refused) as refused:
        Peer(chatd.address("ws"), query)
    assert refused.value.status == 400 and refused.value.body.strip()


def test_an_unknown_dialect_of_a_listener_is_told_at_the_start(run_chatd):
    for args in (["--dialect", "klingon"], ["--listen", "ws://127.0.0.1:0/ws?dialect=klingon"]):
        done = run_chatd(*args)
        assert done.returncode != 0 and "klingon" in done.stderr and "gochat" in done.stderr


FIRST = [
    ('{"action":"join","room":"general"}', "chatservice"),
    ('{"username":"first","content":"hi"}', "gochat"),
    ('{"content":"hi","username":"first"}', "gochat"),
    ('{"sender":"first","content":"hi"}', "realtime"),
    ('{"content":"hi"}', "native"),
    ('{"type":"post","content":"hi","sender":5}', "realtime"),
    ('{"type":"hello","name":"first"}', "native"),
    ('{"data":{"username":"inner"},"content":"hi"}', "native"),
    ('{"content":"\\"username\\":\\"first\\""}', "native"),
    ('["username","first"]', "native"),
    ('hello', "native"),
]


@pytest.mark.parametrize("text, wanted", FIRST)
def test_the_first_frame_decides_where_nothing_else_did(chatd, text, wanted):
    peer = Peer(chatd.address("ws"))
    peer.send(text)
    if wanted == "chatservice":  # without a token nobody has a name: whatever it is told, it is in that form
        settle(peer)
        assert not any(json.loads(got).get("type") in ("welcome", "joined", "error") for got in peer.frames)
        return
    first = json.loads(peer.next())
    assert {"username": "gochat", "sender": "realtime", "type": "native"}[list(first)[0]] == wanted


# ------------------------------------------------------------------------------------------------ silence

def test_a_silent_connection_observes_in_the_native_form_and_may_still_choose(chatd):
    """By default after 250 ms: from now on, not in who, no join told; its first frame chooses all the same."""
    gochat, minichat = DIALECTS["gochat"], DIALECTS["minichat"]
    bob = minichat.open(chatd, "bob")
    while minichat.read(bob.next()) != Told("bob joined the chat"):
        pass
    bob.send(minichat.say("bob", "before"))
    bob.next()
    silent = Peer(chatd.address("ws"))
    count = 0
    while not silent.comes(0.02):  # until it observes
        count += 1
        bob.send(minichat.say("bob", str(count)))
        assert minichat.read(bob.next()) == Said("bob", str(count))
    heard = json.loads(silent.next())
    assert [heard[key] for key in ("type", "sender")] == ["chat", "bob"] and heard["content"] != "before"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", heard["timestamp"])
    settle(silent, bob)
    assert not bob.frames  # nobody was told
    silent.frames.clear()
    silent.send(gochat.say("late", "hi"))
    assert [gochat.read(silent.next()) for _ in range(2)] == [Said("late", "hi"), Told("late joined the chat")]
    assert [minichat.read(bob.next()) for _ in range(2)] == [Said("late", "hi"), Told("late joined the chat")]


def test_who_comes_and_goes_within_the_gathering_time_is_not_told(start_chatd):
    """Changes are told at once, but no oftener than --presence-all-ms."""
    chatd = start_chatd("--presence-all-ms", "1s")
    minichat = DIALECTS["minichat"]
    alice = minichat.open(chatd, "alice")
    while minichat.read(alice.next()) != Told("alice joined the chat"):
        pass
    carol, dave = minichat.open(chatd, "carol"), minichat.open(chatd, "dave")
    settle(carol, dave)
    carol.leave()
    assert minichat.read(alice.next()) == Told("dave joined the chat")


# ------------------------------------------------------------------------------------------------ in common

@pytest.mark.parametrize("name", DIALECTS)
def test_pages_of_localhost_may_connect_from_any_port_and_others_may_not(chatd, name):
    query, address = DIALECTS[name].chosen("probe"), chatd.address("ws")
    for origin in ("http://localhost:3000", "http://127.0.0.1:8081", "https://localhost"):
        Peer(address, query, f"Origin: {origin}").leave()
    for origin in ("http://example.org", "null", "http://localhost.example.org"):
        with pytest.raises(Refused) as refused:
            Peer(address, query, f"Origin: {origin}")
        assert refused.value.status == 403


@pytest.mark.parametrize("name", DIALECTS)
def test_html_comes_through_as_text(chatd, name):
    dialect, text = DIALECTS[name], "<b>&amp; \"q\" \\ \u2028 ü 😀 </script>"
    peer = dialect.open(chatd, "probe")
    peer.send(dialect.say("probe", text))
    while not isinstance(got := dialect.read(peer.next()), Said):
        assert not isinstance(got, Odd), got
    assert got == Said("probe", text.replace("\u2028", got.text[len('<b>&amp; "q" \\ '):-len(' ü 😀 </script>')]))


@pytest.mark.parametrize("name", ["chatservice", "minichat"])
def test_what_was_said_outlives_a_restart_and_keeps_its_ids(sqlite, start_logged, name):
    """With a log in a file, who comes then gets what a new one gets: the same frames, byte by byte."""
    dialect, shown = DIALECTS[name], []
    for run in range(2):
        chatd = start_logged()
        peer = dialect.open(chatd, "alice")
        peer.send(dialect.say("alice", f"in run {run}"))
        frames = []
        while not frames or dialect.read(frames[-1]) != Said("alice", f"in run {run}"):
            if isinstance(dialect.read(got := peer.next()), Said):
                frames.append(got)
        shown.append(frames)
        peer.leave()
        chatd.stop()
    assert len(shown[0]) == 1 and shown[1][:-1] == shown[0]


@pytest.mark.parametrize("name", DIALECTS)
async def test_native_clients_get_sender_ids_and_may_not_take_a_taken_name(chatd, name):
    dialect = DIALECTS[name]
    nat = await chatd.client("nat")
    one, other = dialect.open(chatd, "twin"), dialect.open(chatd, "twin")
    for peer, text in ((one, "from one"), (other, "from the other")):
        peer.send(dialect.say("twin", text))
        settle(peer)
    first, second = await nat.chat("from one"), await nat.chat("from the other")
    assert first["sender"] == second["sender"] == "twin" and first["sender_id"] != second["sender_id"]
    refused = Client(await chatd.connect())
    assert (await refused.ask({"type": "hello", "name": "Twin"}, "error"))["code"] == "name_taken"
    # but somebody else's clients may have a native one's
    third = dialect.open(chatd, "nat")
    third.send(dialect.say("nat", "I am not nat"))
    assert (await nat.chat("I am not nat"))["sender"] == "nat"


@pytest.mark.parametrize("name", DIALECTS)
def test_a_name_for_another_room_stays_there(start_chatd, name):
    """The default room is the listener's."""
    dialect = DIALECTS[name]
    chatd = start_chatd(listen=(f"ws://127.0.0.1:0/ws?dialect={name}&room=general",
                                f"ws://localhost:0/ws?dialect={name}&room=tea"))
    there = chatd.urls[1]
    here = dialect.open(chatd, "here", query=dialect.query("here"))
    parts = urllib.parse.urlsplit(there)
    other = Peer((parts.hostname, parts.port), dialect.query("there"))
    if name == "chatservice":
        other.send('{"action":"join","room":"tea"}')
        other.send('{"action":"message","room":"tea","payload":{"text":"in tea"}}')
    else:
        dialect.come(other, "there")
        other.send(dialect.say("there", "in tea"))
    while dialect.read(other.next()) != Said("there", "in tea"):
        pass
    here.send(dialect.say("here", "in general"))
    seen = []
    while not seen or seen[-1] != Said("here", "in general"):
        seen.append(dialect.read(here.next()))
    settle(here, other)
    assert not [got for got in seen if got == Said("there", "in tea")]
    assert not [got for got in other.frames if dialect.read(got) == Said("here", "in general")]


def test_a_demo_token_is_no_name_beyond_this_machine(start_chatd):
    """chatservice's token proves nothing: where others can come it takes --demo-names."""
    for args, taken in (([], False), (["--demo-names"], True)):
        chatd = start_chatd("--insecure", *args, listen=("ws://0.0.0.0:0/ws",))
        try:
            Peer(("127.0.0.1", chatd.address("ws")[1]), "token=user:alice").leave()
            assert taken
        except Refused as refused:
            assert not taken and refused.status == 401


def test_what_happens_is_logged(chatd):
    """realtime's README: structured lines on connect, disconnect, message and broadcast."""
    realtime = DIALECTS["realtime"]
    peer, other = realtime.open(chatd, "Abhi"), realtime.open(chatd, "Bob")
    peer.send(realtime.say("Abhi", "a secret word"))
    other.next()
    assert chatd.record("connected", dialect="realtime")
    assert chatd.record("post", name="Abhi", room="general")
    peer.leave()
    other.leave()
    assert chatd.record("disconnected")
    assert "a secret word" not in chatd.tail()


@pytest.mark.parametrize("name", DIALECTS)
def test_fragments_and_pings_are_frames_of_any_dialect(chatd, name):
    """A message in pieces, with a ping in between, is one message."""
    dialect = DIALECTS[name]
    peer = dialect.open(chatd, "probe")
    text = dialect.say("probe", "in pieces").encode()
    peer.raw.send(frame(TEXT, text[:5], fin=False) + frame(9, b"between") + frame(0, text[5:]))
    while True:
        opcode, payload = peer.raw.frame()
        if opcode == PONG:
            continue
        if dialect.read(payload) == Said("probe", "in pieces"):
            break
        assert isinstance(dialect.read(payload), (Told, State)), payload


def test_other_paths_are_no_websockets(chatd):
    for path in ("/", "/ws/", "/chat"):
        with Raw(chatd.address("ws")) as raw:
            raw.send(upgrade(start=f"GET {path}?username=bob HTTP/1.1"))
            assert raw.response()[0] != 101
