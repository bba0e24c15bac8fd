"""The C client against the real server, through what happens to servers: deaths, standstills, other logs, other clients
of the same name or session."""
import asyncio
import json
import random
import signal

import pytest

from crowd import new_seed
from faults import Frozen, assert_kept
from talking import (ACK, BYE, CLOSED, CONNECTED, CONNECTING, DUP, ENDED, ERROR, GAP, JOINED, LEFT, MESSAGE, PONG, PRESENCE,
                     REFUSED, WAITING, WELCOME, WHO, Talker)

BOTH = pytest.mark.parametrize("scheme", ["ws", "tcp"])
KEY = "an-example-of-a-session-key"


async def again(start, old, *args, **options):
    """A chatd at the addresses of one that has ended."""
    return await asyncio.to_thread(start, *args, listen=old.urls, **options)


@BOTH
async def test_it_talks_and_ends_in_good_order(chatd, scheme):
    ann, bob = await Talker.start(chatd.url(scheme), name="ann"), await chatd.client("bob")
    ann.call("join", room="general")
    ann.post("hi")
    assert (await ann.get(state=CONNECTED))["attempts"] == 0
    welcome = await ann.get(event=WELCOME)
    assert welcome["sender"] == "ann" and len(welcome["session"]) == 22
    joined = await ann.get(event=JOINED, room="general")
    assert {who["sender"] for who in joined["frame"]["members"]} == {"ann", "bob"}
    entry = await bob.chat("hi")
    await bob.post("hello", data={"deep": [1, {}]}, cid="b-1")
    told = await ann.get(event=MESSAGE, content="hello")
    assert json.loads(told["data"]) == {"deep": [1, {}]} and told["cid"] == "b-1" and told["sender"] == "bob"
    assert told["prev"] == entry["position"] and told["time"] > 1.7e12
    ack, = ann.events(ACK)
    assert ack["cid"] == "hi" and ack["position"] == entry["position"] and not ack["flags"]
    await ann.end()
    assert ann.told[-2]["state"] == ENDED and ann.told[-2]["code"] == "ok"
    assert ann.told[-3]["event"] == CLOSED
    if scheme == "ws":  # its session has ended with it, by 1000
        await bob.get("presence", left=[{"sender": "ann", "sender_id": entry["sender_id"]}])


@BOTH
async def test_requests_are_answered_with_their_refs(chatd, scheme):
    ann = await Talker.start(chatd.url(scheme), name="ann")
    ann.call("join", room=None)
    await ann.get(event=JOINED, room="general")
    ann.ask(type="who", ref={"a": 1}["a"])
    assert (await ann.get(event=WHO))["ref"] == "1"
    ann.ask(type="ping", ref="r \"2\"")
    assert json.loads((await ann.get(event=PONG))["ref"]) == "r \"2\""
    ann.call("request", json="{\n\"type\":\r\n\"ping\"\n}")
    assert (await ann.get(event=PONG))["ref"] == ""
    ann.call("request", json='{"data": {"x": 1.50}, "type": "post"}')
    entry = await ann.get(event=MESSAGE)
    assert entry["data"] == '{"x": 1.50}' and len(entry["cid"]) == 22
    ann.ask(type="jion", ref=3)
    assert (await ann.get(event=ERROR, ref="3"))["code"] == "unknown_type"
    for wrong, code in (("{", "bad_json"), ("[]", "bad_json"), ("{}", "bad_request"), ('{"type":"join"}', "bad_request"),
                        ('{"type":"hello"}', "bad_request"), ('{"type":"ping","ref":"chathub:j1"}', "bad_request"),
                        ('{"type":"post","content":"x","cid":""}', "bad_cid"), ('{"type":"post","cid":7}', "bad_cid"),
                        ('{"content":"x","cid":null}', "bad_cid"), ('{"content":"x","ref":null}', "bad_request"),
                        ('{"content":"x","ref":{}}', "bad_request"), ('{"type":"ping","ref":[]}', "bad_request"),
                        ('{"content":"x","ref":"%s"}' % ("x" * 127), "bad_request"),
                        ('{"data":{"x":"\\u0000"}}', "bad_json"), ('{"content":"x","content":"x"}', "bad_json")):
        ann.call("request", json=wrong)
        failed = await ann.get(failed="request")
        assert failed["code"] == code and len(failed["problem"]) > 10, wrong
    await ann.end()


