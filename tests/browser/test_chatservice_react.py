"""A React front end of chatservice with chatd as its server, in a real browser.

The page (chatservice/) is served from a port of its own, as that system's front end is; its hook joins on open,
shows what has the type `chat`, leaves out what it has by `message_id`, and comes back after any close but 1000 and
1001. React and playwright-core come from npm into the build folder, the browser is Debian's.
"""
import asyncio
import datetime
import functools
import http.server
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import urllib.parse

import pytest

from conftest import PATIENCE, integration

PAGE = pathlib.Path(__file__).resolve().parent / "chatservice"
FROM_NPM = ("react/umd/react.production.min.js", "react-dom/umd/react-dom.production.min.js")
HISTORY = 50  # messages that who joins gets, if there are so many
INSTALL_PATIENCE = 180
MESSAGES = ("[...document.querySelectorAll('#messages li')].map(line =>"
            " [line.querySelector('b').textContent, line.querySelector('span').textContent])")
IDS = "[...document.querySelectorAll('#messages li')].map(line => line.dataset.id)"
STATE = "document.querySelector('#state').textContent"


# ---------------------------------------------------------------------------------------------------- npm

def npm_ci(folder):
    """Installs what package-lock.json says, or fails the test with what npm says."""
    if not shutil.which("npm"):
        pytest.fail("there is no npm to install React and playwright-core; install it: apt-get install nodejs npm")
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline",
               "--fetch-retry-maxtimeout=10000"]
    try:
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=INSTALL_PATIENCE, check=False)
        said, failed = done.stdout, done.returncode and f"exit {done.returncode}"
    except subprocess.TimeoutExpired as late:
        said, failed = (late.stdout or b"").decode(errors="replace"), f"no end after {INSTALL_PATIENCE} s"
    if failed:
        pytest.fail(f"`{' '.join(command)}` in {folder} failed ({failed}): can the registry that npm is set to be"
                    f" reached (npm config get registry)? It said:\n{said}")


@pytest.fixture(scope="session")
def modules():
    """The folder node_modules, in the build folder; installed anew only if another lock file is wanted."""
    folder = pathlib.Path(os.environ.get("CHATHUB_BUILD") or integration.ROOT / "build").resolve() / "chatservice-page"
    wanted, installed = (PAGE / "package-lock.json").read_bytes(), folder / "installed.json"
    if not installed.exists() or installed.read_bytes() != wanted:
        folder.mkdir(parents=True, exist_ok=True)
        installed.unlink(missing_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PAGE / name, folder)
        npm_ci(folder)
        installed.write_bytes(wanted)
    return folder / "node_modules"


# ---------------------------------------------------------------------------------------------------- the front end

class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


