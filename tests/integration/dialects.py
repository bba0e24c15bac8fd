"""Clients of the five other chat systems over raw WebSocket frames, and the transcripts of what they say and hear.

`Peer` is one WebSocket whose frames are kept until they are asked for. `DIALECTS` knows of each dialect how its clients
come in, say something, and what their frames mean: as docs/dialects.md tells it, not as chatd is made.
`Transcript` runs a text of tests/conformance/transcripts, whose form is told there in README.md.
"""
import collections
import json
import re
import select
import urllib.parse

from conftest import ROOT, Chatd, LineClient
from wire import BINARY, CLOSE, PING, PONG, TEXT, Raw, close, frame, upgrade

TRANSCRIPTS = ROOT / "tests" / "conformance" / "transcripts"
ROUNDS = 3  # of pings, after which all that was on its way has arrived (see settle)

# What somebody says; what the server says, or tells of others' state; a frame that is neither.
Said = collections.namedtuple("Said", "sender text")
Told = collections.namedtuple("Told", "text")
State = collections.namedtuple("State", "sender text")
Odd = collections.namedtuple("Odd", "payload")


# ------------------------------------------------------------------------------------------------ one client


class Refused(Exception):
    """The server answered the opening handshake by something else than 101."""

    def __init__(self, status, body):
        super().__init__(f"refused with {status}: {body!r}")
        self.status, self.body = status, body


class Peer:
    """A WebSocket. Text frames wait in `frames`; `ended` is the code and reason of the server's close frame."""

    def __init__(self, address, query="", *headers, host=None, path="/ws"):
        self.frames, self.ended, self.pings = collections.deque(), None, 0
        self.raw = Raw(address)
        target = path + (f"?{query}" if query else "")
        lines = {"host": f"Host: {host}"} if host else {}
        self.raw.send(upgrade(*headers, start=f"GET {target} HTTP/1.1", **lines))
        status, self.headers, _ = self.raw.response(closed=False)
        if status != 101:
            body = self.raw.to_end()
            self.cut()
            raise Refused(status, body.decode())

    def send(self, text, opcode=TEXT):
        self.raw.send(frame(opcode, text))

    def _take(self):
        """Reads one frame of any kind. Answers its opcode."""
        opcode, payload = self.raw.frame()
        if opcode == TEXT:
            self.frames.append(payload)
        elif opcode == PING:
            self.raw.send(frame(PONG, payload))
        elif opcode == CLOSE:
            code = int.from_bytes(payload[:2], "big") if payload else None
            self.ended = code, payload[2:].decode()
            try:
                self.raw.send(close(code))
            except OSError:
                pass  # it did not wait for our answer
        else:
            assert opcode == PONG, f"a frame of kind {opcode}"
        return opcode

    def next(self):
        """The next text frame, as bytes."""
        while not self.frames:
            assert not self.ended, f"closed {self.ended}"
            self._take()
        return self.frames.popleft()

    def comes(self, seconds):
        """Whether something comes within this time."""
        return bool(self.frames or self.raw.left or select.select([self.raw.socket], [], [], seconds)[0])

    def ping(self):
        """All that was on its way when the server read this ping's predecessors has arrived."""
        self.pings += 1
        self.send(b"%d" % self.pings, PING)
        while not self.ended and self._take() != PONG:
            pass

    def closed(self):
        """Waits for the server to close, and for the end of the connection. Answers code and reason."""
        while not self.ended:
            self._take()
        assert self.raw.to_end() == b"", "something followed the close frame"
        self.raw.socket.close()
        return self.ended

    def leave(self, code=1000):
        """Closes as a browser does; what came meanwhile waits in `frames`."""
        if not self.ended:
            self.raw.send(close(code))
            assert self.closed()[0] in (code, 1001)

    def cut(self):
        """The connection is lost without a word."""
        self.raw.socket.close()
        self.ended = self.ended or (None, "")


