"""People chat: native clients, wscat, nc; presence, coming back, takeover, typing, history, errors."""
import asyncio
import json
import os
import pty
import secrets
import signal
import subprocess

import pytest
import websockets

from conftest import PATIENCE, Client, Lines


def cid():
    return secrets.token_urlsafe(12)


# ------------------------------------------------------------------------------------------------ saying and hearing

async def test_a_post_reaches_everybody_once_with_its_place(chatd):
    alice, bob = await chatd.client("alice"), await chatd.client("bob")
    name = cid()
    ack = await alice.post("hi", cid=name, data={"a": [1, "ü", None]})
    for who in (alice, bob):
        entry = await who.chat("hi")
        assert entry["sender"] == "alice" and entry["sender_id"] == alice.id and entry["room"] == "general"
        assert entry["position"] == ack["position"] and entry["cid"] == name
        assert entry["data"] == {"a": [1, "ü", None]}
    again = await alice.post("hi", cid=name, data={"a": [1, "ü", None]})
    assert again["position"] == ack["position"] and again["dup"] is True
    assert not [frame for frame in await bob.quiet() if frame["type"] == "chat"]


async def test_everybody_sees_the_same_order_without_holes(chatd):
    clients = [await chatd.client(f"user {n}") for n in range(5)]

    async def talk(client, who):
        for n in range(40):
            await client.send({"type": "post", "content": f"{who}:{n}", "cid": cid()})

    await asyncio.gather(*(talk(client, who) for who, client in enumerate(clients)))
    seen = []
    for client in clients:
        entries = [await client.get("chat") for _ in range(200)]
        assert all(a["position"] == b["prev"] for a, b in zip(entries, entries[1:]))
        seen.append([entry["content"] for entry in entries])
    assert all(order == seen[0] for order in seen)
    for who in range(5):
        assert [text for text in seen[0] if text.startswith(f"{who}:")] == [f"{who}:{n}" for n in range(40)]


async def test_rooms_are_apart(chatd):
    alice, bob = await chatd.client("alice", room="one"), await chatd.client("bob", room="two")
    await alice.post("in one", room="one")
    await alice.chat("in one")
    assert not [frame for frame in await bob.quiet() if frame["type"] == "chat"]
    answer = await bob.ask({"type": "leave", "room": "two"}, "left")
    assert answer["room"] == "two"


async def test_the_first_frame_of_a_stranger_may_be_a_post(chatd):
    bob = await chatd.client("bob")
    async with websockets.connect(chatd.url("ws")) as stranger:
        await stranger.send('{"content":"hi"}')
        entry = await bob.chat("hi")
        assert entry["sender"].startswith("guest-")
        kinds = set()
        while not {"joined", "ack", "chat"} <= kinds:
            frame = json.loads(await asyncio.wait_for(stranger.recv(), PATIENCE))
            kinds.add(frame["type"])


# ------------------------------------------------------------------------------------------------ programs of others

class Typed:
    """A program at a terminal, and what a person types there."""

    def __init__(self, *command):
        self.terminal, inner = pty.openpty()
        # a node that is not Debian's looks for Debian's modules only where it is told to
        self.process = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner,
                                        env={**os.environ, "NODE_PATH": "/usr/share/nodejs"})
        os.close(inner)
        self.lines = Lines(os.fdopen(self.terminal, "rb"))

    def type(self, text):
        os.write(self.terminal, text.encode() + b"\n")

    async def shows(self, *words):
        await asyncio.to_thread(self.lines.wait, lambda line: line if all(word in line for word in words) else None)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.lines.thread.join(PATIENCE)
        self.lines.pipe.close()


async def test_wscat_and_nc_reach_everybody(chatd):
    bob = await chatd.client("bob")
    host, port = chatd.address("tcp")
    nc, wscat = Typed("nc", host, str(port)), Typed("wscat", "-c", chatd.url("ws"))
    try:
        nc.type("hi from nc")
        assert (await bob.chat("hi from nc"))["sender"].startswith("guest-")
        await wscat.shows("Connected")
        wscat.type('{"content":"hi from wscat"}')
        assert (await bob.chat("hi from wscat"))["sender"].startswith("guest-")
        await nc.shows("guest-", "hi from wscat")
        await bob.post("hi from bob")
        await nc.shows("bob", "hi from bob")
        await wscat.shows("bob", "hi from bob")
    finally:
        nc.end()
        wscat.end()


