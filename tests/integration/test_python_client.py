"""The Python client (bindings/python): nothing is lost and nothing doubled, whatever the connection and the server do."""
import asyncio
import contextlib
import gc
import itertools
import os
import random
import signal
import socket
import struct
import sys
import warnings

import pytest

from conftest import PATIENCE, ROOT
from fake_hub import FakeHub

sys.path.insert(0, str(ROOT / "bindings/python"))
import chathub  # noqa: E402
from chathub import _outbox, _wire  # noqa: E402

SOON = (0.01, 0.1)  # backoff: tests do not wait for politeness
KEY = "an-example-of-a-session-key"


class Watched:
    """A client whose events are read by a task, kept, and waited for."""

    def __init__(self, client):
        self.client, self.events = client, []
        self.changed = asyncio.Event()
        self.task = asyncio.ensure_future(self.read())

    async def read(self):
        async for event in self.client:
            self.events.append(event)
            self.changed.set()

    async def until(self, test):
        """Waits until the events pass a test, and answers what it answers."""
        async def wait():
            while not (answer := test(self.events)):
                self.changed.clear()
                await self.changed.wait()
            return answer
        try:
            return await asyncio.wait_for(wait(), PATIENCE)
        except asyncio.TimeoutError:
            raise AssertionError(f"it did not come; there were {self.events[-30:]}") from None

    async def get(self, kind, count=1, **fields):
        """Number `count` of the events of a class that have these fields."""
        def fits(event):
            return isinstance(event, kind) and all(getattr(event, key) == value for key, value in fields.items())
        return await self.until(lambda events: next(itertools.islice(filter(fits, events), count - 1, None), None))

    def contents(self, room=None):
        return [event.content for event in self.events
                if isinstance(event, chathub.Message) and room in (None, event.room)]

    def count(self, kind):
        return sum(isinstance(event, kind) for event in self.events)


@contextlib.asynccontextmanager
async def watched(url, **options):
    options.setdefault("backoff", SOON)
    async with chathub.connect(url, **options) as client:
        one = Watched(client)
        yield one
        await client.close()
        await one.task


def reset(peer):
    """Ends a connection as a system does whose program left something unread."""
    peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.writer.transport.abort()