def settle(*peers, may_close=False):
    """Whatever the server has been sent before has been heard by all of these that are not closed.

    A pong says that what its client sent before was taken, but may overtake entries. When a second one comes, the turn
    of the server's loop in which all of it was done has ended, and that is when entries and signals are written. Many
    of these in a second take a server with a higher --control-rate.
    """
    for _ in range(ROUNDS):
        for peer in peers:
            if not peer.ended:
                peer.ping()
                assert may_close or not peer.ended, f"closed {peer.ended}"


# ------------------------------------------------------------------------------------------------ the dialects


def compact(**members):
    return json.dumps(members, separators=(",", ":"), ensure_ascii=False)


def as_object(payload, ends):
    """The JSON object in a frame; None where it is something else, or does not end as it should."""
    text = payload.decode()
    if text.endswith("\n") != ends:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


class Dialect:
    """How the clients of one system behave. `named_by_url`: the name stands in the query, else in what they say."""
    name = None
    named_by_url = False

    def query(self, _name):
        return ""

    def come(self, peer, name):
        """What a client sends once it is connected, to be in the room."""

    def say(self, name, text):
        """The frame by which `name` says something."""
        raise NotImplementedError

    def read(self, payload):
        """What a frame means: Said, Told, State or Odd."""
        raise NotImplementedError

    def chosen(self, name):
        """The query that makes sure of this dialect."""
        return "&".join(part for part in (f"dialect={self.name}", self.query(name)) if part)

    def open(self, server, name, query=None, come=True):
        peer = Peer(server.address("ws"), self.chosen(name) if query is None else query)
        if come:
            self.come(peer, name)
        return peer


class Chatservice(Dialect):
    name, named_by_url = "chatservice", True
    KEYS = ["message_id", "client_id", "room_id", "sender_id", "origin_server", "type", "payload", "created_at"]

    def query(self, name):
        return "token=user:" + urllib.parse.quote(name, safe="")

    def come(self, peer, _name):
        peer.send(compact(action="join", room="general"))

    def say(self, name, text):
        return compact(action="message", room="general", type="chat", payload={"text": text, "user": name})

    def read(self, payload):
        found = as_object(payload, False)
        if not found or [key for key in self.KEYS if key in found] != list(found) or "payload" not in found:
            return Odd(payload)
        sender, text = found["sender_id"], found["payload"].get("text")
        if found["payload"].get("user") != sender:
            return Odd(payload)
        return Told(text) if sender == "System" else Said(sender, text)


class Minichat(Dialect):
    name, named_by_url = "minichat", True

    def query(self, name):
        return "username=" + urllib.parse.quote(name, safe="")

    def say(self, _name, text):
        return compact(type="chat", content=text)

    def read(self, payload):
        found = as_object(payload, True)
        if not found or list(found) != ["type", "content", "sender", "timestamp"]:
            return Odd(payload)
        kind, text, sender = found["type"], found["content"], found["sender"]
        if kind == "chat" and sender:
            return Said(sender, text)
        if kind == "system" and not sender:
            return Told(text)
        return State(sender, text) if kind == "status" else Odd(payload)


class Gochat(Dialect):
    name = "gochat"

    def come(self, peer, name):
        peer.send(compact(username=name))

    def say(self, name, text):
        return compact(username=name, content=text)

    def read(self, payload):
        found = as_object(payload, True)
        if not found or list(found) != ["username", "content"]:
            return Odd(payload)
        return Told(found["content"]) if found["username"] == "System" else Said(found["username"], found["content"])


class Multiserver(Dialect):
    name = "multiserver"
    TOLD = "SYSTEM_MSG:"

    def come(self, peer, name):
        peer.send(name)

    def say(self, _name, text):
        return text

    def read(self, payload):
        text = payload.decode()
        if text.startswith(self.TOLD):
            return Told(text[len(self.TOLD):])
        sender, colon, rest = text.partition(": ")
        return Said(sender, rest) if colon and "\n" not in text else Odd(payload)


