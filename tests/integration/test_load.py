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


@pytest.mark.parametrize("bar", ["gathered", "paced", "rooms", "pair", "open", "bystander", "connect", "stalled", "idle",
                                 "scale"])
def test_the_bars_of_speed_can_be_measured(bar, sqlite, tmp_path):
    """tests/bench/speed.py with small counts: chatd, the floor and the hubs of others lose nothing; nothing is measured."""
    build = find_program("chatd").parents[2]
    if not (build / "tests/bench/floor").exists():
        pytest.skip("this build has no benches")
    report = tmp_path / "figures.json"
    done = subprocess.run([sys.executable, str(ROOT / "tests/bench/speed.py"), "--quick", "--only", bar, "--build", str(build),
                           "--dir", str(tmp_path), "--plots", str(tmp_path / "plots"), "--json", str(report)],
                          capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(report.read_text())["bars"]
    for plot in (tmp_path / "plots").glob("*.svg"):
        assert "</svg>" in plot.read_text()


class Room:
    """A server for chatbench on TCP lines, whose deliveries to its second member go through `spoil` (or to `spoiled`).

    It gathers so many entries before each member gets them, in one write."""

    def __init__(self, spoil, gather=1, spoiled=(1,)):
        self.spoil, self.gather, self.spoiled = spoil, gather, spoiled
        self.members, self.position, self.posts, self.gathered = [], 0, [], []
        self.starts = {}  # what a member is told to start after, where it isn't the position
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
            start = self.starts.get(len(self.members) - 1, self.position)
            self.say(connection, [{"type": "joined", "position": self.position, "start": start}])
            return
        self.posts.append(request)
        self.position += 1
        self.gathered.append({"type": "chat", "position": self.position, "prev": self.position - 1,
                              "content": request["content"], "cid": request["cid"]})
        self.say(connection, [{"type": "ack", "cid": request["cid"], "position": self.position}])
        if self.position % self.gather == 0:
            for number, member in enumerate(self.members):
                spoil = self.spoil if number in self.spoiled else lambda entry: [entry]
                self.say(member, [shown for entry in self.gathered for shown in spoil(entry)])
            self.gathered = []

    @staticmethod
    def say(connection, frames):
        try:
            connection.sendall(b"".join(json.dumps(f, separators=(",", ":")).encode() + b"\n" for f in frames))
        except OSError:
            pass  # chatbench has seen enough


def run_against(room, *options):
    """chatbench with three members, of whom the first posts: (exit status, figures, all that it printed)"""
    command = [str(find_program("chatbench")), "--json", "--url", room.url(), "--clients", "3", "--settle", "0", "--drain",
               "1", "--ramp", "1", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    room.listener.close()
    return done.returncode, json.loads(done.stdout), done.stdout + done.stderr


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


def swapped_whole():
    """Shows entries 5 and 6 in the wrong order, each as it is."""
    held = []

    def spoil(entry):
        if entry["position"] == 5:
            held.append(entry)
            return []
        return [entry, held.pop()] if entry["position"] == 6 else [entry]
    return spoil


def at_five(change):
    return lambda entry: change(entry) if entry["position"] == 5 else [entry]


FAULTS = {
    "nothing": (lambda: lambda e: [e], None),
    "lost": (lambda: at_five(lambda e: []), "holes"),
    "lost at the end": (lambda: lambda e: [] if e["position"] == 20 else [e], "lost"),
    "lost at the start": (lambda: lambda e: [] if e["position"] == 1 else [e], "holes"),
    "doubled": (lambda: at_five(lambda e: [e, e]), "doubled"),
    "doubled later": (lambda: lambda e: [e, dict(e, position=5, prev=4)] if e["position"] == 9 else [e], "doubled"),
    "swapped": (held_back, "disorder"),
    "swapped with a hole": (swapped_whole, "doubled"),
    "other content": (lambda: at_five(lambda e: [dict(e, content=e["content"][:-1] + "y")]), "altered"),
    "shorter content": (lambda: at_five(lambda e: [dict(e, content=e["content"][:-1])]), "altered"),
    "another's content": (lambda: at_five(lambda e: [dict(e, sender="mallory")]), "altered"),
    "another cid": (lambda: at_five(lambda e: [dict(e, cid=e["cid"][:-1] + "f")]), "disorder"),
    "another prev": (lambda: at_five(lambda e: [dict(e, prev=3)]), "holes"),
}


@pytest.mark.parametrize("gather", [1, 5, 20])
@pytest.mark.parametrize("name", FAULTS)
def test_chatbench_notices_what_is_lost_doubled_altered_or_out_of_order(name, gather):
    """Also in the middle of what it compares at once: the first member gets the same entries in one write."""
    spoil, counted = FAULTS[name]
    status, figures, said = run_against(Room(spoil(), gather), "--posts", "20", "--rate", "1000")
    if counted is None:
        assert status == 0, said
        assert figures["deliveries"] == figures["expected"] == 60, said
        assert figures["compared"] == 40, "each entry is parsed once, for the member that got it first"
    else:
        assert status == 1 and figures[counted] > 0, said


@pytest.mark.parametrize("start,counted", [(5, "holes"), (10, None), (12, "doubled")])
def test_chatbench_notices_entries_that_do_not_follow_what_joined_said(start, counted):
    room = Room(lambda e: [e], gather=20)
    room.position, room.starts = 10, {1: start}
    status, figures, said = run_against(room, "--posts", "30", "--rate", "1000")
    assert (status, figures["compared"]) == (0, 60) if counted is None else figures[counted] > 0 and status == 1, said


def test_chatbench_notices_content_that_is_altered_for_all():
    room = Room(at_five(lambda e: [dict(e, content="y" + e["content"][1:])]), spoiled=(0, 1, 2))
    status, figures, said = run_against(room, "--posts", "20", "--rate", "1000")
    assert status == 1 and figures["altered"] == 1 and not figures["lost"], said


@pytest.mark.parametrize("size", [16, 128, 65536])
def test_content_has_the_size_that_was_asked_for(size):
    room = Room(lambda e: [e], gather=5)
    status, figures, said = run_against(room, "--posts", "20", "--rate", "1000", "--size", str(size))
    assert status == 0 and figures["deliveries"] == 60, said
    assert {len(post["content"]) for post in room.posts} == {size}
    assert all(len(post["cid"]) <= 24 for post in room.posts) and len({post["cid"] for post in room.posts}) == 20


def test_what_members_still_need_is_kept_to_compare():
    """Far more than its first buffer holds: each entry is parsed once, for whoever got it first."""
    status, figures, said = run_against(Room(lambda e: [e], gather=10), "--posts", "3000", "--outstanding", "100")
    assert status == 0 and figures["deliveries"] == 9000 and figures["compared"] == 6000, said


@pytest.mark.parametrize("altered", [False, True])
def test_who_is_further_behind_than_what_is_kept_is_checked_all_the_same(altered):
    """20 MB behind: more than is kept of one room. What is not kept any more is parsed again."""
    held = []

    def late(entry):
        held.append(dict(entry, content=entry["content"][:-1] + "y") if altered and entry["position"] == 5 else entry)
        return held if entry["position"] == 320 else []
    status, figures, said = run_against(Room(late), "--posts", "320", "--outstanding", "4", "--size", "65536")
    assert figures["deliveries"] == figures["expected"] == 960 and 320 <= figures["compared"] < 640, said
    assert (status, figures["altered"]) == ((1, 1) if altered else (0, 0)), said


def test_chatbench_tells_who_lagged_when_the_posting_ended():
    """The second member gets nothing until all was posted: it lags behind what was acked by then."""
    held = []

    def late(entry):
        held.append(entry)
        return held if entry["position"] == 20 else []
    status, figures, said = run_against(Room(late), "--posts", "20", "--outstanding", "1")
    assert status == 0, said
    assert figures["lag_max"] in (19, 20) and figures["lag_ms"] > 0, said


def test_chatbench_counts_frames_of_joining_and_cpu_of_the_server():
    with subprocess.Popen(["sleep", "60"]) as process:
        status, figures, said = run_against(Room(lambda e: [e]), "--posts", "20", "--rate", "1000", "--pid",
                                            str(process.pid))
        process.kill()
    assert status == 0, said
    assert figures["join_frames_mean"] == figures["join_frames_max"] == 1, said
    for name in ("cpu_seconds", "cpu_us_per_delivery", "cpu_us_per_post", "log_us_per_post", "connect_cpu_us"):
        assert 0 <= figures[name] < 1000, (name, said)