@contextlib.contextmanager
def nothing_left():
    """No task is there that was not there before."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before
    assert not left, left


@contextlib.contextmanager
def refused(name):
    with pytest.raises(chathub.Error) as caught:
        yield caught
    assert caught.value.name == name, caught.value


@pytest.fixture(params=["ws", "tcp"])
def place(request, tmp_path):
    """A URL that stays the same over restarts, as chatd and as clients write it."""
    return f"{request.param}+unix:{tmp_path}/socket"


@pytest.fixture(params=["ws", "tcp"])
def url(request, chatd):
    return chatd.url(request.param)


# ------------------------------------------------------------------------------------------------ what it can do

async def test_everything_that_a_client_can_ask(url):
    async with watched(url, name="ann", rooms=["tea"]) as ann, watched(url, name="bob") as bob:
        assert (await ann.get(chathub.Joined)).members[0].sender == "ann"
        joined = await bob.client.join("tea", now=True)
        assert (joined.room, joined.count, joined.start) == ("tea", 2, 0)
        assert (await ann.get(chathub.Presence)).joined[0].sender == "bob"
        position = await bob.client.post("hi", "tea", data={"a": [1, "ü"]}, cid="c-1")
        heard = await ann.get(chathub.Message)
        assert heard._replace(time=0) == chathub.Message("tea", "bob", bob.client.sender_id, "hi", "c-1",
                                                         {"a": [1, "ü"]}, position, 0, 0, False)
        assert heard.when.year > 2000
        await bob.client.typing("tea")
        await ann.get(chathub.Typing, sender="bob", on=True)
        await bob.client.typing("tea", False)
        await ann.get(chathub.Typing, sender="bob", on=False)
        await bob.client.status("away")
        await ann.get(chathub.Status, status="away")
        await bob.client.status("")
        await ann.get(chathub.Status, status="")
        assert await bob.client.rename("Robert") == "Robert" == bob.client.name
        await ann.until(lambda events: [event for event in events if isinstance(event, chathub.Presence)
                                        and [person.was for person in event.renamed] == ["bob"]])
        page = await ann.client.who("tea", limit=1)
        rest = await ann.client.who("tea", after=page.members[-1])
        assert (page.more, rest.more, page.count) == (True, False, 2)
        assert {person.sender for person in page.members + rest.members} == {"ann", "Robert"}
        await ann.client.leave("tea")
        await ann.get(chathub.Left, room="tea", code=0)
        assert ann.client.rooms == ()
        await ann.client.ping()
    assert isinstance(ann.events[-1], chathub.Ended) and ann.events[-1].code == 0


async def test_history_comes_in_pages_one_after_the_other(url):
    async with watched(url, rooms=["tea"]) as ann:
        positions = [await ann.client.post(str(number), "tea") for number in range(5)]
        newest = await ann.client.history("tea", limit=2)
        assert [entry.position for entry in newest.entries] == positions[-2:] and newest.more
        older, newer = await asyncio.gather(ann.client.history("tea", before=positions[2]),
                                            ann.client.history("tea", after=positions[2]))
        assert [entry.content for entry in older.entries] == ["0", "1"] and not older.more
        assert [entry.content for entry in newer.entries] == ["3", "4"]


async def test_a_hub_is_asked_for_one_page_at_a_time():
    async def answers(peer):
        await peer.welcome()
        first = await peer.next()
        assert (first["type"], (await peer.next())["type"]) == ("history", "ping")
        for request in (first, None):
            request = request or await peer.get("history")
            peer.say("history", ref=request["ref"], room="tea", epoch="e", entries=[], more=False)
        await peer.stay()

    async with FakeHub(answers) as hub, chathub.connect(hub.url) as ann:
        asked = [asyncio.ensure_future(ask) for ask in (ann.history("tea"), ann.history("tea"), ann.ping())]
        for page in await asyncio.gather(*asked[:2]):
            assert page.entries == ()
        asked[2].cancel()


async def test_what_was_asked_first_takes_effect_first(url):
    async with watched(url, name="bob", rooms=["tea"]) as bob, watched(url, name="ann", rooms=["tea"]) as ann:
        asked = [ann.client.post(str(number), "tea") for number in range(100)]
        await asyncio.gather(*asked, ann.client.rename("Bea"), ann.client.post("last", "tea"), ann.client.leave("tea"))
        await bob.get(chathub.Message, content="last")
        said = [(event.sender, event.content) for event in bob.events if isinstance(event, chathub.Message)]
        assert said == [*(("ann", str(number)) for number in range(100)), ("Bea", "last")]


async def test_a_first_post_joins_the_default_room(url):
    async with watched(url) as ann:
        await ann.client.post("hi")
        assert (await ann.get(chathub.Message)).room == "general"
        assert ann.client.rooms == ("general",) and ann.client.name.startswith("guest-")


async def test_a_post_of_a_cid_is_posted_once(url):
    async with watched(url) as ann:
        first = await ann.client.post("hi", cid="c-1")
        assert await ann.client.post("hi", cid="c-1") == first
        with refused("cid_reused"):
            await ann.client.post("something else", cid="c-1")
        both = await asyncio.gather(ann.client.post("once", cid="c-2"), ann.client.post("once", cid="c-2"))
        assert both[0] == both[1]
        await ann.client.ping()
        assert ann.contents() == ["hi", "once"]


@pytest.mark.parametrize("content,data,code", [
    ("", None, "empty"), ("x" * 32769, None, "too_long"), ("\n" * 32768, None, "too_long"), ("\x01", None, "bad_text"),
    ("half \ud800", None, "bad_text"), ("hi", {"x": "y" * 33000}, "too_long"), ("hi", {"\ud800": 1}, "bad_text"),
    ("\0", None, "bad_text"), ("hi", {"x": ["\0"]}, "bad_text"), ("hi", {"x": float("nan")}, "bad_json"),
    ("hi", {"x": {1: 1, "1": 2}}, "bad_json"), ("hi", {"x": [[]] * 20000}, "too_long")])
async def test_what_is_refused_for_good_raises_and_hurts_nobody(url, content, data, code):
    async with watched(url) as ann:
        with refused(code):
            await ann.client.post(content, data=data)
        assert await ann.client.post("good: \\u0000", data={"x": [1 << 70, -1.5e300, None, {"": "\\u0000"}]})
        assert ann.client.outbox == () and ann.count(chathub.Connected) == 1


async def test_what_the_hub_would_not_take_is_refused_before_it_is_sent(start_chatd):
    async with watched(start_chatd("--max-message", "1k").url()) as ann:
        await ann.get(chathub.Connected)
        with refused("too_long") as caught:
            await ann.client.post("x", data={"a": "y" * 1024})
        assert "1024" in caught.value.message
        assert await ann.client.post("short") and ann.count(chathub.Connected) == 1


async def test_errors_have_the_number_the_name_and_the_words(url):
    async with watched(url) as ann:
        with refused("not_member") as caught:
            await ann.client.post("hi", "elsewhere")
        assert caught.value.code == -29 and "join" in caught.value.message
        with refused("bad_room"):
            await ann.client.join("\x01")
        with refused("not_member"):
            await ann.client.leave("elsewhere")


# ------------------------------------------------------------------------------------------------ who it is

async def test_a_taken_name_is_refused_at_once(url):
    async with watched(url, name="ann"):
        with refused("name_taken"), nothing_left():
            async with chathub.connect(url, name="Ann"):
                pass
        async with watched(url) as other:
            with refused("name_taken"):
                await other.client.rename("ANN")


async def test_a_session_that_goes_on_elsewhere_ends_the_client_for_good(url):
    async with watched(url, name="ann", session=KEY) as old:
        await old.client.join("tea")
        async with watched(url, name="ann", session=KEY, rooms=["tea"]) as new:
            assert await old.get(chathub.Ended) == (-41, "the session goes on in another connection")
            assert new.client.sender_id == old.client.sender_id
            for ask in (old.client.post, old.client.history, old.client.flush):
                with refused("replaced"):
                    await ask()
            assert await new.client.post("it is me", "tea")


async def test_what_is_too_long_for_a_hub_is_not_sent_again_without_end():
    """Lines have no close code: its last word says so."""
    async def refuses(peer):
        await peer.welcome()
        await peer.get("post")
        peer.say("error", code="too_long", message="a line may have 99 bytes")

    async with FakeHub(refuses) as hub, watched(hub.url) as ann:
        with refused("unknown"):
            await ann.client.post("long")
        assert (await ann.get(chathub.Ended)).name == "too_long"
        assert hub.connections == 1


async def test_who_has_closed_is_gone_from_its_rooms_at_once(start_chatd, place):
    """No linger has to be over."""
    await asyncio.to_thread(start_chatd, "--listen", place, "--return-time", "1h")
    async with watched(place, name="bob", rooms=["tea"]) as bob:
        async with watched(place, name="ann", rooms=["tea", "garden"]) as ann:
            await ann.get(chathub.Joined, room="tea")
            await ann.client.post("the last word", "tea")
        left = (await bob.until(lambda events: [event for event in events if getattr(event, "left", ())]))[0].left
        assert [person.sender for person in left] == ["ann"]


async def test_a_session_that_goes_on_elsewhere_ends_the_client_though_the_connection_breaks():
    async def replaced(peer):
        await peer.welcome()
        peer.say("bye", code="replaced", message="elsewhere")
        await peer.writer.drain()
        reset(peer)

    async with FakeHub(replaced) as hub, watched(hub.url) as ann:
        assert (await ann.get(chathub.Ended)).name == "replaced"
        assert hub.connections == 1


async def test_a_bye_that_says_nothing_of_another_connection_is_no_end():
    """That of a program which ends a client, for instance."""
    async def ends_it(peer):
        await peer.welcome()
        peer.say("bye", message="tidying up")

    async def stays(peer):
        await peer.welcome()
        await peer.stay()

    async with FakeHub(ends_it, stays) as hub, watched(hub.url) as ann:
        assert (await ann.get(chathub.Waiting)).message == "tidying up"
        await ann.get(chathub.Connected, again=True)


async def test_a_program_goes_on_where_an_earlier_one_stopped(url):
    async with watched(url, name="bob", rooms=["tea"]) as bob:
        async with watched(url, name="ann", session=KEY, rooms=["tea"]) as ann:
            await bob.client.post("one", "tea")
            await ann.get(chathub.Message)
            kept, me = ann.client.places, ann.client.sender_id
        await bob.client.post("two", "tea")
        async with watched(url, name="ann", session=KEY, rooms=kept) as again:
            await again.get(chathub.Message)
            await again.client.ping()
            assert again.contents() == ["two"] and again.client.sender_id == me


async def test_what_was_not_taken_was_not_read(url):
    """A program that dies with events in its queue has not handled them."""
    async with watched(url, name="bob", rooms=["tea"]) as bob:
        positions = [await bob.client.post(str(number), "tea") for number in range(3)]
        async with chathub.connect(url, rooms=["tea"]) as ann:
            await ann.ping()
            async for event in ann:
                if isinstance(event, chathub.Message) and event.content == "1":
                    break
            kept = ann.places
        assert kept["tea"].position == positions[1]
        async with watched(url, rooms=kept) as again:
            await again.get(chathub.Message)
            await again.client.ping()
            assert again.contents() == ["2"]


# ------------------------------------------------------------------------------------------------ loss and return

@pytest.mark.takes(300)
async def test_posts_outlive_kill_9_once_and_in_order(start_logged, place, sqlite):
    """The server dies six times while one client posts and another reads."""
    dice = random.Random()
    chatd = await asyncio.to_thread(start_logged, listen=[place])
    count = 600
    async with watched(place, name="ann", rooms=["tea"]) as ann, watched(place, name="bob", rooms=["tea"]) as bob:
        async def post_all():
            window = asyncio.Semaphore(50)

            async def post(number):
                async with window:
                    return await ann.client.post(str(number), "tea")
            return await asyncio.gather(*map(post, range(count)))

        posting = asyncio.ensure_future(post_all())
        for death in range(1, 7):
            await bob.until(lambda events: len(bob.contents()) >= death * 60)
            await asyncio.sleep(dice.uniform(0, 0.02))
            await asyncio.to_thread(chatd.kill)
            chatd = await asyncio.to_thread(start_logged, listen=[place])
            for one in (ann, bob):
                await one.get(chathub.Connected, death + 1)
        positions = await asyncio.wait_for(posting, 4 * PATIENCE)
        await bob.until(lambda events: len(bob.contents()) >= count)
        await ann.until(lambda events: len(ann.contents()) >= count)
        for one in (ann, bob):
            assert one.contents() == [str(number) for number in range(count)]
            assert not one.count(chathub.Gap) and one.count(chathub.Connected) >= 7
            assert [event.position for event in one.events if isinstance(event, chathub.Message)] == positions
        assert positions == sorted(set(positions)) and ann.client.outbox == ()


async def test_posts_made_without_a_connection_are_sent_with_the_next_one(start_logged, place, sqlite):
    chatd = await asyncio.to_thread(start_logged, listen=[place])
    async with watched(place, rooms=["tea"]) as ann:
        await ann.client.post("before", "tea")
        await asyncio.to_thread(chatd.kill)
        await ann.get(chathub.Waiting)
        posts = [asyncio.ensure_future(ann.client.post(str(number), "tea")) for number in range(5)]
        await asyncio.sleep(0)
        assert [post.content for post in ann.client.outbox] == ["0", "1", "2", "3", "4"]
        posts[3].cancel()  # not sent yet: taken back
        with pytest.raises(asyncio.CancelledError):
            await posts.pop(3)
        flushing = asyncio.ensure_future(ann.client.flush())
        await asyncio.to_thread(start_logged, listen=[place])
        await asyncio.gather(flushing, *posts)
        await ann.until(lambda events: len(ann.contents()) == 5)
        assert ann.contents() == ["before", "0", "1", "2", "4"]


async def test_a_server_that_stops_in_order_says_when_to_come_back(start_logged, place, sqlite):
    chatd = await asyncio.to_thread(start_logged, listen=[place])
    async with watched(place, name="ann", rooms=["tea"]) as ann:
        await ann.client.post("one", "tea")
        await chatd.stopped()
        waiting = await ann.get(chathub.Waiting)
        assert waiting.delay > SOON[1] and "shutting down" in waiting.message  # as `bye` said
        await asyncio.to_thread(start_logged, listen=[place])
        assert (await ann.get(chathub.Connected, 2)).again
        assert (await ann.get(chathub.Joined, 2)).again
        assert await ann.client.post("two", "tea")
        await ann.get(chathub.Message, content="two")
        assert ann.contents() == ["one", "two"]


async def test_another_log_is_a_gap_and_then_what_it_has(start_chatd, place):
    """Positions of the old log mean nothing in the new one, where they are lower."""
    chatd = await asyncio.to_thread(start_chatd, listen=[place])
    async with watched(place, name="ann", rooms=["tea"]) as ann:
        for number in range(5):
            await ann.client.post(f"old {number}", "tea")
        await ann.get(chathub.Message, content="old 4")
        before = ann.client.places["tea"]
        await asyncio.to_thread(chatd.kill)
        await asyncio.to_thread(start_chatd, listen=[place])
        gap = await ann.get(chathub.Gap)
        assert gap.room == "tea" and gap.prev == before.position and gap.epoch != before.epoch
        assert await ann.client.post("new", "tea") <= before.position
        await ann.get(chathub.Message, content="new")
        assert ann.client.places["tea"].epoch == gap.epoch


async def test_a_server_that_stops_answering_is_noticed(start_chatd, place):
    """Its sockets stay open: nothing but its silence tells."""
    chatd = await asyncio.to_thread(start_chatd, listen=[place])
    async with watched(place, rooms=["tea"], silence=0.2, patience=0.5) as ann:
        await ann.client.post("before", "tea")
        os.kill(chatd.pid, signal.SIGSTOP)
        try:
            posting = asyncio.ensure_future(ann.client.post("meanwhile", "tea"))
            assert "does not answer" in (await ann.get(chathub.Waiting)).message
        finally:
            os.kill(chatd.pid, signal.SIGCONT)
        await posting
        await ann.get(chathub.Message, content="meanwhile")
        assert ann.contents() == ["before", "meanwhile"]


async def test_a_quiet_connection_is_kept(url):
    async with watched(url, rooms=["tea"], silence=0.05, patience=PATIENCE) as ann:
        await asyncio.sleep(0.5)  # several signs of life
        await ann.client.ping()
        assert not ann.count(chathub.Waiting)


async def test_more_rooms_than_a_hello_takes_are_gone_back_into(start_chatd, place):
    options = dict(listen=[place])
    chatd = await asyncio.to_thread(start_chatd, "--max-client-rooms", "100", **options)
    rooms = [f"room {number}" for number in range(80)]
    async with watched(place, name="ann", rooms=rooms) as ann:
        await ann.until(lambda events: ann.count(chathub.Joined) == 80)
        await asyncio.to_thread(chatd.kill)
        await ann.get(chathub.Waiting)
        await asyncio.to_thread(start_chatd, "--max-client-rooms", "100", **options)
        await ann.until(lambda events: ann.count(chathub.Joined) == 160)
        assert sorted(ann.client.rooms) == sorted(rooms)
        for room in rooms:
            await ann.client.post("here", room)


# ------------------------------------------------------------------------------------------------ slow readers, bounds

async def test_who_does_not_read_loses_nothing_and_still_gets_answers(url):
    async with chathub.connect(url, name="slow", rooms=["tea"], max_events=10) as slow, \
            watched(url, name="ann", rooms=["tea"]) as ann:
        await asyncio.gather(*(ann.client.post(f"{number} " + "x" * 1000, "tea") for number in range(300)))
        assert len(slow._events) <= 10
        await slow.post("mine", "tea")  # its answer is behind 300 entries that nobody takes
        contents = []
        async for event in slow:
            if isinstance(event, chathub.Message):
                contents.append(event.content.split()[0])
            if contents[-1:] == ["mine"]:
                break
        assert contents == [*map(str, range(300)), "mine"]


async def test_who_does_not_read_can_say_goodbye(url, monkeypatch):
    """What was read ahead does not keep it from hearing the other side's."""
    monkeypatch.setattr(_wire, "GOODBYE", 10 * PATIENCE)
    async with watched(url, name="ann", rooms=["tea"]) as ann:
        slow = await chathub.connect(url, name="slow", rooms=["tea"], max_events=5)
        await asyncio.gather(*(ann.client.post(str(number), "tea") for number in range(200)))
        await asyncio.wait_for(slow.close(), PATIENCE)
        if url.startswith("ws"):  # lines have no goodbye
            await ann.until(lambda events: [event for event in events if isinstance(event, chathub.Presence)
                                            and [person.sender for person in event.left] == ["slow"]])