@BOTH
async def test_a_post_that_is_not_understood_is_answered_by_its_error(chatd, scheme):
    """The hub cannot say its cid."""
    wrong = [{"content": 5}, {"content": ["x"], "ref": "r"}, {"content": "x", "room": 5}, {"type": "post"},
             {"content": "x", "data": [1], "ref": 17}, {"content": None}, {"content": "x", "type": "post", "to": 7},
             {"data": json.loads('{"a":' * 120 + "1" + "}" * 120)}, {"data": {"a": "x" * 40000}}, {"content": ""}]
    ann = await Talker.start(chatd.url(scheme), name="ann")
    await ann.get(event=WELCOME)
    for number, post in enumerate(wrong):
        ann.ask(**{"type": "post", **post, "cid": f"c-{number}"})
        ann.post(f"good {number}")
    ann.ask(type="history", limit="x", ref="r")
    await ann.get(event=ACK, cid=f"good {len(wrong) - 1}")
    await ann.end()
    answers = [(told["cid"], told["event"]) for told in ann.told if told and told.get("event") in (ACK, ERROR)]
    assert sorted(cid for cid, _ in answers if cid.startswith("c-")) == [f"c-{number}" for number in range(len(wrong))]
    assert sum(kind == ACK for _, kind in answers) in (len(wrong), len(wrong) + 1)


async def post_through_deaths(ann, start, chatd, dice, count, deaths):
    """Posts, a few at a time, while the server is killed now and then."""
    def connected():
        return sum(told is not None and told.get("state") == CONNECTED for told in ann.told)

    fatal, died = set(dice.sample(range(20, count - 1), deaths)), 0
    for number in range(count):
        ann.post(f"{number}")
        if number in fatal:
            await ann.until(lambda: connected() > died)
            died += 1
            await asyncio.sleep(dice.uniform(0, 0.02))
            await asyncio.to_thread(chatd.kill)
            chatd = await again(start, chatd)
        elif number % 8 == 7:
            await ann.until(lambda: len(ann.events(ACK)) >= number - 50)
    return chatd


@BOTH
@pytest.mark.takes(300)
async def test_what_is_posted_through_kill_9_is_there_once_and_in_order(start_logged, sqlite, scheme):
    dice, count = random.Random(new_seed()), 400
    chatd = await asyncio.to_thread(start_logged)
    ann = await Talker.start(chatd.url(scheme), name="ann", session=KEY)
    ann.call("join", room="general")
    ann.call("join", room="tea")
    chatd = await post_through_deaths(ann, start_logged, chatd, dice, count, 8)
    await ann.until(lambda: len(ann.events(ACK)) >= count)
    contents = [f"{number}" for number in range(count)]
    await ann.get(event=MESSAGE, content=contents[-1])
    await ann.end()
    assert sorted(ack["cid"] for ack in ann.events(ACK)) == sorted(contents), "not one ack for each"
    assert not ann.events(ERROR) and not ann.events(GAP)
    assert len([told for told in ann.told if told and told.get("state") == CONNECTED]) >= 9
    assert [entry["content"] for entry in ann.entries()] == contents
    assert [entry["content"] for entry in await assert_kept(chatd, contents)] == contents
    print(len(ann.events(ACK, flags=DUP)), "of them acked when they were repeated")


@BOTH
async def test_a_standstill_is_noticed_and_gone_through(chatd, scheme):
    ann = await Talker.start(chatd.url(scheme), name="ann", heartbeat_ms=200, timeout_ms=300)
    ann.call("join", room="general")
    await ann.get(event=JOINED)
    async with Frozen(chatd):
        ann.post("meanwhile")
        waiting = await ann.get(state=WAITING)
        assert "nothing is heard" in waiting["message"]
        await ann.get(state=CONNECTING)
        await ann.get(state=WAITING)  # half-open, too: it is accepted by the system, and nobody answers
    await ann.get(event=ACK, cid="meanwhile")
    await ann.end()
    assert len(ann.events(ACK)) == 1
    assert [entry["content"] for entry in ann.entries()] == ["meanwhile"]


