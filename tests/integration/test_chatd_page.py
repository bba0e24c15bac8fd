"""The built-in page: small, of this server alone, and a client that loses and doubles nothing."""
import asyncio
import http.client
import json
import os
import re
import signal
import socket
import subprocess

import pytest
import websockets

from conftest import LISTEN, PATIENCE, ROOT, Client, Connection, Lines

PAGE = ROOT / "examples/chatd/page"


def get(chatd, path, method="GET"):
    connection = http.client.HTTPConnection(*chatd.address("ws"), timeout=20)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


@pytest.mark.parametrize("path,file,kind", [
    ("/", "index.html", "text/html; charset=utf-8"),
    ("/index.html", "index.html", "text/html; charset=utf-8"),
    ("/style.css", "style.css", "text/css; charset=utf-8"),
    ("/app.js", "app.js", "text/javascript; charset=utf-8"),
    ("/servers.js", "servers.js", "text/javascript; charset=utf-8"),
])
def test_it_is_served_from_memory_with_strict_headers(chatd, path, file, kind):
    answer, body = get(chatd, path)
    assert (answer.status, answer.headers["Content-Type"], body) == (200, kind, (PAGE / file).read_bytes())
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    head, nothing = get(chatd, path, "HEAD")
    assert (head.status, head.headers["Content-Length"], nothing) == (200, str(len(body)), b"")
    if kind.startswith("text/html"):
        policy = answer.headers["Content-Security-Policy"]
        for wanted in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:",
                       "connect-src 'self' ws: wss:", "base-uri 'none'", "form-action 'none'",
                       "frame-ancestors 'none'"):
            assert wanted in policy


def test_it_is_small_and_asks_nobody_else():
    files = sorted(PAGE.iterdir())
    assert [file.name for file in files] == ["app.js", "index.html", "servers.js", "style.css"]
    assert sum(file.stat().st_size for file in files) <= 31 * 1024
    for file in files:
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//|url\(|@import|import\(", file.read_text())


def test_it_lives_under_its_policy():
    html = (PAGE / "index.html").read_text()
    script = (PAGE / "app.js").read_text() + (PAGE / "servers.js").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)[^>]*>", html)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|\.style\b", script)


def test_people_with_screen_readers_can_use_it():
    html = (PAGE / "index.html").read_text()
    labelled = set(re.findall(r'<label for="(\w+)"', html))
    for field, more in re.findall(r"<(?:input|textarea) id=\"(\w+)\"([^>]*)", html):
        assert field in labelled or 'aria-label="' in more
    assert 'role="log" aria-live="polite"' in html and 'role="status"' in html and 'lang="en"' in html


class Page:
    """The scripts in node, with their DOM as a list of what can be seen."""

    def __init__(self, chatd, session=None, name=None, outbox=None):
        self.process = subprocess.Popen(
            ["node", str(ROOT / "tests/integration/page_driver.js"), str(PAGE / "index.html"), chatd.http()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "NODE_PATH": "/usr/share/nodejs"})
        self.lines = Lines(self.process.stdout)
        kept = {"chat.session": session, "chat.outbox": outbox}
        self.do("load", local={"chat.name": name} if name else {},
                session={key: value for key, value in kept.items() if value})

    def do(self, what, **fields):
        self.process.stdin.write(json.dumps({"do": what, **fields}).encode() + b"\n")
        self.process.stdin.flush()

    def see(self, test, since=0):
        """Waits until what can be seen fits, and answers it."""
        def fits(line):
            view = json.loads(line)
            return view if test(view) else None
        return self.lines.wait(fits, since)

    async def sees(self, test, since=0):
        """The same, while the test's own server goes on."""
        return await asyncio.to_thread(self.see, test, since)

    def now(self):
        return len(self.lines.all)

    def latest(self):
        return json.loads(self.lines.all[-1])

    def says(self, text):
        """Waits until this message is there, committed."""
        return self.see(lambda view: any(text in m["text"] and "pending" not in m["classes"] for m in view["messages"]))

    def end(self):
        self.process.stdin.close()
        self.process.wait(20)