async def test_who_waits_behind_more_than_is_kept_is_told(caplog):
    async def flood(peer):
        await peer.welcome()
        await peer.get("post")
        for number in range(1, 1000):
            peer.chat(number, number - 1)
        await peer.stay()

    async with FakeHub(flood) as hub:
        async with chathub.connect(hub.url, rooms=["tea"], max_events=3) as client:
            history = asyncio.ensure_future(client.history("tea"))
            with refused("unknown") as caught:
                await client.post("hi", "tea")
            assert "read the client's events" in caught.value.message
            with refused("busy"):
                await history
            assert len(client.outbox) == 1 and len(client._events) <= 3 * 64 + 2
            seen = [event.position for event, _ in client._events if isinstance(event, chathub.Message)]
            async for event in client:
                if isinstance(event, chathub.Message) and event.position > seen[-1]:
                    assert event.position == seen[-1] + 1
                    seen.append(event.position)
                if seen[-1] == 999:
                    break


async def test_events_that_nobody_wants_are_not_kept(url):
    async with watched(url, name="ann", rooms=["tea"]) as ann, \
            chathub.connect(url, rooms=["tea"], max_events=0) as bot:
        for number in range(5):
            await ann.client.post(str(number), "tea")
        await bot.post("and mine", "tea")
        assert not bot._events and bot.places["tea"].position