@pytest.fixture(scope="session")
def front_end(modules, tmp_path_factory):
    """The port of a plain web server that has the page."""
    folder = tmp_path_factory.mktemp("front-end")
    for file in (PAGE / "index.html", PAGE / "app.js", PAGE / "useChat.js", *(modules / name for name in FROM_NPM)):
        shutil.copy(file, folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


class Driver:
    """The browser: a process that is asked one thing after the other."""

    def __init__(self, modules):
        self.turn, self.errors = threading.Lock(), tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            ["node", str(PAGE / "driver.js"), shutil.which("chromium") or "chromium", str(PATIENCE * 1000)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            env={**os.environ, "NODE_PATH": str(modules)})

    def ask(self, request):
        with self.turn:
            try:
                self.process.stdin.write(json.dumps(request).encode() + b"\n")
                self.process.stdin.flush()
            except BrokenPipeError:
                pass  # no answer comes
            answer = self.process.stdout.readline()
        if not answer:
            self.errors.seek(0)
            pytest.fail("the browser ended: " + self.errors.read().decode(errors="replace")[-4000:])
        answer = json.loads(answer)
        assert "error" not in answer, f"{request}: {answer['error']}"
        return answer["value"]

    def end(self):
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        self.process.stdout.close()
        self.errors.close()


@pytest.fixture(scope="session")
def driver(modules):
    one = Driver(modules)
    yield one
    one.end()


class Tab:
    """The page in a browser of somebody's own."""

    def __init__(self, driver, number):
        self.driver, self.number = driver, number

    async def ask(self, do, **what):
        return await asyncio.to_thread(self.driver.ask, {"do": do, "tab": self.number, **what})

    async def is_in_state(self, text):
        await self.ask("until", script=f"{STATE}.startsWith({json.dumps(text)})")

    async def shows(self, text):
        await self.ask("until", script=f"{MESSAGES}.some(([, text]) => text === {json.dumps(text)})")

    async def say(self, text):
        await self.ask("say", text=text)

    async def messages(self):
        """All that it shows: [user, text] each."""
        return await self.ask("value", script=MESSAGES)

    async def texts(self):
        return [text for _, text in await self.messages()]

    async def ids(self):
        return await self.ask("value", script=IDS)

    async def sockets(self):
        """The frames that came over each WebSocket for which it reached a server."""
        return [[json.loads(frame) for frame in socket["frames"]] for socket in await self.ask("sockets")]


@pytest.fixture
def visit(driver, front_end):
    """Opens the page: await visit(chatd, user, server=0 to 2, …). No page may have thrown anything at the end."""
    opened = []

    async def open_page(where, user=None, server=0, host="localhost", clock=False, connected=True, **query):
        tab = Tab(driver, len(opened))
        opened.append(tab)
        query |= {"server": server, "ports": ",".join(map(str, where if isinstance(where, list) else ports(where)))}
        if user is not None:
            query["user"] = user
        url = f"http://{host}:{front_end}/?{urllib.parse.urlencode(query)}"
        await tab.ask("open", url=url, clock=clock)
        if connected:
            await tab.is_in_state("connected")
        return tab
    yield open_page
    errors = driver.ask({"do": "close"})
    assert not errors, errors


def ports(chatd):
    return [urllib.parse.urlsplit(url).port for url in chatd.urls if url.startswith("ws:")]


@pytest.fixture
def start(start_chatd):
    """Starts a chatd as the three servers that the page knows, on given ports or any."""
    def start_on(*args, at=(0, 0, 0), **options):
        listen = [f"ws://localhost:{port}/ws" for port in at] + ["tcp://127.0.0.1:0"]
        return start_chatd(*args, listen=listen, **options)
    return start_on


def numbered(first, end):
    return [f"line {number}." for number in range(first, end)]


async def post(client, texts):
    """Posts in one burst, and waits until all are taken."""
    for text in texts:
        await client.send({"type": "post", "content": text})
    for _ in texts:
        await client.get("ack")


# ---------------------------------------------------------------------------------------------------- tests

async def test_people_on_three_servers_talk_and_each_sees_each_message_once(visit, start):
    chatd = start()
    alice, bob, zoe = [await visit(chatd, name, server) for server, name in enumerate(("alice", "bob", "Zoë & Co"))]
    said = [[alice, "alice", "hi, bob"], [bob, "bob", "<b>hi</b>, alice"], [zoe, "Zoë & Co", "hi, both 👋"],
            [alice, "alice", "hi, bob"]]
    for number, (who, _, text) in enumerate(said):
        await who.say(text)
        for tab in (alice, bob, zoe):
            await tab.ask("until", script=f"{MESSAGES}.length === {number + 1}")
    for tab in (alice, bob, zoe):
        assert await tab.messages() == [[name, text] for _, name, text in said]
        assert len(await tab.sockets()) == 1
    ids = await alice.ids()
    assert len(set(ids)) == len(said) and ids == await bob.ids() == await zoe.ids()
    shown = await bob.ask("value", script="document.querySelector('#messages time').dateTime")
    when = datetime.datetime.fromisoformat(shown.replace("Z", "+00:00"))
    assert abs((datetime.datetime.now(datetime.timezone.utc) - when).total_seconds()) < 60


async def test_the_page_and_native_clients_talk(visit, start):
    chatd = start()
    alice, bob = await visit(chatd, "alice"), await chatd.client("bob")
    await bob.post("hi from bob")
    await alice.shows("hi from bob")
    await alice.say("hi from alice")
    assert (await bob.chat("hi from alice"))["sender"] == "alice"
    assert await alice.messages() == [["bob", "hi from bob"], ["alice", "hi from alice"]]
    await bob.close()


async def test_one_person_at_two_tabs_sees_each_message_once_in_both(visit, start):
    chatd = start()
    tabs = [await visit(chatd, "alice", server) for server in (0, 1)]
    for number, tab in enumerate(tabs):
        await tab.say(f"from tab {number}")
        for other in tabs:
            await other.shows(f"from tab {number}")
    for tab in tabs:
        assert await tab.messages() == [["alice", "from tab 0"], ["alice", "from tab 1"]]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_page_from_another_port_of_this_machine_is_let_in(visit, start, front_end, host):
    chatd = start()
    alice = await visit(chatd, "alice", host=host)
    assert await alice.ask("value", script="location.origin") == f"http://{host}:{front_end}"
    assert front_end not in ports(chatd)
    await alice.say("hi")
    await alice.shows("hi")


async def test_after_a_crash_of_the_server_pages_come_back_and_show_nothing_twice(visit, start, sqlite, tmp_path):
    log = tmp_path / "chat.db"
    chatd = start(log=log)
    at = ports(chatd)
    alice, bob = await visit(at, "alice", 0), await visit(at, "bob", 1)
    before = [f"before {number}" for number in range(4)]
    for number, text in enumerate(before):
        await (alice, bob)[number % 2].say(text)
        for tab in (alice, bob):
            await tab.shows(text)
    ids = await alice.ids()
    chatd.kill()
    for tab in (alice, bob):
        await tab.is_in_state("disconnected 1006")
    start(log=log, at=at)
    for tab in (alice, bob):
        await tab.is_in_state("connected")
    await bob.say("after")
    await alice.say("and after")
    for tab in (alice, bob):
        await tab.shows("and after")
        await tab.shows("after")
        texts = await tab.texts()
        assert texts[:4] == before and sorted(texts[4:]) == ["after", "and after"]
        assert (await tab.ids())[:4] == ids
        again = [frame["message_id"] for frame in (await tab.sockets())[-1]]
        assert again[:4] == ids  # the history came, with the same ids, and was left out


async def test_what_was_said_while_the_line_was_down_is_there_after_coming_back(visit, chatd, wire):
    """All of it, also where it is more than the history that everybody gets."""
    await wire.start(chatd)
    alice, bob = await visit([wire.server.sockets[0].getsockname()[1]] * 3, "alice"), await chatd.client("bob")
    await bob.post("before")
    await alice.shows("before")
    since = chatd.mark()
    wire.cut()
    await alice.is_in_state("disconnected")
    await asyncio.to_thread(chatd.record, "disconnected", since)
    meanwhile = numbered(0, 3 * HISTORY)
    await post(bob, meanwhile)
    wire.lead(chatd)
    await alice.shows(meanwhile[-1])
    await bob.post("after")
    await alice.shows("after")
    assert await alice.texts() == ["before", *meanwhile, "after"]
    await bob.close()


async def test_a_server_that_shuts_down_says_so_and_the_page_stays_away(visit, start):
    """And comes back where it does not say so."""
    chatd = start()
    at, hour = ports(chatd), 3600 * 1000
    alice = await visit(at, "alice", clock=True)
    await chatd.stopped()
    await alice.is_in_state("disconnected 1001 Server shutting down")
    await alice.ask("pass", ms=hour)
    assert await alice.ask("value", script="tries") == 1

    crashing = start(at=at)
    bob = await visit(at, "bob", clock=True)
    crashing.kill()
    await bob.is_in_state("disconnected 1006")
    await bob.ask("pass", ms=hour)
    assert await bob.ask("value", script="tries") > 1


async def test_messages_persist_over_a_reload(visit, start):
    chatd = start()
    alice, bob = await visit(chatd, "alice"), await chatd.client("bob")
    await post(bob, numbered(0, HISTORY + 10))
    await alice.say("from alice")
    await alice.shows("from alice")
    assert await alice.texts() == [*numbered(0, HISTORY + 10), "from alice"]
    ids = await alice.ids()
    await alice.ask("reload")
    await alice.shows("from alice")
    assert await alice.texts() == [*numbered(11, HISTORY + 10), "from alice"]
    assert await alice.ids() == ids[-HISTORY:]
    await bob.close()


@pytest.mark.parametrize("dialect, token", [(None, ""), (None, "alice"), (None, "user:"), (None, "user:System"),
                                            ("chatservice", None), ("chatservice", "alice")])
async def test_without_a_good_token_the_page_stays_disconnected(visit, start, dialect, token):
    chatd = start(*(["--dialect", dialect] if dialect else []))
    page = await visit(chatd, connected=False, **({} if token is None else {"token": token}))
    await page.is_in_state("disconnected 1006")
    await page.ask("until", script="tries > 2")
    assert await page.ask("value", script="document.querySelector('button').disabled")
    assert not any(await page.sockets())


async def test_a_burst_is_shown_in_order_and_whole(visit, start):
    chatd = start()
    alice = await visit(chatd, "alice")
    burst = numbered(0, 300)
    async with chatd.connect(url=f"{chatd.url()}?token=user:bob", subprotocols=None) as bob:
        await bob.send(json.dumps({"action": "join", "room": "general"}))
        for number, text in enumerate(burst):
            await bob.send(json.dumps({"action": "message", "room": "general", "type": "chat",
                                       "payload": {"text": text, "user": "bob"}, "client_id": f"client-{number}"}))
        own = [json.loads(await asyncio.wait_for(bob.recv(), PATIENCE)) for _ in burst]
    assert [frame["payload"]["text"] for frame in own] == burst
    await alice.shows(burst[-1])
    assert await alice.messages() == [["bob", text] for text in burst]
    assert await alice.ids() == [frame["message_id"] for frame in own]
