"""Hostile clients of the five dialects: each thing is answered as docs/dialects.md says, and nobody else is disturbed.

Each dialect has one arena: a chatd with witnesses in its room, who must never hear anything but what honest people
said, under their own names, and true coming and going.
"""
import itertools
import json

import pytest

from conftest import Chatd, LineClient
from dialects import DIALECTS, Odd, Peer, Refused, Said, State, Told, settle
from wire import BINARY, TEXT, frame

MIB = 1 << 20
FORGED = ("System", "SYSTEM", "system", "server", "SERVER", "sErVeR", "SYSTEM_MSG", "SYSTEM_MSG:x", "system_msg x",
          "guest-abc", "Guest-ABC", "Ｓｙｓｔｅｍ", "ｓｅｒｖｅｒ")
UNFIT = ("a\x07b", "a\x00b", "a\nb", "\u202eabc", "a\u2066b", "a\u200bb", "\ufeffabc", "\u00ad", "x" * 65, "ü" * 33,
         "\x7f", "\x85", "a\u2028b")
EMPTY = ("", " ", "\t ", "\u00a0")


class Arena:
    """chatd, its witnesses (one of the dialect, one in plain text, one native), and what they may hear."""

    def __init__(self, dialect):
        self.dialect, self.numbers = dialect, itertools.count()
        self.said = []  # (sender, text) in order, of honest people
        self.clean = True  # whether the last test ended with a check
        self.chatd = Chatd(["--presence-all-ms", "0", "--control-rate", "10000", "--ping-idle", "1h"])
        self.names = {"witness", "friend", "plain", "nat"}
        self.plain_reader = DIALECTS["multiserver"]
        self.nat = LineClient(self.chatd.address("tcp"))
        self.nat.send({"type": "hello", "name": "nat"})
        self.nat.send({"type": "join"})
        self.nat.get("joined")
        self.witness = self.open("witness")
        self.plain = self.plain_reader.open(self.chatd, "plain")
        self.friend = self.open("friend")
        settle(self.witness, self.plain, self.friend)
        if not dialect.named_by_url:
            self.say(self.friend, "friend", "I am here")
        self.check()

    def open(self, name, **how):
        self.names.add(name)
        return self.dialect.open(self.chatd, name, **how)

    def new_name(self):
        return f"mallory {next(self.numbers)}"

    def say(self, peer, name, text):
        peer.send(self.dialect.say(name, text))
        self.said.append((name, text))

    def allow(self, dialect, payload):
        """What a frame says, if it may say it at all; posts as (sender, text), else None."""
        got = dialect.read(payload)
        assert not isinstance(got, Odd), got
        if isinstance(got, Said):
            return tuple(got)
        if isinstance(got, State):
            assert got.sender in self.names or got.sender == "" and got.text.startswith("online"), got
            return None
        honest = {name + tail for name in self.names for tail in (
            " joined the chat", " left the chat", " has joined the chat", " has left the chat")}
        welcome = got.text.startswith(("Welcome", "Username set to "))
        assert welcome or got.text in honest or " is now " in got.text, got
        return None

    def check(self):
        """All witnesses have heard what was honestly said, and nothing else; the friend's chat goes on."""
        self.say(self.friend, "friend", f"go on {next(self.numbers)}")
        for dialect, peer in ((self.dialect, self.witness), (self.plain_reader, self.plain)):
            heard = []
            while not heard or heard[-1] != self.said[-1]:
                post = self.allow(dialect, peer.next())
                if post:
                    heard.append(post)
            assert heard == self.said, dialect.name
        heard = []
        while not heard or heard[-1] != self.said[-1]:
            got = json.loads(self.nat.line())
            if got["type"] == "chat":
                heard.append((got["sender"], got["content"]))
            elif got["type"] == "presence":
                people = [one["sender"] for key in ("joined", "left", "renamed") for one in got.get(key, [])]
                assert set(people) <= self.names, got
            else:
                assert got["type"] in ("typing", "status"), got
        assert heard == self.said, "native"
        self.said.clear()
        settle(self.witness, self.friend, self.plain)
        self.friend.frames.clear()
        assert not self.friend.ended
        self.clean = True

    def told(self, peer):
        """Frames that came to it until now, read."""
        settle(peer, may_close=True)
        found = [self.dialect.read(payload) for payload in peer.frames]
        peer.frames.clear()
        assert not any(isinstance(got, Odd) for got in found), found
        return found

    def end(self):
        for peer in (self.witness, self.plain, self.friend):
            peer.cut()
        self.nat.close()
        self.chatd.stop()


