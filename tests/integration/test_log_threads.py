"""The hub's thread never waits for the log: seen by strace, one thread at a time."""
import pathlib
import re
import shutil
import signal
import subprocess

import pytest

from faults import insist, until

pytestmark = pytest.mark.usefixtures("sqlite")

# What may block on a disk or on another program's lock.
BLOCKING = re.compile(r"^(f(data)?sync|sync|sync_file_range|msync|p?readv?2?|pread64|p?writev?2?|pwrite64|flock|fcntl"
                      r"|open(at)?|f?truncate|fallocate|unlink(at)?|rename(at2?)?|copy_file_range)\(")
POSTS = 300


class Trace:
    """strace of one thread alone."""

    def __init__(self, thread, path):
        self.path = path
        self.process = subprocess.Popen(["strace", "-y", "-qq", "-o", str(path), "-p", str(thread)],
                                        stderr=subprocess.PIPE, text=True)

    async def attached(self, chatd, thread):
        """Skips where it may not."""
        tracer = pathlib.Path(f"/proc/{chatd.pid}/task/{thread}/status")

        def is_traced():
            return self.process.poll() is not None or f"TracerPid:\t{self.process.pid}\n" in tracer.read_text()
        await until(is_traced, "a trace")
        if self.process.poll() is not None:
            pytest.skip(f"a process may not be traced here: {self.process.stderr.read().strip()}")

    def end(self):
        """What it saw, a call a line."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        self.process.stderr.close()
        return self.path.read_text().splitlines()


def threads_of(chatd):
    """Their numbers by name."""
    return {(task / "comm").read_text().strip(): int(task.name)
            for task in pathlib.Path(f"/proc/{chatd.pid}/task").iterdir()}


def file_calls(lines, path):
    """Calls that are about the log's files, and syncs of anything."""
    return [line for line in lines if BLOCKING.match(line) and
            (str(path) in line or re.match(r"f?(data)?sync", line))]


async def post_and_page(chatd):
    """Commits, joins of rooms that have to be opened, and pages that have to be read from the file."""
    poster = await chatd.client("poster")
    for number in range(POSTS):
        await poster.send({"type": "post", "content": f"{number} " + "x" * 1000, "ref": f"p{number}",
                           "cid": f"c{number}"})
    for number in range(POSTS):
        await poster.get("ack", ref=f"p{number}")
    before = {}
    while True:
        page = await poster.ask({"type": "history", "limit": 50, **before}, "history")
        if not page["more"]:
            break
        before = {"before": page["entries"][0]["position"]}
    await poster.join("another")
    await poster.close()
    return poster.epoch


async def test_the_loop_makes_no_call_that_waits_for_the_disk(start_logged, log_path, tmp_path):
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    first = start_logged()
    epoch = await post_and_page(first)
    await first.stopped()
    chatd = start_logged()  # whose windows are empty: pages come from the file
    threads = threads_of(chatd)
    assert {"chathub-log-w", "chathub-log-r"} <= set(threads), threads
    traces = {}
    try:
        for name, thread in [("loop", chatd.pid), ("writer", threads["chathub-log-w"]),
                             ("reader", threads["chathub-log-r"])]:
            traces[name] = Trace(thread, tmp_path / name)
            await traces[name].attached(chatd, thread)
        late = await chatd.client("late", room=None)
        await late.join(after=0, epoch=epoch)
        for _ in range(POSTS):
            await late.get("chat")
        await post_and_page_again(chatd)
    finally:
        seen = {name: trace.end() for name, trace in traces.items()}
    assert len(seen["loop"]) > 100 and not file_calls(seen["loop"], log_path), file_calls(seen["loop"], log_path)
    # the same calls are seen where they belong
    assert any(line.startswith(("fdatasync(", "fsync(")) for line in file_calls(seen["writer"], log_path))
    assert any(line.startswith("pread64(") for line in file_calls(seen["reader"], log_path))


async def post_and_page_again(chatd):
    poster = await chatd.client("poster again", room=None)
    await poster.join(now=True)
    for number in range(50):
        await insist(poster, f"again {number}", f"again {number}")
    await poster.ask({"type": "history", "limit": 50, "before": 40}, "history")


async def test_the_threads_can_be_told_apart(start_logged, start_chatd):
    names = [name for name in threads_of(start_logged()) if name.startswith("chathub-log")]
    assert sorted(names) == ["chathub-log-r", "chathub-log-w"]
    assert not [name for name in threads_of(start_chatd()) if name.startswith("chathub-log")]
