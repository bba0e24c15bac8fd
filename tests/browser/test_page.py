"""What a person sees of the built-in page, in a real browser."""
import json

HERE = "document.querySelector('#people').textContent"
SAID = "document.querySelector('#messages').textContent"
STATE = "document.querySelector('#state').textContent"


async def enter(browser, chatd, name):
    page = await browser.open(chatd.http())
    await page.until("!document.querySelector('#enter').hidden")
    await page.type("#name", name)
    await page.press_enter()
    await page.until(f"{HERE}.includes({json.dumps(name)})")
    return page


async def say(page, text):
    await page.type("#text", text)
    await page.press_enter()


async def test_two_people_meet_and_talk(browser, chatd):
    alice = await enter(browser, chatd, "alice")
    bob = await enter(browser, chatd, "bob")
    await alice.until(f"{HERE}.includes('bob')")
    await say(alice, "hello from alice")
    await bob.until(f"{SAID}.includes('hello from alice')")
    await say(bob, "<b>hello</b> from bob")
    await alice.until(f"{SAID}.includes('<b>hello</b> from bob')")
    assert not await alice.value("[...document.querySelectorAll('#messages b')].some(b => b.textContent === 'hello')")


async def test_what_others_say_is_text_and_only_safe_links(browser, chatd):
    page = await enter(browser, chatd, "alice")
    mallory = await chatd.client("mallory")
    await mallory.post("<img src=x onerror=document.title='owned'> javascript:alert(1) https://example.org/a?b=c data:x")
    await page.until(f"{SAID}.includes('javascript:alert(1)')")
    links = await page.value("JSON.stringify([...document.querySelectorAll('#messages a')].map(a => [a.href, a.rel]))")
    assert json.loads(links) == [["https://example.org/a?b=c", "noopener noreferrer nofollow"]]
    assert await page.value("document.title") != "owned"
    await mallory.close()


async def test_it_comes_back_by_itself_and_loses_nothing(browser, chatd, wire):
    page = await enter(browser, await wire.start(chatd), "alice")
    bob = await chatd.client("bob")
    await bob.post("before")
    await page.until(f"{SAID}.includes('before')")
    wire.cut()
    await page.until(f"{STATE}.includes('trying again')")
    await bob.post("meanwhile")
    wire.lead(chatd)
    await page.until(f"{SAID}.includes('meanwhile')")
    assert [(await page.value(SAID)).count(text) for text in ("before", "meanwhile")] == [1, 1]
    await bob.close()


async def test_nothing_is_asked_of_anybody_else_and_the_policy_is_kept(browser, chatd):
    page = await browser.open(chatd.http())
    await page.until("performance.getEntriesByType('resource').length >= 2")
    urls = json.loads(await page.value(
        "JSON.stringify(performance.getEntriesByType('resource').map(entry => entry.name))"))
    assert all(url.startswith(chatd.http().rstrip("/")) or url.startswith("data:") for url in urls), urls
    refused = await page.value("new Promise(done => { addEventListener('securitypolicyviolation',"
                               " event => done(event.effectiveDirective));"
                               " const script = document.createElement('script'); script.textContent = 'window.owned = 1';"
                               " document.body.append(script); })")
    assert refused.startswith("script-src")
    assert await page.value("window.owned === undefined")