@BOTH
async def test_silence_alone_is_no_loss(chatd, scheme):
    ann = await Talker.start(chatd.url(scheme), name="ann", heartbeat_ms=50, timeout_ms=10000)
    await ann.get(state=CONNECTED)
    await asyncio.sleep(0.5)
    ann.post("still there")
    await ann.get(event=ACK)
    await ann.end()
    assert not [told for told in ann.told if told and told.get("state") == WAITING]
    assert not ann.events(PONG)


async def test_another_log_is_told_by_a_gap(start_chatd):
    first = await asyncio.to_thread(start_chatd)
    ann = await Talker.start(first.url(), name="ann")
    ann.call("join", room="general")
    for text in ("one", "two"):
        ann.post(text)
    old = await ann.get(event=MESSAGE, content="two")
    await asyncio.to_thread(first.kill)
    second = await again(start_chatd, first)
    bob = await second.client("bob")
    await bob.post("new world")
    gap = await ann.get(event=GAP)
    assert gap["prev"] == old["position"]
    if not ann.events(MESSAGE, content="new world"):
        await ann.get(event=MESSAGE, content="new world")
    ann.post("three")
    await ann.get(event=MESSAGE, content="three")
    ann.call("place", room="general")
    place = await ann.get(epoch=bob.epoch)
    await ann.end()
    assert place["place"] == ann.events(MESSAGE, content="three")[0]["position"]
    order = [told.get("content") or told["event"] for told in ann.told if told and told.get("event") in (MESSAGE, GAP)]
    assert order == ["one", "two", GAP, "new world", "three"]


async def test_a_place_leads_on_in_another_process(chatd):
    ann = await Talker.start(chatd.url(), name="ann", session=KEY)
    ann.call("join", room="general")
    ann.post("one")
    await ann.get(event=MESSAGE, content="one")
    ann.call("place", room="general")
    place = (await ann.until(lambda: any(told and "place" in told for told in ann.told))
             or next(told for told in ann.told if told and "place" in told))
    await ann.end()
    bob = await chatd.client("bob")
    await bob.post("two")
    ann = await Talker.start(chatd.url(), name="ann", session=KEY)
    ann.call("join", room="general", start=3, **{"from": place["place"]})
    assert (await ann.get(failed="join"))["code"] == "bad_position"
    ann.call("join", room="general", start=3, epoch=place["epoch"], **{"from": place["place"]})
    await ann.get(event=MESSAGE, content="two")
    ann.call("join", room="tea", start=3, epoch="another", **{"from": 7})
    assert (await ann.get(event=GAP, room="tea"))["prev"] == 7
    await ann.end()
    assert [entry["content"] for entry in ann.entries()] == ["two"]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("room", ["tea", "TEA", "general", None])
async def test_a_place_leads_on_though_the_session_went_on_elsewhere(chatd, room, late):
    """The hub has sent what the process before did not keep: it stood further than the place that is named now, be it
    before or after the session is told where it stood."""
    name = (room or "general").lower()
    ann = await Talker.start(chatd.url(), name="ann", session=KEY)
    ann.call("join", room=name)
    ann.post("one", room=name)
    await ann.get(event=MESSAGE, content="one")
    ann.call("place", room=name)
    await ann.until(lambda: any(told and "place" in told for told in ann.told))
    place = next(told for told in ann.told if told and "place" in told)
    for number in range(5):
        ann.post(f"{number}", room=name)
    await ann.get(event=MESSAGE, content="4")
    ann.process.kill()
    await ann.process.wait()
    ann = await Talker.start(chatd.url(), name="ann", session=KEY)
    if late:
        await ann.get(event=JOINED, room=name)
    ann.call("join", start=3, epoch=place["epoch"], **{"from": place["place"]}, **({"room": room} if room else {}))
    ann.post("last", room=room)
    await ann.get(event=MESSAGE, content="last")
    await ann.end()
    assert [entry["content"] for entry in ann.entries(name)] == ["0", "1", "2", "3", "4", "last"]
    assert not ann.events(GAP)


