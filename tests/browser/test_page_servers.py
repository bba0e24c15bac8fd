"""What a person sees of several servers on one page: choosing, trying, making and ending them."""
import asyncio
import contextlib
import json
import shutil
import socket
import urllib.request

import pytest

from conftest import integration, integration_module
from test_page import HERE, SAID, STATE, enter, say

# What the buttons of the servers say, the one of the present server first in brackets.
KNOWN = ("JSON.stringify([...document.querySelectorAll('#known button')].map(one =>"
         " one.ariaCurrent === 'true' ? `[${one.textContent}]` : one.textContent))")
ABOUT = "document.querySelector('#about').textContent"
ASKED = "!document.querySelector('#enter').hidden"
# Messages and what stands between them, as [text, classes].
LINES = ("JSON.stringify([...document.querySelectorAll('#messages li:not(#earlier)')].map(line =>"
         " [(line.querySelector('.text') || line).textContent, line.className]))")


def free_ports(count):
    """Ports that nobody has; they are let go together, so that no two are the same."""
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in taken]


async def lines(page):
    return json.loads(await page.value(LINES))


async def texts(page):
    return [text for text, kind in await lines(page) if "came" not in kind]


async def known(page):
    return json.loads(await page.value(KNOWN))


async def choose(page, server):
    await page.value("[...document.querySelectorAll('#known button')]"
                     f".find(one => one.textContent === {json.dumps(server)}).click()")


async def try_port(page, port):
    await page.value("document.querySelector('#other').open = true")
    await page.value("document.querySelector('#port').value = ''")
    await page.type("#port", str(port))
    await page.press_enter()


async def give_name(page, name):
    await page.until(ASKED)
    await page.value("document.querySelector('#name').value = ''")
    await page.type("#name", name)
    await page.press_enter()
    await connected(page, name)


async def connected(page, name):
    await page.until(f"{STATE} === {json.dumps('Connected as ' + name)}")


class Servers:
    """One chatd with three servers, and clients of each."""

    def __init__(self, chatd, ports):
        self.chatd, self.ports = chatd, ports

    def http(self):
        return f"http://127.0.0.1:{self.ports['main']}/"

    async def client(self, server, name):
        port = self.ports.get(server, server)
        client = integration.Client(await self.chatd.connect(url=f"ws://127.0.0.1:{port}/ws"))
        await client.hello(name)
        await client.join()
        return client


@pytest.fixture
def servers(start_chatd):
    ports = dict(zip(("main", "chat1", "chat2"), free_ports(3)))
    chatd = start_chatd("--servers", ",".join(f"{name}={port}" for name, port in ports.items()), listen=())
    return Servers(chatd, ports)


# -------------------------------------------------------------------------------------------------- choosing

async def test_there_and_back_nothing_is_lost_or_doubled(browser, servers):
    page = await enter(browser, servers, "alice")
    assert await known(page) == ["[main]", "chat1", "chat2"]
    bob, carol = await servers.client("main", "bob"), await servers.client("chat1", "carol")
    await say(page, "to main")
    await bob.chat("to main")
    await page.type("#text", "a draft")
    await choose(page, "chat1")
    await give_name(page, "ali")
    assert await known(page) == ["main", "[chat1]", "chat2"]
    assert (await texts(page), await page.value("document.querySelector('#text').value")) == ([], "")
    await page.until(f"{HERE}.includes('carol')")
    assert "bob" not in await page.value(HERE)
    await say(page, "to chat1")
    assert (await carol.chat("to chat1"))["sender"] == "ali"
    await bob.post("meanwhile")
    await choose(page, "main")
    await connected(page, "alice")
    await page.until(f"{SAID}.includes('meanwhile')")
    assert await texts(page) == ["to main", "meanwhile"]
    assert await page.value("document.querySelector('#text').value") == "a draft"
    await carol.post("from carol")
    await choose(page, "chat1")
    await connected(page, "ali")
    await page.until(f"{SAID}.includes('from carol')")
    assert await texts(page) == ["to chat1", "from carol"]
    assert not [frame for frame in await bob.quiet() if frame["type"] == "presence" and frame.get("left")]