@pytest.fixture
def page(request):
    opened = []

    def open_page(at=None, **options):
        opened.append(Page(at or request.getfixturevalue("chatd"), **options))
        return opened[-1]
    yield open_page
    for each in opened:
        each.end()


async def test_it_asks_for_a_name_and_joins(chatd, page):
    alice = page()
    assert alice.see(lambda view: view["asking"])["chatting"] is False
    alice.do("enter", name="alice")
    view = alice.see(lambda view: view["people"])
    assert view["people"] == ["alice (you)"] and view["state"] == "Connected as alice" and view["name"] == "alice"
    assert re.fullmatch(r"[0-9-]{22,64}", view["session"])
    bob = await chatd.client("bob")
    assert alice.see(lambda view: len(view["people"]) == 2)["here"] == "Here: 2"
    await bob.post("hello <b>alice</b>")
    assert any("<b>" in message["text"] for message in alice.says("hello")["messages"])
    alice.do("say", text="hi bob")
    entry = await bob.chat("hi bob")
    assert entry["sender"] == "alice" and len(entry["cid"]) >= 11
    view = alice.says("hi bob")
    assert len([m for m in view["messages"] if "hi bob" in m["text"]]) == 1 and "mine" in view["messages"][-1]["classes"]
    await bob.send({"type": "typing"})
    alice.see(lambda view: view["typing"] == "bob is typing …")
    await bob.post("done")
    alice.see(lambda view: view["typing"] == "")
    alice.do("type", text="hm")
    assert (await bob.get("typing", sender="alice"))["on"] is True


async def test_only_safe_links_are_links(chatd, page):
    alice, bob = page(name="alice"), await chatd.client("bob")
    alice.see(lambda view: view["people"])
    await bob.post("see https://example.org/a?b=(c). or javascript:alert(1) data:text/html,x mailto:a@b.c http://[bad END")
    view = alice.says("END")
    links = view["messages"][-1]["links"]
    assert [link["href"] for link in links] == ["https://example.org/a?b=(c", "mailto:a@b.c"]
    assert {link["rel"] for link in links} == {"noopener noreferrer nofollow"}


async def test_it_loses_and_doubles_nothing_over_a_lost_connection(chatd, page):
    alice, bob = page(name="alice"), await chatd.client("bob")
    alice.see(lambda view: view["people"])
    await bob.post("before")
    alice.says("before")
    alice.do("drop")
    alice.do("say", text="said without a connection")
    await bob.post("meanwhile")
    await bob.chat("said without a connection")
    view = alice.see(lambda view: view["state"] == "Connected as alice" and
                     all(any(text in m["text"] and "pending" not in m["classes"] for m in view["messages"])
                         for text in ("before", "meanwhile", "said without")))
    assert len(view["messages"]) == 3
    await bob.quiet()
    assert not [frame for frame in bob.frames if frame["type"] == "presence" and frame.get("left")]


async def test_a_taken_name_is_asked_for_again(chatd, page):
    await chatd.client("alice")
    other = page(name="alice")
    view = other.see(lambda view: view["asking"] and view["trouble"])
    assert "in use" in view["trouble"]
    other.do("enter", name="alicia")
    other.see(lambda view: view["state"] == "Connected as alicia" and not view["asking"])
    mark = other.now()
    other.do("click", id="rename")
    other.see(lambda view: view["asking"], mark)
    other.do("enter", name="alice")
    assert "in use" in other.see(lambda view: view["trouble"], mark)["trouble"]
    other.do("enter", name="ali")
    other.see(lambda view: view["state"] == "Connected as ali" and view["chatting"], mark)