async def test_the_outbox_has_a_bound():
    async def deaf(peer):
        await peer.welcome()
        await peer.stay()

    async with FakeHub(deaf) as hub, chathub.connect(hub.url, max_outbox=3) as client:
        posts = [asyncio.ensure_future(client.post(str(number))) for number in range(3)]
        await asyncio.sleep(0)
        with refused("full"):
            await client.post("one too many")
        asks = [asyncio.ensure_future(client.who()) for _ in range(64)]
        await asyncio.sleep(0)
        with refused("busy"):
            await client.who()
        await client.close()
        for answer in await asyncio.gather(*posts, *asks, return_exceptions=True):
            assert answer.name in ("gone", "unknown")


async def test_a_sent_post_stays_in_the_outbox_though_nobody_waits():
    """Once it was sent, taking it back would be a lie: it is sent again until it is answered."""
    again = asyncio.Event()

    async def loses_it(peer):
        await peer.welcome()
        await peer.get("post")

    async def takes_it(peer):
        await peer.welcome()
        post = await peer.get("post")
        peer.ack(post, 1)
        again.set()
        await peer.stay()

    async with FakeHub(loses_it, takes_it) as hub, watched(hub.url) as ann:
        posting = asyncio.ensure_future(ann.client.post("hi"))
        await ann.get(chathub.Waiting)
        posting.cancel()
        await asyncio.wait_for(again.wait(), PATIENCE)
        await ann.client.flush()
        assert ann.client.outbox == ()