async def test_what_is_said_while_one_leaves_is_said_once(browser, servers):
    page = await enter(browser, servers, "alice")
    bob = await servers.client("main", "bob")
    await choose(page, "chat1")
    await give_name(page, "alice")
    for number in range(5):
        await choose(page, "main")
        await connected(page, "alice")
        await page.type("#text", f"words {number}")
        await page.value("document.querySelector('#say').requestSubmit();"
                         " document.querySelectorAll('#known button')[1].click()")
        await connected(page, "alice")
    await choose(page, "main")
    await page.until("sessionStorage.getItem('chat.outbox') === '[]'"
                     " && !document.querySelector('#messages .pending')")
    wanted = [f"words {number}" for number in range(5)]
    assert await texts(page) == wanted
    answer = await bob.ask({"type": "history", "room": "general"}, "history")
    assert [entry["content"] for entry in answer["entries"]] == wanted


async def test_what_waits_for_a_server_that_is_away_is_not_said_to_another(browser, servers, start_chatd):
    other = start_chatd()
    port = other.address("ws")[1]
    page = await enter(browser, servers, "alice")
    await try_port(page, port)
    await give_name(page, "alice")
    await other.stopped()
    await page.until(f"{STATE}.includes('trying again')")
    await say(page, "for the other")
    await choose(page, "main")
    await connected(page, "alice")
    await say(page, "for main")
    bob = await servers.client("main", "bob")
    await page.until(f"{SAID}.includes('for main')")
    again = start_chatd(listen=(f"ws://127.0.0.1:{port}/ws",))
    await choose(page, f"Port {port}")
    await connected(page, "alice")
    await page.until("!document.querySelector('#messages .pending')")
    for client, wanted in ((bob, "for main"), (await servers.client(port, "carol"), "for the other")):
        answer = await client.ask({"type": "history", "room": "general"}, "history")
        assert [entry["content"] for entry in answer["entries"]] == [wanted]
    again.stop()


async def test_each_server_has_its_name_and_session_and_a_reload_stays_where_it_is(browser, servers):
    page = await enter(browser, servers, "alice")
    await choose(page, "chat2")
    await page.until(ASKED)
    assert await page.value("document.querySelector('#name').value") == "alice"
    await give_name(page, "ali")
    await say(page, "hello")
    await page.until(f"{SAID}.includes('hello')")
    port = servers.ports["chat2"]
    assert await page.value(f"[localStorage['chat.name'], localStorage['chat.name.{port}']].join()") == "alice,ali"
    assert await page.value(f"sessionStorage['chat.session'] !== sessionStorage['chat.session.{port}']")
    await page.load(servers.http())
    await connected(page, "ali")
    await page.until(f"{SAID}.includes('hello')")
    assert await known(page) == ["main", "chat1", "[chat2]"]
    await choose(page, "main")
    await connected(page, "alice")


async def test_the_reader_comes_back_to_the_place(browser, servers):
    bob = await servers.client("main", "bob")
    for number in range(100):
        await bob.post(f"line {number}.")
    page = await enter(browser, servers, "alice")
    await page.until(f"{SAID}.includes('line 99.')")
    await page.value("document.querySelector('#messages').scrollTop = 600; new Promise(requestAnimationFrame)")
    await choose(page, "chat1")
    await give_name(page, "alice")
    await bob.post("and now")
    await choose(page, "main")
    await page.until(f"{SAID}.includes('and now')")
    assert await page.value("document.querySelector('#messages').scrollTop") == 600
    assert await texts(page) == [f"line {number}." for number in range(50, 100)] + ["and now"]


async def test_the_keyboard_can_go_on_where_it_was(browser, servers):
    page = await enter(browser, servers, "alice")
    await page.value("document.querySelectorAll('#known button')[1].focus()")
    await page.press_enter()
    await page.until(ASKED)
    assert await page.value("document.activeElement.id") == "name"
    await give_name(page, "alice")
    await page.value("document.querySelectorAll('#known button')[0].focus()")
    await page.press_enter()
    await connected(page, "alice")
    assert await page.value("document.activeElement.textContent") == "main"


