#!/usr/bin/python3
"""What a call and an event cost in Python: `python_events.py [SECONDS]`. The library is found as the package finds it.

Prints CPU time: of an empty call by ctypes; of the same with the arguments of a post, which shows what Python's side of
a post costs; of sorting batches that were made here, and of handing them to a handler that reads type, room, sender and
content; of a whole post; and of an event at 10,000 a second from a real hub, from chathub_take to that handler. There the
loop wakes every 10 ms, with what others do on the machine in its caches. Nothing here passes or fails.
"""
import asyncio
import ctypes
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bindings/python"))

import chathub  # noqa: E402
from chathub import Message, _abi, _batch, _ffi, _local  # noqa: E402

RATE = 10000


def cost(function, times, *arguments):
    """Microseconds of CPU for one call, the best of five rounds."""
    best = float("inf")
    for _ in range(5):
        begun = time.thread_time()
        for _ in range(times):
            function(*arguments)
        best = min(best, (time.thread_time() - begun) / times)
    return best * 1e6


def bench_calls():
    library = _ffi.library
    print(f"empty call (chathub_version)          {cost(library.chathub_version, 200000):6.3f} µs")
    # The same empty function by the types of a post: x86-64 and arm64 do not mind.
    result, arguments = _abi.FUNCTIONS["chathub_post"]
    like_post = ctypes.CFUNCTYPE(result, *arguments)(ctypes.cast(library.chathub_version, ctypes.c_void_p).value)
    print(f"empty call with a post's arguments    "
          f"{cost(like_post, 200000, 1 << 40, 7, b'general', b'how are you?', 12, b'0123456789abcdef-1'):6.3f} µs")


def make_batch(count):
    """As chathub_take would fill it."""
    texts = [b"general", b"somebody", b"hk1gyS6rYHhaVtQv", b"how are you? I am fine.", b"0123456789abcdef-12345", b"",
             b"", b"", b"", b'{"type":"chat","room":"general","position":42,"prev":40,"sender":"somebody",'
             b'"sender_id":"hk1gyS6rYHhaVtQv","content":"how are you? I am fine.","cid":"0123456789abcdef-12345",'
             b'"timestamp":"2026-01-02T03:04:05.678Z"}']
    block = b"".join(text + b"\0" for text in texts) * count
    held = ctypes.create_string_buffer(block, len(block))
    events = (_abi.Event * count)()
    for number, event in enumerate(events):
        event.size, event.type, event.client, event.position = ctypes.sizeof(_abi.Event), _abi.EVENT_MESSAGE, 7, number
    batch = _abi.Batch(size=ctypes.sizeof(_abi.Batch), count=count, events=ctypes.addressof(events),
                       texts=ctypes.addressof(held), texts_len=len(block))
    return batch, (events, held)


def bench_sorting():
    for count in (1, 50, 1000):
        batch, _held = make_batch(count)

        def sort():
            _batch.sort(batch, {}, None)

        print(f"an event of a batch of {count:4}           {cost(sort, max(20000 // count, 1)) / count:6.3f} µs")


async def bench_handling():
    """Batches that were made here, sorted, and read by a handler as from a server."""
    class Core:
        is_paused = False

    for name in ("for", "async for"):
        best = float("inf")
        for _ in range(5):
            inbox, batches = _local.Inbox(Core(), "bench", 1 << 30), [make_batch(100) for _ in range(50)]
            events = _local.Events(inbox, None, None)
            inbox.over = True
            begun, length = time.thread_time(), 0
            for batch, _held in batches:
                waiting = {}
                _batch.sort(batch, waiting, None)
                inbox.put(waiting[7])
                if name == "for":
                    for event in events:
                        if type(event) is Message:
                            length += len(event.room) + len(event.sender) + len(event.content)
                else:
                    async for event in events:
                        if type(event) is Message:
                            length += len(event.room) + len(event.sender) + len(event.content)
            best = min(best, (time.thread_time() - begun) / 5000)
        print(f"an event made and read by {name:10}  {best * 1e6:6.3f} µs")


# A program of its own, that this one's CPU is not counted for: 50 posts every 5 ms.
FLOOD = """
import socket, sys, threading, time
host, port, total = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
peer = socket.create_connection((host, port))
threading.Thread(target=lambda: [None for _ in iter(lambda: peer.recv(1 << 20), b"")], daemon=True).start()
peer.sendall(b'{"type":"hello","name":"poster"}\\n{"type":"join","room":"bench"}\\n')
line = b'{"type":"post","room":"bench","content":"how are you? I am fine."}\\n'
begun, sent = time.monotonic(), 0
while sent < total:
    due = min(total, int((time.monotonic() - begun) * RATE))
    peer.sendall(line * (due - sent))
    sent = due
    time.sleep(0.005)
time.sleep(60)
""".replace("RATE", str(RATE))


class Counting:
    """CPU of this thread, of which `taking` is spent in the pulls."""

    def __init__(self, core):
        self.pull, self.pulls, self.taking = core._pull, 0, 0.0
        core._pull = self

    def __call__(self):
        begun = time.thread_time()
        self.pull()
        self.taking += time.thread_time() - begun
        self.pulls += 1


async def bench_events(seconds):
    total = RATE * seconds
    async with chathub.Server("tcp://127.0.0.1:0") as server:
        bot = server.client("bot", max_events=100000)
        await bot.join("bench", now=True)
        counting = Counting(server._core)
        host, port = server.listeners[0][len("tcp://"):].rsplit(":", 1)
        poster = subprocess.Popen([sys.executable, "-c", FLOOD, host, port, str(total)])
        begun, cpu = time.monotonic(), time.thread_time()
        seen, length = 0, 0
        async for event in bot.events(timeout=5):
            if type(event) is Message:
                seen += 1
                length += len(event.room) + len(event.sender) + len(event.content)
                if seen == total:
                    break
        cpu, took = time.thread_time() - cpu, time.monotonic() - begun
        poster.kill()
        poster.wait()
    print(f"{seen} of {total} events in {took:.1f} s, by {counting.pulls} pulls ({seen / max(counting.pulls, 1):.0f} each)")
    print(f"an event: taking and making           {counting.taking / seen * 1e6:6.3f} µs")
    print(f"an event: all that the loop does      {cpu / seen * 1e6:6.3f} µs")


def bench_posts():
    with chathub.Server() as server:
        poster = server.client("poster", max_events=0)
        poster.join("bench").result()
        number, handle = poster.number, server._core.hub._handle
        post, text, room = _ffi.library.chathub_post, b"how are you?", b"bench"
        best_c = best = float("inf")
        for _ in range(200):
            begun = time.thread_time()
            for _ in range(50):
                post(handle, number, room, text, 12, None)
            best_c = min(best_c, (time.thread_time() - begun) / 50)
            poster.ping().result()
            begun = time.thread_time()
            answers = [poster.post("how are you?", "bench") for _ in range(50)]
            best = min(best, (time.thread_time() - begun) / 50)
            answers[-1].result()
    print(f"a post: chathub_post, all of it       {best_c * 1e6:6.3f} µs")
    print(f"a post: LocalClient.post              {best * 1e6:6.3f} µs")


if __name__ == "__main__":
    bench_calls()
    bench_sorting()
    asyncio.run(bench_handling())
    bench_posts()
    asyncio.run(bench_events(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