async def test_another_tab_with_the_session_takes_it_and_it_comes_back_only_when_asked(chatd, page):
    alice = page(name="alice")
    session = alice.see(lambda view: view["people"])["session"]
    other = Client(await chatd.connect())
    await other.hello(None, session=session)
    view = alice.see(lambda view: view["again"])
    assert "another tab" in view["state"]
    mark = alice.now()
    alice.do("click", id="again")
    alice.see(lambda view: view["state"] == "Connected as alice" and not view["again"], mark)
    assert (await other.closed())[0] == 4001


async def test_it_returns_after_a_restart_and_says_what_is_gone(start_chatd, page):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listen = (f"ws://127.0.0.1:{port}/ws", LISTEN[1])
    first = start_chatd(listen=listen)
    alice = page(at=first, name="alice")
    alice.see(lambda view: view["people"])
    alice.do("say", text="before the restart")
    alice.says("before the restart")
    mark = alice.now()
    first.stop(signal.SIGTERM)
    alice.see(lambda view: "trying again" in view["state"], mark)
    alice.do("say", text="while it was away")
    second = start_chatd(listen=listen)
    bob = await second.client("bob")
    await bob.chat("while it was away")
    texts = [m["text"] for m in alice.says("while it was away")["messages"]]
    assert len(texts) == 3 and "before the restart" in texts[0] and "The server lost messages" in texts[1]
    assert alice.latest()["earlier"] == 2 and "gone" in alice.latest()["messages"][0]["classes"]
    await bob.post("after the restart")
    assert len(alice.says("after the restart")["messages"]) == 4


async def test_what_cannot_be_sent_is_told_at_the_message(start_chatd, page, settings_file):
    path = settings_file("max-content: 1000\n")
    chatd = start_chatd("--config", path)
    alice = page(at=chatd, name="alice")
    alice.see(lambda view: view["people"])
    alice.do("say", text="x" * 1001)
    alice.see(lambda view: "Too long" in view["notice"])
    path.write_text("max-content: 10\n")
    chatd.process.send_signal(signal.SIGHUP)
    chatd.record("reloaded")
    alice.do("say", text="more than ten")
    view = alice.see(lambda view: any("Not sent" in message["text"] for message in view["messages"]))
    assert "failed" in view["messages"][-1]["classes"]
    alice.do("say", text="ten")
    alice.says("ten")


async def test_a_page_that_is_loaded_anew_shows_what_was_said(chatd, page):
    alice = page(name="alice")
    session = alice.see(lambda view: view["people"])["session"]
    bob = await chatd.client("bob")
    for number in range(30):
        await bob.post(f"line {number}.")
    alice.do("say", text="mine")
    alice.says("mine")
    alice.end()
    anew = page(name="alice", session=session)
    view = anew.says("mine")
    assert all(m["text"].endswith(f"line {n}.") for n, m in enumerate(view["messages"][:30]))
    assert len(view["messages"]) == 31 and "mine" in view["messages"][-1]["classes"]
    await bob.post("and now")
    assert len(anew.says("and now")["messages"]) == 32
    assert not [frame for frame in await bob.quiet() if frame["type"] == "presence" and frame.get("left")]


async def test_it_finds_the_websocket_wherever_it_is(start_chatd, page):
    chatd = start_chatd(listen=("ws://127.0.0.1:0/first", "tcp://127.0.0.1:0", "ws://127.0.0.1:0/second",
                                'ws://127.0.0.1:0/a"b'))
    first, second, third = [url for url in chatd.urls if url.startswith("ws:")]
    ports = [int(re.search(r":(\d+)/", url).group(1)) for url in (first, second, third)]
    answer, body = get(chatd, "/server.json")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    wanted = zip(ports, ("/first", "/second", '/a"b'))
    assert json.loads(body)["sockets"] == [{"port": port, "path": path} for port, path in wanted]
    alice = page(at=chatd, name="alice")
    alice.see(lambda view: view["state"] == "Connected as alice")
    chatd.urls = [second]
    page(at=chatd, name="bob").see(lambda view: view["state"] == "Connected as bob")
    alice.see(lambda view: len(view["people"]) == 2)