async def test_a_copy_of_a_tab_is_somebody_else_on_every_server(browser, servers):
    page = await enter(browser, servers, "alice")
    await choose(page, "chat1")
    await give_name(page, "alice")
    await page.value("window.copy = open(location); copy.addEventListener('load', () => 0); 0")
    await page.until("copy.document.querySelector('#trouble')?.textContent.includes('in use')")
    assert await page.value("sessionStorage['chat.tab'] !== copy.sessionStorage['chat.tab']"
                            " && sessionStorage['chat.session'] !== copy.sessionStorage['chat.session']")
    port = servers.ports["chat1"]
    assert await page.value(f"copy.sessionStorage['chat.session.{port}'] !== sessionStorage['chat.session.{port}']")
    assert await page.value(STATE) == "Connected as alice"
    await page.value("copy.close()")


# ------------------------------------------------------------------------------------------- nodes of one chat


@pytest.fixture
def nodes(tmp_path):
    """Three chatd on one NATS, and a way to talk to each."""
    cluster, nats = integration_module("cluster"), integration_module("nats")
    cluster.need_cluster()
    server = nats.Nats(tmp_path).start()
    ports = free_ports(3)
    peers = ",".join(f"node-{number}={port}" for number, port in enumerate(ports, 1))
    running = []
    try:
        for number, port in enumerate(ports, 1):
            running.append(integration.Chatd(["--name", f"node-{number}", "--peers", peers, "--no-create-servers"], log=None,
                                             listen=(f"ws://127.0.0.1:{port}/ws",),
                                             env={"CHATD_LOG": f"jetstream:{server.url()}"}))
        yield running
    finally:
        for chatd in running:
            if chatd.process.poll() is None:
                chatd.stop()
        server.kill()


async def test_at_another_node_of_the_chat_one_goes_on_as_the_same_person(browser, nodes):
    page = await enter(browser, nodes[0], "alice")
    assert await known(page) == ["[node-1]", "node-2", "node-3"]
    bob = await nodes[2].client("bob")
    await say(page, "from node-1")
    await bob.chat("from node-1")
    await page.until(f"{HERE}.includes('bob')")
    await choose(page, "node-2")
    await page.until("document.querySelector('#known [aria-current=true]').textContent === 'node-2'")
    await connected(page, "alice")
    assert await texts(page) == ["from node-1"]
    await say(page, "from node-2")
    said = await bob.chat("from node-2")
    assert said["sender"] == "alice"
    await bob.post("to alice")
    await page.until(f"{SAID}.includes('to alice')")
    await choose(page, "node-1")
    await page.until("document.querySelector('#known [aria-current=true]').textContent === 'node-1'")
    await connected(page, "alice")
    await bob.post("and again")
    await page.until(f"{SAID}.includes('and again')")
    assert await texts(page) == ["from node-1", "from node-2", "to alice", "and again"]
    assert not [frame for frame in await bob.quiet() if frame["type"] == "presence" and frame.get("left")]


async def test_a_node_that_dies_is_left_for_another_and_nothing_is_lost_or_doubled(browser, nodes):
    page = await enter(browser, nodes[0], "alice")
    bob = await nodes[2].client("bob")
    await choose(page, "node-2")
    await page.until("document.querySelector('#known [aria-current=true]').textContent === 'node-2'")
    await connected(page, "alice")
    await say(page, "one")
    await bob.chat("one")
    await asyncio.to_thread(nodes[1].kill)
    await page.until(f"{STATE}.includes('trying again')")
    await say(page, "while it is away")
    await bob.post("meanwhile")
    await choose(page, "node-3")
    await connected(page, "alice")
    await bob.chat("while it is away")
    await page.until(f"{SAID}.includes('while it is away') && !document.querySelector('#messages .pending')")
    assert await texts(page) == ["one", "meanwhile", "while it is away"]
    await page.load(f"http://127.0.0.1:{nodes[0].address('ws')[1]}/")
    await connected(page, "alice")
    assert await known(page) == ["node-1", "node-2", "[node-3]"]


# ------------------------------------------------------------------------------------ by port, making, ending