# ------------------------------------------------------------------------------------------------ odd servers

async def test_what_waits_is_sent_again_in_order_with_the_old_cids():
    """Refused for now: 1 and 2; 3 is on its way meanwhile. A post that is lost with its connection is sent again."""
    heard = []

    async def for_now(peer):
        await peer.welcome()
        posts = [await peer.get("post") for _ in range(3)]
        heard.append([post["cid"] for post in posts])
        for post in posts[:2]:
            peer.refuse(post, "log_failed", retry_after_ms=10)
        again = [await peer.get("post") for _ in range(2)]
        heard.append([post["cid"] for post in again])

    async def takes_all(peer):
        await peer.welcome()
        posts = [await peer.get("post") for _ in range(3)]
        heard.append([post["cid"] for post in posts])
        for number, post in enumerate(posts, 1):
            peer.ack(post, number, dup=True)
        await peer.stay()

    async with FakeHub(for_now, takes_all) as hub, watched(hub.url) as ann:
        cids = ["c-1", "c-2", "c-3"]
        positions = await asyncio.gather(*(ann.client.post(cid, cid=cid) for cid in cids))
        assert positions == [1, 2, 3] and heard == [cids, cids[:2], cids]


async def test_ones_own_entry_answers_a_post_as_its_ack_does():
    async def never_acks(peer):
        await peer.welcome()
        post = await peer.get("post")
        peer.chat(5, 0, post["content"], cid=post["cid"], sender_id="id")
        await peer.stay()

    async with FakeHub(never_acks) as hub, watched(hub.url, rooms=["tea"]) as ann:
        assert await ann.client.post("hi", "tea") == 5