@pytest.fixture(scope="module")
def arenas():
    """One arena for each dialect, made when first needed, and anew where a test failed in it."""
    made = {}

    def get(name):
        if name in made and not made[name].clean:
            made.pop(name).end()
        if name not in made:
            made[name] = Arena(DIALECTS[name])
        made[name].clean = False
        return made[name]
    yield get
    for arena in made.values():
        arena.end()


def errors(found):
    return [got for got in found if isinstance(got, Told) and got.text.startswith("Error: ")]


class Attack:
    """One hostile client, in the room or not yet, and how it is answered."""

    def __init__(self, arena, come=True):
        self.arena, self.name = arena, arena.new_name()
        self.peer = arena.open(self.name, come=come)
        if come and not arena.dialect.named_by_url and arena.dialect.name == "realtime":
            arena.say(self.peer, self.name, "I come")
        settle(self.peer)
        self.peer.frames.clear()

    def send(self, data, opcode=TEXT):
        self.peer.send(data, opcode)

    def is_told(self, count=1):
        """So many error lines, and nothing else."""
        found = self.arena.told(self.peer)
        assert len(errors(found)) == len(found) == count, found
        self.goes_on()

    def is_ignored(self):
        self.is_told(0)

    def goes_on(self):
        """It is still connected, and what it says next is said under its own name."""
        assert not self.peer.ended, self.peer.ended
        self.arena.say(self.peer, self.name, f"honestly {next(self.arena.numbers)}")
        self.end()

    def is_closed(self, code, lines=None):
        """Closed with this code; before it so many error lines (None: any number), and nothing else."""
        ended = self.peer.closed()
        found = [self.arena.dialect.read(payload) for payload in self.peer.frames]
        self.peer.frames.clear()
        assert ended[0] == code, (ended, found)
        assert errors(found) == found and lines in (None, len(found)), found
        self.arena.check()

    def is_harmless(self):
        """Told, ignored or closed: it does not matter, but nobody hears of it."""
        found = self.arena.told(self.peer)
        assert errors(found) == found, found
        if self.peer.ended:
            assert self.peer.ended[0] in (1007, 1008), self.peer.ended
            self.arena.check()
        else:
            self.goes_on()

    def end(self):
        self.arena.check()
        self.peer.leave()


def each(**cases):
    """Parameters (dialect, case) with names that tell them."""
    return [pytest.param(name, case, id=f"{name}-{case!r:.60}") for name, mine in cases.items() for case in mine]


# ------------------------------------------------------------------------------------------------ every dialect