@BOTH
async def test_who_has_closed_is_gone_from_its_rooms_at_once(start_chatd, scheme):
    """No linger has to be over."""
    chatd = await asyncio.to_thread(start_chatd, "--return-time", "1h")
    bob = await Talker.start(chatd.url(), name="bob")
    bob.call("join", room="general")
    await bob.get(event=JOINED)
    ann = await Talker.start(chatd.url(scheme), name="ann")
    ann.call("join", room="general")
    ann.call("join", room="tea")
    await ann.get(event=JOINED, room="tea")
    ann.post("the last word")
    await ann.end()
    await bob.get(event=MESSAGE, content="the last word")
    assert [one["sender"] for one in (await bob.get(event=PRESENCE, count=1))["frame"]["left"]] == ["ann"]
    await bob.end()


@BOTH
async def test_a_taken_name_is_refused_until_another_is_given(chatd, scheme):
    bob = await chatd.client("ann")
    ann = await Talker.start(chatd.url(scheme), name="Ann")
    ann.call("join", room="general")
    ann.post("hi")
    refused = await ann.get(state=REFUSED)
    assert refused["code"] == "name_taken"
    ann.call("rename", name="ann")
    await ann.get(state=REFUSED)
    ann.call("rename", name="anne")
    await ann.get(state=CONNECTED)
    assert (await ann.get(event=WELCOME))["sender"] == "anne"
    assert (await bob.chat("hi"))["sender"] == "anne"
    ann.call("rename", name="ann")
    assert (await ann.get(event=ERROR))["code"] == "name_taken"
    ann.call("rename", name="annabel")
    assert (await ann.get(event=WELCOME))["sender"] == "annabel"
    ann.post("me")
    assert (await bob.chat("me"))["sender"] == "annabel"
    await ann.end()


async def test_a_new_name_is_kept_over_reconnects(start_chatd):
    first = await asyncio.to_thread(start_chatd)
    ann = await Talker.start(first.url(), name="ann")
    await ann.get(event=WELCOME)
    ann.call("rename", name="anne")
    await ann.get(event=WELCOME, sender="anne")
    await asyncio.to_thread(first.kill)
    second = await again(start_chatd, first)
    await ann.get(event=WELCOME, sender="anne")
    await ann.end()
    await second.stopped()


@BOTH
async def test_whose_session_goes_on_elsewhere_does_not_come_back(chatd, scheme):
    ann = await Talker.start(chatd.url(scheme), name="ann", session=KEY)
    ann.call("join", room="general")
    await ann.get(event=JOINED)
    other = await Talker.start(chatd.url(scheme), session=KEY)
    assert (await other.get(event=WELCOME))["sender"] == "ann"
    await ann.get(event=BYE)
    ended = await ann.get(state=ENDED)
    assert ended["code"] == "replaced" and ann.events(CLOSED)[0]["code"] == "replaced"
    await ann.end(call=None)
    other.ask(type="ping")
    await other.get(event=PONG)
    await other.end()


@BOTH
async def test_a_stopping_hub_says_when_to_come_back(start_chatd, scheme):
    first = await asyncio.to_thread(start_chatd)
    ann = await Talker.start(first.url(scheme), name="ann")
    await ann.get(event=WELCOME)
    await first.stopped()
    bye = await ann.get(event=BYE)
    waiting = await ann.get(state=WAITING)
    assert waiting["wait"] >= bye["frame"]["retry_after_ms"] - 100
    second = await again(start_chatd, first)
    ann.call("retry")
    await ann.get(state=CONNECTED)
    await ann.end()
    await second.stopped()


async def test_rooms_are_left_after_what_was_posted_there(chatd):
    ann, bob = await Talker.start(chatd.url(), name="ann"), await chatd.client("bob", room="tea")
    ann.call("join", room="tea")
    await ann.get(event=JOINED)
    for number in range(200):
        ann.post(f"{number}", room="tea")
    ann.call("leave", room="tea")
    ann.call("join", room="tea")
    assert (await ann.get(failed="join"))["code"] == "busy"
    await ann.get(event=LEFT, room="tea")
    await bob.get("presence", count=1)
    assert len(ann.events(ACK)) == 200 and not ann.events(ERROR)
    ann.call("leave", room="tea")
    assert (await ann.get(failed="leave"))["code"] == "not_member"
    ann.call("join", room="Tea", start=2, **{"from": 3})
    await ann.get(event=JOINED, room="tea")
    last = [(await ann.get(event=MESSAGE))["content"] for _ in range(3)]
    await ann.end()
    assert last == ["197", "198", "199"]