def test_unix_sockets_are_told_by_their_path_alone(start_chatd, tmp_path):
    chatd = start_chatd(listen=(f"ws+unix:{tmp_path}/s?path=/chat", *LISTEN))
    chatd.urls = [url for url in chatd.urls if url.startswith("ws:")]
    sockets = json.loads(get(chatd, "/server.json")[1])["sockets"]
    assert sockets == [{"path": "/chat"}, {"port": chatd.address("ws")[1], "path": "/ws"}]


@pytest.mark.parametrize("text", ["{}", "no JSON"])
async def test_where_it_is_not_told_it_takes_the_usual_path(start_chatd, page, tmp_path, text):
    (tmp_path / "server.json").write_text(text)
    chatd = start_chatd("--www", tmp_path)
    assert get(chatd, "/server.json")[1] == text.encode()
    page(at=chatd, name="alice").see(lambda view: view["state"] == "Connected as alice")


# ---------------------------------------------------------------------------- against a hub that does what a test says

class Hub:
    """A server that hears a page and answers nothing by itself."""

    def __init__(self):
        self.heard, self.socket, self.server = asyncio.Queue(), None, None

    async def start(self):
        self.server = await websockets.serve(self._serve, "127.0.0.1", 0, subprotocols=["chathub.v1"],
                                             create_protocol=HubSide)
        return self

    async def _serve(self, socket_, _path):
        self.socket = socket_
        try:
            async for text in socket_:
                await self.heard.put(json.loads(text))
        except websockets.ConnectionClosed:
            pass

    def http(self):
        return "http://127.0.0.1:%d/" % self.server.sockets[0].getsockname()[1]

    async def get(self, kind):
        """The next frame that the page sends, which is of this type."""
        frame = await asyncio.wait_for(self.heard.get(), PATIENCE)
        assert frame["type"] == kind, frame
        return frame

    async def send(self, kind, **fields):
        await self.socket.send(json.dumps({"type": kind, "room": "general", **fields}))

    async def welcome(self, **fields):
        hello = await self.get("hello")
        await self.send("welcome", ref="hello", sender="alice", sender_id="A", default_room="general",
                        limits={"content": 100}, **{"horizon_ms": 60000, **fields})
        return hello

    async def joined(self, **fields):
        await self.send("joined", **{"count": 1, "presence": 1, "epoch": "e1", "position": 0, "start": 0,
                                     "members": [{"sender": "alice", "sender_id": "A"}], **fields})

    async def let_in(self, entries=(), more=False, **fields):
        """A first join, and the history that the page then asks for."""
        await self.welcome()
        assert await self.get("join") == {"type": "join", "ref": "join", "now": True}
        top = entries[-1]["position"] if entries else 0
        await self.joined(ref="join", position=top, start=top, **fields)
        asked = await self.get("history")
        assert asked["before"] == top + 1 and asked["limit"] == 50
        await self.page(asked, entries, more)

    async def page(self, asked, entries=(), more=False):
        await self.send("history", ref=asked["ref"], epoch="e1", entries=list(entries), more=more)

    async def chat(self, position, **fields):
        frame = entry(position, **fields)
        await self.send(frame.pop("type"), **frame)


class HubSide(websockets.WebSocketServerProtocol):
    """Cut off with its test, as the tests' own connections are."""

    def connection_made(self, transport):
        super().connection_made(transport)
        Connection.opened.append(self)


def entry(position, **fields):
    return {"type": "chat", "room": "general", "position": position, "prev": position - 1, "sender": "bob",
            "sender_id": "B", "content": f"entry {position}.", "timestamp": "2026-01-02T03:04:05.678Z", **fields}


def texts(view):
    """What the messages say, without their senders and times."""
    return [m["said"] for m in view["messages"]]


