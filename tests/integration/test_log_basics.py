"""The log in SQLite as users know it: what was said stays, whoever comes back goes on, settings are kept to."""
import asyncio
import re
import secrets
import shutil
import signal
import time

import pytest

from conftest import Client, UnixLines
from crowd import assert_chain, read_all
from faults import try_post, until

pytestmark = pytest.mark.usefixtures("sqlite")
WEEK_MS = 7 * 24 * 3600 * 1000


async def say(client, *contents, **fields):
    return [await client.post(content, cid=secrets.token_urlsafe(12), **fields) for content in contents]


async def end_by(chatd, way):
    if way == "stop":
        await chatd.stopped()
    else:
        chatd.kill()


# ------------------------------------------------------------------------------------------------------ a restart


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_restart_keeps_everything(start_logged, end):
    first = start_logged()
    alice = await first.client("alice")
    acks = await say(alice, "one", "two", "drei 🙂")
    await alice.post("with data", data={"a": [1, {"b": None}]})
    await alice.join("Garten")
    await alice.post("draußen", room="Garten")
    before = {room: await read_all(await first.client(None, room=None), room) for room in ("general", "Garten")}
    assert [entry["position"] for entry in before["general"]][:3] == [ack["position"] for ack in acks]
    await alice.close()
    await end_by(first, end)
    second = start_logged()
    for room, entries in before.items():
        assert await read_all(await second.client(None, room=None), room) == entries
    bob = await second.client("bob")
    more = await bob.post("three")
    assert more["position"] > before["Garten"][-1]["position"]
    entries = await read_all(await second.client(None, room=None), "general")
    assert entries[:-1] == before["general"]
    assert_chain(entries)


async def test_a_room_is_the_same_however_its_name_is_written(start_logged):
    first = start_logged()
    await (await first.client("alice", room="Tea")).post("hi", room="Tea")
    first.kill()
    bob = await start_logged().client("bob", room=None)
    await bob.join("TEA")
    assert (await bob.get("chat"))["content"] == "hi"


async def test_an_ack_says_where_it_is_and_the_horizon_is_a_week(start_logged):
    chatd = start_logged()
    client = Client(await chatd.connect())
    welcome = await client.hello("alice")
    assert welcome["horizon_ms"] == WEEK_MS
    joined = await client.join()
    ack = await client.post("hi", cid="c")
    assert ack["position"] > 0 and ack["epoch"] == joined["epoch"] == welcome["epoch"]
    entry = await client.chat("hi")
    assert entry["position"] == ack["position"] and entry["timestamp"] == ack["timestamp"]


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_posting_twice_is_posting_once_after_a_restart_too(start_logged, end):
    session = "a-session-key-of-some-length"
    first = start_logged()
    alice = await first.client("alice", session=session)
    ack = await alice.post("hi", cid="c-1", data={"a": 1})
    await alice.close()
    await end_by(first, end)
    second = start_logged()
    alice, bob = await second.client("alice", session=session), await second.client("bob")
    again = await alice.post("hi", cid="c-1", data={"a": 1})
    assert again["dup"] is True
    assert (again["position"], again["timestamp"]) == (ack["position"], ack["timestamp"])
    other = await try_post(alice, "something else", "c-1")
    assert other["type"] == "error" and other["code"] == "cid_reused"
    assert (await try_post(bob, "hi", "c-1"))["type"] == "ack"  # another sender's cid is another one
    assert "dup" not in await alice.post("hi", cid="c-2")
    assert [entry["content"] for entry in await assert_kept_of(second)] == ["hi"] * 3


async def assert_kept_of(chatd):
    entries = await read_all(await chatd.client(None, room=None), "general")
    assert_chain(entries)
    return entries


# -------------------------------------------------------------------------------------------------------- reading


async def test_joining_asks_for_the_last_entries(start_logged):
    first = start_logged()
    await say(await first.client("alice"), *[str(number) for number in range(120)])
    await first.stopped()
    chatd = start_logged()
    for wanted, start in [(range(110, 120), {"last": 10}), (range(70, 120), {}), (range(20, 120), {"last": 100}),
                          ([], {"now": True})]:
        bob = await chatd.client(None, room=None)
        await bob.join(**start)
        entries = [await bob.get("chat") for _ in wanted]
        assert [entry["content"] for entry in entries] == [str(number) for number in wanted]
        assert all(one["position"] == other["prev"] for one, other in zip(entries, entries[1:]))
        assert not [frame for frame in await bob.quiet() if frame["type"] == "chat"]
        await bob.close()