def test_people_at_plain_lines_can_do_everything(chatd):
    alice, bob = chatd.lines(), chatd.lines()
    alice.say("/nick alice")
    alice.say("/join garden")
    alice.say("/who")
    alice.until(lambda line: "garden" in line)
    bob.say("/nick bob")
    bob.say("/join garden")
    alice.until(lambda line: "bob" in line)
    alice.say("/say garden good morning")
    assert bob.until(lambda line: "good morning" in line) == "[garden] alice: good morning"
    bob.say("/help")
    bob.until(lambda line: "/nick" in line)
    bob.say("/frobnicate")
    bob.until(lambda line: "/help" in line)


def test_lines_may_end_as_windows_ends_them(chatd):
    alice = chatd.lines()
    alice.socket.sendall(b'{"type":"hello","name":"alice","ref":1}\r\n{"content":"hi"}\r\n')
    assert alice.get("welcome")["ref"] == 1
    assert alice.get("chat")["content"] == "hi"


# ------------------------------------------------------------------------------------------------ who is there

async def test_a_silent_connection_listens_without_being_there(chatd):
    alice = await chatd.client("alice")
    async with chatd.connect(subprotocols=None) as silent:
        host, port = chatd.address("tcp")
        nc = Typed("nc", host, str(port))
        number = 0
        try:
            while not any("said" in line for line in nc.lines.all):  # until it observes, it hears nothing
                number += 1
                await alice.post(f"said {number}")
                await asyncio.sleep(0)
            frame = json.loads(await asyncio.wait_for(silent.recv(), PATIENCE))
            assert {"type", "content", "sender", "timestamp"} <= set(frame) and frame["content"].startswith("said")
            who = await alice.ask({"type": "who"}, "who")
            assert [member["sender"] for member in who["members"]] == ["alice"] and who["count"] == 1
        finally:
            nc.end()


async def test_presence_tells_who_comes_and_goes(chatd):
    alice = await chatd.client("alice", room=None)
    joined = await alice.join()
    assert [member["sender"] for member in joined["members"]] == ["alice"]
    bob = await chatd.client("bob")
    came = await alice.get("presence", number=joined["presence"] + 1)
    assert [(who["sender"], who["sender_id"]) for who in came["joined"]] == [("bob", bob.id)] and came["count"] == 2
    await bob.hello("robert")
    renamed = await alice.get("presence", number=came["number"] + 1)
    assert (renamed["renamed"][0]["sender"], renamed["renamed"][0]["was"]) == ("robert", "bob")
    await bob.post("last words")
    await bob.close()
    await alice.chat("last words")
    gone = await alice.get("presence", number=renamed["number"] + 1)
    assert gone["left"][0]["sender_id"] == bob.id and gone["count"] == 1


async def test_typing_and_status_are_told_and_not_kept(chatd):
    alice, bob = await chatd.client("alice"), await chatd.client("bob")
    await alice.ask({"type": "typing", "on": True}, "ok")
    told = await bob.get("typing")
    assert told["sender"] == "alice" and told["on"] is True
    await alice.send({"type": "typing", "on": False})
    assert (await bob.get("typing"))["on"] is False
    await alice.ask({"type": "status", "status": "at lunch"}, "ok")
    assert (await bob.get("status", sender="alice"))["status"] == "at lunch"
    who = await bob.ask({"type": "who"}, "who")
    assert {member["sender"]: member.get("status") for member in who["members"]} == {"alice": "at lunch", "bob": None}
    carol = await chatd.client("carol")
    assert not [frame for frame in await carol.quiet() if frame["type"] in ("typing", "status", "chat")]


async def test_typing_ends_by_itself(start_chatd):
    chatd = start_chatd("--typing-time", "100ms")
    alice, bob = await chatd.client("alice"), await chatd.client("bob")
    await alice.send({"type": "typing"})
    assert (await bob.get("typing"))["on"] is True
    assert (await bob.get("typing"))["on"] is False


async def test_who_comes_in_pages(start_chatd):
    chatd = start_chatd("--presence-all-ms", "0")
    for n in range(5):
        await chatd.client(f"user {n}")
    alice = await chatd.client("alice")
    names, after = [], {}
    while True:
        page = await alice.ask({"type": "who", "limit": 2, **after}, "who")
        assert len(page["members"]) <= 2 and page["count"] == 6
        names += [member["sender"] for member in page["members"]]
        if not page["more"]:
            break
        after = {"after": names[-1]}
    assert sorted(names) == ["alice"] + [f"user {n}" for n in range(5)]