async def test_a_room_that_cannot_be_entered_is_told(start_chatd):
    chatd = await asyncio.to_thread(start_chatd, "--rooms", "general,tea", "--create-rooms=no")
    ann = await Talker.start(chatd.url(), name="ann")
    ann.call("join", room="coffee")
    error = await ann.get(event=ERROR)
    assert error["code"] == "no_room" and error["room"] == "coffee"
    ann.call("join", room="tea")
    await ann.get(event=JOINED, room="tea")
    await asyncio.to_thread(chatd.kill)
    chatd = await again(start_chatd, chatd, "--rooms", "general", "--create-rooms=no")
    assert (await ann.get(event=ERROR, room="tea"))["code"] == "no_room"
    assert (await ann.get(event=LEFT, room="tea"))["code"] == "no_room"
    ann.post("here", room="general")
    await ann.get(event=ACK)
    await ann.end()
    await chatd.stopped()


async def test_a_room_joined_by_its_first_post_is_gone_on_in(start_logged, sqlite):
    chatd = await asyncio.to_thread(start_logged)
    ann = await Talker.start(chatd.url(), name="ann", session=KEY)
    ann.post("one")
    await ann.get(event=MESSAGE, content="one")
    await asyncio.to_thread(chatd.kill)
    chatd = await again(start_logged, chatd)
    bob = await chatd.client("bob")
    await bob.post("two")
    await ann.get(event=MESSAGE, content="two")
    await ann.end()
    assert [entry["content"] for entry in ann.entries()] == ["one", "two"] and not ann.events(GAP)
    await chatd.stopped()


async def test_the_outbox_is_bounded_and_told_at_the_end():
    ann = await Talker.start("ws://127.0.0.1:1/ws", outbox_posts=3, outbox_bytes=4096)
    waiting = await ann.get(state=WAITING)
    assert waiting["code"] == "io" and "cannot connect to 127.0.0.1:1: connection refused" in waiting["message"]
    for cid, content, code in (("a", "x", None), ("a", "y", "cid_reused"), ("b", "x" * 4096, "busy"), ("b", "", "empty"),
                               ("b", "\u0007", "bad_text"), ("b", "x" * 65536, "too_long"), ("", "x", "bad_cid"),
                               ("ü", "x", "bad_cid"), ("b", "x", None), ("c", "x", None), ("d", "x", "busy")):
        ann.call("post", content=content, cid=cid)
        if code:
            assert (await ann.get(failed="post"))["code"] == code, (cid, content)
    ann.call("request", json='{"type":"ping"}')
    assert (await ann.get(failed="request"))["code"] == "busy"
    ann.call("close", timeout=0)
    await ann.end(call=None)
    assert [(told["cid"], told["code"]) for told in ann.events(ERROR)] == [("a", "gone"), ("b", "gone"), ("c", "gone")]


async def test_what_the_hub_would_not_take_is_refused_before_it_is_sent(start_chatd):
    chatd = start_chatd("--max-message", "1k")
    ann = await Talker.start(chatd.url(), name="ann")
    await ann.get(event=WELCOME)
    ann.call("join", room="general")
    ann.call("request", json=json.dumps({"type": "post", "content": "x", "data": {"a": "y" * 1024}}))
    refused = await ann.get(failed="request")
    assert (refused["code"], "at most 1024" in refused["problem"]) == ("too_long", True), refused
    ann.call("post", content="z" * 1024)
    assert (await ann.get(failed="post"))["code"] == "too_long"
    ann.post("short")
    await ann.get(event=ACK, cid="short")
    await ann.end()
    assert not [told for told in ann.told if told and told.get("state") == WAITING]


async def test_what_was_sent_and_not_answered_is_unknown_at_the_end(chatd):
    ann = await Talker.start(chatd.url(), name="ann")
    await ann.get(event=WELCOME)
    async with Frozen(chatd):
        ann.post("one")
        ann.call("close", timeout=100)
        await ann.end(call=None)
    assert [(told["cid"], told["code"]) for told in ann.events(ERROR)] == [("one", "unknown")]