async def test_a_post_that_the_hub_may_have_forgotten_is_not_said_again():
    async def loses_it(peer):
        await peer.welcome(horizon_ms=1)
        await peer.get("post")
        await asyncio.sleep(0.01)

    async def stays(peer):
        await peer.welcome(horizon_ms=1)
        await peer.stay()

    async with FakeHub(loses_it, stays) as hub, watched(hub.url) as ann:
        with refused("unknown"):
            await ann.client.post("hi")


async def test_a_room_that_cannot_be_gone_into_for_now_is_tried_again_and_its_posts_wait():
    async def no_log(peer):
        peer.hello = await peer.get("hello")
        peer.say("welcome", ref="hello", sender="ann", sender_id="id", session="s", default_room="general",
                 horizon_ms=60000, limits={})
        peer.say("error", code="log_failed", message="no log", room="tea", retry_after_ms=20)
        inside = False
        while (request := await peer.next())["type"] != "post" or not inside:
            if request["type"] == "post":
                peer.refuse(request, "not_member")
            else:
                assert (request["type"], request["room"]) == ("join", "tea")
                peer.joined("tea", ref=request["ref"])
                inside = True
        peer.ack(request, 1)
        await peer.stay()

    async with FakeHub(no_log) as hub, watched(hub.url, rooms=["tea"], backoff=(0.001, 0.01)) as ann:
        assert await ann.client.post("hi", "tea") == 1
        assert not ann.count(chathub.Left)


async def test_a_room_that_is_closed_meanwhile_is_left():
    async def lets_in(peer):
        await peer.welcome()

    async def keeps_out(peer):
        hello = await peer.get("hello")
        peer.say("welcome", ref="hello", sender="ann", sender_id="id", session="s", default_room="general",
                 horizon_ms=60000, limits={})
        peer.say("error", code="denied", message="not you", room=hello["rooms"][0]["room"])
        await peer.stay()

    async with FakeHub(lets_in, keeps_out) as hub, watched(hub.url, rooms=["tea"]) as ann:
        assert await ann.get(chathub.Left) == ("tea", -34, "not you")
        assert ann.client.rooms == ()


async def test_a_leave_whose_answer_was_lost_is_done_all_the_same():
    async def hears_it(peer):
        await peer.welcome()
        await peer.get("leave")

    async def has_done_it(peer):
        assert "rooms" not in await peer.welcome()
        peer.refuse(await peer.get("leave"), "not_member")
        await peer.stay()

    async with FakeHub(hears_it, has_done_it) as hub, watched(hub.url, rooms=["tea"]) as ann:
        await ann.get(chathub.Joined)
        await ann.client.leave("tea")
        assert ann.client.rooms == ()


