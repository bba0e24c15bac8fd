"""The log's disk fails: full, read-only, broken, slow, locked; and files that are no good at the start.

Whatever the fault: nothing is acked or shown that is not committed, who posts is told what is the matter and when to
come back, everything else goes on, and it recovers by itself when the fault is gone. Faults that no test can have of a
real disk come from shim.c.
"""
import asyncio
import os
import sqlite3
import stat
import subprocess
import sys

import pytest

from conftest import LISTEN, PATIENCE
from crowd import Crowd, new_seed
from faults import Frozen, Shim, assert_in_copy, assert_kept, assert_shown_once, insist, try_post, try_posts

pytestmark = pytest.mark.usefixtures("sqlite")
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root may do that")


@pytest.fixture
def shim(tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    return Shim(tmp_path / "shim", files)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "files" / "chat.db"


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 8 MiB."""
    if os.getuid() != 0:
        pytest.skip("only root may mount a small disk")
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True,
                          text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path, size):
    """Takes room on a disk."""
    with open(path, "wb") as file:
        file.write(b"\0" * size)


async def assert_serves(chatd, reader, known):
    """While nothing can be posted: who comes is told, who asks is answered, what was said can be read."""
    await reader.quiet()
    visitor = await chatd.client("visitor", room=None)
    joined = await visitor.join(last=3)
    assert joined["count"] >= 2
    assert (await visitor.get("chat"))["content"] in known
    page = await visitor.ask({"type": "history", "limit": 5}, "history")
    assert page["entries"] and all(entry["content"] in known for entry in page["entries"])
    while "visitor" not in [who["sender"] for who in (await reader.get("presence")).get("joined", [])]:
        pass
    await visitor.close()
    while "visitor" not in [who["sender"] for who in (await reader.get("presence")).get("left", [])]:
        pass


def assert_refused(answers, codes, words=""):
    for answer in answers.values():
        assert answer["type"] == "error" and answer["code"] in codes, answer
        assert words in answer["message"], answer
        assert answer["retry_after_ms"] > 0, answer


# ----------------------------------------------------------------------------------------------------- space


async def test_a_full_disk_refuses_posts_and_nothing_else(start_chatd, small_disk):
    fill(small_disk / "ballast", 5 << 20)
    path = small_disk / "chat.db"
    chatd = start_chatd("--log-free", "0", log=path)
    poster, reader = await chatd.client("poster"), await chatd.client("reader")
    acked, refused, number = [], {}, 0
    while not refused:
        contents = [f"{number + n} " + "x" * 10000 for n in range(5)]
        contents = [text[:60] for text in contents[:1]] + [contents[n] for n in range(1, 5)]
        answers = {}
        for n, content in enumerate(contents):
            answers[content] = await try_post(poster, content, f"c-{number + n}")
        number += 5
        acked += [content for content, answer in answers.items() if answer["type"] == "ack"]
        refused = {content: answer for content, answer in answers.items() if answer["type"] != "ack"}
        assert number < 5000, "the disk does not get full"
    assert_refused(refused, ["log_failed"], "full")
    chatd.record("log_down", level="error")
    last = await assert_shown_once(reader, acked, 0)
    await assert_serves(chatd, reader, acked)
    assert not [frame for frame in await reader.quiet() if frame["type"] == "chat"]
    (small_disk / "ballast").unlink()
    for content, answer in refused.items():
        await insist(poster, content, answer["cid"])
    chatd.record("log_up")
    await assert_shown_once(reader, refused, last)
    await assert_kept(chatd, [*acked, *refused])
    chatd.kill()
    await assert_kept(start_chatd("--log-free", "0", log=path), [*acked, *refused])


async def test_posts_are_refused_below_the_floor_of_free_space(start_chatd, small_disk):
    chatd = start_chatd("--log-free", "3m", log=small_disk / "chat.db")
    poster, reader = await chatd.client("poster"), await chatd.client("reader")
    acked, answer = [], {"type": "ack"}
    fill(small_disk / "ballast", 6 << 20)
    while answer["type"] == "ack":
        acked.append(f"said {len(acked)}")
        answer = await try_post(poster, acked[-1], acked[-1])
        assert len(acked) < 5000, "the floor does not hold"
    refused = acked.pop()
    assert_refused({refused: answer}, ["log_failed"], "log-free")
    last = await assert_shown_once(reader, acked, 0) if acked else 0
    (small_disk / "ballast").unlink()
    await insist(poster, refused, refused)
    await assert_shown_once(reader, [refused], last)
    await assert_kept(chatd, [*acked, refused])


# ------------------------------------------------------------------------------------------------- disks that fail

# What fails for which files, and how posts are answered. A sync or a write of a commit that failed leaves open whether
# it is there; without space it is not.
DISK_FAULTS = {
    "no space for the WAL": ([("write", "ENOSPC", "-wal")], ["log_failed"], "full"),
    "space for half a write": ([("write", "short", "-wal")], ["log_failed"], "full"),
    "the WAL cannot be written": ([("write", "EIO", "-wal")], ["unknown", "log_failed"], ""),
    "read-only": ([("write", "EROFS", "-wal"), ("write", "EROFS", ".db")], ["unknown", "log_failed"], ""),
    "read-only, and cannot be opened": ([("write", "EROFS", "-wal"), ("open", "EROFS", ".db"),
                                         ("open", "EROFS", "-wal")], ["unknown", "log_failed"], ""),
    "syncs fail": ([("sync", "EIO", "-wal"), ("sync", "EIO", ".db")], ["unknown", "log_failed"], ""),
    "syncs of the WAL alone fail": ([("sync", "EIO", "-wal")], ["unknown", "log_failed"], ""),
    "syncs fail and lose": ([("sync", "evict", "-wal"), ("sync", "EIO", ".db")], ["unknown", "log_failed"], ""),
    "syncs fail for want of space": ([("sync", "ENOSPC", "-wal"), ("sync", "ENOSPC", ".db")],
                                     ["unknown", "log_failed"], ""),
    "nothing can be read or written": ([(calls, "EIO", end) for calls in ("read", "write", "sync", "truncate")
                                        for end in (".db", "-wal")], ["unknown", "log_failed"], ""),
}


@pytest.mark.parametrize("fault", DISK_FAULTS)
async def test_a_disk_that_fails_is_told_and_forgiven(start_chatd, shim, path, fault):
    rules, codes, words = DISK_FAULTS[fault]
    chatd = start_chatd(log=path, env=shim.env)
    poster, reader = await chatd.client("poster"), await chatd.client("reader")
    before = [f"before {n}" for n in range(120)]
    assert all(answer["type"] == "ack" for answer in (await try_posts(poster, before)).values())
    last = await assert_shown_once(reader, before, 0)
    shim.fail(*rules)
    during = [f"during {n}" for n in range(20)]
    assert_refused(await try_posts(poster, during), codes, words)
    assert not [frame for frame in await reader.quiet() if frame["type"] == "chat"]
    if ("read", "EIO", ".db") not in rules:
        await assert_serves(chatd, reader, before)
    chatd.record("log_down", level="error")
    # it tries again by itself, in vain, and says no to whatever comes meanwhile
    failed = shim.told()
    await shim.failed(failed + 2)
    later = [f"later {n}" for n in range(5)]
    assert_refused(await try_posts(poster, later), codes)
    assert not [frame for frame in await reader.quiet() if frame["type"] == "chat" and frame["content"] in later]
    shim.heal()
    for content in during + later:
        await insist(poster, content, content)
    chatd.record("log_up")
    await assert_shown_once(reader, during + later, last)
    await assert_kept(chatd, before + during + later)
    chatd.kill()
    await assert_kept(start_chatd(log=path), before + during + later)


@pytest.mark.parametrize("what", ["EIO", "evict"])
async def test_one_failed_sync_is_not_forgotten(start_chatd, shim, path, what):
    """The next one would succeed, and might lie: before anything else is acked, the file is opened anew."""
    chatd = start_chatd(log=path, env=shim.env)
    poster, reader = await chatd.client("poster"), await chatd.client("reader")
    await insist(poster, "before", "before")
    shim.fail(("sync", what, "-wal"), ("open", "note", ".db"))
    answer = await try_post(poster, "during", "during")
    opened = shim.told("open")
    shim.fail(("open", "note", ".db"))
    assert answer["type"] == "error" and answer["code"] == "unknown" and "sync" in answer["message"], answer
    chatd.record("log_down")
    await insist(poster, "during", "during")
    assert shim.told("open") > opened
    chatd.record("log_up")
    await assert_shown_once(reader, ["before", "during"], 0)
    await assert_kept(chatd, ["before", "during"])


async def test_a_checkpoint_that_fails_is_told_and_forgiven(start_chatd, shim, path):
    chatd = start_chatd(log=path, env=shim.env)
    poster = await chatd.client("poster")
    shim.fail(("sync", "EIO", "/chat.db"), ("write", "EIO", "/chat.db"))
    await insist(poster, "before", "before")  # a commit touches the WAL alone
    await asyncio.to_thread(chatd.record, "log_down")  # once nobody has posted for a while
    answer = await try_post(poster, "during", "during")
    assert answer["type"] == "error" and answer["code"] == "log_failed", answer
    await assert_kept(chatd, ["before"])
    shim.heal()
    await insist(poster, "during", "during")
    await assert_kept(chatd, ["before", "during"])


async def test_what_cannot_be_read_is_told_and_read_later(start_chatd, shim, path):
    """Live goes on; a page that cannot be read is an error or comes later, never a wrong or an empty one."""
    first = start_chatd(log=path, env=shim.env)
    poster = await first.client("poster")
    contents = [f"{n} " + "x" * 2000 for n in range(120)]
    for n in range(0, 120, 40):
        await try_posts_of(poster, contents[n:n + 40])
    await first.stopped()
    chatd = start_chatd(log=path, env=shim.env)
    poster = await chatd.client("poster", room=None)
    await poster.join(now=True)
    shim.fail(("read", "EIO", ".db"))
    answer = await poster.ask({"type": "history", "limit": 100})
    if answer["type"] == "error":
        assert answer["code"] == "log_failed", answer
    else:
        assert [entry["content"] for entry in answer["entries"]] == contents[-len(answer["entries"]):]
        assert answer["entries"]
    await poster.ask({"type": "ping"}, "pong")
    shim.heal()
    await assert_kept(chatd, contents)


async def try_posts_of(client, contents):
    for number, content in enumerate(contents):
        await client.send({"type": "post", "content": content, "ref": number})
    for number, _ in enumerate(contents):
        await client.get("ack", ref=number)


async def test_a_disk_that_hangs_holds_up_nothing_but_acks(start_chatd, shim, path):
    chatd = start_chatd(log=path, env=shim.env)
    poster, reader = await chatd.client("poster"), await chatd.client("reader")
    await insist(poster, "before", "before")
    shim.fail(("sync", "hang", "-wal"))
    gone = await chatd.client("gone")
    await gone.send({"type": "post", "content": "from one who goes", "cid": "g"})
    await shim.failed(1, "sync")
    await poster.send({"type": "post", "content": "slow", "cid": "s"})
    await gone.close()
    await assert_serves(chatd, reader, ["before"])
    assert not [frame for frame in await poster.quiet() if frame["type"] == "ack" and frame["cid"] == "s"]
    shim.heal()
    assert (await poster.get("ack", cid="s"))["position"] > 0
    await assert_shown_once(reader, ["before", "from one who goes", "slow"], 0)
    await assert_kept(chatd, ["before", "from one who goes", "slow"])


@pytest.mark.takes(300)
async def test_a_crowd_loses_nothing_to_a_disk_that_fails_now_and_then(start_chatd, shim, path, tmp_path):
    """What comes of any fault at any moment under load: no post twice, none lost, nothing shown that is not there; and
    what is acked between faults outlives a loss of power, though syncs have failed."""
    crowd = Crowd(new_seed(), posters=10, readers=2, rooms=3, tolerated=("log_failed", "unknown", "busy"))
    faults = [rules for name, (rules, _, _) in DISK_FAULTS.items() if "read or written" not in name]
    copies = []
    shim.keep_disk()
    chatd = await asyncio.to_thread(start_chatd, log=path, env=shim.env, log_level="info")
    try:
        await crowd.meet(chatd)
        for number in range(30 if "CHATHUB_LONG" in os.environ else 8):
            grown, failed = len(crowd.book.acked) + crowd.dice.randrange(1, 500), shim.told()
            await crowd.until(lambda: len(crowd.book.acked) >= grown, "more posts")
            if number % 4 == 3:
                copies.append((tmp_path / f"without power {number}", dict(crowd.book.acked)))
                async with Frozen(chatd):
                    shim.take_disk(copies[-1][0])
            shim.fail(*crowd.dice.choice(faults))
            times = crowd.dice.randrange(1, 4)
            await crowd.until(lambda: shim.told() >= failed + times, "a fault")
            shim.heal()
        await crowd.settle()
        await crowd.verify(chatd, in_order=False)
        await crowd.repeat_some(chatd, 5)
        print(f"{len(crowd.book.acked)} acked, {crowd.book.dups} of them when they were repeated, after {crowd.errors}")
        assert crowd.errors
        await crowd.kill()
        for copy in copies:
            await assert_in_copy(start_chatd, crowd, *copy)
        last = await asyncio.to_thread(start_chatd, log=path, log_level="info")
        await crowd.meet(last)
        await crowd.settle()
        await crowd.verify(last, in_order=False)
    finally:
        await crowd.end()


# --------------------------------------------------------------------------------------------- locked by somebody else

LOCKER = """
import sqlite3, sys
file = sqlite3.connect(sys.argv[1], isolation_level=None)
file.execute("PRAGMA wal_autocheckpoint=0")
file.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
file.execute("ROLLBACK")
"""


async def test_a_file_that_another_program_has_locked_is_waited_for(start_chatd, log_path):
    chatd = start_chatd(log=log_path)
    poster, reader = await chatd.client("poster"), await chatd.client("reader")
    await insist(poster, "before", "before")
    locker = subprocess.Popen([sys.executable, "-c", LOCKER, str(log_path)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    try:
        assert await asyncio.to_thread(locker.stdout.readline) == b"locked\n"
        answer = await try_post(poster, "during", "during")
        assert_refused({"during": answer}, ["log_failed"], "lock")
        await assert_serves(chatd, reader, ["before"])
        locker.stdin.write(b"\n")
        locker.stdin.flush()
        assert await asyncio.to_thread(locker.wait, PATIENCE) == 0
        await insist(poster, "during", "during")
    finally:
        locker.kill()
        locker.wait()
        locker.stdin.close()
        locker.stdout.close()
    await assert_shown_once(reader, ["before", "during"], 0)
    await assert_kept(chatd, ["before", "during"])


# ----------------------------------------------------------------------------------------------- bad at the start


@pytest.fixture
def old_log(start_logged, log_path):
    """A log of some size whose chatd was killed: a main file, and a WAL with the newest entries."""
    for size, count in ((2000, 300), (20, 5)):
        chatd = start_logged()
        client = chatd.lines()
        for number in range(count):
            client.send({"content": f"{number} " + "x" * size, "ref": number})
            if number % 50 == 49 or number == count - 1:
                client.get("ack", ref=number)
        client.close()
        if size == 2000:
            chatd.stop()
        else:
            chatd.kill()
    assert log_path.stat().st_size > 300 * 2000 and wal_of(log_path).stat().st_size > 0
    return log_path


def wal_of(path):
    return path.with_name(path.name + "-wal")


def contents_of(path):
    """Of a log's files, but the lock that is no part of it."""
    return {file.name: file.read_bytes() for file in path.parent.iterdir()
            if file.is_file() and not file.name.endswith(("-lock", "-shm"))}


def cut(path, size):
    with open(path, "r+b") as file:
        file.truncate(size)


def scribble(path, offset, length):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(bytes(range(256)) * (length // 256))


def make_foreign(path):
    wal_of(path).unlink()
    path.unlink()
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE notes(text)")
        file.execute("INSERT INTO notes VALUES('mine')")
    file.close()


def make_newer(path):
    """In the main file's header, and with a WAL that does not say otherwise."""
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version=4711")
    file.close()


def make_text(path):
    wal_of(path).unlink()
    path.write_text("This is a shopping list: bread, tea, and a great many apples.\n" * 100)


def make_empty(path):
    wal_of(path).unlink()
    path.write_bytes(b"")


BAD_FILES = {
    "cut in the middle": (lambda path: cut(path, path.stat().st_size // 8192 * 4096), "cut"),
    "cut within a page": (lambda path: cut(path, path.stat().st_size - 10 * 4096 - 1000), "cut"),
    "cut to nothing": (lambda path: cut(path, 0), ""),
    "cut within its header": (lambda path: cut(path, 50), ""),
    "without a header": (lambda path: scribble(path, 0, 4096), ""),
    "scribbled upon": (lambda path: scribble(path, 50 * 4096, 80 * 4096), "damaged"),
    "scribbled upon at its end": (lambda path: scribble(path, path.stat().st_size - 40 * 4096, 40 * 4096), "damaged"),
    "with a damaged WAL": (lambda path: scribble(wal_of(path), 0, 256), "-wal"),
    "another program's": (make_foreign, "another program"),
    "newer": (make_newer, "version 4711"),
    "a text": (make_text, ""),
    "empty": (make_empty, ""),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_refused_and_left_as_it_is(run_chatd, old_log, kind):
    spoil, words = BAD_FILES[kind]
    spoil(old_log)
    before = contents_of(old_log)
    done = run_chatd("--log", f"sqlite:{old_log}", "--listen", LISTEN[1])
    assert done.returncode == 1 and done.stdout == "", done
    last = done.stderr.splitlines()[-1]
    assert last.startswith("chatd: ") and str(old_log) in last and words in last, done.stderr
    assert contents_of(old_log) == before


@pytest.mark.parametrize("rules", [
    [("write", "ENOSPC", ".db"), ("write", "ENOSPC", "-wal"), ("write", "ENOSPC", "-new")],
    [("sync", "EIO", "-wal"), ("sync", "EIO", ".db"), ("sync", "EIO", "-new")],
    [("read", "EIO", ".db"), ("read", "EIO", "-wal"), ("read", "EIO", "-new")],
    [("open", "EROFS", ".db"), ("open", "EROFS", "-new")],
], ids=["full", "syncs fail", "reads fail", "read-only"])
@pytest.mark.parametrize("new", [True, False], ids=["a new file", "an old file"])
async def test_a_disk_that_fails_at_the_start_is_told_and_does_no_harm(start_chatd, run_chatd, shim, path, rules, new):
    if not new:
        first = start_chatd(log=path)
        await (await first.client("alice")).post("one")
        first.kill()
    shim.fail(*rules)
    done = run_chatd("--log", f"sqlite:{path}", "--listen", LISTEN[1], env=shim.env)
    assert shim.told() > 0 and done.returncode == 1 and done.stdout == "", done
    last = done.stderr.splitlines()[-1]
    assert last.startswith("chatd: ") and str(path) in last, done.stderr
    shim.heal()
    assert new == (not path.exists()) and not [file for file in path.parent.iterdir() if "-new" in file.name]
    await assert_kept(start_chatd(log=path), [] if new else ["one"])


def test_a_wal_without_its_file_is_not_taken_for_another_one(run_chatd, old_log):
    old_log.unlink()
    before = contents_of(old_log)
    done = run_chatd("--log", f"sqlite:{old_log}", "--listen", LISTEN[1])
    assert done.returncode == 1 and str(old_log) in done.stderr and "-wal" in done.stderr
    assert contents_of(old_log) == before


def test_a_folder_is_no_file(run_chatd, tmp_path):
    done = run_chatd("--log", f"sqlite:{tmp_path}", "--listen", LISTEN[1])
    assert done.returncode == 1 and str(tmp_path) in done.stderr and "directory" in done.stderr


async def test_a_file_in_use_is_refused_and_the_other_goes_on(start_logged, run_chatd, log_path):
    first = start_logged()
    client = await first.client("alice")
    await client.post("one")
    before = log_path.read_bytes(), wal_of(log_path).read_bytes()
    done = run_chatd("--log", f"sqlite:{log_path}", "--listen", LISTEN[1])
    assert done.returncode == 1 and str(log_path) in done.stderr and str(first.pid) in done.stderr, done.stderr
    assert (log_path.read_bytes(), wal_of(log_path).read_bytes()) == before
    await client.post("two")
    await assert_kept(first, ["one", "two"])


async def test_the_lock_of_one_that_was_killed_is_no_hindrance(start_logged):
    first = start_logged()
    await (await first.client("alice")).post("one")
    first.kill()
    await assert_kept(start_logged(), ["one"])


# ---------------------------------------------------------------------------------------------------- permission

NOBODY = {"user": 65534, "group": 65534, "extra_groups": []}
NO_LEAKS = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}


@pytest.fixture
def open_path(tmp_path):
    """A folder that anybody can get at, and write in."""
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & stat.S_IXOTH:
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def refused_to_nobody(run_chatd, path):
    try:
        done = run_chatd("--log", f"sqlite:{path}", "--listen", LISTEN[1], cwd="/", env=NO_LEAKS, **NOBODY)
    except PermissionError:
        pytest.skip("nobody may not run this chatd where it is")
    assert done.returncode == 1 and done.stdout == "", done
    last = done.stderr.splitlines()[-1]
    assert last.startswith("chatd: ") and str(path) in last, done.stderr
    return last


@as_root
@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_folder_without_permission_is_told(run_chatd, open_path, mode):
    folder = open_path / "mine"
    folder.mkdir()
    folder.chmod(mode)
    assert "ermission" in refused_to_nobody(run_chatd, folder / "chat.db")
    assert "ermission" in refused_to_nobody(run_chatd, folder / "deeper" / "chat.db")
    assert not list(folder.iterdir())


@as_root
@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_file_without_permission_is_told_and_left_as_it_is(start_chatd, run_chatd, open_path, mode):
    path = open_path / "chat.db"
    start_chatd(log=path).stop()
    for file in open_path.iterdir():
        file.chmod(mode)
    (open_path / "chat.db-lock").chmod(0o666)
    before = contents_of(path)
    refused_to_nobody(run_chatd, path)
    assert contents_of(path) == before


@as_root
def test_what_it_makes_is_for_its_user_alone(start_chatd, tmp_path):
    path = tmp_path / "new" / "deep" / "chat.db"
    chatd = start_chatd(log=path)
    chatd.lines().send({"content": "hi"})
    made = [path.parent.parent, path.parent, *path.parent.iterdir()]
    assert len(made) >= 4
    assert not [file for file in made if stat.S_IMODE(file.stat().st_mode) & 0o077], made
