"""What a person sees of a room whose log lasts: its history, and no message lost or twice, whatever breaks."""
import asyncio
import json
import os
import shutil
import signal

import pytest

from test_page import SAID, STATE, enter, say

PAGE = 50  # messages that the page asks for at a time
SHOWN = 500  # lines that it keeps while its end is read
# What the messages say: an entry as [its text, its classes]. Who comes and goes is told between them, and left out here.
LINES = ("[...document.querySelectorAll('#messages li:not(#earlier, .came)')].map(line =>"
         " [(line.querySelector('.text') || line).textContent, line.className])")
BEGINNING = "document.querySelector('#earlier').textContent === 'The beginning of the room.'"
SETTLED = "sessionStorage.getItem('chat.outbox') === '[]'"
PENDING = "document.querySelectorAll('#messages .pending').length"
# Scrolls to the top and waits until older messages have come; tells how far the first line moved by it.
SCROLL_UP = """new Promise(done => {
  const list = document.querySelector('#messages');
  list.scrollTop = 0;
  const first = [...list.children].find(line => line.querySelector('.text')), lines = list.children.length;
  const where = first.getBoundingClientRect().top;
  const look = () => list.children.length > lines || %s ? done(first.getBoundingClientRect().top - where)
    : setTimeout(look, 10);
  look();
})""" % BEGINNING


async def lines(page):
    return json.loads(await page.value(f"JSON.stringify({LINES})"))


async def texts(page):
    return [text for text, _ in await lines(page)]


async def logged(chatd, room="general"):
    """All that the log has of a room, oldest first."""
    reader = await chatd.client("reader", room)
    entries, more, before = [], True, {}
    while more:
        answer = await reader.ask({"type": "history", "room": room, **before}, "history")
        entries, more = answer["entries"] + entries, answer["more"]
        before = {"before": entries[0]["position"]} if entries else {}
    await reader.close()
    return [entry["content"] for entry in entries]


async def fill(chatd, count, name="bob"):
    writer = await chatd.client(name)
    for number in range(count):
        await writer.post(f"line {number}.")
    return writer


def numbered(first, end):
    return [f"line {number}." for number in range(first, end)]


async def kill(chatd):
    """As a crash does it."""
    chatd.process.send_signal(signal.SIGKILL)
    await chatd.ended(-signal.SIGKILL)


async def committed(chatd, count):
    """Waits until the log has taken so many posts."""
    def enough():
        return sum(record["event"] == "post" for record in chatd.records()) >= count or None
    await asyncio.to_thread(chatd.log.wait, lambda line: enough())


@pytest.fixture
def lasting(start_chatd, sqlite, tmp_path):
    """Starts chatds, one after the other, on one log in SQLite."""
    return lambda *args: start_chatd(*args, log=tmp_path / "log/chat.db")


# ---------------------------------------------------------------------------------------------------- history

async def test_who_joins_sees_the_last_messages_and_scrolls_back_to_the_first_without_losing_the_place(browser, chatd):
    await (await fill(chatd, 200)).close()
    alice = await enter(browser, chatd, "alice")
    await alice.until(f"{SAID}.includes('line 199.')")
    assert await texts(alice) == numbered(150, 200)
    assert await alice.value("document.querySelector('#messages').scrollTop > 0")
    for pages in (2, 3, 4):
        assert abs(await alice.value(SCROLL_UP)) < 2
        assert await texts(alice) == numbered(200 - pages * PAGE, 200)
    await alice.until(BEGINNING)
    assert await texts(alice) == numbered(0, 200)


async def test_the_keyboard_leads_back_too(browser, chatd):
    bob = await fill(chatd, 120)
    alice = await enter(browser, chatd, "alice")
    await alice.until(f"{SAID}.includes('line 70.')")
    await alice.value("document.querySelector('#messages').focus()")
    while not await alice.value(BEGINNING):
        await alice.press("Home", 36)
        await alice.value("new Promise(requestAnimationFrame)")
    assert await texts(alice) == numbered(0, 120)
    await bob.close()


async def test_the_button_brings_older_messages_and_hands_the_focus_on_at_the_beginning(browser, chatd):
    await (await fill(chatd, 60)).close()
    alice = await enter(browser, chatd, "alice")
    await alice.until(f"{SAID}.includes('line 59.')")
    await alice.value("document.querySelector('#earlier button').focus({ preventScroll: true })")
    await alice.press_enter()
    await alice.until(BEGINNING)
    assert await texts(alice) == numbered(0, 60)
    assert await alice.value("document.activeElement.id") == "messages"