@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("come", [True, False], ids=["in the room", "before it said anything"])
class TestFrames:
    """What no dialect takes, from clients that are in the room and from such as said nothing yet."""

    def test_binary_frames_close_with_1003(self, arenas, name, come):
        attack = Attack(arenas(name), come)
        attack.send(b"\x00\x01\xff", BINARY)
        attack.is_closed(1003, 0)

    @pytest.mark.parametrize("text", [b"\xff\xfe", b'{"content":"\xc3\x28"}', b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
                                      b"\xc0\xaf", b'{"username":"a\xff","content":"hi"}'])
    def test_text_that_is_not_utf8_closes_with_1007(self, arenas, name, come, text):
        attack = Attack(arenas(name), come)
        attack.send(text)
        attack.is_closed(1007, 0)

    def test_a_mebibyte_closes_with_1009(self, arenas, name, come):
        attack = Attack(arenas(name), come)
        attack.peer.raw.socket.settimeout(5)
        try:
            attack.send(attack.arena.dialect.say(attack.name, "x" * MIB))
        except OSError:
            pass  # it was closed before it had all
        attack.is_closed(1009, 0)

    def test_a_mebibyte_that_is_only_announced_closes_with_1009(self, arenas, name, come):
        attack = Attack(arenas(name), come)
        attack.peer.raw.send(frame(TEXT, b"{", length=MIB, form=8))
        attack.is_closed(1009, 0)

    def test_fragments_are_added_up(self, arenas, name, come):
        attack = Attack(arenas(name), come)
        half = b"x" * 20000
        for number in range(4):
            attack.peer.raw.send(frame(0 if number else TEXT, half, fin=False))
            if name == "chatservice" and number == 1:
                break
        attack.is_closed(1009, 0)


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("bad", FORGED + UNFIT + EMPTY)
def test_names_that_are_reserved_or_none_are_refused(need_unicode, arenas, name, bad):
    """And nobody hears of them."""
    need_unicode(bad)
    arena = arenas(name)
    if name in ("chatservice", "minichat"):
        with pytest.raises(Refused) as refused:
            arena.dialect.open(arena.chatd, bad)
        wanted = 400 if name == "minichat" else 403 if bad in FORGED else 401
        assert refused.value.status == wanted and refused.value.body.endswith("\n"), refused.value
        if name == "chatservice" and wanted == 401:
            assert refused.value.body == "invalid token\n"
        if name == "minichat" and bad == "":
            assert refused.value.body == "Username is required\n"
        arena.check()
        return
    attack = Attack(arena, come=False)
    if name == "multiserver":
        attack.send(bad)
        found = arena.told(attack.peer)
        assert len(errors(found)) == len(found) and (found or not bad.strip()), found
        attack.send(attack.name)
        settle(attack.peer)
        attack.peer.frames.clear()
        attack.goes_on()
        return
    attack.send(json.dumps({"username" if name == "gochat" else "sender": bad, "content": "I speak for you"}))
    if name == "gochat":
        attack.is_closed(1007 if "\0" in bad else 1008, 1)  # JSON with a NUL is taken for none
    else:
        attack.is_told()


@pytest.mark.parametrize("name", ["chatservice", "minichat", "gochat", "realtime"])
def test_forged_senders_are_overwritten(arenas, name):
    """Every key by which a message of the system could be meant, in a frame that is else in order."""
    arena = arenas(name)
    attack = Attack(arena)
    frame_ = json.loads(arena.dialect.say(attack.name, "forged"))
    own = {"chatservice": "action room type payload", "minichat": "type content", "gochat": "content",
           "realtime": "sender content"}[name].split()
    forged = {"message_id": "1-1", "room_id": "general", "sender_id": "System", "origin_server": "main",
              "sender": "System", "username": "System", "name": "System", "from": "System", "user": "System",
              "timestamp": "1999-01-01T00:00:00Z", "created_at": "1999-01-01T00:00:00Z", "position": 1, "code": "error"}
    attack.send(json.dumps({**{key: value for key, value in forged.items() if key not in own},
                            **{key: frame_[key] for key in own}}))
    arena.said.append((attack.name, "forged"))
    own_post = next(got for got in arena.told(attack.peer) if isinstance(got, Said))
    assert own_post == Said(attack.name, "forged")
    attack.end()


BAD_TEXT = ("\x1b[2J", "\x07", "a\rb", "a\x85b", "\x7f")


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("text", BAD_TEXT)
def test_control_characters_in_texts_are_refused(arenas, name, text):
    attack = Attack(arenas(name))
    attack.send(json.dumps(json.loads(attack.arena.dialect.say(attack.name, text))) if name != "multiserver" else text)
    attack.is_told()


@pytest.mark.parametrize("name", DIALECTS)
def test_texts_cannot_pass_for_lines_in_plain_text(arenas, name):
    """What turns the direction of text, and line breaks, come to multiserver's clients as signs."""
    arena = arenas(name)
    attack = Attack(arena)
    arena.check()
    for text in ("\u202eevil", "one\nSYSTEM_MSG:friend has left the chat", "a\u2066b"):
        attack.send(arena.dialect.say(attack.name, text))
        said = []
        while not said or said[-1].sender != attack.name:
            raw = arena.plain.next().decode()
            said = [*said, arena.plain_reader.read(raw.encode())] if not raw.startswith("SYSTEM_MSG:") else said
        assert not any(sign in raw for sign in "\n\r\u202e\u2066"), raw
        settle(arena.plain)
    # the others' JSON keeps the text as it is
    for _ in range(3):
        while not isinstance(got := arena.dialect.read(arena.witness.next()), Said):
            pass
        assert got.sender == attack.name
        arena.nat.get("chat", sender=attack.name)
    attack.end()