# ------------------------------------------------------------------------------------------------ coming back

async def test_whoever_comes_back_goes_on_where_they_were(chatd):
    alice = await chatd.client("alice", session=cid() + cid())
    bob = await chatd.client("bob")
    await bob.post("one")
    last = (await alice.chat("one"))["position"]
    alice.socket.transport.abort()
    for n in range(20):
        await bob.post(f"meanwhile {n}")
    back = Client(await chatd.connect())
    welcome = await back.hello(None, session=alice.session,
                               rooms=[{"room": "general", "after": last, "epoch": alice.epoch}])
    assert (welcome["sender"], welcome["sender_id"]) == ("alice", alice.id)
    await back.get("joined")
    entries = [await back.get("chat") for _ in range(20)]
    assert [entry["content"] for entry in entries] == [f"meanwhile {n}" for n in range(20)]
    assert entries[0]["prev"] == last
    assert not [frame for frame in await bob.quiet() if frame["type"] == "presence" and frame.get("left")]


async def test_a_session_that_is_shown_twice_moves(chatd):
    alice, bob = await chatd.client("alice", session=cid() + cid()), await chatd.client("bob")
    await bob.quiet()
    bob.frames.clear()
    other = await chatd.client(None, room=None, session=alice.session)
    assert other.name == "alice"
    code, _ = await alice.closed()
    assert code == 4001
    await other.post("from here now")
    assert (await bob.chat("from here now"))["sender_id"] == alice.id
    assert not [frame for frame in await bob.quiet() if frame["type"] == "presence"]


async def test_two_tabs_never_swallow_each_others_posts(chatd):
    one, two = await chatd.client("alice"), await chatd.client("alice's phone")
    same = cid()
    await one.post("from one", cid=same)
    await two.post("from two", cid=same)
    for client in (one, two):
        assert {(await client.get("chat"))["content"] for _ in range(2)} == {"from one", "from two"}


async def test_a_taken_name_is_refused_and_free_again_after_goodbye(chatd):
    alice = await chatd.client("alice")
    other = Client(await chatd.connect())
    answer = await other.ask({"type": "hello", "name": "ALICE"})
    assert (answer["type"], answer["code"]) == ("error", "name_taken")
    answer = await other.ask({"type": "post", "content": "hi"})
    assert answer["type"] == "error" and answer["code"] == "name_required"
    await alice.close()
    while (answer := await other.ask({"type": "hello", "name": "ALICE"}))["type"] == "error":
        assert answer["code"] == "name_taken"
    assert answer["sender"] == "ALICE"


async def test_a_lost_connection_keeps_its_name_for_a_while_only(start_chatd):
    chatd = start_chatd("--return-time", "100ms")
    alice, bob = await chatd.client("alice", session=cid() + cid()), await chatd.client("bob")
    alice.socket.transport.abort()
    while not (gone := await bob.get("presence")).get("left"):
        pass
    assert gone["left"][0]["sender"] == "alice"
    await chatd.client("alice")


async def test_an_epoch_that_is_not_known_leaves_a_gap_told_first(chatd):
    alice = await chatd.client("alice")
    await alice.post("one")
    bob = Client(await chatd.connect())
    await bob.hello("bob", rooms=[{"room": "general", "after": 12345, "epoch": "AAAAAAAAAAAAAAAA"}])
    await bob.get("joined")
    kinds = []
    await alice.post("two")
    while "chat" not in kinds:
        frame = bob.frames.pop(0) if bob.frames else await bob.next()
        kinds.append(frame["type"])
    assert kinds.index("gap") < kinds.index("chat")


async def test_positions_of_another_run_are_not_believed(start_chatd):
    first = start_chatd()
    alice = await first.client("alice", session=cid() + cid())
    for n in range(5):
        position = (await alice.post(f"old {n}"))["position"]
    first.process.send_signal(signal.SIGTERM)
    await first.ended()
    second = start_chatd()
    bob = await second.client("bob")
    await bob.post("new one")
    back = Client(await second.connect())
    await back.hello("alice", session=alice.session,
                     rooms=[{"room": "general", "after": position, "epoch": alice.epoch}])
    joined = await back.get("joined")
    assert joined["epoch"] != alice.epoch
    await back.get("gap")
    await bob.post("new two")
    await back.chat("new two")


