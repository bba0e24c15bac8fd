"""How speed.py runs servers: alternately, with progress and what is left of the time; and what is made of figures."""
import contextlib
import functools
import pathlib
import socket
import statistics
import subprocess
import time

import harness
import peers
from harness import Failed

# What the servers are called in tables. All are driven over WebSocket, but the floor, which knows lines alone.
NAMES = {"floor": "floor", "sqlite": "chatd, SQLite", "memory": "chatd, memory", "gorilla": "gorilla/websocket", "ws": "ws"}


class SpeedBench(harness.Bench):
    """A bench that alternates between servers."""

    def __init__(self, programs, folder, args):
        super().__init__(programs, args.quick)
        self.folder = pathlib.Path(folder)
        self.runs = 1 if args.quick else args.runs
        self.few = min(self.runs, 3)  # where one run takes long
        self.later, self.now, self.began = 0, 0, time.monotonic()  # seconds that the next bars, and this one, may take

    @functools.cached_property
    def peers(self):
        """Commands of the servers of others, by name; built when they are first needed."""
        return peers.find(self.folder, lambda text: print(f"speed.py: {text}", flush=True))

    def begin_bar(self, now, later):
        self.now, self.later, self.began = now, later, time.monotonic()

    def step(self, text):
        if self.quick:
            return
        left = self.later + max(0, self.now - (time.monotonic() - self.began))
        super().step(f"{text}; {left / 60:.0f} min left" if left >= 90 else f"{text}; {left:.0f} s left")

    @contextlib.contextmanager
    def serving(self, kind, *options):
        """A fresh server of this kind; options are chatd's."""
        if kind == "floor":
            server = self.floor()
        elif kind in ("sqlite", "memory"):
            server = self.chatd(*options, log=f"sqlite:{self.folder / 'speed.db'}" if kind == "sqlite" else "memory")
        else:
            server = peers.server(self.peers[kind])
        try:
            with server:
                yield server
        finally:
            for path in self.folder.glob("speed.db*"):
                path.unlink()

    def once(self, kind, *options, **load):
        """One load on a fresh server."""
        if self.quick:
            load = {"settle": 0.1, **load}
        with self.serving(kind, *options) as server:
            run = self.load(server, "tcp" if kind == "floor" else "ws", **load)
        if not run["well"]:
            self.row(f"{NAMES[kind]}: a run", f"{run['deliveries']:,} of {run['expected']:,} arrived",
                     "all, once, in order", False, run)
        return run

    def alternate(self, bar, kinds, load, runs=None, options=(), between=None):
        """The same load on each kind of server in turn, again and again: {kind: [figures]}."""
        runs = runs or self.runs
        found = {kind: [] for kind in kinds}
        for number in range(runs):
            for kind in kinds:
                self.step(f"{bar}, {NAMES[kind]}, {number + 1} of {runs}")
                found[kind].append(self.once(kind, *options, **load))
            if between:
                between()
        self.keep(bar, {"load": load, "options": options, "runs": found})
        return found

    def entry_size(self, size):
        """Bytes of an entry's WebSocket frame, as chatbench's posts with this content become."""
        with self.serving("memory") as server:
            host, port = server.urls["tcp"].removeprefix("tcp://").rsplit(":", 1)
            with socket.create_connection((host, int(port)), timeout=30) as line, line.makefile("rb") as lines:
                line.sendall(b'{"type":"join","room":"bench-0","now":true}\n')
                lines.readline()
                self.load(server, "ws", clients=1, posts=1, rate=10, settle=0, size=size)
                for text in lines:
                    if text.startswith(b'{"type":"chat"'):
                        length = len(text) - 1
                        return length + (2 if length < 126 else 4)
        raise Failed("chatd ended a connection")


def figure(run, name):
    if name not in run:
        raise Failed(f"this chatbench does not tell {name}; build it again, or say --chatbench")
    return run[name]


def values(runs, name):
    return [figure(run, name) for run in runs]


def median(runs, name):
    return statistics.median(values(runs, name))


def ratios(runs, base, name):
    """Of the runs of the same round."""
    return [a / b if b else float("inf") for a, b in zip(values(runs, name), values(base, name))]


def spread(found, form="{:.2f}"):
    """The median, and from where to where they are."""
    text = form.format(statistics.median(found))
    return text if len(found) < 2 else f"{text} ({form.format(min(found))} to {form.format(max(found))})"


def percentile99(found):
    return statistics.quantiles(found, n=100)[98] if len(found) > 1 else found[0]


def descriptors(pid):
    return sum(1 for _ in pathlib.Path(f"/proc/{pid}/fd").iterdir())


def wait_for_crowd(crowd, count):
    """Until the server of this load has so many connections."""
    while descriptors(crowd.server.pid) < count:
        try:
            crowd.process.wait(0.2)
            return  # it ended; whoever asks for its figures learns why
        except subprocess.TimeoutExpired:
            pass