def said(*texts_):
    return lambda view: texts(view) == list(texts_)


async def test_older_messages_come_by_pages_one_at_a_time_until_the_beginning(page):
    hub = await Hub().start()
    alice = page(at=hub, name="alice")
    await hub.let_in([entry(8), entry(9)], more=True)
    view = await alice.sees(said("entry 8.", "entry 9."))
    assert view["earlier"] == 0 and view["earlierSays"] == "Earlier messages"
    alice.do("scroll_up")
    asked = await hub.get("history")
    assert asked["before"] == 8
    alice.do("scroll_up")
    alice.do("say", text="next")
    assert (await hub.get("post"))["content"] == "next"  # and nothing was asked in between
    await hub.chat(10, content="meanwhile")
    await hub.page(asked, [entry(6), entry(7)], more=True)
    await alice.sees(said("entry 6.", "entry 7.", "entry 8.", "entry 9.", "meanwhile", "next"))
    alice.do("scroll_up")
    asked = await hub.get("history")
    assert asked["before"] == 6
    await hub.send("error", ref=asked["ref"], code="log_failed", message="not now", retry_after_ms=1)
    await alice.sees(lambda view: view["notice"] == "not now")
    alice.do("scroll_up")
    await hub.page(await hub.get("history"), [entry(1)])
    view = await alice.sees(said("entry 1.", "entry 6.", "entry 7.", "entry 8.", "entry 9.", "meanwhile", "next"))
    assert view["earlierSays"] == "The beginning of the room." and view["notice"] == ""


async def test_older_messages_take_no_notice_away_but_their_own(page):
    hub = await Hub().start()
    alice = page(at=hub, name="alice")
    await hub.let_in([entry(9)], more=True)
    await alice.sees(said("entry 9."))
    alice.do("scroll_up")
    asked = await hub.get("history")
    alice.do("say", text="x" * 100000)
    await alice.sees(lambda view: "Too long" in view["notice"])
    await hub.page(asked, [entry(8)], more=True)
    assert "Too long" in (await alice.sees(said("entry 8.", "entry 9.")))["notice"]


async def test_a_page_that_was_asked_for_over_a_lost_connection_is_asked_for_again(page):
    hub = await Hub().start()
    alice = page(at=hub, name="alice")
    await hub.let_in([entry(9)], more=True)
    await alice.sees(said("entry 9."))
    alice.do("scroll_up")
    await hub.get("history")
    alice.do("drop")
    await hub.welcome()
    await hub.joined(start=9, position=9)
    await alice.sees(lambda view: view["state"] == "Connected as alice", alice.now())
    alice.do("scroll_up")
    await hub.page(await hub.get("history"), [entry(8)])
    await alice.sees(said("entry 8.", "entry 9."))


async def test_lines_that_are_let_go_leave_no_hole_before_a_page_that_is_on_its_way(page):
    hub = await Hub().start()
    alice = page(at=hub, name="alice")
    await hub.let_in([entry(3)], more=True)
    await alice.sees(said("entry 3."))
    alice.do("scroll_up")
    asked = await hub.get("history")
    for position in range(4, 560):
        await hub.chat(position)
    mark = alice.now()
    await hub.page(asked, [entry(1), entry(2)])
    await alice.sees(said(*(f"entry {position}." for position in range(1, 560))), mark)
    mark = alice.now()
    await hub.chat(560)
    view = await alice.sees(said(*(f"entry {position}." for position in range(62, 561))), mark)
    assert view["earlierSays"] == "Earlier messages"


async def test_it_says_when_older_messages_are_no_longer_kept(page):
    hub = await Hub().start()
    alice = page(at=hub, name="alice")
    await hub.let_in([entry(8), entry(9)])
    await alice.sees(lambda view: view["earlierSays"] == "Older messages are no longer kept.")