async def test_a_new_message_does_not_move_who_reads_older_ones(browser, chatd):
    bob = await fill(chatd, 120)
    alice = await enter(browser, chatd, "alice")
    await alice.until(f"{SAID}.includes('line 119.')")
    await alice.value(SCROLL_UP)
    where = await alice.value("document.querySelector('#messages').scrollTop")
    await bob.post("and now")
    await alice.until(f"{SAID}.includes('and now')")
    assert await alice.value("document.querySelector('#messages').scrollTop") == where
    assert await texts(alice) == numbered(20, 120) + ["and now"]
    await bob.close()


async def test_a_page_that_is_long_open_stays_small_and_finds_again_what_it_let_go(browser, chatd):
    alice = await enter(browser, chatd, "alice")
    bob = await fill(chatd, SHOWN + 70)  # who is told to have come, first, which is let go too
    await alice.until(f"{SAID}.includes('line {SHOWN + 69}.')")
    assert await alice.value("document.querySelector('#messages').children.length") == SHOWN
    assert await texts(alice) == numbered(71, SHOWN + 70)  # one line is the button's
    await alice.value(SCROLL_UP)
    await alice.value(SCROLL_UP)
    await alice.until(BEGINNING)
    assert await texts(alice) == numbered(0, SHOWN + 70)
    await bob.close()


async def test_nobody_is_read_the_history_aloud(browser, chatd):
    """Screen readers are told what is said from now on."""
    await (await fill(chatd, 5)).close()
    alice = await browser.open(chatd.http())
    await alice.value("window.live = []; new MutationObserver(changes => live.push(...changes.flatMap(change =>"
                      " [...change.addedNodes].filter(line => line.querySelector?.('.text')).map(line =>"
                      " [line.querySelector('.text').textContent, change.target.ariaLive]))))"
                      ".observe(document.querySelector('#messages'), { childList: true })")
    await alice.until("!document.querySelector('#enter').hidden")
    await alice.type("#name", "alice")
    await alice.press_enter()
    await alice.until(f"{SAID}.includes('line 4.')")
    assert json.loads(await alice.value("JSON.stringify(live)")) == [[text, "off"] for text in numbered(0, 5)]
    await alice.until("document.querySelector('#messages').ariaLive === 'polite'")


# ----------------------------------------------------------------------------------------------------- outbox

async def test_posts_whose_acks_got_lost_are_there_once(browser, chatd, wire):
    alice = await enter(browser, await wire.start(chatd), "alice")
    wire.deaf = True
    for text in ("one", "two", "three"):
        await say(alice, text)
    await committed(chatd, 3)
    assert await alice.value(PENDING) == 3
    wire.cut()
    await say(alice, "four")
    await alice.until(f"{SAID}.includes('Waiting to be sent')")
    wire.lead(chatd)
    await alice.until(f"{SETTLED} && !{PENDING}")
    assert await texts(alice) == await logged(chatd) == ["one", "two", "three", "four"]


async def test_the_outbox_outlives_the_page(browser, chatd, wire):
    alice = await enter(browser, await wire.start(chatd), "alice")
    wire.deaf = True
    await say(alice, "one")
    await say(alice, "two")
    await committed(chatd, 2)
    wire.cut()
    await say(alice, "three")
    await alice.load(wire.http())
    await alice.until(f"{PENDING} === 3 && {SAID}.includes('three')")
    await say(alice, "four")
    wire.lead(chatd)
    await alice.until(f"{SETTLED} && !{PENDING} && {SAID}.includes('four')")
    assert await texts(alice) == await logged(chatd) == ["one", "two", "three", "four"]
    await alice.load(wire.http())
    await alice.until(f"{SAID}.includes('four')")
    assert await texts(alice) == ["one", "two", "three", "four"]


# ------------------------------------------------------------------------------------------- the server restarts

async def test_a_log_that_was_lost_is_told_and_the_chat_goes_on(browser, start_chatd, wire):
    first = start_chatd()
    alice = await enter(browser, await wire.start(first), "alice")
    await say(alice, "of before")
    await alice.until(f"{SETTLED} && !{PENDING}")
    wire.deaf = True
    await say(alice, "on its way")
    await committed(first, 2)
    await kill(first)
    wire.cut()
    second = start_chatd()
    wire.lead(second)
    await alice.until(f"{SETTLED} && !{PENDING}")
    bob = await second.client("bob")
    await bob.post("after it")
    await alice.until(f"{SAID}.includes('after it')")
    assert await lines(alice) == [["of before", "mine gone"],
                                  ["The server lost messages: those above may be gone.", "note"],
                                  ["on its way", "mine"], ["after it", ""]]
    assert await logged(second) == ["on its way", "after it"]
    await bob.close()


