"""The loss of power, as far as it can be had without one: what was acked with log-sync full is on the disk.

Two kinds of copies are taken while a crowd posts, at random moments and within checkpoints: of the files as the system
has them (what the death of the process would leave), and of what was synced of them (what the loss of power would
leave, see shim.c). A chatd that starts on such a copy has everything that was acked before it, and its epoch tells what
came after.
"""
import asyncio

import pytest

from conftest import Client
from crowd import Crowd, new_seed
from faults import Frozen, Shim, assert_in_copy, copy_log, entries_of, insist

pytestmark = pytest.mark.usefixtures("sqlite")
COPIES = 6


@pytest.fixture
def disk(tmp_path):
    """A shim that notes what is synced of the files beside `path`."""
    files = tmp_path / "files"
    files.mkdir()
    shim = Shim(tmp_path / "shim", files)
    shim.keep_disk()
    shim.path = files / "chat.db"
    return shim


def checkpoint_of(path):
    """A test of whether one has begun since: only checkpoints write the main file."""
    before = path.stat().st_mtime_ns
    return lambda: path.stat().st_mtime_ns != before


@pytest.mark.takes(600)
async def test_what_was_acked_is_in_every_later_copy(start_chatd, disk, tmp_path):
    crowd = Crowd(new_seed(), readers=1, big=0.7)
    copies = []
    chatd = await asyncio.to_thread(start_chatd, log=disk.path, env=disk.env, log_level="info")
    try:
        await crowd.meet(chatd)
        for number in range(COPIES):
            if number % 2:
                await crowd.until(checkpoint_of(disk.path), "a checkpoint", every=0.001)
            else:
                grown = len(crowd.book.acked) + crowd.dice.randrange(100, 2000)
                await crowd.until(lambda: len(crowd.book.acked) >= grown, "more posts")
            acked = dict(crowd.book.acked)
            async with Frozen(chatd):
                copies.append((tmp_path / f"killed {number}", acked))
                copy_log(disk.path, copies[-1][0])
                copies.append((tmp_path / f"without power {number}", acked))
                disk.take_disk(copies[-1][0])
        await crowd.settle()
        await crowd.kill()
        sizes = [await assert_in_copy(start_chatd, crowd, *copy[:1], copy[1]) for copy in copies]
        print("acked, found:", [(len(acked), size) for (_, acked), size in zip(copies, sizes)])
    finally:
        await crowd.end()


async def resumed(chatd, place):
    """What somebody is told who comes back to `general` with this (epoch, position): frames up to the head."""
    client = Client(await chatd.connect())
    await client.hello("somebody")
    joined = await client.join(epoch=place[0], after=place[1])
    frames = []
    while not frames or frames[-1].get("position", -1) < joined["position"]:
        if joined["position"] == joined["start"] and not frames:
            break
        frames.append(await client.next())
        if frames[-1]["type"] not in ("chat", "gap"):
            frames.pop()
    frames += [frame for frame in await client.quiet() if frame["type"] in ("chat", "gap")]
    await client.close()
    return joined, frames


async def say(client, *contents):
    """Posts, and waits to be shown them: the (epoch, position) of the last one received."""
    for content in contents:
        await insist(client, content, content)
    while (entry := await client.get("chat"))["content"] != contents[-1]:
        pass
    return client.epoch, entry["position"]