async def test_a_gap_is_shown_where_it_is(page):
    hub = await Hub().start()
    alice = page(at=hub, name="alice")
    await hub.let_in([entry(1)])
    await hub.chat(2)
    await hub.send("gap", **{"from": 2, "to": 7, "epoch": "e1"})
    await hub.chat(7)  # not above what was received
    await hub.chat(8)
    await alice.sees(said("entry 1.", "entry 2.", "Some messages in between are no longer kept.", "entry 8."))
    alice.do("drop")
    hello = await hub.welcome()
    assert hello["rooms"] == [{"room": "general", "after": 8, "epoch": "e1"}]
    await hub.joined(epoch="e2", start=8, position=20)
    await hub.send("gap", **{"from": 8, "to": 20, "epoch": "e2"})  # of the same log, which forgot meanwhile
    await hub.chat(21)
    view = await alice.sees(said("entry 1.", "entry 2.", "Some messages in between are no longer kept.", "entry 8.",
                                 "Some messages in between are no longer kept.", "entry 21."))
    assert not [m for m in view["messages"] if "gone" in m["classes"]] and view["earlier"] == 0


async def test_a_position_goes_with_the_epoch_under_which_it_was_read(page):
    """Who is cut off between `joined` and `gap` must not show the old position as one of the new log."""
    hub = await Hub().start()
    alice = page(at=hub, name="alice")
    await hub.let_in([entry(5)])
    alice.do("drop")
    await hub.welcome()
    await hub.joined(epoch="e2", start=9, position=9)
    await alice.sees(lambda view: view["state"] == "Connected as alice", alice.now())
    alice.do("drop")
    assert (await hub.welcome())["rooms"] == [{"room": "general", "after": 5, "epoch": "e1"}]
    await hub.joined(epoch="e2", start=9, position=9)
    await hub.send("gap", **{"from": 5, "to": 9, "epoch": "e2"})
    await alice.sees(lambda view: view["earlier"] == 2)
    alice.do("drop")
    assert (await hub.welcome())["rooms"] == [{"room": "general", "after": 9, "epoch": "e2"}]


async def test_a_log_that_was_set_back_shows_nothing_twice(page):
    hub = await Hub().start()
    alice = page(at=hub, name="alice")
    await hub.let_in([entry(1), entry(2), entry(3)], more=False)
    alice.do("say", text="lost")
    lost = await hub.get("post")
    await hub.send("ack", cid=lost["cid"], position=4, epoch="e1")
    alice.do("say", text="not yet")
    waits = await hub.get("post")
    alice.do("drop")
    await hub.welcome()
    await hub.joined(epoch="e2", start=1, position=3)
    await hub.send("gap", **{"from": 3, "to": 1, "epoch": "e2"})
    await hub.chat(2)
    await hub.chat(3, content="another three", timestamp="2026-01-02T09:09:09.678Z")
    assert (await hub.get("post"))["cid"] == waits["cid"]
    note = "The server lost messages: those above may be gone."
    view = await alice.sees(said("entry 1.", "entry 3.", "lost", note, "entry 2.", "another three", "not yet"))
    assert ["gone" in m["classes"] for m in view["messages"]] == [True] * 3 + [False] * 4 and view["earlier"] == 4
    alice.do("scroll_up")
    asked = await hub.get("history")
    assert asked["before"] == 2
    await hub.page(asked, [entry(1, prev=0)])
    view = await alice.sees(said("entry 3.", "lost", note, "entry 1.", "entry 2.", "another three", "not yet"))
    assert view["earlierSays"] == "The beginning of the room."