class Realtime(Dialect):
    name = "realtime"

    def say(self, name, text):
        return compact(sender=name, content=text)

    def read(self, payload):
        found = as_object(payload, True)
        if not found or list(found) != ["sender", "content", "timestamp"]:
            return Odd(payload)
        return Told(found["content"]) if found["sender"] == "server" else Said(found["sender"], found["content"])


DIALECTS = {dialect.name: dialect for dialect in (Chatservice(), Minichat(), Gochat(), Multiserver(), Realtime())}


# ------------------------------------------------------------------------------------------------ transcripts


def load_transcripts():
    """All transcripts: (dialect, title, ways, number of the first line, lines with their numbers)."""
    found = []
    for path in sorted(TRANSCRIPTS.glob("*.txt")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if line.startswith("== "):
                found.append((path.stem, line[3:].strip(), []))
            elif line.strip() and not line.startswith("#"):
                assert found, f"{path.name}:{number}: a transcript begins with == and its title"
                found[-1][2].append((f"{path.name}:{number}", line))
    return found


KINDS = {"time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z", "id": r'[^"]+', "text": r"[^\n]+"}
HOLE = re.compile(r"<(time|id|text|pad)(?::(\w+))?>|<(.)\*(\d+)>")
WAYS = ("listener", "option", "query", "bare")


class Transcript:
    """One chatd, its clients by name, and what the placeholders stand for by now."""

    def __init__(self, dialect, way, lines, log="memory"):
        self.dialect, self.way, self.lines, self.log = dialect, way, lines, log
        self.server, self.peers, self.refusals = None, {}, {}
        self.known, self.padding = {}, ""
        self.args, self.listener, self.stopping = [], "", False

    # ---- words

    def fill(self, text):
        """What a client sends, as it goes over the wire."""
        text = HOLE.sub(lambda hole: hole[3] * int(hole[4]) if hole[3] else hole[0], text.replace("¶", "\n"))
        hole = re.search(r"<pad:(\d+)>", text)
        if hole:
            self.padding = "x" * (int(hole[1]) - len(text.replace(hole[0], "").encode()))
            text = text.replace(hole[0], self.padding)
        return text

    def pattern(self, text):
        """A regular expression for what is received, and the placeholders' names in their order."""
        names, out, at = [], "", 0
        text = text.replace("¶", "\n")
        kinds = dict(KINDS, text=r'(?:[^"\\\n]|\\.)+') if text.startswith("{") else KINDS
        for hole in HOLE.finditer(text):
            out += re.escape(text[at:hole.start()])
            at = hole.end()
            if hole[1] in kinds:
                names.append((hole[1], hole[2]))
                out += f"({kinds[hole[1]]})"
            else:
                out += re.escape(self.padding if hole[1] else hole[3] * int(hole[4]))
        return out + re.escape(text[at:]), names

    def bind(self, kind, name, value):
        """Whether a placeholder's value is what it was before. Two ids of different names are never the same."""
        if name is None:
            return True
        known = self.known.setdefault(kind, {})
        if name in known:
            return known[name] == value
        if kind == "id" and value in known.values():
            return False
        known[name] = value
        return True

    def match(self, wanted, payload):
        pattern, names = self.pattern(wanted)
        found = re.fullmatch(pattern, payload.decode())
        return bool(found) and all(self.bind(*name, value) for name, value in zip(names, found.groups()))

    # ---- what is done

    def start(self):
        if not self.server:
            parts = [f"dialect={self.dialect}"] if self.way == "listener" else []
            query = "&".join(parts + ([self.listener] if self.listener else []))
            listen = ("ws://127.0.0.1:0/ws" + (f"?{query}" if query else ""), "tcp://127.0.0.1:0")
            args = self.args + (["--dialect", self.dialect] if self.way == "option" else [])
            self.server = Chatd(["--control-rate", "1000", *args], listen=listen, log=self.log)

    def opens(self, name, query):
        self.start()
        assert name not in self.peers or self.peers[name].ended, f"{name} is connected already"
        if name in self.peers:
            self.heard_all(name)
        parts = [f"dialect={self.dialect}"] if self.way == "query" else []
        try:
            self.peers[name] = Peer(self.server.address("ws"), "&".join(parts + ([query] if query else [])))
        except Refused as refused:
            self.refusals[name] = refused

    def refused(self, name, status, body):
        refused = self.refusals.pop(name, None)
        assert refused, f"{name} was not refused"
        assert refused.status == int(status) and self.match(body, refused.body.encode()), str(refused)

    def hears(self, name, wanted):
        payload = self.peers[name].next()
        assert self.match(wanted, payload), f"{name} got\n  {payload.decode()!r}, wanted\n  {wanted!r}"

    def heard_all(self, name):
        frames = self.peers[name].frames
        assert not frames, f"{name} got, unasked for, {list(frames)}"

    def nothing(self, names):
        settle(*self.peers.values())
        for name in names:
            self.heard_all(name)

    def closed(self, name, code, reason):
        ended = self.peers[name].closed()
        self.heard_all(name)
        assert ended[0] == int(code) and (not reason or self.match(reason, ended[1].encode())), f"{name}: {ended}"

    def types(self, name, text):
        """A native client over TCP, which says something as whoever it says it is."""
        self.start()
        if name not in self.peers:
            line = LineClient(self.server.address("tcp"))
            line.send({"type": "hello", "name": name})
            line.get("welcome")
            self.peers[name] = Native(line)
        self.peers[name].line.send({"content": text})
        self.peers[name].line.get("ack")

    def stops(self):
        self.stopping = True
        self.server.process.terminate()

    STEPS = (
        (r"server (.+)", lambda self, args: self.args.extend(args.split())),
        (r"listener (.+)", lambda self, query: setattr(self, "listener", query)),
        (r"ways .+", lambda self: None),
        (r"(\w+) opens ?(.*)", opens),
        (r"(\w+) refused (\d+) (.+)", refused),
        (r"(\w+)> ?(.*)", lambda self, name, text: self.peers[name].send(self.fill(text))),
        (r"(\w+)>> (.+)", lambda self, name, hex_: self.peers[name].send(bytes.fromhex(hex_))),
        (r"(\w+)>binary (.+)", lambda self, name, text: self.peers[name].send(text, BINARY)),
        (r"(\w+(?:, \w+)*)< ?(.*)", lambda self, names, text: [self.hears(name, text) for name in names.split(", ")]),
        (r"(\w+(?:, \w+)*) hears? nothing", lambda self, names: self.nothing(names.split(", "))),
        (r"(\w+) closes", lambda self, name: self.peers[name].leave()),
        (r"(\w+) drops", lambda self, name: self.peers[name].cut()),
        (r"(\w+) closed (\d+) ?(.*)", closed),
        (r"(\w+) says natively (.+)", types),
        (r"server is told to stop", stops),
    )

    def step(self, line):
        for pattern, action in reversed(self.STEPS):
            found = re.fullmatch(pattern, line)
            if found:
                return action(self, *found.groups())
        raise AssertionError("this is no step")

    def run(self):
        """All steps; in the end nobody has heard more than what is written."""
        try:
            for where, line in self.lines:
                try:
                    self.step(line)
                except (AssertionError, OSError) as error:
                    raise AssertionError(f"{where}, by {self.way}: {line}\n{error}") from error
            settle(*self.peers.values())
            for name in self.peers:
                self.heard_all(name)
            assert not self.refusals, f"refused: {self.refusals}"
        finally:
            for peer in self.peers.values():
                peer.cut()
            if self.stopping:
                self.server.wait_end()
            elif self.server:
                self.server.stop()


class Native:
    """A native client among the peers of a transcript: it only says things."""

    def __init__(self, line):
        self.line, self.frames, self.ended = line, (), (None, "")

    def cut(self):
        self.line.close()
