#!/usr/bin/python3
"""Makes the README's picture anew: chatd's page, as one of four people in a small chat has it.

    CHATHUB_BUILD=build/release tests/browser/picture.py [FILE]      (docs/pictures/page.png)
"""
import asyncio
import pathlib
import sys
import tempfile

from conftest import Browser, integration

SIZE = {"width": 860, "height": 700, "deviceScaleFactor": 1.4, "mobile": False}
# Who says what. The picture is Ann's page, who types hers.
CHAT = [
    ("Bea", "Morning! The speakers are here, all eight boxes."),
    ("Carlos", "Great, I can fetch them with the van at ten."),
    ("Ann", "Wonderful. I'll open the back door for you."),
    ("Dilip", "Do we have the floor plan somewhere?"),
    ("Bea", "https://example.org/hall/plan.pdf\nRows A to F, the stage is on the left."),
    ("Ann", "Sound check at four, and then ☕ for everybody."),
    ("Dilip", "I'm in. Bringing cables, adapters and cake."),
]
HERE = "document.querySelector('#people').textContent"
SAID = "document.querySelector('#messages').textContent"


async def enter(browser, chatd, name):
    page = await browser.open(chatd.http())
    await page.call("Emulation.setDeviceMetricsOverride", **SIZE)
    await page.call("Emulation.setFocusEmulationEnabled", enabled=True)
    await page.until("!document.querySelector('#enter').hidden")
    await page.type("#name", name)
    await page.press_enter()
    await page.until(f"{HERE}.includes('{name}')")
    return page


async def take(chatd, browser, file):
    people = {name: await chatd.client(name) for name in ("Bea", "Carlos", "Dilip")}
    for person in people.values():
        await person.join()
    page = await enter(browser, chatd, "Ann")
    for name, text in CHAT:
        if name == "Ann":
            await page.type("#text", text)
            await page.press_enter()
        else:
            await people[name].post(text)
        await page.until(f"{SAID}.includes({text.splitlines()[-1]!r})")
    await people["Carlos"].ask({"type": "status", "status": "on the road"}, "ok")
    await people["Bea"].ask({"type": "typing"}, "ok")
    await page.until("document.querySelector('#typing').textContent.includes('Bea')")
    await page.type("#text", "I can lend you")
    await page.picture(file)


def main(file):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        chatd = integration.Chatd()
        browser = Browser(pathlib.Path(folder))
        try:
            asyncio.run(integration.run_test(take(chatd, browser, file), 60))
        finally:
            browser.close()
            chatd.stop()
    print(file, pathlib.Path(file).stat().st_size, "bytes")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else integration.ROOT / "docs/pictures/page.png")