async def test_a_port_that_lets_the_page_in_gets_a_button(browser, servers, start_chatd):
    port = start_chatd().address("ws")[1]
    page = await enter(browser, servers, "alice")
    await try_port(page, port)
    await page.until(ASKED)
    assert await page.value("document.activeElement.id") == "name"
    await give_name(page, "alice")
    assert await known(page) == ["main", "chat1", "chat2", f"[Port {port}]"]
    assert not await page.value("document.querySelector('#other').open")
    await choose(page, "main")
    await connected(page, "alice")
    await page.load(servers.http())
    await connected(page, "alice")
    assert await known(page) == ["[main]", "chat1", "chat2", f"Port {port}"]
    await try_port(page, servers.ports["chat1"])
    await page.until(ASKED)
    assert await known(page) == ["main", "[chat1]", "chat2", f"Port {port}"]
    await try_port(page, servers.ports["main"])
    await connected(page, "alice")


@pytest.mark.parametrize("answers", [False, True], ids=["nobody is there", "it refuses"])
async def test_a_port_that_does_not_let_the_page_in_is_told_and_linked(browser, servers, answers):
    (port,) = free_ports(1)
    listener = None
    if answers:
        async def refuse(_reader, writer):
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            writer.close()
        listener = await asyncio.start_server(refuse, "127.0.0.1", port)
    page = await enter(browser, servers, "alice")
    await try_port(page, port)
    await page.until(f"{ABOUT}.includes('does not let this page in')")
    assert await page.value("document.querySelector('#about a').href") == f"http://127.0.0.1:{port}/"
    assert await known(page) == ["[main]", "chat1", "chat2"]
    assert await page.value(STATE) == "Connected as alice"
    if listener:
        listener.close()


async def test_a_server_is_made_and_ended(browser, servers):
    (port,) = free_ports(1)
    page = await enter(browser, servers, "alice")
    assert await page.value("document.querySelector('#remove').hidden")
    await page.value(f"document.querySelector('#other').open = true; document.querySelector('#port').value = {port};"
                     " document.querySelector('#create').click()")
    await give_name(page, "founder")
    assert await known(page) == ["main", "chat1", "chat2", f"[custom-{port}]"]
    bob = await servers.client(port, "bob")
    await say(page, "a new place")
    await bob.chat("a new place")
    await page.value("window.confirm = (text) => { window.asked = text; return false; };"
                     " document.querySelector('#remove').click()")
    assert f"custom-{port}" in await page.value("asked")
    await say(page, "still here")
    await bob.chat("still here")
    await page.value("window.confirm = () => true; document.querySelector('#remove').focus();"
                     " document.querySelector('#remove').click()")
    await connected(page, "alice")
    assert await known(page) == ["[main]", "chat1", "chat2"]
    assert await page.value("document.querySelector('#remove').hidden")
    assert await page.value("document.activeElement.textContent") == "main"
    assert (await bob.closed())[0] == 1001


async def test_a_server_that_somebody_else_ended_is_not_tried_again(browser, servers):
    """Whoever has its port next would be shown the session's key."""
    (port,) = free_ports(1)
    page = await enter(browser, servers, "alice")
    await page.value(f"document.querySelector('#other').open = true; document.querySelector('#port').value = {port};"
                     " document.querySelector('#create').click()")
    await give_name(page, "founder")
    ended = urllib.request.Request(f"http://127.0.0.1:{servers.ports['chat1']}/api/create-server?port={port}",
                                   method="DELETE")
    assert (await asyncio.to_thread(urllib.request.urlopen, ended)).status == 200
    await page.until(f"{STATE} === 'custom-{port} was ended.'")
    assert await page.value("halted")


async def test_a_server_that_cannot_be_made_says_why(browser, servers):
    page = await enter(browser, servers, "alice")
    await page.value(f"document.querySelector('#port').value = {servers.ports['chat1']};"
                     " document.querySelector('#other').open = true; document.querySelector('#create').click()")
    await page.until(f"{ABOUT}.includes('chat1')")
    assert await known(page) == ["[main]", "chat1", "chat2"]


async def test_with_one_server_and_none_to_be_made_nothing_is_in_the_way(browser, start_chatd, tmp_path):
    shutil.copytree(integration.ROOT / "examples/chatd/page", tmp_path / "page")
    (tmp_path / "page/server.json").write_text(json.dumps({
        "sockets": [{"path": "/ws"}], "name": "main", "create": False,
        "servers": [{"name": "main", "port": 1, "path": "/ws", "removable": False}]}))
    page = await enter(browser, start_chatd("--www", tmp_path / "page"), "alice")
    assert await page.value("document.querySelector('#servers').offsetHeight") == 0


