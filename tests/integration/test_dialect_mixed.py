"""One room, all dialects: what one says all others get, each once, in order and in its own form; also ten thousand
times, and when hundreds come at once."""
import json
import os
import re
import subprocess
import sys
import threading
import urllib.parse

import pytest

from conftest import PATIENCE, LineClient, Lines, find_program
from dialects import DIALECTS, Odd, Peer, Said, State, Told, settle
from wire import TEXT, frame

BURST = 10000
CROWD = 400


# ------------------------------------------------------------------------------------------------ who is in the room

class Stranger:
    """A client of one of the five; `heard` keeps what it was told of posts, as (sender, text)."""

    def __init__(self, dialect, server, name, query=None):
        self.dialect, self.name, self.heard = dialect, name, []
        self.peer = dialect.open(server, name, query)
        if dialect.name == "chatservice":
            settle(self.peer)  # it is told nothing of its join
        else:
            self.until(lambda got: got == self.entered())

    def entered(self):
        if self.dialect.name == "realtime":
            return Said(self.name, f"{self.name} enters")
        return Told(f"{self.name} has joined the chat" if self.dialect.name == "multiserver" else
                    f"{self.name} joined the chat")

    def until(self, test):
        while True:
            got = self.dialect.read(self.peer.next())
            assert not isinstance(got, Odd), got
            if isinstance(got, Said):
                self.heard.append(tuple(got))
            if test(got):
                return got

    def say(self, text):
        self.peer.send(self.dialect.say(self.name, text))

    def hears(self, text):
        self.until(lambda got: isinstance(got, Said) and got.text == text)

    def end(self):
        self.peer.leave()


class NativeLines:
    """A native client over TCP."""

    def __init__(self, address, name):
        self.name, self.heard = name, []
        self.line = LineClient(address)
        self.line.send({"type": "hello", "name": name})
        self.line.send({"type": "join"})
        self.line.get("joined")

    def say(self, text):
        self.line.send({"content": text})

    def hears(self, text):
        while not self.heard or self.heard[-1][1] != text:
            entry = self.line.get("chat")
            self.heard.append((entry["sender"], entry["content"]))

    def end(self):
        self.line.close()


class Person:
    """Somebody at nc."""

    def __init__(self, address, name):
        self.name, self.heard = name, []
        self.line = LineClient(address)
        self.line.say(f"/nick {name}")
        self.line.say("/join general")
        self.line.until(lambda line: "joined general" in line)

    def say(self, text):
        self.line.say(text)

    def hears(self, text):
        while not self.heard or self.heard[-1][1] != text:
            found = re.fullmatch(r"\[general\] ([^:]+): (.*)", self.line.line())
            if found:
                self.heard.append(found.groups())

    def end(self):
        self.line.close()