async def test_a_leave_that_is_taken_back_is_none():
    async def comes_back_late(peer):
        await peer.welcome()

    async with FakeHub(comes_back_late) as hub, watched(hub.url, rooms=["tea"], backoff=(1000, 1000)) as ann:
        await ann.get(chathub.Waiting)
        await cancelled_after(ann.client.leave("tea"), 3)
        assert ann.client.rooms == ("tea",)
        first, second = (asyncio.ensure_future(ann.client.post("hi", cid="c-1")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait({first})
        assert len(ann.client.outbox) == 1  # the other one waits still
        second.cancel()
        await asyncio.wait({second})
        assert ann.client.outbox == ()


async def test_a_flush_that_cannot_be_is_no_flush():
    async def ends_it(peer):
        await peer.welcome()
        await peer.get("post")
        peer.say("bye", code="replaced", message="the session goes on in another connection")

    async with FakeHub(ends_it) as hub, watched(hub.url) as ann:
        posting = asyncio.ensure_future(ann.client.post("hi"))
        await asyncio.sleep(0)
        with refused("replaced"):
            await ann.client.flush()
        with refused("unknown"):
            await posting


async def test_a_cid_is_of_its_room(url):
    """The same one in another room is another post."""
    async with watched(url, session=KEY, rooms=["tea", "garden"]) as ann:
        first = await ann.client.post("hi", "tea", cid="c-1")
        assert await ann.client.post("hi", "garden", cid="c-1") > first


async def test_entries_come_once_and_holes_are_told():
    async def first(peer):
        await peer.welcome(start=7)
        peer.chat(9, 7)
        peer.chat(12, 9)

    async def second(peer):
        hello = await peer.welcome()
        assert hello["rooms"] == [{"room": "tea", "after": 12, "epoch": "e"}]
        peer.chat(9, 7)  # again
        peer.chat(12, 9)
        peer.say("entry", kind=77, room="tea", position=13, prev=12, sender="x", sender_id="y", content="")
        peer.say("reaction", room="tea", position=14, prev=13)  # of a later version: an entry all the same
        peer.say("weather", room="tea", rain=True)  # of a later version: nothing to us
        peer.chat(17, 16)  # 15 and 16 are not told
        peer.say("gap", room="tea", **{"from": 17, "to": 30}, epoch="e")
        peer.chat(31, 29)
        await peer.stay()

    async with FakeHub(first, second) as hub, watched(hub.url, rooms=["tea"]) as ann:
        await ann.get(chathub.Message, position=31)
        kinds = (chathub.Message, chathub.Entry, chathub.Gap)
        told = [(type(event).__name__, event.prev, event.position) for event in ann.events if isinstance(event, kinds)]
        assert told == [("Message", 7, 9), ("Message", 9, 12), ("Entry", 12, 13), ("Entry", 13, 14), ("Gap", 14, 16),
                        ("Message", 16, 17), ("Gap", 17, 30), ("Message", 29, 31)]


async def test_a_position_keeps_its_epoch_until_an_entry_came_under_the_next():
    hellos = []

    async def old(peer):
        hellos.append(await peer.welcome(epoch="old", start=3))

    async def new_without_entries(peer):
        hellos.append(await peer.welcome(epoch="new"))

    async def new(peer):
        hellos.append(await peer.welcome(epoch="new"))
        peer.say("gap", room="tea", **{"from": 3, "to": 1}, epoch="new")
        peer.chat(2, 1)
        await peer.stay()

    async with FakeHub(old, new_without_entries, new) as hub, watched(hub.url, rooms=["tea"]) as ann:
        await ann.get(chathub.Message, position=2)
        assert ann.client.places == {"tea": chathub.Place(2, "new")}
    assert [hello["rooms"][0].get("epoch") for hello in hellos] == [None, "old", "old"]


@pytest.mark.parametrize("nonsense", [
    b"HTTP/1.1 400 Bad Request\r\n\r\n", b"{}\n", b"[]\n", b'{"type":7}\n', b'{"type":"chat"}\n', b"\xff\xfe\n", b"\0\0\n",
    b'{"type":"chat","room":"tea","position":"x"}\n', b'{"type":"chat","room":"tea","position":1.5,"prev":0}\n',
    b'{"type":"chat","room":"tea","position":-1,"prev":0}\n', b'{"type":"chat","room":"tea","position":99999999999999999}\n',
    b'{"type":"joined","room":["tea"]}\n', b'{"type":"joined","room":"tea","members":[1]}\n', b'{"type":"ack"}\n',
    b'{"type":"chat","room":"tea","position":1,"prev":0,"timestamp":"yesterday"}\n', b"[" * 100000 + b"\n",
    b'{"type":"chat","room":"tea","position":1,"prev":0,"data":[]}\n', b"x" * (5 << 20),
    b'{"type":"joined","room":"t\\ud800a"}\n', b'{"type":"joined","room":"t\\u0000a"}\n',
    b'{"type":"joined","room":"tea","epoch":"\\u0000"}\n', b'{"type":"gap","room":"tea","to":1,"epoch":"\\u0000"}\n',
    b'{"type":"chat","room":"tea","position":1,"prev":0,"content":"\\uDC00"}\n',
    b'{"type":"welcome","sender":"a\\u0000","sender_id":"id"}\n'],
    ids=lambda raw: raw[:40].decode("latin-1").strip() or "binary")
async def test_nonsense_is_survived(nonsense):
    """Neither an exception nor a loop that spins: the client says what is the matter and comes back later."""
    async def talks(peer):
        await peer.welcome()
        peer.write(nonsense)
        await peer.stay()

    async def sane(peer):
        await peer.welcome()
        peer.chat(1, 0, "sane again")
        await peer.stay()

    async with FakeHub(talks, talks, sane) as hub, watched(hub.url, rooms=["tea"], patience=PATIENCE) as ann:
        await ann.get(chathub.Message, content="sane again")
        waits = [event for event in ann.events if isinstance(event, chathub.Waiting)]
        assert len(waits) == 2 and all(event.message for event in waits)


async def test_an_answer_of_another_kind_is_nonsense():
    async def mistakes(peer):
        await peer.welcome()
        peer.say("pong", ref=(await peer.get("who"))["ref"])
        await peer.stay()

    async def answers(peer):
        await peer.welcome()
        peer.say("who", ref=(await peer.get("who"))["ref"], room="general", count=0, presence=0, members=[], more=False)
        await peer.stay()

    async with FakeHub(mistakes, answers) as hub, watched(hub.url) as ann:
        assert (await ann.client.who()).members == ()
        assert "does not speak the protocol" in (await ann.get(chathub.Waiting)).message


async def test_a_stranger_is_told_at_once():
    """Who never was welcome is not kept waiting."""
    async def http(peer):
        peer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.stay()

    async def silent(peer):
        await peer.stay()

    for script, words, patience in ((http, "does not speak the protocol", PATIENCE), (silent, "did not welcome", 1)):
        async with FakeHub(script) as hub:
            with refused("io") as caught, nothing_left():
                async with chathub.connect(hub.url, patience=patience):
                    pass
            assert words in caught.value.message
            with refused("io"), nothing_left():
                async with chathub.connect(hub.url.replace("tcp", "ws"), patience=patience):
                    pass
    with refused("io") as caught, nothing_left():
        await chathub.connect(hub.url)
    assert "is the server running" in caught.value.message


async def test_a_name_that_was_lost_meanwhile_ends_the_client():
    """It is not made somebody else behind its back."""
    async def lets_in(peer):
        await peer.welcome()
        await peer.get("post")

    async def has_another_one_of_that_name(peer):
        peer.refuse(await peer.get("hello"), "name_taken")
        await peer.stay()

    async with FakeHub(lets_in, has_another_one_of_that_name) as hub, watched(hub.url, name="ann") as ann:
        with refused("unknown") as caught:
            await ann.client.post("hi")
        assert "name_taken" in caught.value.message
        assert (await ann.get(chathub.Ended)).name == "name_taken"
        with refused("name_taken"):
            await ann.client.post("again")


async def test_a_server_that_is_full_is_tried_again_later():
    async def lets_in(peer):
        await peer.welcome()

    async def is_full(peer):
        peer.refuse(await peer.get("hello"), "full", retry_after_ms=30)
        await peer.stay()

    async with FakeHub(lets_in, is_full, lets_in) as hub, watched(hub.url) as ann:
        assert (await ann.get(chathub.Waiting, 2)).delay >= 0.03
        await ann.get(chathub.Connected, 2)
    async with FakeHub(is_full) as hub:
        with refused("full") as caught:
            await chathub.connect(hub.url)
        assert caught.value.retry_after == 0.03


@pytest.mark.parametrize("text", ["", "foo", "http://localhost/", "ws://", "tcp://localhost", "tcp://localhost:x",
                                  "ws+unix://host/path", "tcp+unix:", "ws://localhost:99999/"])
def test_an_address_that_is_none_is_said_to_be_none(text):
    with refused("address"):
        chathub.connect(text)


async def test_an_address_may_be_none_for_the_package_alone():
    with refused("address"):
        await chathub.connect("ws://localhost/ws#part")


# ------------------------------------------------------------------------------------------------ cancelled anywhere

async def cancelled_after(work, *turns):
    """Cancels a coroutine after so many turns of the loop, and again after so many more. Whether it ended before."""
    task, ended = asyncio.ensure_future(work), True
    for count in turns:
        for _ in range(count):
            if not task.done():
                await asyncio.sleep(0)
        ended = ended and task.done()
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return ended


async def everything(url):
    async with chathub.connect(url, rooms=["tea"]) as client:
        await client.join("garden")
        await client.post("hi", "tea")
        await client.history("tea")
        await client.who("tea")
        await client.typing("tea")
        await client.leave("garden")
        await client.flush()
        async for event in client:
            if isinstance(event, chathub.Left):
                break


@pytest.mark.parametrize("scheme", ["ws", "tcp"])
async def test_cancelled_at_any_await_nothing_is_left(chatd, scheme):
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    dice = random.Random()
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        for _ in range(5):
            turns, ended = 0, False
            while not ended:
                with nothing_left():
                    ended = await cancelled_after(everything(chatd.url(scheme)), turns, dice.choice((0, 1, 2, 5, 9)))
                turns += dice.randint(1, 3)
        gc.collect()
        await asyncio.sleep(0)
    assert turns > 20
    assert not complaints, complaints
    words = [str(one.message) for one in caught]
    assert not [text for text in words if "socket" in text or "transport" in text], words


async def test_a_request_that_nobody_waits_for_any_more_leaves_nothing(url):
    async with watched(url, rooms=["tea"]) as ann:
        for ask in (ann.client.who, ann.client.history, ann.client.typing, ann.client.join, ann.client.ping,
                    ann.client.leave):
            for turns in range(6):
                arguments = () if ask == ann.client.ping else ("tea",)
                await cancelled_after(ask(*arguments), turns)
                await ann.client.join("tea")
        await ann.client.history("tea")
        await ann.client.ping()
        assert not ann.client._requests and ann.client.rooms == ("tea",)


async def test_the_end_of_the_loop_ends_a_client_that_was_forgotten(url):
    def run():
        async def forget():
            await chathub.connect(url, rooms=["tea"])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            asyncio.run(forget())
    await asyncio.to_thread(run)


async def test_a_fault_of_the_client_is_not_swallowed(url, monkeypatch):
    async with chathub.connect(url, rooms=["tea"]) as client:
        monkeypatch.setattr(_outbox.Outbox, "waiting", lambda self: 1 / 0)
        with refused("gone"):
            await client.post("hi", "tea")
        with pytest.raises(ZeroDivisionError):
            async for _ in client:
                pass
    with pytest.raises(ZeroDivisionError):
        async with chathub.connect(url) as client:
            pass


async def test_a_client_is_used_in_its_block(url):
    client = chathub.connect(url)
    for use in (client.post("hi"), client.flush(), client.__anext__()):
        with pytest.raises(RuntimeError, match="async with"):
            await use
    async with client:
        pass
    with refused("gone"):
        await client.post("late")
    with pytest.raises(RuntimeError, match="once"):
        await client
    assert [event async for event in client][-1] == (0, "")