@pytest.mark.parametrize("kind", ["killed", "without power"])
async def test_the_epoch_tells_what_a_copy_lacks(start_chatd, disk, tmp_path, kind):
    """Who has received more than the copy holds is told a gap; who has not goes on without one."""
    first = start_chatd(log=disk.path, env=disk.env)
    client = await first.client("poster")
    early = await say(client, "one", "two")
    late = await say(client, "three")
    async with Frozen(first):
        take = disk.take_disk if kind == "without power" else lambda to: copy_log(disk.path, to)
        take(tmp_path / "copy")
    beyond = await say(client, "four", "five")
    first.kill()
    second = start_chatd(log=tmp_path / "copy" / "chat.db")
    again = await second.client("poster")
    assert again.epoch != client.epoch
    other = await say(again, "another four")
    assert other[1] > late[1]

    joined, frames = await resumed(second, early)
    assert joined["start"] == early[1]
    assert [frame["content"] for frame in frames] == ["three", "another four"] and frames[0]["prev"] == early[1]
    _, frames = await resumed(second, late)
    assert [frame["content"] for frame in frames] == ["another four"] and frames[0]["prev"] == late[1]
    _, frames = await resumed(second, beyond)
    assert frames[0]["type"] == "gap" and frames[0]["from"] == beyond[1]
    assert [frame["content"] for frame in frames[1:]] == ["one", "two", "three", "another four"]
    _, frames = await resumed(second, other)
    assert frames == []


async def test_with_log_sync_normal_a_loss_of_power_is_told(start_chatd, disk, tmp_path):
    """What it loses then was acked: the promise is less, but nobody is told that all is there."""
    first = start_chatd("--log-sync", "normal", log=disk.path, env=disk.env)
    client = await first.client("poster")
    place = await say(client, "one", "two")
    async with Frozen(first):
        disk.take_disk(tmp_path / "copy")
        copy_log(disk.path, tmp_path / "killed")
    first.kill()
    second = start_chatd(log=tmp_path / "copy" / "chat.db")
    again = await second.client("poster")
    await insist(again, "another", "another")
    _, frames = await resumed(second, place)
    held = [frame["content"] for frame in frames if frame["type"] == "chat"]
    assert "one" not in held, "it was synced; this test shows nothing"
    assert frames[0]["type"] == "gap" and held[-1] == "another"
    third = start_chatd(log=tmp_path / "killed" / "chat.db")
    assert [entry["content"] for entry in (await entries_of(third, ["general"])).values()] == ["one", "two"]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.999])
async def test_a_wal_that_was_cut_is_a_log_that_lacks_its_end(start_logged, log_path, share):
    """As a loss of power with log-sync normal may leave it: it opens, and who has seen more is told."""
    first = start_logged()
    client = await first.client("poster")
    contents = [str(number) for number in range(50)]
    places = [await say(client, content) for content in contents]
    first.kill()
    wal = log_path.with_name(log_path.name + "-wal")
    with open(wal, "r+b") as file:
        file.truncate(int(wal.stat().st_size * share))
    second = start_logged()
    found = await entries_of(second, ["general"])
    kept = [entry["content"] for entry in found.values()]
    assert kept == contents[:len(kept)] and len(kept) < 50
    again = await second.client("poster")
    await insist(again, "another", "another")
    for number in range(0, 50, 7):
        _, frames = await resumed(second, places[number])
        if number < len(kept):
            assert [frame["content"] for frame in frames] == [*contents[number + 1:len(kept)], "another"]
        else:
            assert frames[0]["type"] == "gap" and frames[-1]["content"] == "another"


@pytest.mark.parametrize("what", ["EIO", "evict"])
async def test_after_a_failed_sync_an_ack_still_means_the_disk(start_chatd, disk, tmp_path, what):
    """Linux marks what it failed to write as clean: the next sync succeeds, and has not written it."""
    chatd = start_chatd(log=disk.path, env=disk.env)
    client = await chatd.client("poster")
    await say(client, "before")
    disk.fail(("sync", what, "-wal"))
    contents = [f"during {number}" for number in range(5)]
    for content in contents:
        await client.send({"type": "post", "content": content, "cid": content})
    await disk.failed(1, "sync")
    disk.heal()
    for content in contents:
        await insist(client, content, content)
    await insist(client, "after", "after")
    async with Frozen(chatd):
        disk.take_disk(tmp_path / "copy")
    second = start_chatd(log=tmp_path / "copy" / "chat.db")
    kept = [entry["content"] for entry in (await entries_of(second, ["general"])).values()]
    assert sorted(kept) == sorted(["before", *contents, "after"])
