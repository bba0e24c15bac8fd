"""Faults of the disk for tests of the log, and what a client does that insists on its posts."""
import asyncio
import errno
import os
import pathlib
import shutil
import signal
import subprocess

from conftest import PATIENCE
from crowd import assert_chain, read_all

HERE = pathlib.Path(__file__).resolve().parent


class Shim:
    """shim.c, preloaded into chatd: what it says there, from here. Give `env` to the chatd."""

    def __init__(self, folder, files):
        """folder: of the shim's own; files: the folder whose files `disk` is about."""
        self.folder = folder
        folder.mkdir()
        library = folder / "shim.so"
        subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror",
                        "-fPIC", "-shared", str(HERE / "shim.c"), "-o", str(library), "-ldl"], check=True)
        # the runtime of gcc's address sanitizer minds that it is not the first library
        options = [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]
        self.env = {"LD_PRELOAD": str(library), "CHATHUB_SHIM": str(folder), "CHATHUB_SHIM_FILES": str(files),
                    "ASAN_OPTIONS": ":".join(filter(None, options))}

    def fail(self, *rules):
        """From now on these calls fail: (calls, what, end of the path), see shim.c."""
        lines = "".join(f"{calls} {getattr(errno, what, what)} {pattern}\n" for calls, what, pattern in rules)
        (self.folder / "rules.new").write_text(lines)
        (self.folder / "rules.new").rename(self.folder / "rules")

    def heal(self):
        """Nothing fails any more."""
        (self.folder / "rules").unlink(missing_ok=True)

    def told(self, calls=""):
        """How many calls of this kind have failed so far."""
        try:
            return sum(line.startswith(calls) for line in (self.folder / "told").read_text().splitlines())
        except FileNotFoundError:
            return 0

    async def failed(self, times, calls=""):
        """Waits until so many have."""
        await until(lambda: self.told(calls) >= times, f"{times} failed calls {calls}")

    def keep_disk(self):
        """From the chatd that is started next on: notes what of its files is synced."""
        (self.folder / "disk").mkdir()

    def take_disk(self, to):
        """What a loss of power would leave now. The chatd is not running meanwhile, or is frozen."""
        to.mkdir()
        for line in (self.folder / "disk" / "names").read_text().splitlines():
            inode, name = line.split(" ", 1)
            if (self.folder / "disk" / inode).exists():  # else nothing of it was ever synced
                shutil.copyfile(self.folder / "disk" / inode, to / name)


def copy_log(path, to):
    """What the system has of a log's files, as after the death of the process. As take_disk."""
    to.mkdir()
    for suffix in ("", "-wal"):
        if path.with_name(path.name + suffix).exists():
            shutil.copyfile(path.with_name(path.name + suffix), to / (path.name + suffix))


class Frozen:
    """Within it, the chatd does nothing."""

    def __init__(self, chatd):
        self.chatd = chatd

    def states(self):
        for task in pathlib.Path(f"/proc/{self.chatd.pid}/task").iterdir():
            yield (task / "stat").read_text().rsplit(")", 1)[1].split()[0]

    async def __aenter__(self):
        self.chatd.process.send_signal(signal.SIGSTOP)
        await until(lambda: set(self.states()) == {"T"}, "a standstill")

    async def __aexit__(self, *_):
        self.chatd.process.send_signal(signal.SIGCONT)


async def until(test, what):
    """Waits until it is so."""
    for _ in range(PATIENCE * 200):
        if test():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"it did not come to {what}")


async def try_post(client, content, cid, **fields):
    """The answer: an ack or an error."""
    return await client.ask({"type": "post", "content": content, "cid": cid, **fields})


async def insist(client, content, cid, codes=("log_failed", "unknown", "busy")):
    """Posts until it is acked, as docs/protocol.md asks for."""
    async def go():
        while True:
            answer = await try_post(client, content, cid)
            if answer["type"] == "ack":
                return answer
            assert answer["code"] in codes, answer
            await asyncio.sleep(answer.get("retry_after_ms", 50) / 1000)
    return await asyncio.wait_for(go(), 3 * PATIENCE)


async def try_posts(client, contents):
    """All at once, each with its content as cid: the answers, by content."""
    for content in contents:
        await client.send({"type": "post", "content": content, "cid": content})
    answers = {}
    while len(answers) < len(contents):
        for index, frame in enumerate(client.frames):
            if frame["type"] in ("ack", "error") and frame.get("cid") in contents:
                answers[frame["cid"]] = client.frames.pop(index)
                break
        else:
            client.frames.append(await client.next())
    return answers


async def assert_kept(chatd, contents, room="general"):
    """All of these are there, each once, and the room is a chain."""
    stranger = await chatd.client(None, room=None)
    entries = await read_all(stranger, room)
    assert_chain(entries)
    found = [entry["content"] for entry in entries]
    assert len(found) == len(set(found)), "something is there twice"
    assert not [content for content in contents if content not in found], "something is missing"
    await stranger.close()
    return entries


async def assert_shown_once(reader, contents, since):
    """A member that was there from `since` on is shown all of these, once, in a chain."""
    left, at = set(contents), since
    while left:
        entry = await reader.get("chat")
        assert entry["prev"] == at, (entry, at)
        at = entry["position"]
        left.discard(entry["content"])
    for entry in [frame for frame in await reader.quiet() if frame["type"] == "chat"]:
        assert entry["prev"] == at, (entry, at)
        at = entry["position"]
    return at


async def entries_of(chatd, rooms):
    """position → entry, of all these rooms."""
    client = await chatd.client(None, room=None)
    found = {}
    for room in rooms:
        entries = await read_all(client, room)
        assert_chain(entries)
        found |= {entry["position"]: entry for entry in entries}
    await client.close()
    return found


async def assert_in_copy(start_chatd, crowd, folder, acked):
    """It can be opened, holds all that was acked, and nothing that is elsewhere something else."""
    chatd = await asyncio.to_thread(start_chatd, log=folder / "chat.db")
    found = await entries_of(chatd, crowd.rooms)
    there = {(entry["sender"], entry["cid"]): position for position, entry in found.items()}
    assert len(there) == len(found), "a post is there twice"
    missing = {post: position for post, position in acked.items() if there.get(post) != position}
    assert not missing, f"{len(missing)} of {len(acked)} acked posts are not in {folder}: {list(missing.items())[:5]}"
    for entry in found.values():
        crowd.book.entry(entry)
    crowd.check()
    await chatd.stopped()
    return len(found)