async def test_what_may_work_later_is_sent_again_by_itself(page):
    hub = await Hub().start()
    alice = page(at=hub, name="alice")
    await hub.let_in()
    for code in ("log_failed", "unknown", "busy", "no_memory"):
        alice.do("say", text=code)
        post = await hub.get("post")
        mark = alice.now()
        await hub.send("error", cid=post["cid"], code=code, message="the disk is full", retry_after_ms=1)
        view = await alice.sees(lambda view: any("Waiting: the disk" in m["text"] for m in view["messages"]), mark)
        assert "pending" in view["messages"][-1]["classes"]
        alice.do("say", text="behind it")
        assert await hub.get("post") == post
        behind = await hub.get("post")
        assert behind["content"] == "behind it"
        await hub.send("ack", cid=post["cid"], position=1, epoch="e1")
        await hub.send("ack", cid=behind["cid"], position=1, epoch="e1")
        await alice.sees(lambda view: view["outbox"] == "[]" and
                         not any("pending" in m["classes"] for m in view["messages"]), mark)


async def test_what_is_said_while_the_hub_wants_a_rest_waits_too_and_a_new_connection_ends_the_rest(page):
    hub = await Hub().start()
    alice = page(at=hub, name="alice")
    await hub.let_in()
    alice.do("say", text="one")
    one = await hub.get("post")
    await hub.send("error", cid=one["cid"], code="log_failed", message="the disk is full", retry_after_ms=3600000)
    await alice.sees(lambda view: any("Waiting: the disk is full" in m["text"] for m in view["messages"]))
    alice.do("say", text="two")
    await alice.sees(lambda view: any("Waiting to be sent" in m["text"] for m in view["messages"]))
    alice.do("type", text="three")
    await hub.get("typing")  # and no post before it
    alice.do("drop")
    await hub.welcome()
    await hub.joined()
    assert await hub.get("post") == one
    assert (await hub.get("post"))["content"] == "two"


async def test_what_was_refused_for_good_says_why_and_can_be_taken_back_even_after_a_reload(page):
    hub = await Hub().start()
    alice = page(at=hub, name="alice")
    await hub.let_in()
    alice.do("say", text="bad words")
    post = await hub.get("post")
    await hub.send("error", cid=post["cid"], code="denied", message="mind your words")
    view = await alice.sees(lambda view: any("Not sent: mind your words" in m["text"] for m in view["messages"]))
    assert "failed" in view["messages"][-1]["classes"]
    alice.end()
    anew = page(at=hub, name="alice", session=view["session"], outbox=view["outbox"])
    await hub.let_in([entry(1)])
    view = await anew.sees(lambda view: len(view["messages"]) == 2)
    assert "Not sent: mind your words" in view["messages"][1]["text"]
    anew.do("type", text="draft")
    assert (await hub.get("typing"))["on"] is True  # and the post was not sent before it
    anew.do("take_back")
    view = await anew.sees(lambda view: view["box"] == "bad words\ndraft")
    assert texts(view) == ["entry 1."] and view["outbox"] == "[]"


async def test_a_post_that_was_committed_before_the_reload_is_shown_once(page):
    hub = await Hub().start()
    outbox = json.dumps([{"cid": "c1", "text": "old"}, {"cid": "c2", "text": "shown"}, {"cid": "c3", "text": "new"}])
    alice = page(at=hub, name="alice", session="s" * 22, outbox=outbox)
    await hub.welcome()
    await hub.get("join")
    await hub.joined(start=90, position=90)  # where the page before this one stood
    await hub.chat(91)
    await hub.joined(ref="join", start=99, position=99)
    asked = await hub.get("history")
    assert asked["before"] == 100
    assert [(await hub.get("post"))["cid"] for _ in range(3)] == ["c1", "c2", "c3"]
    await hub.send("ack", cid="c1", position=7, dup=True, epoch="e1")
    await hub.page(asked, [entry(91), entry(99, sender="alice", sender_id="A", cid="c2", content="shown")], more=True)
    await hub.send("ack", cid="c2", position=99, dup=True, epoch="e1")
    await hub.send("ack", cid="c3", position=100, epoch="e1")
    await hub.chat(100, sender="alice", sender_id="A", cid="c3", content="new")
    view = await alice.sees(lambda view: view["outbox"] == "[]" and len(view["messages"]) == 3)
    assert texts(view) == ["entry 91.", "shown", "new"]
    assert not any("pending" in m["classes"] for m in view["messages"])


