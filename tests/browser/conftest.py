"""A headless Chromium (Debian's), spoken to over its DevTools protocol: what a person would see and do."""
import asyncio
import base64
import importlib
import importlib.util
import itertools
import json
import pathlib
import re
import subprocess
import sys
import urllib.request

import pytest
import websockets

# The real chatd and its clients come from the integration tests.
spec = importlib.util.spec_from_file_location(
    "integration", pathlib.Path(__file__).resolve().parents[1] / "integration" / "conftest.py")
integration = importlib.util.module_from_spec(spec)
spec.loader.exec_module(integration)


def integration_module(name):
    """Another module of the integration tests, which know their conftest by that name."""
    folder = str(pathlib.Path(integration.__file__).parent)
    here = sys.modules.get("conftest")
    sys.path.insert(0, folder)
    sys.modules["conftest"] = integration
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)
        if here:
            sys.modules["conftest"] = here


start_chatd, chatd = integration.start_chatd, integration.chatd
settings_file, sqlite = integration.settings_file, integration.sqlite
pytest_pyfunc_call = integration.pytest_pyfunc_call

PATIENCE = 30
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-port=0""".split()


class Page:
    """One tab. Its socket is cut off with the test's others."""

    def __init__(self, socket):
        self.socket = socket
        self.numbers = itertools.count(1)

    async def call(self, method, **params):
        number = next(self.numbers)
        await self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(await asyncio.wait_for(self.socket.recv(), PATIENCE))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    async def value(self, script):
        result = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, script):
        """Waits until an expression is true."""
        ask = ("new Promise(done => { const look = () => { if (%s) done(true); else setTimeout(look, 20); };"
               " look(); })") % script
        assert await self.value(ask) is True

    async def load(self, url):
        await self.call("Page.enable")
        await self.socket.send(json.dumps({"id": 0, "method": "Page.navigate", "params": {"url": url}}))
        while True:
            if json.loads(await asyncio.wait_for(self.socket.recv(), PATIENCE)).get("method") == "Page.loadEventFired":
                break
        await self.call("Page.disable")

    async def type(self, selector, text):
        await self.value("document.querySelector(%s).focus()" % json.dumps(selector))
        await self.call("Input.insertText", text=text)

    async def press(self, key, code, text=""):
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, text=text,
                            windowsVirtualKeyCode=code)

    async def press_enter(self):
        await self.press("Enter", 13, "\r")

    async def picture(self, path):
        shot = await self.call("Page.captureScreenshot", format="png")
        pathlib.Path(path).write_bytes(base64.b64decode(shot["data"]))


class Browser:
    def __init__(self, folder):
        self.log = folder / "chromium.log"
        self.tabs = []
        self.process = subprocess.Popen(["chromium", *FLAGS, f"--user-data-dir={folder}/profile"],
                                        stderr=self.log.open("wb"), stdout=subprocess.DEVNULL)

    async def endpoint(self):
        for _ in range(PATIENCE * 20):
            found = re.search(r"DevTools listening on (ws://\S+)", self.log.read_text(errors="replace"))
            if found:
                return found[1]
            assert self.process.poll() is None, self.log.read_text(errors="replace")
            await asyncio.sleep(0.05)  # it tells its port in its log, and there is nothing else to wait for
        pytest.fail("chromium did not start: " + self.log.read_text(errors="replace"))

    async def open(self, url):
        """A new tab, as of a person of its own."""
        browser = await self.talk(await self.endpoint())
        context = await browser.call("Target.createBrowserContext")
        target = await browser.call("Target.createTarget", url="about:blank",
                                    browserContextId=context["browserContextId"],
                                    width=1000, height=700)
        browser.socket.transport.abort()
        host = (await self.endpoint()).split("/devtools/")[0]
        self.tabs.append(host.replace("ws:", "http:", 1) + "/json/close/" + target["targetId"])
        page = await self.talk(f"{host}/devtools/page/{target['targetId']}")
        await page.load(url)
        return page

    @staticmethod
    async def talk(url):
        return Page(await websockets.connect(url, max_size=None, create_protocol=integration.Connection))

    def close_tabs(self):
        while self.tabs:
            urllib.request.urlopen(self.tabs.pop(), timeout=PATIENCE).close()

    def close(self):
        self.process.terminate()
        self.process.wait(PATIENCE)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    one = Browser(tmp_path_factory.mktemp("chromium"))
    yield one
    one.close()


@pytest.fixture
def browser(chromium):
    """Tabs that end with their test."""
    yield chromium
    chromium.close_tabs()


class Wire:
    """A line between pages and a chatd, which tests cut, make deaf, and lay to another chatd. Pages themselves can
    always be loaded."""

    def __init__(self):
        self.chatd = None  # where it leads; nowhere: WebSockets are cut off at once
        self.deaf = False  # what the server says over WebSockets gets lost
        self.server, self.sockets, self.first = None, set(), None

    async def start(self, chatd):
        self.chatd = self.first = chatd
        self.server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return self

    def http(self):
        return "http://127.0.0.1:%d/" % self.server.sockets[0].getsockname()[1]

    async def _carry(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            is_socket = b"upgrade: websocket" in head.lower()
            if is_socket and not self.chatd:
                return
            there, onward = await asyncio.open_connection(*(self.chatd or self.first).address("ws"))
            onward.write(head)
            if is_socket:
                self.sockets |= {writer, onward}
            integration.Connection.opened += [writer, onward]
            await asyncio.gather(self._copy(reader, onward, lambda: False),
                                 self._copy(there, writer, lambda: is_socket and self.deaf))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    @staticmethod
    async def _copy(reader, writer, lost):
        try:
            while piece := await reader.read(65536):
                if not lost():
                    writer.write(piece)
        except OSError:
            pass
        writer.transport.abort()

    def cut(self):
        """Cuts all WebSockets off; new ones are, too, until `lead`."""
        self.chatd, self.deaf = None, False
        while self.sockets:
            self.sockets.pop().transport.abort()

    def lead(self, chatd):
        self.chatd = self.first = chatd


@pytest.fixture
def wire():
    return Wire()