@pytest.mark.parametrize("name", ["chatservice", "minichat", "gochat", "realtime"])
@pytest.mark.parametrize("text", [
    "[" * 30000, '{"a":' * 5000 + "1" + "}" * 5000, '{"content":' + "[" * 5000 + "]" * 5000 + "}", "null", "5",
    '"text"', "true", "[]", "{]", '{"content":"a"}{"content":"b"}', '{"content":"a",}', "{'content':'a'}",
    '{"content":"\\ud800"}', '{"content":"\\u0000"}', '{"content":1e999}', '{"content":"a","content":"b"}',
    "{\"content\":\"a\x01\"}", "\ufeff{}", "\x00", '{"content":"a"} x',
    '{"type":"post","content":"native"' + ",\"x\":0" * 200 + "}{",
], ids=lambda text: f"{text[:30]!r}")
def test_broken_and_deep_json_harms_nobody(arenas, name, text):
    attack = Attack(arenas(name))
    attack.send(text)
    attack.is_harmless()


WRONG = (5, -1.5, True, None, [], ["x"], {}, {"x": "y"}, "", "x" * 5000)


@pytest.mark.parametrize("name", ["chatservice", "minichat", "gochat", "realtime"])
def test_wrong_types_for_every_key_harm_nobody(arenas, name):
    """Each key of a good frame in turn is something else; null is as good as left out."""
    arena = arenas(name)
    sample = json.loads(arena.dialect.say("x", "text"))
    keys = {"chatservice": [("client_id",), ("payload", "text"), ("payload", "user"), *[(key,) for key in sample]],
            "minichat": [(key,) for key in (*sample, "sender", "timestamp")],
            "gochat": [(key,) for key in sample], "realtime": [(key,) for key in (*sample, "timestamp")]}[name]
    attack = Attack(arena)
    for path in keys:
        for value in WRONG:
            request = json.loads(arena.dialect.say(attack.name, f"with {'.'.join(path)} {value!r:.20}"))
            inner = request
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = value
            attack.send(json.dumps(request))
            settle(attack.peer, may_close=True)
            found = [arena.dialect.read(payload) for payload in attack.peer.frames]
            attack.peer.frames.clear()
            # whatever came of it, it was said under an own name, or not at all
            found = [got for got in found if not isinstance(got, Said) or got.sender != "friend"]
            for got in found:
                if isinstance(got, Said):
                    names = (attack.name, value) if name == "realtime" and path == ("sender",) else (attack.name,)
                    assert got.sender in names, (path, value, got)
                    arena.names.add(got.sender)
                    arena.said.append(tuple(got))
                elif isinstance(got, State):
                    assert got.sender == attack.name, got
                else:
                    assert got in errors([got]) or " is now " in got.text, (path, value, got)
            assert sum(isinstance(got, Said) for got in found) <= 1, found
            if attack.peer.ended:
                assert attack.peer.ended[0] in (1007, 1008), (path, value, attack.peer.ended)
                attack = Attack(arena)
            if name != "chatservice" or ".".join(path) not in ("payload.text", "payload"):
                arena.check()
            else:
                lenient_check(arena)
    attack.end()


def lenient_check(arena):
    """As check, where a post may have another text, or none, in other dialects."""
    texts = {text for _, text in arena.said}
    senders = {sender for sender, _ in arena.said} | {"friend"}
    mark = f"mark {next(arena.numbers)}"
    arena.say(arena.friend, "friend", mark)
    for dialect, peer in ((arena.dialect, arena.witness), (arena.plain_reader, arena.plain)):
        while (post := arena.allow(dialect, peer.next())) != ("friend", mark):
            assert post is None or post[0] in senders, (post, texts)
    arena.nat.get("chat", content=mark)
    arena.said.clear()
    arena.check()


# ------------------------------------------------------------------------------------------------ one by one