async def test_history_goes_back_through_everything_and_forth_again(start_logged):
    first = start_logged()
    alice = await first.client("alice")
    for room in ("one", "two"):
        await alice.join(room)
    for number in range(400):
        room = ("one", "two")[number % 3 == 0]
        await alice.send({"type": "post", "content": str(number), "room": room, "ref": number})
    for number in range(400):
        await alice.get("ack", ref=number)
    await first.stopped()
    bob = await start_logged().client("bob", room=None)
    await bob.join("one", now=True)
    contents = [str(number) for number in range(400) if number % 3]
    for limit in (1, 7, 100):
        last = {"before": 1 << 50}
        if limit == 1:
            page = await bob.ask({"type": "history", "room": "one", "limit": 1}, "history")
            assert [entry["content"] for entry in page["entries"]] == contents[-1:] and page["more"] is True
            continue
        found = []
        while True:
            page = await bob.ask({"type": "history", "room": "one", "limit": limit, **last}, "history")
            assert 0 < len(page["entries"]) <= limit
            found = page["entries"] + found
            if not page["more"]:
                break
            last = {"before": page["entries"][0]["position"]}
        assert [entry["content"] for entry in found] == contents
        assert_chain(found)
        forth, after = [], 0
        while True:
            page = await bob.ask({"type": "history", "room": "one", "limit": limit, "after": after}, "history")
            forth += page["entries"]
            if not page["more"]:
                break
            after = forth[-1]["position"]
        assert forth == found


async def test_whoever_comes_back_after_a_restart_misses_nothing(start_logged):
    first = start_logged()
    alice, bob = await first.client("alice"), await first.client("bob")
    await say(alice, "one", "two")
    seen = await bob.chat("two")
    await bob.close()
    await say(alice, *[f"meanwhile {number}" for number in range(300)])
    first.kill()
    second = start_logged()
    back = await second.client("bob", room=None)
    joined = await back.join(after=seen["position"], epoch=bob.epoch)
    assert joined["start"] == seen["position"] and joined["epoch"] != bob.epoch
    at = seen["position"]
    for number in range(300):
        entry = await back.get("chat")
        assert entry["content"] == f"meanwhile {number}" and entry["prev"] == at
        at = entry["position"]
    assert not [frame for frame in await back.quiet() if frame["type"] in ("chat", "gap")]


async def test_a_restored_copy_is_told_by_a_gap(start_logged, log_path):
    first = start_logged()
    alice = await first.client("alice")
    await say(alice, "one", "two")
    old = alice.epoch, (await alice.chat("two"))["position"]
    await alice.close()
    await first.stopped()
    shutil.copy(log_path, f"{log_path}.copy")
    second = start_logged()
    alice = await second.client("alice")
    await say(alice, "three", "four")
    new = alice.epoch, (await alice.chat("four"))["position"]
    await alice.close()
    await second.stopped()
    shutil.copy(f"{log_path}.copy", log_path)
    third = start_logged()
    await say(await third.client("alice"), "another three", "another four", "another five")
    for place, wanted in [(old, ["another three", "another four", "another five"]),
                          (new, ["one", "two", "another three", "another four", "another five"])]:
        bob = await third.client(None, room=None)
        await bob.join(after=place[1], epoch=place[0])
        if place is new:
            gap = await bob.get("gap")
            assert gap["from"] == new[1]
        assert [(await bob.get("chat"))["content"] for _ in wanted] == wanted
        assert not [frame for frame in await bob.quiet() if frame["type"] in ("chat", "gap")]


# ------------------------------------------------------------------------------------------------------- settings


async def until_history(client, test, what):
    """Posts now and then, as people do, until the room's history is as it should be."""
    number = 0
    while not test(entries := await read_all(client, "general")):
        assert_chain_but_first(entries)
        number += 1
        assert number < 600, f"it did not come to {what}; there are {len(entries)} entries"
        await client.post(f"and {number}")
        await asyncio.sleep(0.05)
    assert_chain_but_first(entries)
    return entries


