"""A headless Chromium (Debian's), spoken to over its DevTools protocol: what a person would see and do."""
import asyncio
import base64
import importlib.util
import itertools
import json
import pathlib
import re
import subprocess

import pytest
import websockets

# The real chatd and its clients come from the integration tests.
spec = importlib.util.spec_from_file_location(
    "integration", pathlib.Path(__file__).resolve().parents[1] / "integration" / "conftest.py")
integration = importlib.util.module_from_spec(spec)
spec.loader.exec_module(integration)
start_chatd, chatd = integration.start_chatd, integration.chatd
pytest_pyfunc_call = integration.pytest_pyfunc_call

PATIENCE = 30
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-port=0""".split()


class Page:
    """One tab."""

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

    async def press_enter(self):
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r",
                            windowsVirtualKeyCode=13)

    async def picture(self, path):
        shot = await self.call("Page.captureScreenshot", format="png")
        pathlib.Path(path).write_bytes(base64.b64decode(shot["data"]))


class Browser:
    def __init__(self, folder):
        self.log = folder / "chromium.log"
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
        browser = Page(await websockets.connect(await self.endpoint(), max_size=None))
        context = await browser.call("Target.createBrowserContext")
        target = await browser.call("Target.createTarget", url="about:blank",
                                    browserContextId=context["browserContextId"],
                                    width=1000, height=700)
        await browser.socket.close()
        host = (await self.endpoint()).split("/devtools/")[0]
        page = Page(await websockets.connect(f"{host}/devtools/page/{target['targetId']}", max_size=None))
        await page.load(url)
        return page

    def close(self):
        self.process.terminate()
        self.process.wait(PATIENCE)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    one = Browser(tmp_path_factory.mktemp("chromium"))
    yield one
    one.close()