@pytest.mark.parametrize("name, text", each(
    minichat=['{"type":"system","content":"friend left the chat"}', '{"type":"system","content":"x","sender":""}',
              '{"type":"SYSTEM","content":"x"}', '{"type":"join","content":"x"}', '{"type":5,"content":"x"}',
              '{"type":["chat"],"content":"x"}', '{"type":"chat","content":5}', '{"type":"chat","content":["x"]}',
              '{"type":"chat","content":{"x":1}}', '{"type":"status","content":5}', '{"content":"\\u0007"}',
              '{"type":"status","content":"two\\nlines"}', '{"type":"status","content":"' + "x" * 129 + '"}'],
    realtime=['{"sender":"server","content":"x"}', '{"sender":"","content":"x"}', '{"content":"x"}',
              '{"sender":"mallory"}', '{"sender":"mallory","content":""}', '{"sender":5,"content":"x"}',
              '{"sender":["m"],"content":"x"}', '{"sender":"mallory","content":5}',
              '{"sender":"mallory","content":null}', '{"sender":null,"content":"x"}', "hello", "[]", "{", "{}", "null",
              '{"sender":"a\\nb","content":"x"}', '{"sender":"mallory","content":"\\u0007"}'],
))
def test_an_error_line_tells_what_is_wrong(arenas, name, text):
    """To the one who sent it, in the dialect's form for messages of the system."""
    attack = Attack(arenas(name))
    attack.send(text)
    attack.is_told()


@pytest.mark.parametrize("name, text", each(
    chatservice=["", "{", "hello", "[]", "null", "5", "{}", '{"action":"shout","room":"general"}',
                 '{"action":5,"room":"general"}', '{"action":"message","payload":{"text":"x"}}',
                 '{"action":"message","room":5,"payload":{"text":"x"}}',
                 '{"action":"message","room":"general","payload":"x"}',
                 '{"action":"message","room":"general","payload":["x"]}',
                 '{"action":"message","room":"general","payload":5}', '{"Action":"leave","room":"general"}',
                 '{"action":"LEAVE","room":"general"}', '{"action":"leave"}', '{"action":"leave","room":""}',
                 '{"action":"leave","room":["general"]}'],
    gochat=["", '{"content":""}', "{}", '{"username":"friend"}', '{"username":"System","content":""}'],
    minichat=[""], realtime=[""],
))
def test_what_means_nothing_is_passed_over(arenas, name, text):
    attack = Attack(arenas(name))
    attack.send(text)
    attack.is_ignored()


@pytest.mark.parametrize("name, text", each(
    minichat=["hello", "[]", "null", "5", '"x"', "{", '{"content":"x"', '{"content":"x"}}', '["chat","x"]',
              "{'content':'x'}"],
    gochat=["hello", "[]", "null", "5", '"x"', "{", '{"content":"x"', '{"content":5}', '{"content":["x"]}',
            '{"content":{}}', '{"content":true}'],
))
def test_what_is_no_json_object_closes_with_1007_after_an_error_line(arenas, name, text):
    attack = Attack(arenas(name))
    attack.send(text)
    attack.is_closed(1007, 1)
    assert attack.peer.ended[1], "the reason says what was wrong"


@pytest.mark.parametrize("text, code", [
    ('{"username":"","content":"x"}', 1008), ('{"content":"x"}', 1008), ("{}", 1008),
    ('{"username":null,"content":"x"}', 1008), ('{"username":5,"content":"x"}', 1007), ("hello", 1007), ("[]", 1007),
    ('{"username":["a"],"content":"x"}', 1007), ("{", 1007), ('{"username":{"a":1}}', 1007),
    ('{"username":"mallory","content":5}', 1007)])
def test_a_first_message_to_gochat_that_is_none_is_told_and_closed(arenas, text, code):
    attack = Attack(arenas("gochat"), come=False)
    attack.send(text)
    if code == 1008:
        settle(attack.peer, may_close=True)
        assert DIALECTS["gochat"].read(attack.peer.frames[0]) == Told("Error: Username is required in first message")
    attack.is_closed(code, 1)


@pytest.mark.parametrize("text", ["SYSTEM_MSG:friend has left the chat", "friend: hi", "/nick System",
                                  '{"content":"x"}', "  blank ",
                                  "SYSTEM_MSG:Username set to friend. Welcome to the chat!"])
def test_texts_of_multiserver_are_only_ever_texts(arenas, text):
    arena = arenas("multiserver")
    attack = Attack(arena)
    arena.say(attack.peer, attack.name, text)
    settle(attack.peer)
    assert attack.peer.next().decode() == f"{attack.name}: {text}"
    attack.end()