# ------------------------------------------------------------------------------------------------ what was said before

async def test_newcomers_get_what_they_ask_for(chatd):
    alice = await chatd.client("alice")
    positions = [(await alice.post(f"line {n}"))["position"] for n in range(60)]

    async def heard(**start):
        client = Client(await chatd.connect())
        await client.hello()
        await client.join(**start)
        frames = await client.quiet()
        await client.close()
        return [frame["content"] for frame in frames if frame["type"] == "chat"]

    assert await heard() == [f"line {n}" for n in range(10, 60)]
    assert await heard(now=True) == []
    assert await heard(last=3) == ["line 57", "line 58", "line 59"]
    assert await heard(after=positions[-3], epoch=alice.epoch) == ["line 58", "line 59"]
    assert await heard(after=0) == [f"line {n}" for n in range(60)]


async def test_history_comes_in_pages_both_ways(chatd):
    alice = await chatd.client("alice")
    positions = [(await alice.post(f"line {n}"))["position"] for n in range(25)]
    page = await alice.ask({"type": "history", "before": positions[20], "limit": 10}, "history")
    assert [entry["content"] for entry in page["entries"]] == [f"line {n}" for n in range(10, 20)] and page["more"]
    page = await alice.ask({"type": "history", "after": positions[20], "limit": 10}, "history")
    assert [entry["content"] for entry in page["entries"]] == [f"line {n}" for n in range(21, 25)]
    assert page["more"] is False


# ------------------------------------------------------------------------------------------------ what is wrong

@pytest.mark.parametrize("frame,code", [
    ("{", "bad_json"),
    ("[]", "bad_json"),
    ("hi", "bad_json"),
    ('{"type":"pots"}', "unknown_type"),
    ('{"room":"x"}', "bad_request"),
    ('{"content":7}', "bad_request"),
    ('{"content":""}', "empty"),
    ('{"content":"a\\u0007b"}', "bad_text"),
    ('{"type":"join","room":"\\u202e"}', "bad_room"),
    ('{"type":"hello","name":"a\\nb"}', "bad_name"),
    ('{"type":"hello","name":"System"}', "name_reserved"),
    ('{"type":"hello","name":"guest-abcdef"}', "name_reserved"),
    ('{"type":"hello","session":"short"}', "bad_session"),
    ('{"type":"post","content":"x","cid":"\\u00fc"}', "bad_cid"),
    ('{"type":"leave","room":"nowhere"}', "not_member"),
])
async def test_what_is_wrong_is_told_with_what_to_do_and_hurts_nobody(chatd, frame, code):
    alice = await chatd.client("alice")
    await alice.send(frame)
    error = await alice.get("error")
    assert error["code"] == code and len(error["message"]) > 3
    await alice.post("still here")


async def test_a_cid_stands_for_one_post(chatd):
    alice = await chatd.client("alice")
    name = cid()
    await alice.post("one", cid=name)
    answer = await alice.ask({"type": "post", "content": "two", "cid": name})
    assert (answer["type"], answer["code"], answer["cid"]) == ("error", "cid_reused", name)


async def test_too_much_nonsense_ends_the_connection_with_a_reason(chatd):
    alice = await chatd.client("alice")
    for _ in range(30):
        try:
            await alice.send("nonsense")
        except websockets.ConnectionClosed:
            break
    code, reason = await alice.closed()
    assert code == 1008 and reason


async def test_limits_hold(start_chatd):
    chatd = start_chatd("--max-clients", "2", "--max-client-rooms", "1", "--max-content", "5", "--no-create-rooms",
                        "--rooms", "general,garden")
    alice = await chatd.client("alice")
    assert (await alice.ask({"type": "join", "room": "elsewhere"}))["code"] == "no_room"
    assert (await alice.ask({"type": "join", "room": "garden"}))["code"] == "too_many_rooms"
    assert (await alice.ask({"type": "post", "content": "123456"}))["code"] == "too_long"
    await chatd.client("bob")
    with pytest.raises((websockets.InvalidHandshake, websockets.ConnectionClosed)):
        third = await chatd.connect()
        await third.recv()
