"""Several chatd on NATS JetStream are one chat: what one node is told, all show, in one order; and what becomes of it when NATS
is away, wiped, closed to them, or without JetStream."""
import asyncio
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
import websockets

from cluster import Cluster, need_cluster, running
from conftest import PATIENCE, ROOT, Client, Lines, check_sanitizers, find_program
from nats import Nats, free_ports, wait_until
from wanderers import read_all

PEOPLE = ("alice", "bob", "carol")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Three nodes on one NATS server, for tests that break nothing; each test has rooms and names of its own."""
    with running(tmp_path_factory.mktemp("shared"), servers=1) as cluster:
        yield cluster


@pytest.fixture
def room(request):
    return re.sub(r"\W+", " ", request.node.name).strip()[:60]


@pytest.fixture
def own(tmp_path):
    """own(…) starts a cluster that may be broken."""
    need_cluster()
    started = []

    def start(**options):
        options.setdefault("servers", 1)
        started.append(Cluster(tmp_path / f"cluster-{len(started)}", **options))
        started[-1].folder.mkdir()
        return started[-1].start()
    yield start
    for cluster in started:
        cluster.end()


async def everywhere(cluster, room, *names):
    """A client on each node, by these names."""
    return [await node.client(f"{name} {room}"[:64].strip(), room) for node, name in zip(cluster.nodes, names)]


async def entries(client, room, count):
    """The next so many entries of a room."""
    return [await client.get("chat", room=room) for _ in range(count)]


def bare(found):
    """What has to be the same whichever node tells it."""
    return [{key: one[key] for key in ("position", "prev", "sender", "sender_id", "content", "cid", "timestamp") if key in one}
            for one in found]


async def people(client, room):
    return sorted(one["sender"] for one in (await client.ask({"type": "who", "room": room}, "who"))["members"])


async def until(test, what, patience=PATIENCE):
    """Asks a coroutine function again and again, and answers what it answered."""
    deadline = time.monotonic() + patience
    while not (answer := await test()):
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)
    return answer


# ------------------------------------------------------------------------------------------------------- one chat of all


async def test_a_post_on_one_node_is_seen_on_all_in_the_same_order(shared, room):
    clients = await everywhere(shared, room, *PEOPLE)

    async def posts(client):
        for number in range(40):
            await client.post(f"{client.name} {number}", room=room, cid=f"{client.name[:5]}-{number}")
    await asyncio.gather(*map(posts, clients))
    seen = [bare(await entries(client, room, 120)) for client in clients]
    assert seen[0] == seen[1] == seen[2]
    assert [one["prev"] for one in seen[0]] == [0] + [one["position"] for one in seen[0][:-1]]
    for client in clients:
        mine = [one["content"] for one in seen[0] if one["sender"] == client.name]
        assert mine == [f"{client.name} {number}" for number in range(40)]


async def test_a_room_s_name_that_is_too_long_for_nats_stops_nobody_else(shared, room):
    """42 letters that NFKC makes 18 of each: as a subject more than the server takes in one line."""
    alice, bob = (await everywhere(shared, room, *PEOPLE))[:2]
    for _ in range(2):
        error = await bob.ask({"type": "join", "room": "\ufdfa" * 42}, "error")
        assert error["code"] == "bad_room" and "shorter" in error["message"], error
    await bob.post("from bob", room=room)
    await alice.chat("from bob", room=room)


async def test_history_is_the_same_on_all_nodes(shared, room):
    alice = await shared[0].client(f"alice {room}"[:60], room)
    for number in range(130):
        await alice.post(f"line {number}", room=room)
    histories = []
    for node in shared.nodes:
        reader = await node.client(None, room)
        page = await reader.ask({"type": "history", "room": room, "limit": 100}, "history")
        older = await reader.ask({"type": "history", "room": room, "before": page["entries"][0]["position"]}, "history")
        after = await reader.ask({"type": "history", "room": room, "after": older["entries"][9]["position"], "limit": 5},
                                 "history")
        assert page["more"] and not older["more"] and page["epoch"] == alice.epoch
        assert bare(after["entries"]) == bare(older["entries"][10:15])
        histories.append(bare(older["entries"] + page["entries"]))
    assert histories[0] == histories[1] == histories[2]
    assert [one["content"] for one in histories[0]] == [f"line {number}" for number in range(130)]


async def test_who_comes_to_another_node_goes_on_there_without_a_hole(shared, room):
    alice = await shared[0].client(f"alice {room}"[:60], room)
    bob = await shared[1].client(f"bob {room}"[:60], room)
    session, name = bob.session, bob.name
    await alice.post("one", room=room)
    last = await bob.get("chat", room=room)
    bob.socket.transport.abort()
    for number in range(5):
        await alice.post(f"missed {number}", room=room)
    again = Client(await shared[2].web_socket())
    welcome = await again.hello(name, session=session,
                                rooms=[{"room": room, "after": last["position"], "epoch": bob.epoch}])
    joined = await again.get("joined", room=room)
    assert (welcome["sender"], welcome["sender_id"], joined["start"]) == (name, bob.id, last["position"])
    assert joined["epoch"] == bob.epoch
    assert [one["content"] for one in await entries(again, room, 5)] == [f"missed {number}" for number in range(5)]
    assert not [frame for frame in await again.quiet() if frame["type"] == "gap"]


async def test_a_node_that_is_behind_catches_up_before_it_lets_somebody_go_on(own):
    """Who comes from a node that is ahead is not sent again what it has."""
    cluster = await asyncio.to_thread(own, nodes=2)
    alice, _ = await cluster[0].client("alice"), await cluster[1].client("bystander")
    cluster[1].pause()
    acks = [await alice.post(f"line {number}") for number in range(300)]
    await alice.chat("line 299")
    alice.socket.transport.abort()
    again = cluster[1].lines()  # it waits there, with what it says, when the node goes on
    again.send({"type": "hello", "name": "alice", "session": alice.session,
                "rooms": [{"room": "general", "epoch": alice.epoch, "after": acks[-1]["position"]}]})
    again.send({"type": "post", "content": "and on"})
    cluster[1].resume()
    joined = await asyncio.to_thread(again.get, "joined", room="general")
    assert joined["start"] == acks[-1]["position"]
    assert (await asyncio.to_thread(again.get, "chat"))["content"] == "and on"


async def test_who_posts_again_on_another_node_posts_once(shared, room):
    alice = await shared[0].client(f"alice {room}"[:60], room)
    first = await alice.post("once", room=room, cid="c-1")
    alice.socket.transport.abort()
    again = Client(await shared[1].web_socket())
    await again.hello(alice.name, session=alice.session)
    await again.join(room, last=10)
    ack = await again.post("once", room=room, cid="c-1")
    assert (ack["position"], ack.get("dup")) == (first["position"], True)
    refused = await again.ask({"type": "post", "room": room, "content": "other words", "cid": "c-1"}, "error")
    assert refused["code"] == "cid_reused"
    assert len((await again.ask({"type": "history", "room": room}, "history"))["entries"]) == 1


async def test_who_is_there_is_known_on_all_nodes(shared, room):
    clients = await everywhere(shared, room, *PEOPLE)
    names = sorted(client.name for client in clients)
    for client in clients:
        await until(lambda c=client: is_there(c, room, names), "all three to be known")
    came = await clients[0].get("presence", room=room)
    assert came["count"] >= 1
    await clients[1].ask({"type": "leave", "room": room}, "left")
    for client in (clients[0], clients[2]):
        await until(lambda c=client: is_there(c, room, [names[0], names[2]]), "bob to be gone")


async def is_there(client, room, names):
    return await people(client, room) == names


async def test_coming_and_going_elsewhere_is_told_by_presence_without_a_hole(shared, room):
    alice = await shared[0].client(f"alice {room}"[:60], room)
    first = (await alice.ask({"type": "who", "room": room}, "who"))["presence"]
    alice.frames.clear()
    bob = await shared[1].client(f"bob {room}"[:60], room)
    came = await alice.get("presence", room=room)
    while not came.get("joined"):
        came = await alice.get("presence", room=room)
    assert [one["sender"] for one in came["joined"]] == [bob.name] and came["count"] == 2 and came["number"] == first + 1
    await bob.post("last words", room=room)
    await bob.socket.close()  # 1000: the session ends
    said = await alice.chat("last words")
    gone = await alice.get("presence", room=room)
    assert [one["sender"] for one in gone["left"]] == [bob.name] and gone["count"] == 1
    assert gone["number"] == came["number"] + 1 and said["sender"] == bob.name


async def test_typing_and_status_cross_nodes(shared, room):
    alice, bob, _ = await everywhere(shared, room, *PEOPLE)
    await until(lambda: is_there(bob, room, sorted([alice.name, bob.name, _.name])), "all to be known")
    await alice.ask({"type": "typing", "room": room}, "ok")
    typing = await bob.get("typing", room=room)
    assert (typing["sender"], typing["on"]) == (alice.name, True)
    await alice.ask({"type": "status", "status": "away"}, "ok")
    status = await bob.get("status", room=room)
    assert (status["sender"], status["status"]) == (alice.name, "away")
    members = (await bob.ask({"type": "who", "room": room}, "who"))["members"]
    assert [one.get("status") for one in members if one["sender"] == alice.name] == ["away"]


async def test_a_name_that_somebody_has_on_another_node_is_taken(shared, room):
    alice = await shared[0].client(f"alice {room}"[:60], room)

    async def refused():
        other = Client(await shared[1].web_socket())
        answer = await other.ask({"type": "hello", "name": alice.name.upper()})
        await other.close()
        return answer["type"] == "error" and answer["code"] == "name_taken"
    await until(refused, "the name to be known as taken")
    await alice.close()  # 1000: the name is free at once

    async def taken():
        other = Client(await shared[1].web_socket())
        answer = await other.ask({"type": "hello", "name": alice.name})
        await other.close()
        return answer["type"] == "welcome"
    await until(taken, "the name to be free")


async def test_a_session_is_taken_over_on_another_node_and_nobody_sees_it(shared, room):
    alice = await shared[0].client(f"alice {room}"[:60], room)
    bob = await shared[1].client(f"bob {room}"[:60], room)
    await until(lambda: is_there(bob, room, sorted([alice.name, bob.name])), "alice to be known")
    await bob.quiet()
    bob.frames.clear()
    again = Client(await shared[2].web_socket())
    welcome = await again.hello(alice.name, session=alice.session)
    await again.join(room, now=True)
    assert (welcome["sender"], welcome["sender_id"]) == (alice.name, alice.id)
    assert (await alice.closed())[0] == 4001
    await again.post("here", room=room)
    said = await bob.chat("here")
    assert said["sender_id"] == alice.id
    for client in (bob, again):
        assert await people(client, room) == sorted([alice.name, bob.name])
    told = [frame for frame in await bob.quiet() if frame["type"] == "presence" and (frame.get("left") or frame.get("joined"))]
    assert not told, told


@pytest.mark.parametrize("name", ["a.b", "a*b", "a>b", "a b", ">", "*", "é人", "a/b\\c", "$JS", "=41", "x" * 128],
                         ids=lambda name: name[:8])
async def test_room_names_reach_their_own_room_alone(shared, name, need_unicode):
    need_unicode(name)
    writer = await shared[0].client(room=None)
    readers = [await shared[1].client(room=None) for _ in range(2)]
    await writer.join(name, now=True)
    await readers[0].join(name, now=True)
    others = ["a.b", "a*b", "a>b", "a b", ">", "*", "ab", "a", "$JS", "A", "=41"]
    for other in others:
        if other.casefold() != name.casefold():
            await readers[1].join(other, now=True)
    await writer.post("just here", room=name)
    assert (await readers[0].chat("just here"))["room"] == name
    await writer.join("bystanders", now=True)
    await readers[1].join("bystanders", now=True)
    await writer.post("the end", room="bystanders")
    await readers[1].chat("the end")
    assert not [frame for frame in readers[1].frames if frame["type"] == "chat"]
    page = await readers[0].ask({"type": "history", "room": name}, "history")
    assert page["entries"][-1]["content"] == "just here"


async def test_hubs_of_different_streams_do_not_meet(shared, own, room):
    here = await shared[0].client(f"alice {room}"[:60], room)
    cluster = Cluster(shared.folder / "other", nodes=1, servers=0, log=f"jetstream:{shared.nats.urls()}/other")
    cluster.folder.mkdir()
    cluster.start()
    try:
        there = await cluster[0].client(f"alice {room}"[:60], room)
        await here.post("here", room=room)
        await there.post("there", room=room)
        for client, wanted in ((here, "here"), (there, "there")):
            said = [frame["content"] for frame in await client.quiet() if frame["type"] == "chat"]
            assert said == [wanted] and await people(client, room) == [f"alice {room}"[:60].strip()]
        assert here.epoch != there.epoch
        await there.close()
    finally:
        await asyncio.to_thread(cluster.end)


# -------------------------------------------------------------------------------------------------- nodes come and go


async def test_a_node_that_comes_later_has_all_of_it(own):
    cluster = await asyncio.to_thread(own, nodes=2)
    await asyncio.to_thread(cluster[1].stop)
    alice = await cluster[0].client("alice")
    acks = [await alice.post(f"line {number}", cid=f"c-{number}") for number in range(10)]
    await asyncio.to_thread(cluster[1].start)
    bob = await cluster[1].client("bob", room=None)
    joined = await bob.join("general", last=20)
    assert joined["epoch"] == alice.epoch and joined["position"] == acks[-1]["position"]
    assert [one["content"] for one in await entries(bob, "general", 10)] == [f"line {number}" for number in range(10)]
    again = Client(await cluster[1].web_socket())
    await again.hello("alice", session=alice.session)
    await again.join("general", now=True)
    ack = await again.post("line 3", cid="c-3")
    assert (ack.get("dup"), ack["position"]) == (True, acks[3]["position"])


async def test_the_members_of_a_dead_node_are_gone_within_ten_seconds(own):
    cluster = await asyncio.to_thread(own, nodes=2)
    alice, bob = await cluster[0].client("alice"), await cluster[1].client("bob")
    await until(lambda: is_there(alice, "general", ["alice", "bob"]), "bob to be known")
    began = time.monotonic()
    await asyncio.to_thread(cluster[1].kill)
    await until(lambda: is_there(alice, "general", ["alice"]), "bob to be gone", 40)
    print(f"gone after {time.monotonic() - began:.1f} s; a lease of 3 s, and 5 s to return")
    again = await cluster[0].client("bob", room=None)  # the name is free
    assert again.name == "bob" and bob.id != again.id


async def test_all_stop_in_good_order_and_tell_their_clients(own):
    cluster = await asyncio.to_thread(own)
    alice = await cluster[0].client("alice")
    await alice.post("before")
    cluster[0].chatd.process.send_signal(signal.SIGTERM)
    assert (await alice.get("bye"))["retry_after_ms"] > 0
    assert (await alice.closed())[0] == 1001
    await cluster[0].chatd.ended()
    cluster[0].chatd = None
    bob = await cluster[1].client("bob", room=None)
    await bob.join("general", last=5)
    assert (await bob.chat("before"))["sender"] == "alice"
    await until(lambda: is_there(bob, "general", ["bob"]), "alice to be gone when the time to return is over")


# -------------------------------------------------------------------------------------------------------- NATS away


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_nats_away_is_told_and_all_recovers_by_itself(own, how):
    cluster = await asyncio.to_thread(own, nodes=2, args=("--log-hold", "500ms"))
    alice, bob = await cluster[0].client("alice"), await cluster[1].client("bob")
    for number in range(3):
        await alice.post(f"before {number}")
    await entries(bob, "general", 3)
    server = cluster.nats[0]
    await asyncio.to_thread(server.kill) if how == "killed" else server.pause()
    answer = await alice.ask({"type": "post", "content": "meanwhile", "cid": "c-1"})
    assert answer["type"] == "error" and answer["code"] in ("log_failed", "unknown"), answer
    assert answer["retry_after_ms"] > 0 and "NATS" in answer["message"], answer
    page = await alice.ask({"type": "history", "room": "general", "limit": 3}, "history")
    assert [one["content"] for one in page["entries"]] == [f"before {number}" for number in range(3)]
    for client in (alice, bob):
        assert (await client.ask({"type": "ping"}, "pong"))
    down = await asyncio.to_thread(cluster[0].chatd.record, "log_down")
    assert down["level"] in ("warning", "error")
    await asyncio.to_thread(server.start) if how == "killed" else server.resume()

    async def posted():
        answer = await alice.ask({"type": "post", "content": "meanwhile", "cid": "c-1"})
        assert answer["type"] == "ack" or answer["code"] in ("log_failed", "unknown"), answer
        return answer["type"] == "ack" and answer
    ack = await until(posted, "NATS to be used again", 60)
    said = await bob.chat("meanwhile")
    assert said["position"] == ack["position"] and said["cid"] == "c-1"
    await asyncio.to_thread(cluster[0].chatd.record, "log_up")
    await bob.post("after")
    await alice.chat("after")
    everything = await read_all(await cluster[1].client(None), "general")
    assert [one["content"].rsplit(" ", 1)[0] for one in everything if one["cid"] == "c-1"] == ["meanwhile"]
    for client in (alice, bob):
        assert not [frame for frame in await client.quiet() if frame["type"] in ("gap", "left", "bye")]


async def test_a_node_that_starts_before_nats_says_what_it_waits_for(tmp_path):
    need_cluster()
    server = Nats(tmp_path)
    done = await asyncio.to_thread(start_alone, f"jetstream:{server.url('ann:secret-word')}")
    assert done.returncode == 1 and done.stderr.count("chatd: ") == 1
    assert f"127.0.0.1:{server.port}" in done.stderr and "secret-word" not in done.stderr + done.stdout


def start_alone(log, *args):
    done = subprocess.run([str(find_program("chatd")), "--log", log, "--listen", "tcp://127.0.0.1:0", *args],
                          capture_output=True, text=True, timeout=60, check=False)
    check_sanitizers(done.stderr)
    return done


def test_nats_without_jetstream_is_told_with_what_to_do(tmp_path):
    need_cluster()
    server = Nats(tmp_path, jetstream=False).start()
    try:
        done = start_alone(f"jetstream:{server.url()}")
        assert done.returncode == 1 and "JetStream" in done.stderr and "-js" in done.stderr, done.stderr
    finally:
        server.kill()


@pytest.mark.parametrize("url", ["jetstream:", "jetstream:http://127.0.0.1:4222", "jetstream:nats://", "jetstream:nats://a:b:c",
                                 "jetstream:nats://127.0.0.1:4222/a.b", "jetstream:nats://127.0.0.1:99999",
                                 "jetstream:nats://127.0.0.1:4222/" + "x" * 33,
                                 "jetstream:nats://127.0.0.1:4222,tls://127.0.0.1:4223"])
def test_wrong_urls_are_refused_in_one_line(url):
    need_cluster()
    done = start_alone(url)
    assert done.returncode in (1, 2) and done.stderr.count("\n") <= 2 and "log" in done.stderr, done.stderr


# ---------------------------------------------------------------------------------------------------------- secrets

USERS = 'authorization { users: [ { user: "ann", password: "secret-word" } ] }'
TOKEN = 'authorization { token: "secret-word" }'


@pytest.mark.parametrize("extra,user", [(USERS, "ann:secret-word"), (TOKEN, "secret-word")], ids=["password", "token"])
async def test_whoever_may_is_let_in_and_no_line_tells_the_secret(own, extra, user):
    cluster = await asyncio.to_thread(own, nodes=2, extra=extra, user=user, args=("--log-level", "debug"))
    alice, bob = await cluster[0].client("alice"), await cluster[1].client("bob")
    await alice.post("let in")
    await bob.chat("let in")
    await until(lambda: is_there(alice, "general", ["alice", "bob"]), "bob to be known")
    for node in cluster.nodes:
        assert "secret-word" not in "\n".join(node.chatd.log.all + node.chatd.out.all)


@pytest.mark.parametrize("extra,user", [(USERS, "ann:wrong-word"), (TOKEN, "wrong-word"), (USERS, "")],
                         ids=["password", "token", "nobody"])
def test_whoever_may_not_is_told_so_without_the_secret(tmp_path, extra, user):
    need_cluster()
    server = Nats(tmp_path, extra=extra).start()
    try:
        done = start_alone(f"jetstream:{server.url(user)}")
        assert done.returncode == 1 and re.search("refuse|authori[sz]", done.stderr, re.IGNORECASE), done.stderr
        assert "-word" not in done.stderr + done.stdout
    finally:
        server.kill()


def test_settings_in_effect_do_not_tell_the_secret():
    done = subprocess.run([str(find_program("chatd")), "--log", "jetstream:nats://ann:secret-word@127.0.0.1:4222",
                           "--listen", "tcp://127.0.0.1:0", "--check-config"],
                          capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert "secret-word" not in done.stdout + done.stderr


# ------------------------------------------------------------------------------------------------- another log than before


async def test_nats_that_comes_back_empty_is_another_epoch_and_clients_are_told(own):
    cluster = await asyncio.to_thread(own, nodes=2)
    alice, bob = await cluster[0].client("alice"), await cluster[1].client("bob")
    acks = [await alice.post(f"before {number}") for number in range(5)]
    await entries(bob, "general", 5)
    server, old = cluster.nats[0], alice.epoch
    await asyncio.to_thread(server.kill)
    server.wipe()
    await asyncio.to_thread(server.start)

    for client in (alice, bob):
        assert (await client.closed())[0] == 1012
        assert any(frame["type"] == "bye" for frame in client.frames)
    back = []
    for node, client in zip(cluster.nodes, (alice, bob)):
        back.append(Client(await node.web_socket()))
        await back[-1].hello(client.name, session=client.session)
        assert back[-1].id == client.id

    async def joined(client):
        answer = await client.ask({"type": "join", "room": "general", "epoch": old, "after": acks[-1]["position"]})
        return answer["type"] == "joined" and answer
    epochs = [(await until(lambda c=client: joined(c), "the new stream to be used"))["epoch"] for client in back]
    assert epochs[0] == epochs[1] != old
    for client in back:
        gap = await client.get("gap", room="general")
        assert (gap["from"], gap["epoch"]) == (acks[-1]["position"], epochs[0])
    ack = await back[0].post("after", cid="c-after")
    for client in back:
        said = await client.chat("after")
        assert said["position"] == ack["position"] and said["prev"] == 0
    again = Client(await cluster[1].web_socket())
    await again.hello("carol")
    joined = await again.join("general", epoch=old, after=acks[2]["position"])
    gap = await again.get("gap", room="general")
    assert joined["epoch"] == ack["epoch"] and (gap["from"], gap["epoch"]) == (acks[2]["position"], ack["epoch"])
    assert [one["content"] for one in await entries(again, "general", 1)] == ["after"]


async def test_nats_that_comes_back_from_a_copy_is_another_epoch_and_positions_are_not_mixed_up(own, tmp_path):
    """The copy holds the first five posts; five more were acked and shown, and their positions are given anew."""
    cluster = await asyncio.to_thread(own, nodes=2)
    server = cluster.nats[0]
    alice, bob = await cluster[0].client("alice"), await cluster[1].client("bob")
    for number in range(5):
        await alice.post(f"kept {number}", cid=f"kept-{number}")
    await asyncio.to_thread(server.stop)
    shutil.copytree(server.store, tmp_path / "copy")
    await asyncio.to_thread(server.start)

    async def posted(client, text):
        answer = await client.ask({"type": "post", "content": text, "cid": text.replace(" ", "-")})
        return answer["type"] == "ack" and answer
    for number in range(5):
        last = await until(lambda n=number: posted(alice, f"lost {n}"), "NATS to be used again")
    await bob.chat("lost 4")
    await asyncio.to_thread(server.kill)
    server.wipe()
    shutil.copytree(tmp_path / "copy", server.store)
    await asyncio.to_thread(server.start)
    for client in (alice, bob):
        assert (await client.closed())[0] == 1012
    carol = await cluster[1].client("carol", room=None)
    await carol.join("general", last=100)
    for number in range(6):
        await until(lambda n=number: posted(carol, f"anew {n}"), "the copy to be used")
    assert carol.epoch != alice.epoch
    for node, client in zip(cluster.nodes, (alice, bob)):
        back = Client(await node.web_socket())
        await back.hello(client.name, session=client.session)
        joined = await back.join("general", epoch=alice.epoch, after=last["position"])
        gap = await back.get("gap", room="general")
        assert joined["epoch"] == carol.epoch == gap["epoch"] and gap["from"] == last["position"]
        found = [one["content"] for one in await read_all(back, "general")]
        assert found == [f"kept {number}" for number in range(5)] + [f"anew {number}" for number in range(6)]
    again = Client(await cluster[0].web_socket())
    await again.hello(alice.name, session=alice.session)
    await again.join("general", now=True)
    assert (await again.post("kept 3", cid="kept-3")).get("dup") is True
    assert not (await again.post("lost 3", cid="lost-3")).get("dup")


async def test_posts_that_nats_is_set_up_to_refuse_are_told_at_the_start(own, tmp_path):
    need_cluster()
    server = Nats(tmp_path, extra="max_payload: 60000").start()
    try:
        cluster = Cluster(tmp_path, nodes=1, servers=0, log=f"jetstream:{server.url()}")
        await asyncio.to_thread(cluster.start)
        try:
            trouble = await asyncio.to_thread(cluster[0].chatd.record, "log_trouble")
            assert "NATS takes 60000" in trouble["message"] and "max_payload" in trouble["message"], trouble
            alice = await cluster[0].client("alice")
            await alice.post("x" * 32000)
            refused = await alice.ask({"type": "post", "room": "general", "content": "x" * 32000,
                                       "data": {"y": "y" * 32700}}, "error")
            assert "larger than NATS takes" in refused["message"], refused
            await alice.post("and yet")
        finally:
            await asyncio.to_thread(cluster.end)
    finally:
        server.stop()


async def test_a_stream_of_other_settings_is_told_and_not_changed(own, tmp_path):
    need_cluster()
    server = Nats(tmp_path).start()
    client = server.client()
    try:
        made = client.ask("$JS.API.STREAM.CREATE.chathub", {
            "name": "chathub", "subjects": ["chathub.in.>"], "storage": "file", "num_replicas": 1, "duplicate_window": 10**9 * 60,
            "republish": {"src": "chathub.in.>", "dest": "chathub.out.>"}, "max_age": 3600 * 10**9})
        assert "error" not in made, made
        cluster = Cluster(tmp_path, nodes=1, servers=0, log=f"jetstream:{server.url()}")
        await asyncio.to_thread(cluster.start)
        try:
            told = "\n".join(cluster[0].chatd.log.all)
            assert "dupe-window is 60000ms" in told and "log_trouble" in told, told
            alice = await cluster[0].client("alice")
            await alice.post("and yet")
        finally:
            await asyncio.to_thread(cluster.end)
        config = client.ask("$JS.API.STREAM.INFO.chathub")["config"]
        assert (config["duplicate_window"], config["max_age"]) == (10**9 * 60, 3600 * 10**9)
    finally:
        client.close()
        server.kill()


def test_a_stream_that_cannot_serve_is_refused(tmp_path):
    """It does not send on what it stored."""
    need_cluster()
    server = Nats(tmp_path).start()
    client = server.client()
    try:
        client.ask("$JS.API.STREAM.CREATE.chathub", {"name": "chathub", "subjects": ["chathub.in.>"], "storage": "file"})
        done = start_alone(f"jetstream:{server.url()}")
        assert done.returncode == 1 and "republish" in done.stderr.lower(), done.stderr
    finally:
        client.close()
        server.kill()


# ------------------------------------------------------------------------------------------------- bench and example


@pytest.mark.parametrize("bar", ["latency", "crowd", "join"] + ["cost", "posts"] * ("CHATHUB_LONG" in os.environ))
def test_the_bench_of_many_nodes(bar):
    """Correctness alone: everything arrives on all nodes, once and in order."""
    need_cluster()
    chatd, chatbench = find_program("chatd"), find_program("chatbench")
    done = subprocess.run([sys.executable, str(ROOT / "tests/bench/cluster.py"), "--quick", "--only", bar, "--runs", "1",
                           "--chatd", str(chatd), "--chatbench", str(chatbench)], capture_output=True, text=True, timeout=120,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    check_sanitizers(done.stdout + done.stderr)


def test_the_example_starts_three_nodes_and_ends_them_in_order(tmp_path):
    need_cluster()
    nats_port, first = free_ports(1)[0], free_run_of_ports(3)
    script = subprocess.Popen([ROOT / "examples/cluster/run", tmp_path / "data", "--log-level", "debug"], cwd=tmp_path,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                              env={**os.environ, "CHATD": str(find_program("chatd")), "NATS_PORT": str(nats_port),
                                   "CHAT_PORT": str(first)})
    out, errors = Lines(script.stdout), Lines(script.stderr)
    try:
        out.wait(lambda line: line if "Ctrl-C" in line else None)
        told = [json.load(urllib.request.urlopen(f"http://localhost:{first + n}/server.json", timeout=PATIENCE))
                for n in range(3)]
        assert [one["name"] for one in told] == ["node-1", "node-2", "node-3"]
        for one in told:
            assert sorted(server["port"] for server in one["servers"]) == [first, first + 1, first + 2]
            assert sum(server.get("peer", False) for server in one["servers"]) == 2 and not one["create"]
        asyncio.run(across(first))
        pids = [int(found) for line in out.all for found in re.findall(r"process (\d+)", line)]
        assert len(pids) == 4
    finally:
        script.send_signal(signal.SIGINT)
        code = script.wait(60)
    assert code == 0, errors.all
    errors.thread.join(PATIENCE)
    assert [line for line in errors.all if "Stopping" in line] == ["Stopping the nodes.", "Stopping NATS."]
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "its processes to be gone")
    for number in (1, 2, 3):
        said = (tmp_path / f"data/node-{number}.log").read_text()
        check_sanitizers(said)
        assert "event=stopped" in said


def free_run_of_ports(count):
    """The first of so many free ports in a row."""
    while True:
        first = random.randrange(12000, 32000)
        taken = []
        try:
            for number in range(count):
                taken.append(socket.create_server(("127.0.0.1", first + number)))
            return first
        except OSError:
            pass
        finally:
            for one in taken:
                one.close()


async def across(first):
    clients = []
    for number in range(3):
        clients.append(Client(await websockets.connect(f"ws://localhost:{first + number}/ws", subprotocols=["chathub.v1"])))
        await clients[-1].hello(PEOPLE[number])
        await clients[-1].join()
    await clients[0].post("to all")
    for client in clients:
        await client.chat("to all")
        await client.close()