async def test_closing_waits_for_the_acks(chatd):
    ann, bob = await Talker.start(chatd.url(), name="ann"), await chatd.client("bob")
    for number in range(300):
        ann.post(f"{number}")
    await ann.end()
    assert len(ann.events(ACK)) == 300
    await bob.chat("299")


@pytest.mark.parametrize("url,code", [
    ("wss://localhost/ws", "feature"), ("http://localhost", "address"), ("localhost:80", "address"), ("", "address"),
    ("ws://", "address"), ("ws://host:0", "address"), ("ws://host:65536", "address"), ("ws://[::1", "address"),
    ("ws://[::1]x", "address"), ("ws://user@host/", "address"), ("ws://host/#x", "address"), ("ws://ho st/", "address"),
    ("tcp://host", "address"), ("tcp://host:7/x", "address"), ("ws://host/" + "x" * 600, "address"),
    ("ws://" + "h" * 300, "address"), ("ws://host/\r\nX: y", "address")])
async def test_what_is_no_address_is_told_at_once(url, code):
    ann = await Talker.start(url)
    failed = await ann.get(failed="connect")
    assert failed["code"] == code and len(failed["problem"]) > len(url[:200]) + 10
    await ann.end(1, call=None)


@pytest.mark.parametrize("options,code", [
    ({"session": "short"}, "bad_session"), ({"session": "x" * 65}, "bad_session"), ({"session": "ä" * 22}, "bad_session"),
    ({"name": ""}, "bad_text"), ({"name": "a\nb"}, "bad_text"), ({"max_frame": 100}, "invalid"),
    ({"heartbeat_ms": 86400001}, "invalid"), ({"outbox_posts": 65537}, "invalid")])
async def test_wrong_options_are_told_at_once(options, code):
    ann = await Talker.start("ws://localhost/ws", **options)
    assert (await ann.get(failed="connect"))["code"] == code
    await ann.end(1, call=None)


async def test_a_host_that_is_not_there_is_told():
    ann = await Talker.start("ws://there-is-no-such-host.invalid/ws")
    waiting = await ann.get(state=WAITING)
    assert waiting["code"] == "address" and "there-is-no-such-host.invalid" in waiting["message"]
    assert (await ann.get(state=WAITING))["attempts"] == 2
    ann.call("free")
    await ann.end(call=None)


async def test_a_guest_is_somebody_too(chatd):
    ann = await Talker.start(chatd.url())
    assert (await ann.get(event=WELCOME))["sender"].startswith("guest-")
    ann.call("free")
    await ann.end(call=None)


async def test_one_of_two_addresses_is_enough(start_chatd):
    """localhost has two, of which only one is listened at."""
    chatd = await asyncio.to_thread(start_chatd, listen=("tcp://127.0.0.1:0",))
    ann = await Talker.start(f"tcp://localhost:{chatd.address()[1]}")
    await ann.get(state=CONNECTED)
    assert not [told for told in ann.told if told and told.get("state") == WAITING]
    chatd.process.send_signal(signal.SIGTERM)
    await ann.get(event=BYE)
    ann.call("close")
    await ann.end(call=None)
    await chatd.ended()


@pytest.mark.parametrize("data", ['{"n":1e999}', '{"n":99999999999999999999}', '{"n":-1e-999}', '{"t":"\\u0000"}',
                                  '{"t":"\\ud83d\\ude00"}', '{"t":"\\ud83d"}', '{"a":1,"a":2}', '{"n":9007199254740993}',
                                  '{"d":' + "[" * 98 + "]" * 98 + "}", '{"":{"":[]}}', '{"data":{"ref":"chathub:h"}}'])
async def test_nothing_that_the_hub_takes_breaks_who_reads_it(chatd, data):
    """What one may post, all can read: else one post would keep clients from coming back."""
    ann = await Talker.start(chatd.url(), name="ann")
    ann.call("join", room="general")
    await ann.get(event=JOINED)
    bob = await chatd.client("bob")
    await bob.send('{"type":"post","content":"with data","data":%s,"ref":1}' % data)
    taken = (await bob.next())["type"] != "error"
    await bob.post("behind")
    if taken:
        assert (await ann.get(event=MESSAGE, content="with data"))["data"] == data
    await ann.get(event=MESSAGE, content="behind")
    assert not [told for told in ann.told if told and told.get("state") == WAITING]
    await ann.end()