# ----------------------------------------------------------------------------------------- coming and going

async def test_who_comes_and_goes_is_told_apart_from_what_is_said(browser, servers):
    before = await servers.client("main", "before")
    await before.post("said before")
    page = await enter(browser, servers, "alice")
    await page.until(f"{SAID}.includes('said before')")
    bob = await servers.client("main", "bob")
    await page.until(f"{SAID}.includes('bob joined')")
    await bob.post("hello and goodbye")
    await bob.ask({"type": "leave", "room": "general"}, "left")
    await page.until(f"{SAID}.includes('bob left')")
    assert await lines(page) == [["said before", ""], ["bob joined", "note came"], ["hello and goodbye", ""],
                                 ["bob left", "note came"]]


async def test_who_comes_back_to_the_page_is_not_told_of_oneself(browser, servers):
    page = await enter(browser, servers, "alice")
    await choose(page, "chat1")
    await give_name(page, "alice")
    await choose(page, "main")
    await connected(page, "alice")
    await page.load(servers.http())
    await connected(page, "alice")
    bob = await servers.client("main", "bob")
    await page.until(f"{SAID}.includes('bob joined')")
    assert await lines(page) == [["bob joined", "note came"]]
    await bob.close()


async def test_many_who_come_at_once_are_summed_up(browser, servers):
    page = await enter(browser, servers, "alice")
    for number in range(12):
        await servers.client("main", f"guest {number}")
    await page.until(f"/guest \\d+, guest \\d+ and 10 others joined/.test({SAID})")
    assert [kind for _, kind in await lines(page)] == ["note came"]


# ------------------------------------------------------------------------------------------------ telephones

# What a finger misses, or an eye.
TOUCHED = """JSON.stringify([...document.querySelectorAll('button, input, textarea, summary')]
  .filter(one => one.checkVisibility()).map(one => [one.id || one.textContent, one.getBoundingClientRect()])
  .filter(([, at]) => at.height < 40 || at.width < 40 || at.left < 0 || at.right > innerWidth
    || at.bottom > innerHeight)
  .map(([name]) => name))"""
# One stands below the other.
STACKED = """(() => { const all = ['header', 'nav', 'aside', '#messages', '#say']
  .map(one => document.querySelector(one)).filter(one => one.checkVisibility()).map(one => one.getBoundingClientRect());
  return all.every((one, i) => !i || all[i - 1].bottom <= one.top + 1); })()"""
WIDTH = "[document.scrollingElement.scrollWidth, document.scrollingElement.scrollHeight <= innerHeight].join()"


async def resize(page, width, height):
    await page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=True)
    await page.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


async def test_it_fits_a_telephone_and_its_keyboard(browser, servers):
    bob = await servers.client("main", "bob")
    await bob.post("https://example.org/" + "x" * 200)
    for number in range(40):
        await bob.post(f"line {number}.")
    page = await enter(browser, servers, "alice")
    await page.until(f"{SAID}.includes('line 39.')")
    await resize(page, 360, 640)
    await page.value("document.querySelector('#text').blur(); document.querySelector('#other').open = true")
    assert await page.value(STACKED)
    assert [await page.value(WIDTH), await page.value(TOUCHED)] == ["360,true", "[]"]
    await page.value("document.querySelector('#other').open = false; document.querySelector('#text').focus()")
    await resize(page, 360, 300)  # as a keyboard does that takes its room from the page
    assert await page.value(STACKED)
    assert [await page.value(WIDTH), await page.value(TOUCHED)] == ["360,true", "[]"]
    assert await page.value("document.querySelector('#messages').lastElementChild.getBoundingClientRect().bottom"
                            " <= document.querySelector('#text').getBoundingClientRect().top")
    assert await page.value("document.querySelector('#messages').clientHeight > 100")
    assert await page.value("document.querySelector('#state').offsetHeight > 0")
    await resize(page, 360, 640)
    await choose(page, "chat1")
    await page.until(ASKED)
    assert [await page.value(WIDTH), await page.value(TOUCHED)] == ["360,true", "[]"]