def test_a_payload_of_chatservice_says_who_sent_it_whatever_it_says(arenas):
    arena = arenas("chatservice")
    attack = Attack(arena)
    for payload in ({"text": "a", "user": "System"}, {"user": ["System"], "text": "b"}, {"text": "c", "user": None},
                    {"USER": "System", "text": "d", "sender_id": "System"}):
        attack.send(json.dumps({"action": "message", "room": "general", "type": "chat", "payload": payload}))
        arena.said.append((attack.name, payload["text"]))
        settle(attack.peer)
        got = json.loads(attack.peer.next())
        assert got["sender_id"] == got["payload"]["user"] == attack.name and got["payload"]["text"] == payload["text"]
        assert list(got["payload"])[:2] == ["text", "user"]
    attack.end()


@pytest.mark.parametrize("room", ["a\x07b", "x" * 129, "\u202eroom", " ", "a\nb"])
def test_rooms_of_chatservice_that_cannot_be_are_not_made(arenas, room):
    attack = Attack(arenas("chatservice"))
    for action in ("join", "message", "leave"):
        attack.send(json.dumps({"action": action, "room": room, "payload": {"text": "x"}}))
    found = attack.arena.told(attack.peer)
    assert errors(found) == found and len(found) <= 3
    attack.goes_on()


# ------------------------------------------------------------------------------------------------ too much of it

MEANINGLESS = {"minichat": '{"type":"news","content":"x"}', "realtime": "hello"}


@pytest.mark.parametrize("name", MEANINGLESS)
def test_more_than_20_meaningless_frames_in_a_row_close_with_1008(arenas, name):
    arena = arenas(name)
    attack = Attack(arena)
    for _ in range(2):  # 20 may be, and are forgiven by one that is good
        for _ in range(20):
            attack.send(MEANINGLESS[name])
        found = arena.told(attack.peer)
        assert errors(found) == found and len(found) == 20
        arena.say(attack.peer, attack.name, f"good {next(arena.numbers)}")
        settle(attack.peer)
        attack.peer.frames.clear()
    for _ in range(21):
        attack.send(MEANINGLESS[name])
    attack.is_closed(1008)


def test_a_name_is_not_tried_for_ever(arenas):
    """multiserver takes the next message as the name, but not a hundred of them."""
    attack = Attack(arenas("multiserver"), come=False)
    for _ in range(100):
        attack.send("System")
    found = attack.arena.told(attack.peer)
    assert errors(found) == found
    assert not attack.peer.ended or attack.peer.ended[0] == 1008
    attack.arena.check()


def test_chatservice_ignores_them_for_ever(arenas):
    """Unknown actions and broken JSON are ignored and the connection stays open, as its clients know it."""
    attack = Attack(arenas("chatservice"))
    for text in ('{"action":"shout"}', "{", "hello", '{"action":"message","payload":{}}') * 50:
        attack.send(text)
    attack.is_ignored()


@pytest.mark.parametrize("name", MEANINGLESS)
def test_a_flood_of_bad_frames_is_ended_at_the_twenty_first(arenas, name):
    """However many stand in one packet."""
    attack = Attack(arenas(name))
    try:
        attack.peer.raw.send(frame(TEXT, MEANINGLESS[name]) * 5000)
    except OSError:
        pass  # it was closed before it had all
    attack.peer.raw.socket.settimeout(10)
    try:
        while not attack.peer.ended:
            attack.peer._take()
    except (AssertionError, OSError):
        pass  # cut before all that was sent had been read
    assert len(attack.peer.frames) <= 21
    attack.arena.check()


@pytest.mark.parametrize("name", DIALECTS)
def test_connections_that_come_to_nothing_leave_nothing(arenas, name):
    """Cut in the handshake, after it, in a frame, in a message."""
    arena = arenas(name)
    for cut in (0, 1, 3):
        peer = Peer(arena.chatd.address("ws"), arena.dialect.chosen(arena.new_name()))
        arena.names.add(f"mallory {next(arena.numbers) - 1}")
        peer.raw.send(frame(TEXT, arena.dialect.say("x", "never"), fin=cut != 3)[:cut])
        peer.cut()
    arena.check()