def assert_chain_but_first(entries):
    for one, other in zip(entries, entries[1:]):
        assert other["prev"] == one["position"] < other["position"]


@pytest.mark.parametrize("option,value,most", [("--log-entries", "20", 22), ("--log-bytes", "4k", 22),
                                               ("--log-total-bytes", "4k", 24)])
async def test_what_is_more_than_allowed_is_forgotten(start_logged, option, value, most):
    first = start_logged()
    alice = await first.client("alice")
    await say(alice, *[f"{number} " + "x" * 100 for number in range(200)])
    place = alice.epoch, (await alice.get("chat"))["position"]
    await alice.close()
    await first.stopped()
    chatd = start_logged(option, value)
    alice = await chatd.client("alice", room=None)
    entries = await until_history(alice, lambda entries: entries and len(entries) <= most and
                                  not entries[0]["content"].startswith(("0 ", "1 ")), "fewer entries")
    assert entries[0]["prev"] > place[1]
    bob = await chatd.client(None, room=None)
    await bob.join(after=place[1], epoch=place[0])
    gap = await bob.get("gap")
    assert gap["from"] == place[1]
    assert (await bob.get("chat"))["prev"] <= gap["to"]
    await bob.close()


async def test_what_is_too_old_is_forgotten(start_logged):
    first = start_logged()
    alice = await first.client("alice")
    await say(alice, *[f"old {number}" for number in range(100)])
    spoken, last = time.time(), (await alice.chat("old 99"))["position"]
    await alice.close()
    await first.stopped()
    await until(lambda: time.time() > spoken + 1, "a second later")
    alice = await start_logged("--log-age", "1s").client("alice", room=None)
    await until_history(alice, lambda entries: "old 99" not in [entry["content"] for entry in entries],
                        "the end of what is old")
    await alice.post("new")
    assert (await alice.chat("new"))["prev"] >= last


async def test_retention_may_be_changed_while_it_runs(start_logged, settings_file):
    path = settings_file("log-entries: 1000\n")
    chatd = start_logged("--config", path)
    alice = await chatd.client("alice", room=None)
    await alice.join(now=True)
    await say(alice, *[f"said {number}" for number in range(200)])
    settings_file("log-entries: 10\n")
    chatd.process.send_signal(signal.SIGHUP)
    chatd.record("reloaded")
    await until_history(alice, lambda entries: len(entries) <= 11, "fewer entries")


async def test_no_file_without_a_file(start_chatd, tmp_path):
    for option in (["--log", "memory"], ["--log=memory"]):
        chatd = start_chatd(*option, cwd=tmp_path)
        await (await chatd.client("alice")).post("hi")
        await chatd.stopped()
        assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------------------------- by default


def logs_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.db"))


async def test_by_default_the_log_is_a_file_below_the_working_directory(start_chatd, run_chatd, tmp_path):
    name = re.search(r'^name: "?([\w-]+)"?$', run_chatd("--print-config").stdout, re.M)[1]
    chatd = start_chatd(log=None, cwd=tmp_path)
    await (await chatd.client("alice")).post("hi")
    assert logs_in(tmp_path) == [f"chatd-data/{name}-0.db"]  # the port is the one that was asked for
    assert (tmp_path / "chatd-data").stat().st_mode & 0o077 == 0


def said_in(socket_path):
    """What was said there, to one who joins."""
    client = UnixLines(socket_path)
    client.send({"type": "join", "last": 50})
    client.get("joined")
    client.send({"type": "history", "ref": 1})
    said = [entry["content"] for entry in client.get("history", ref=1)["entries"]]
    client.close()
    return said


def test_servers_in_one_folder_have_each_their_own_log(start_chatd, tmp_path):
    """And find it again."""
    def start(name):
        return start_chatd(log=None, cwd=tmp_path, listen=[f"tcp+unix:{tmp_path}/{name}.sock"])
    running = [(name, start(name)) for name in ("one", "two")]
    assert len(logs_in(tmp_path)) == 2
    for name, chatd in running:
        client = UnixLines(tmp_path / f"{name}.sock")
        client.send({"content": f"said in {name}"})
        client.get("chat")
        client.close()
        chatd.stop()
    for name, _ in running:
        start(name)
        assert said_in(tmp_path / f"{name}.sock") == [f"said in {name}"]
    assert len(logs_in(tmp_path)) == 2
