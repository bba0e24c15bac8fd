"""The built-in page: small, of this server alone, and a client that loses and doubles nothing."""
import http.client
import json
import os
import re
import signal
import socket
import subprocess

import pytest

from conftest import LISTEN, ROOT, Client, Lines

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
    assert [file.name for file in files] == ["app.js", "index.html", "style.css"]
    assert sum(file.stat().st_size for file in files) <= 24 * 1024
    for file in files:
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//|url\(|@import|import\(", file.read_text())


def test_it_lives_under_its_policy():
    html, script = (PAGE / "index.html").read_text(), (PAGE / "app.js").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)[^>]*>", html)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|\.style\b", script)


def test_people_with_screen_readers_can_use_it():
    html = (PAGE / "index.html").read_text()
    labelled = set(re.findall(r'<label for="(\w+)"', html))
    for field in re.findall(r"<(?:input|textarea) id=\"(\w+)\"", html):
        assert field in labelled
    assert 'role="log" aria-live="polite"' in html and 'role="status"' in html and 'lang="en"' in html


class Page:
    """app.js in node, with its DOM as a list of what can be seen."""

    def __init__(self, chatd, session=None, name=None):
        self.process = subprocess.Popen(
            ["node", str(ROOT / "tests/integration/page_driver.js"), str(PAGE / "app.js"), chatd.http()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "NODE_PATH": "/usr/share/nodejs"})
        self.lines = Lines(self.process.stdout)
        self.do("load", local={"chat.name": name} if name else {}, session={"chat.session": session} if session else {})

    def do(self, what, **fields):
        self.process.stdin.write(json.dumps({"do": what, **fields}).encode() + b"\n")
        self.process.stdin.flush()

    def see(self, test, since=0):
        """Waits until what can be seen fits, and answers it."""
        def fits(line):
            view = json.loads(line)
            return view if test(view) else None
        return self.lines.wait(fits, since)

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
    assert len(view["session"]) == 22
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
    view = alice.says("while it was away")
    assert any("no longer kept" in message["text"] for message in view["messages"])
    await bob.post("after the restart")
    alice.says("after the restart")


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
    assert json.loads(body) == {"sockets": [{"port": port, "path": path} for port, path in wanted]}
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
