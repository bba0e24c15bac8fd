"""Load, in small: every member gets every post once and in order, however slow; and chatbench notices if not."""
import json
import pathlib
import socket
import subprocess
import sys
import threading

import pytest

from conftest import find_program

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("bar", ["fanout", "join", "idle", "stall"])
def test_every_member_gets_every_post_once_and_in_order(bar):
    """The bars of tests/bench/bars.py with small counts; nothing is measured."""
    done = subprocess.run([sys.executable, str(ROOT / "tests/bench/bars.py"), "--quick", "--only", bar,
                           "--chatd", str(find_program("chatd")), "--chatbench", str(find_program("chatbench"))],
                          capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_logs_bars_can_be_measured(sqlite):
    """tests/bench/log_bars.py with small counts: all posts acked, all who come back get all; nothing is measured."""
    build = find_program("chatd").parents[2]
    if not (build / "tests/bench/log_posts").exists():
        pytest.skip("this build has no benches")
    done = subprocess.run([sys.executable, str(ROOT / "tests/bench/log_bars.py"), "--quick", "--only", "posts",
                           "reconnect", "page", "--build", str(build)],
                          capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class Room:
    """A server for chatbench on TCP lines, whose deliveries to its first member go through `spoil`."""

    def __init__(self, spoil):
        self.spoil, self.members, self.position = spoil, [], 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.accept, daemon=True).start()

    def url(self):
        return f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, connection.makefile("rb") as lines:
            for line in lines:
                request = json.loads(line)
                with self.lock:
                    self.take(connection, request)

    def take(self, connection, request):
        if request["type"] == "join":
            self.members.append(connection)
            self.say(connection, {"type": "joined", "position": self.position, "start": self.position})
            return
        self.position += 1
        entry = {"type": "chat", "position": self.position, "prev": self.position - 1, "content": request["content"],
                 "cid": request["cid"]}
        for number, member in enumerate(self.members):
            for shown in self.spoil(entry) if number == 1 else [entry]:
                self.say(member, shown)
        self.say(connection, {"type": "ack", "cid": request["cid"], "position": self.position})

    @staticmethod
    def say(connection, frame):
        try:
            connection.sendall(json.dumps(frame, separators=(",", ":")).encode() + b"\n")
        except OSError:
            pass  # chatbench has seen enough


def held_back():
    """Shows entries 5 and 6 in the wrong order, with `prev` to match."""
    held = []

    def spoil(entry):
        if entry["position"] == 5:
            held.append(entry)
            return []
        if entry["position"] == 6:
            return [dict(entry, position=5, prev=4), dict(held.pop(), position=6, prev=5)]
        return [entry]
    return spoil


FAULTS = {
    "nothing": (lambda e: [e], None),
    "lost": (lambda e: [] if e["position"] == 5 else [e], "holes"),
    "lost at the end": (lambda e: [] if e["position"] == 20 else [e], "lost"),
    "lost at the start": (lambda e: [] if e["position"] == 1 else [e], "holes"),
    "doubled": (lambda e: [e, e] if e["position"] == 5 else [e], "doubled"),
    "swapped": (held_back(), "disorder"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_chatbench_notices_what_is_lost_doubled_or_out_of_order(name):
    spoil, counted = FAULTS[name]
    room = Room(spoil)
    done = subprocess.run([str(find_program("chatbench")), "--json", "--url", room.url(), "--clients", "3", "--posts", "20", "--rate",
                           "1000", "--settle", "0", "--drain", "1", "--ramp", "1"],
                          capture_output=True, text=True, timeout=60, check=False)
    room.listener.close()
    figures = json.loads(done.stdout)
    if counted is None:
        assert done.returncode == 0, done.stdout + done.stderr
    else:
        assert done.returncode == 1 and figures[counted] > 0, done.stdout + done.stderr