async def test_the_history_is_there_after_a_restart(browser, lasting):
    first = lasting()
    await (await fill(first, 120)).close()
    await asyncio.to_thread(first.stop)
    alice = await enter(browser, lasting(), "alice")
    await alice.until(f"{SAID}.includes('line 119.')")
    assert await texts(alice) == numbered(70, 120)
    await alice.value(SCROLL_UP)
    await alice.value(SCROLL_UP)
    await alice.until(BEGINNING)
    assert await texts(alice) == numbered(0, 120)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_an_open_page_goes_on_over_a_restart_by_itself(browser, lasting, wire, how):
    first = lasting()
    bob = await fill(first, 60)
    alice = await enter(browser, await wire.start(first), "alice")
    await alice.until(f"{SAID}.includes('line 59.')")
    await bob.close()
    first.process.send_signal(how)
    await first.ended(-how if how == signal.SIGKILL else 0)
    wire.cut()
    await alice.until(f"{STATE}.includes('trying again')")
    await say(alice, "said meanwhile")
    second = lasting()
    carol = await second.client("carol")
    await carol.post("from carol")
    wire.lead(second)
    await alice.until(f"{SETTLED} && !{PENDING} && {SAID}.includes('from carol')")
    await alice.value(SCROLL_UP)
    await alice.until(BEGINNING)
    assert await texts(alice) == await logged(second) == numbered(0, 60) + ["from carol", "said meanwhile"]
    assert not [kind for _, kind in await lines(alice) if "gone" in kind or "note" in kind]
    await carol.close()


async def test_a_crash_between_commit_and_ack_doubles_nothing(browser, lasting, wire):
    first = lasting()
    alice = await enter(browser, await wire.start(first), "alice")
    wire.deaf = True
    for text in ("one", "two", "three"):
        await say(alice, text)
    await committed(first, 3)
    await kill(first)
    wire.cut()
    await say(alice, "four")
    second = lasting()
    wire.lead(second)
    await alice.load(wire.http())
    await alice.until(f"{SETTLED} && !{PENDING} && {SAID}.includes('four')")
    assert await texts(alice) == await logged(second) == ["one", "two", "three", "four"]


async def test_crashes_in_the_midst_of_many_posts_lose_and_double_nothing(browser, lasting, wire):
    chatd = lasting()
    alice = await enter(browser, await wire.start(chatd), "alice")
    wanted = []
    for crash in range(4):
        for number in range(20):
            wanted.append(f"{crash}/{number}")
            await say(alice, wanted[-1])
            if number == 5 * crash:
                asyncio.get_running_loop().call_soon(os.kill, chatd.pid, signal.SIGKILL)
        await chatd.ended(-signal.SIGKILL)
        chatd = lasting()
        wire.lead(chatd)
    await alice.until(f"{SETTLED} && !{PENDING}")
    log = await logged(chatd)
    assert sorted(log) == sorted(wanted)
    assert await texts(alice) == log[-len(await texts(alice)):]
    await alice.value(SCROLL_UP)
    await alice.until(BEGINNING)
    assert await texts(alice) == log


async def test_a_log_that_was_set_back_shows_nothing_twice(browser, lasting, wire, tmp_path):
    """A copy of the log from before is put back: what it still has is shown once, what is lost stays apart."""
    first = lasting()
    alice = await enter(browser, await wire.start(first), "alice")
    await (await fill(first, 60)).close()
    await alice.until(f"{SAID}.includes('line 59.')")
    await asyncio.to_thread(first.stop)
    wire.cut()
    shutil.copytree(tmp_path / "log", tmp_path / "copy")
    second = lasting()
    wire.lead(second)
    bob = await second.client("bob")
    await bob.post("to be lost")
    await alice.until(f"{SAID}.includes('to be lost')")
    await bob.close()
    await asyncio.to_thread(second.stop)
    wire.cut()
    shutil.rmtree(tmp_path / "log")
    (tmp_path / "copy").rename(tmp_path / "log")
    third = lasting()
    carol = await third.client("carol")
    await carol.post("instead")
    wire.lead(third)
    await alice.until(f"{SAID}.includes('instead')")
    await alice.value("document.querySelector('#earlier').scrollIntoView()")
    await alice.until(BEGINNING)
    assert await lines(alice) == [["to be lost", "gone"],
                                  ["The server lost messages: those above may be gone.", "note"],
                                  *([text, ""] for text in numbered(0, 60) + ["instead"])]
    await carol.close()


async def test_posts_that_the_log_cannot_take_wait_until_it_can(browser, lasting, settings_file):
    settings = settings_file("log-free: 1024g\n")  # more than there is
    chatd = lasting("--config", settings)
    alice = await enter(browser, chatd, "alice")
    for text in ("one", "two", "three"):
        await say(alice, text)
    await alice.until(f"{SAID}.includes('Waiting: ') && {PENDING} === 3")
    await alice.load(chatd.http())
    await alice.until(f"{SAID}.includes('Waiting: ') && {PENDING} === 3")
    settings.write_text("log-free: 0\n")
    chatd.process.send_signal(signal.SIGHUP)
    await alice.until(f"{SETTLED} && !{PENDING}")
    assert await texts(alice) == await logged(chatd) == ["one", "two", "three"]