async def test_what_the_hub_no_longer_remembers_is_not_said_a_second_time(page):
    hub = await Hub().start()
    alice = page(at=hub, name="alice", session="s" * 22, outbox=json.dumps([
        {"cid": "c1", "text": "sent", "sent": 1}, {"cid": "c2", "text": "never sent"}]))
    await hub.let_in()
    assert (await hub.get("post"))["cid"] == "c2"
    view = await alice.sees(lambda view: any("may have been sent" in m["text"] for m in view["messages"]))
    assert "failed" in view["messages"][0]["classes"]
    await hub.chat(1, sender="alice", sender_id="A", cid="c1", content="sent")  # it had been
    await alice.sees(said("sent", "never sent"))


async def test_a_room_that_cannot_be_entered_now_is_entered_later(page):
    hub = await Hub().start()
    alice = page(at=hub, name="alice")
    await hub.welcome()
    await hub.get("join")
    await hub.send("error", ref="join", code="log_failed", message="not now", retry_after_ms=1)
    await hub.let_in([entry(1)])
    await alice.sees(said("entry 1."))
    alice.do("drop")
    await hub.welcome()
    await hub.send("error", code="busy", message="not now", retry_after_ms=1)  # of the room in hello
    assert (await hub.welcome())["rooms"]
    await hub.joined(start=1, position=1)
    await alice.sees(lambda view: view["state"] == "Connected as alice", alice.now())


async def test_the_outbox_is_bounded(page):
    hub = await Hub().start()
    alice = page(at=hub, name="alice")
    await hub.let_in()
    for number in range(101):
        alice.do("say", text=f"post {number}.")
    view = await alice.sees(lambda view: "Too many messages wait" in view["notice"])
    assert len(view["messages"]) == 100 and view["box"] == "post 100."


def people(*names):
    return [{"sender": name, "sender_id": f"of {name}"} for name in names]


async def test_who_comes_and_goes_is_told_and_many_are_summed_up(page):
    hub = await Hub().start()
    alice = page(at=hub, name="alice")
    await hub.let_in(members=people("alice", "before"), count=2)
    told = []

    async def tells(number, *lines, **fields):
        await hub.send("presence", number=number, count=9, **fields)
        told.extend(lines)
        view = await alice.sees(lambda view: view["came"] == told)
        assert not view["messages"]

    await tells(2, "bob joined", joined=[{"sender": "alice", "sender_id": "A"}, *people("bob")])
    told.pop()
    await tells(3, "bob and carol joined", joined=people("carol"))
    await tells(4, "bob left", left=people("bob"))
    await tells(5, "dan, erin and bob joined", joined=people("dan", "erin", "bob"))
    await tells(5, joined=people("nobody"))  # it was told before
    await tells(6)
    await tells(7, "x, y and 310 others left", left=people("x", "y", *(f"{number}" for number in range(310))))
    told.pop()
    await tells(8, "x, y and 311 others left", left=people("z"))
    await tells(9, snapshot=True, members=people("alice", "bob"))
    await tells(10, "alice joined", joined=people("alice"))  # who has the name, too
    await tells(11, renamed=[{**people("ali")[0], "was": "alice"}])


async def test_lines_of_who_comes_stand_where_it_happened_before_what_waits(page):
    hub = await Hub().start()
    alice = page(at=hub, name="alice")
    await hub.let_in()
    await hub.chat(1)
    await hub.send("presence", number=2, count=2, joined=people("bob"))
    await hub.chat(2)
    alice.do("say", text="waits")
    await hub.get("post")
    await hub.send("presence", number=3, count=3, joined=people("carol"))
    await alice.sees(lambda view: view["lines"] == ["entry 1.", "bob joined", "entry 2.", "carol joined", "waits"])