class Hub:
    """A hub in a Python program, and its bot (dialect_bot.py)."""

    def __init__(self, library):
        env = dict(os.environ)
        if b"__asan_init" in library.read_bytes():  # as in test_ctypes.py
            runtimes = [line.split()[2] for line in subprocess.run(["ldd", library], capture_output=True, text=True,
                                                                   check=True).stdout.splitlines() if "asan" in line]
            if not runtimes or not os.path.isabs(runtimes[0]):
                pytest.skip("the sanitizer is linked into programs only (clang); the release build runs this test")
            env.update(LD_PRELOAD=runtimes[0], ASAN_OPTIONS="detect_leaks=0")
        program = os.path.join(os.path.dirname(__file__), "dialect_bot.py")
        self.process = subprocess.Popen([sys.executable, program, str(library)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
        self.errors = Lines(self.process.stderr)
        self.out = Lines(self.process.stdout)
        self.urls = self.out.wait(lambda line: json.loads(line) if line.startswith("[") else None)
        self.name, self.heard = "bot", []

    def address(self, scheme="tcp"):
        parts = urllib.parse.urlsplit(next(url for url in self.urls if url.startswith(scheme)))
        return parts.hostname, parts.port

    def say(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def hears(self, text):
        self.out.wait(lambda line: True if line.startswith("{") and json.loads(line)["content"] == text else None)
        entries = [json.loads(line) for line in self.out.all if line.startswith("{")]
        self.heard = [(entry["sender"], entry["content"]) for entry in entries]

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(PATIENCE) == 0, "\n".join(self.errors.all)
        self.out.thread.join(PATIENCE)
        assert self.errors.all == []


@pytest.fixture
def hub():
    library = find_program("chatd").parents[2] / "libchathub" / "libchathub.so.0"
    if not library.exists():
        pytest.skip("only a static library was built")
    running = Hub(library)
    yield running
    if running.process.poll() is None:
        running.process.kill()
        running.process.wait()


def come_all(server):
    """One of each, as its own client comes: by its query or first frame, but multiserver by ?dialect=."""
    room = []
    for name, dialect in DIALECTS.items():
        query = "dialect=multiserver" if name == "multiserver" else dialect.query(f"{name} user")
        if name == "realtime":
            stranger = Stranger.__new__(Stranger)
            stranger.dialect, stranger.name, stranger.heard = dialect, f"{name} user", []
            stranger.peer = dialect.open(server, stranger.name, query)
            stranger.say(f"{stranger.name} enters")
            stranger.until(lambda got, who=stranger: got == who.entered())
            stranger.heard.clear()
            room.append(stranger)
        else:
            room.append(Stranger(dialect, server, f"{name} user", query))
    return room + [NativeLines(server.address("tcp"), "native user"), Person(server.address("tcp"), "a person")]


def everybody_talks(room):
    """Each says something twice, and all hear all of it once, in one order."""
    said = []
    for turn in range(2):
        for who in room:
            who.say(f"{turn}: {who.name} speaks")
            said.append((who.name, f"{turn}: {who.name} speaks"))
            for other in room:
                other.hears(said[-1][1])
    for who in room:
        assert [entry for entry in who.heard if entry[1][:2] in ("0:", "1:")] == said, who.name
    # at the same time, in whatever order it comes to, all hear the same
    for who in room:
        for number in range(5):
            who.say(f"2: {who.name} says {number}")
    last = [f"2: {who.name} says 4" for who in room]
    orders = []
    for who in room:
        while not {text for _, text in who.heard} >= set(last):
            missing = next(text for text in last if text not in {text for _, text in who.heard})
            who.hears(missing)
        orders.append([entry for entry in who.heard if entry[1].startswith("2:")])
    assert len(orders[0]) == len(set(orders[0])) == 5 * len(room)
    assert all(order == orders[0] for order in orders)


def test_in_a_mixed_room_each_hears_all_others_once(start_chatd):
    """chatd with default settings: one of each dialect, a native client, a person at nc."""
    chatd = start_chatd()
    room = come_all(chatd)
    everybody_talks(room)
    for who in room:
        who.end()


def test_a_bot_inside_the_process_hears_and_is_heard_by_all_dialects(hub):
    """The same in a program that embeds the hub, with a client inside it."""
    room = come_all(hub) + [hub]
    everybody_talks(room)
    for who in room:
        who.end()


def test_a_person_and_a_page_are_told_of_each_others_coming(chatd):
    """Coming and going crosses dialects: where there is a text for it, it is told."""
    minichat, multiserver = DIALECTS["minichat"], DIALECTS["multiserver"]
    watcher = minichat.open(chatd, "watcher")
    other = multiserver.open(chatd, "other")
    for dialect in (DIALECTS["chatservice"], DIALECTS["gochat"], DIALECTS["realtime"]):
        name = f"{dialect.name} user"
        peer = dialect.open(chatd, name, query=dialect.query(name))
        peer.send(dialect.say(name, "hi"))
        seen = []
        while Told(f"{name} joined the chat") not in seen:
            seen.append(minichat.read(watcher.next()))
        assert Said(name, "hi") in seen
        peer.send(dialect.say(name, "bye"))
        peer.leave()
        while minichat.read(watcher.next()) != Said(name, "bye"):
            pass
        assert minichat.read(watcher.next()) == Told(f"{name} left the chat")
        seen = []
        while Told(f"{name} has left the chat") not in seen:
            seen.append(multiserver.read(other.next()))
        assert seen.index(Told(f"{name} has joined the chat")) < seen.index(Said(name, "bye"))


NAMES = ["a: b", ":", "\"a\"", "\"a\": b", "x \"y\"", "alice, bob", "a (home)!", "Zoë", "人 名", "<b>"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_unchanged_but_cannot_pass_for_more_in_plain_text(need_unicode, chatd, name):
    """In multiserver's plain text a name that holds `:` or `,` or begins with a quote is put in quotes."""
    need_unicode(name)
    readers = {reader: DIALECTS[reader].open(chatd, "reader") for reader in DIALECTS if reader != "multiserver"}
    plain = DIALECTS["multiserver"].open(chatd, "reader")
    settle(plain, *readers.values())
    peer = DIALECTS["gochat"].open(chatd, name)
    peer.send(DIALECTS["gochat"].say(name, "hi"))
    for reader, waiting in readers.items():
        while not isinstance(got := DIALECTS[reader].read(waiting.next()), Said):
            pass
        assert got == Said(name, "hi")
    text = "SYSTEM_MSG:"
    while text.startswith("SYSTEM_MSG:"):
        text = plain.next().decode()
    assert text.endswith(": hi")
    shown = text[:-len(": hi")]
    if ":" in name or "," in name or name[0] == '"':
        assert shown != name and shown[0] == shown[-1] == '"'
    else:
        assert shown == name


# ------------------------------------------------------------------------------------------------ bursts

def count_up(frames, dialect, sender, total):
    """Reads posts of `sender` until all came. Answers their texts; nothing else may be said by it."""
    texts = []
    for payload in frames:
        got = dialect.read(payload)
        assert not isinstance(got, Odd), got
        if isinstance(got, Said):
            assert got.sender == sender
            texts.append(got.text)
            if len(texts) == total:
                break
    return texts


def on_thread(work):
    """Runs it, and hands on what it answers or raises."""
    result = []

    def run():
        try:
            result.append((work(), None))
        except BaseException as error:  # handed to who waits
            result.append((None, error))
    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def wait():
        thread.join(60)
        assert result, "it did not end"
        if result[0][1]:
            raise result[0][1]
        return result[0][0]
    return wait


@pytest.mark.parametrize("name", DIALECTS)
def test_a_burst_of_ten_thousand_posts_is_all_delivered(chatd, name):
    """To its own client, another of the same dialect, and a native one: each post once, in order."""
    dialect = DIALECTS[name]
    reader, poster = dialect.open(chatd, "reader"), dialect.open(chatd, "poster")
    native = NativeLines(chatd.address("tcp"), "native")
    settle(reader, poster)
    blob = b"".join(frame(TEXT, dialect.say("poster", f"post {n}")) for n in range(BURST))

    def read_native():
        texts = []
        while len(texts) < BURST:
            entry = json.loads(native.line.line())
            if entry["type"] == "chat":
                texts.append(entry["content"])
        return texts

    waits = [on_thread(lambda peer=peer: count_up(iter(peer.next, None), dialect, "poster", BURST))
             for peer in (reader, poster)] + [on_thread(read_native)]
    poster.raw.send(blob)
    wanted = [f"post {n}" for n in range(BURST)]
    for wait in waits:
        assert wait() == wanted
    settle(reader, poster)
    assert not [got for peer in (reader, poster) for got in peer.frames if isinstance(dialect.read(got), Said)]


@pytest.mark.parametrize("name", DIALECTS)
def test_who_reads_nothing_for_a_while_loses_nothing(chatd, name):
    """A client that is not ready is neither reset nor skipped, and disturbs nobody."""
    dialect = DIALECTS[name]
    lazy, poster = dialect.open(chatd, "lazy"), dialect.open(chatd, "poster")
    settle(lazy, poster)
    text = "x" * 2000
    wait = on_thread(lambda: count_up(iter(poster.next, None), dialect, "poster", 3000))
    poster.raw.send(b"".join(frame(TEXT, dialect.say("poster", f"{n} {text}")) for n in range(3000)))
    assert len(wait()) == 3000
    assert [got.split()[0] for got in count_up(iter(lazy.next, None), dialect, "poster", 3000)] == \
        [str(n) for n in range(3000)]


# ------------------------------------------------------------------------------------------------ crowds

def people_in(text, tail):
    """How many a line of the form "alice, bob and 310 others joined the chat" tells of; the names in it."""
    assert text.endswith(tail), text
    names = text[:-len(tail)]
    summed = re.fullmatch(r"(\w+), (\w+) and (\d+) others?", names)
    if summed:
        return int(summed[3]) + 2, [summed[1], summed[2]]
    pair = re.fullmatch(r"(\w+) and (\w+)", names)
    if pair:
        return 2, list(pair.groups())
    three = re.fullmatch(r"(\w+), (\w+) and (\w+)", names)
    if three:
        return 3, list(three.groups())
    assert re.fullmatch(r"\w+", names), text
    return 1, [names]


class Many:
    """Many clients of minichat that come at once, and do not listen."""

    def __init__(self, server, count):
        self.peers = [Peer(server.address("ws"), DIALECTS["minichat"].query(f"u{n}")) for n in range(count)]

    def end(self):
        for peer in self.peers:
            peer.cut()


def sums_of(early, tail):
    """Reads lines that end so until the whole crowd was told of: few, most of it in sums, each name at most once."""
    minichat, lines, told, names = DIALECTS["minichat"], [], 0, []
    while told < CROWD:
        got = minichat.read(early.next())
        if isinstance(got, State):
            continue
        assert isinstance(got, Told), got
        number, who = people_in(got.text, tail)
        lines.append(got.text)
        told += number
        names += who
    assert told == CROWD
    assert len(names) == len(set(names)) and set(names) <= {f"u{n}" for n in range(CROWD)}
    assert len(lines) <= 50 + 60, f"{len(lines)} lines, such as {lines[-1]}"
    assert any(re.fullmatch(r"\w+, \w+ and \d+ others" + tail, line) for line in lines), lines[-3:]
    settle(early)
    assert not early.frames


@pytest.fixture
def early(chatd):
    """A client of minichat that is alone in the room."""
    peer = DIALECTS["minichat"].open(chatd, "early")
    while DIALECTS["minichat"].read(peer.next()) != Told("early joined the chat"):
        pass
    yield peer
    peer.cut()


def test_a_mass_join_is_summed_up(chatd, early):
    """400 come at once: one who was there gets a line for each while the room is small, then a few that sum them up."""
    crowd = Many(chatd, CROWD)
    sums_of(early, " joined the chat")
    crowd.end()


def test_a_mass_leave_is_summed_up(chatd, early):
    """So when they go again at once."""
    crowd = Many(chatd, CROWD)
    sums_of(early, " joined the chat")
    crowd.end()
    sums_of(early, " left the chat")


def test_above_the_bound_for_names_only_numbers_are_told(start_chatd):
    """--presence-names: newcomers are told how many are there, and everybody how many came and went."""
    chatd = start_chatd("--presence-all", "2", "--presence-names", "5", "--presence-names-ms", "1ms",
                        "--presence-count-ms", "20ms", "--presence-all-ms", "0")
    minichat = DIALECTS["minichat"]
    early, told = minichat.open(chatd, "early"), {"joined": 0, "left": 0}

    def until(joined, left):
        while told != {"joined": joined, "left": left}:
            got = minichat.read(early.next())
            number = re.fullmatch(r"(One person|\d+ people) (joined|left) the chat", got.text)
            if number:
                told[number[2]] += 1 if number[1] == "One person" else int(number[1].split()[0])

    first = [minichat.open(chatd, f"u{n}") for n in range(4)]
    texts = [Told("Welcome, early"), State("", "online: early"), Told("early joined the chat")]
    assert [minichat.read(early.next()) for _ in texts] == texts
    names = 0
    while names < 4:
        names += people_in(minichat.read(early.next()).text, " joined the chat")[0]
    crowd = [minichat.open(chatd, f"v{n}") for n in range(20)]
    until(20, 0)
    late = minichat.open(chatd, "late")
    assert [minichat.read(late.next()) for _ in range(2)] == [Told("Welcome, late"), State("", "online: 26")]
    until(21, 0)
    for peer in crowd[:10]:
        peer.cut()
    until(21, 10)
    settle(early)
    assert not early.frames and first


def test_multiserver_sums_up_too(start_chatd):
    """In its own words, and with each name as it stands in its lines."""
    chatd = start_chatd("--presence-all", "2", "--presence-names-ms", "300ms")
    multiserver = DIALECTS["multiserver"]
    early = multiserver.open(chatd, "early")
    while multiserver.read(early.next()) != Told("early has joined the chat"):
        pass
    crowd = [multiserver.open(chatd, f"u{n}") for n in range(30)]
    told, lines = 0, []
    while told < 30:
        got = multiserver.read(early.next())
        assert isinstance(got, Told), got
        lines.append(got.text)
        told += people_in(got.text, " has joined the chat" if "has" in got.text else " have joined the chat")[0]
    assert told == 30 and len(lines) < 20
    for peer in crowd:
        peer.cut()


def test_slow_streams_of_comers_and_goers_do_not_add_up(chatd):
    """Who comes and goes again at once, 200 times, is told a few times at most."""
    minichat = DIALECTS["minichat"]
    early = minichat.open(chatd, "early")
    while minichat.read(early.next()) != Told("early joined the chat"):
        pass
    for _ in range(200):
        peer = Peer(chatd.address("ws"), minichat.query("flapper"))
        peer.leave()
    bob = minichat.open(chatd, "bob")
    heard, joined, left = [], Told("flapper joined the chat"), Told("flapper left the chat")
    while Told("bob joined the chat") not in heard or heard.count(joined) != heard.count(left):
        heard.append(minichat.read(early.next()))
    assert heard.count(joined) < 100 and len(heard) == 2 * heard.count(joined) + 1
    bob.leave()


def test_the_form_of_sums_is_what_is_looked_for():
    """That is, people_in can fail."""
    assert people_in("u1, u2 and 310 others joined the chat", " joined the chat") == (312, ["u1", "u2"])
    assert people_in("u1, u2 and u3 left the chat", " left the chat")[0] == 3
    with pytest.raises(AssertionError):
        people_in("u1, u2, u3 and 2 others joined the chat", " joined the chat")
