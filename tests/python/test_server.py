"""A server in Python with asyncio: clients inside, peers outside, settings, statistics, and all that it is asked."""
import asyncio
import logging
import socket
import threading
import urllib.request

import chathub
import pytest
from chathub import _core
from conftest import LISTEN, PATIENCE, Peer, first, port_of

WS = "ws://127.0.0.1:0/ws"


async def test_what_peers_say_comes_as_events():
    async with chathub.Server(LISTEN) as server:
        events = server.events("tea", "general")
        with Peer(server, "ann") as peer:
            peer.send(type="join", room="tea")
            peer.send(content="grüß dich", room="tea", cid="c-1", data={"mood": "good"})
            ack = await peer.seen("ack", cid="c-1")
            message = await first(events, chathub.Message)
    assert message == chathub.Message("tea", "ann", message.sender_id, "grüß dich", "c-1", {"mood": "good"},
                                      ack["position"], 0, message.time)
    assert message.sender_id and message.when.year >= 2020


async def test_what_is_posted_comes_to_peers():
    async with chathub.Server(LISTEN, name="host") as server:
        with Peer(server, "ann") as peer:
            peer.send(type="join")
            await peer.seen("joined")
            position = await server.post("hello, all")
            chat = await peer.seen("chat")
    assert (chat["content"], chat["sender"], chat["position"]) == ("hello, all", "host", position)


async def test_a_client_does_all_that_a_peer_can():
    async with chathub.Server(LISTEN) as server, server.client("bot") as bot, server.client("other") as other:
        assert (bot.name, bot.sender_id) == ("bot", (await bot.welcome).sender_id)
        joined = await bot.join("tea")
        assert (joined.room, joined.count, joined.members[0].sender) == ("tea", 1, "bot")
        positions = [await bot.post(f"number {number}", "tea") for number in range(5)]
        assert positions == sorted(set(positions))
        page = await bot.history("tea", limit=2)
        assert [entry.content for entry in page.entries] == ["number 3", "number 4"] and page.more
        before = await bot.history("tea", before=page.entries[0].position)
        assert [entry.content for entry in before.entries] == ["number 0", "number 1", "number 2"]
        again = await other.join("tea", after=chathub.Place(positions[3], joined.epoch))
        assert (again.start, again.count) == (positions[3], 2)
        assert (await first(other.events(), chathub.Message)).content == "number 4"
        assert [person.sender for person in (await bot.who("tea")).members] == ["bot", "other"]
        assert (await bot.who("tea", after=chathub.Person("bot", bot.sender_id))).members[0].sender == "other"
        assert isinstance(await bot.typing("tea"), chathub.Ok)
        assert (await first(other.events(), chathub.Typing)).sender == "bot"
        await bot.status("here")
        assert (await first(other.events(), chathub.Status)).status == "here"
        assert (await bot.rename("bert")).sender == "bert"
        assert isinstance(await bot.ping(), chathub.Pong)
        assert isinstance(await bot.request("who", room="tea"), chathub.Who)
        assert (await bot.leave("tea")).room == "tea"
        assert (await first(other.events(), chathub.Presence, count=1)).room == "tea"


async def test_an_ack_has_data_and_the_same_cid_is_the_same_post():
    async with chathub.Server() as server, server.client("bot") as bot:
        await bot.join(now=True)
        one = await bot.post("once", cid="mine")
        assert await bot.post("once", cid="mine") == one
        with pytest.raises(chathub.Error) as caught:
            await bot.post("other", cid="mine")
        assert caught.value.name == "cid_reused"
        both = [bot.post("twice", cid="two", data={"n": 1}), bot.post("twice", cid="two", data={"n": 1})]
        assert await both[0] == await both[1]
        assert await bot.post(data={"only": ["data"]}) > one


async def test_refusals_are_errors_with_name_and_advice():
    async with chathub.Server() as server, server.client("bot") as bot:
        with pytest.raises(chathub.Error) as caught:
            await bot.post("hi", "nowhere")
        assert (caught.value.name, caught.value.code) == ("not_member", -29) and "join" in caught.value.message
        with pytest.raises(chathub.Error, match="name_taken"):
            async with server.client("bot"):
                pass
        with pytest.raises(chathub.Error, match="bad_text"):
            bot.post("with\0nul")
        with pytest.raises(chathub.Error, match="bad_text"):
            bot.post("half a pair: \ud800")
        with pytest.raises(chathub.Error, match="bad_request"):
            await bot.request("join", room="tea", last="many")
        await bot.close()
        with pytest.raises(chathub.Error, match="gone"):
            bot.post("late")


async def test_a_refusal_that_nobody_asks_for_is_logged(caplog):
    async with chathub.Server() as server, server.client("bot") as bot:
        bot.post("hi", "nowhere")
        await bot.ping()
    assert "a post of bot was refused: not_member" in caplog.text


async def test_events_go_on_where_reading_was_left_and_end_with_closed():
    async with chathub.Server() as server, server.client("bot") as bot:
        await bot.join(now=True)
        for number in range(10):
            await bot.post(str(number))
        contents = []
        for _ in range(3):
            async for event in bot.events():
                if isinstance(event, chathub.Message):
                    contents.append(event.content)
                    if len(contents) % 3 == 0:
                        break
        closing = bot.close()
        rest = [event async for event in bot.events()]
        assert contents + [event.content for event in rest if isinstance(event, chathub.Message)] \
            == [str(number) for number in range(10)]
        assert rest[-1] == await closing == chathub.Closed(0, "")
        assert [event async for event in bot.events()] == []


async def test_events_end_when_nothing_comes_for_the_timeout():
    async with chathub.Server() as server, server.client("bot") as bot:
        assert [event async for event in bot.events(timeout=0.01)] == []
        await bot.join(now=True)
        assert [type(event) for event in [event async for event in bot.events(timeout=0.05)]] == [chathub.Joined]


async def test_posts_come_from_any_thread():
    async with chathub.Server() as server:
        events = server.events()
        threads = [threading.Thread(target=lambda: [server.post("hi").result(PATIENCE) for _ in range(50)])
                   for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(200):
            await first(events, chathub.Message)
        for thread in threads:
            thread.join()
        assert server.stats().posts == 200


async def test_more_requests_than_the_hub_takes_at_once_wait_in_their_order():
    async with chathub.Server() as server, server.client("bot", max_events=5000) as bot:
        bot.join(now=True)
        answers = [bot.post(str(number)) for number in range(1000)]
        positions = [await answer for answer in answers]
        assert positions == sorted(positions)
        contents = []
        async for event in bot.events():
            if isinstance(event, chathub.Message):
                contents.append(event.content)
                if len(contents) == 1000:
                    break
        assert contents == [str(number) for number in range(1000)]


async def test_too_many_requests_are_refused_with_a_reason():
    async with chathub.Server() as server, server.client("bot", max_events=0) as bot:
        bot.join(now=True)
        with pytest.raises(chathub.Error) as caught:
            for _ in range(100000):
                bot.post("flood").hush()
        assert caught.value.name == "busy" and "wait" in caught.value.message


async def test_waiting_with_result_where_a_loop_runs_says_what_to_do():
    async with chathub.Server() as server, server.client("bot") as bot:
        answer = bot.ping()
        with pytest.raises(RuntimeError, match="await it"):
            answer.result()
        await answer


async def test_names_that_are_one_fold_alike():
    async with chathub.Server() as server:
        assert server.fold("Staff") == server.fold("STAFF") == server.fold(server.fold("staff")) != server.fold("stuff")
        with pytest.raises(chathub.Error) as refused:
            server.fold("\u202e")
        assert refused.value.name == "bad_name"


async def test_options_are_set_by_name_and_read_back():
    server = chathub.Server(default_room="lobby", max_clients=10, authorize_timeout="2s")
    assert (server.get("default_room"), server.get("max-clients"), server.get("authorize_timeout")) == ("lobby", "10", "2s")
    assert server.options()["default-room"] == "lobby"
    assert {"log", "listen", "default-room"} <= {option.name for option in chathub.options()}
    with pytest.raises(chathub.Error) as caught:
        server.set("max_clinets", 10)
    assert caught.value.name == "option" and "max-clients" in caught.value.message
    with pytest.raises(chathub.Error) as caught:
        server.set("max_clients", "many")
    assert caught.value.name == "value"
    async with server:
        with pytest.raises(chathub.Error) as caught:
            server.set("default_room", "hall")
        assert caught.value.name == "started"
        server.set("authorize_timeout", "3s")
        assert server.get("authorize_timeout") == "3s"


async def test_wrong_settings_leave_nothing_behind():
    with pytest.raises(chathub.Error, match="address"):
        chathub.Server("gopher://127.0.0.1")
    with pytest.raises(chathub.Error, match="option"):
        chathub.Server(LISTEN, no_such_option=1)
    server = chathub.Server("tcp://0.0.0.0:0")
    with pytest.raises(chathub.Error, match="insecure"):
        async with server:
            pass
    assert "stopped" in repr(server)


async def test_a_port_in_use_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(chathub.Error) as caught:
            async with chathub.Server(f"tcp://127.0.0.1:{taken.getsockname()[1]}"):
                pass
    assert caught.value.name == "in_use"


async def test_a_server_is_used_once_and_says_so():
    server = chathub.Server(LISTEN)
    with pytest.raises(chathub.Error, match="stopped"):
        server.client("early")
    async with server:
        with pytest.raises(chathub.Error, match="started"):
            await server.start()
    with pytest.raises(chathub.Error, match="stopped: the server was closed"):
        server.stats()
    with pytest.raises(chathub.Error, match="started"):
        await server.start()


async def test_listeners_tell_their_real_ports_and_stats_count():
    async with chathub.Server(LISTEN, WS) as server:
        assert [url.split(":")[0] for url in server.listeners] == ["tcp", "ws"] and port_of(server) > 0
        with Peer(server, "ann") as peer:
            peer.send(type="join", room="tea")
            peer.send(content="hi", room="tea")
            await peer.seen("ack")
            stats = server.stats()
        assert (stats.clients, stats.rooms, stats.posts, stats.connections, stats.log_down) == (1, 1, 1, 1, 0)


async def test_assets_are_served():
    server = chathub.Server(WS)
    server.asset("/", "text/html", "<p>hello</p>")
    server.asset("/empty", "text/plain", b"")
    async with server:
        def fetch(path):
            with urllib.request.urlopen(f"http://127.0.0.1:{port_of(server)}{path}", timeout=PATIENCE) as answer:
                return answer.headers["Content-Type"], answer.read()
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, fetch, "/") == ("text/html", b"<p>hello</p>")
        assert await loop.run_in_executor(None, fetch, "/empty") == ("text/plain", b"")


async def test_a_log_in_a_file_is_there_after_a_restart(tmp_path):
    if not chathub.has("sqlite"):
        pytest.skip("this build has no SQLite")
    for number in range(2):
        async with chathub.Server(log=f"sqlite:{tmp_path / 'log'}") as server, server.client("bot") as bot:
            joined = await bot.join("tea")
            assert joined.position == number
            await bot.post("kept", "tea")


async def test_records_of_the_hub_come_to_the_logger(caplog):
    caplog.set_level(logging.INFO, "chathub")
    async with chathub.Server(LISTEN) as server:
        with Peer(server, "ann b") as peer:
            await peer.seen("welcome")
    hello = [record for record in caplog.records if record.getMessage().startswith("hello ")]
    assert len(hello) == 1 and hello[0].levelno == logging.INFO and hello[0].name == "chathub"
    assert "name='ann b'" in hello[0].getMessage() and hello[0].chathub.fields["name"] == "ann b"


async def test_records_below_the_loggers_level_are_not_asked_for(caplog):
    caplog.set_level(logging.WARNING, "chathub")
    async with chathub.Server(LISTEN) as server:
        told = []
        server._core.told, real = lambda number, event: (told.append(event), real(number, event)), server._core.told
        with Peer(server, "ann") as peer:
            await peer.seen("welcome")
        await server.client("x", max_events=0).ping()
    assert not [event for event in told if type(event).__name__ == "Logged"]


async def test_two_servers_know_nothing_of_each_other():
    async with chathub.Server(LISTEN) as one, chathub.Server(LISTEN) as other:
        events = other.events()
        await one.post("for one")
        await other.post("for the other")
        assert (await first(events, chathub.Message)).content == "for the other"
        assert (one.stats().posts, other.stats().posts) == (1, 1)


async def test_the_end_of_the_server_ends_clients_and_answers():
    server = chathub.Server()
    await server.start()
    bot = server.client("bot")
    await bot.join()
    reading = asyncio.create_task(collect(bot))
    await server.stop()
    events = await asyncio.wait_for(reading, PATIENCE)
    assert isinstance(events[-1], chathub.Closed)
    with pytest.raises(chathub.Error, match="stopped"):
        bot.post("late")
    await server.stop()


async def collect(client):
    return [event async for event in client.events()]


async def test_a_client_that_nobody_refers_to_leaves():
    async with chathub.Server() as server, server.client("bot") as bot:
        await bot.join("tea")
        other = server.client("other")
        await other.join("tea")
        await first(bot.events(), chathub.Presence, count=2)
        del other
        await first(bot.events(), chathub.Presence, count=1)


async def test_events_that_nobody_reads_are_dropped_with_a_warning(caplog):
    async with chathub.Server() as server, server.client("bot", max_events=10) as bot:
        await bot.join(now=True)
        for number in range(30):
            await bot.post(str(number))
        assert bot._inbox.count <= 10
        events = bot.events()
        await bot.post("now")
        assert (await first(events, chathub.Message)).content == "now"
    assert "nobody reads the events of client 'bot'" in caplog.text


async def test_a_reader_who_is_slow_gets_all():
    async with chathub.Server() as server, server.client("slow", max_events=50) as slow:
        await slow.join(now=True)
        events = slow.events()
        poster = server.client("fast", max_events=0)
        await poster.join(now=True)

        def flood():
            for number in range(3000):
                while True:
                    try:
                        poster.post(str(number)).hush()
                        break
                    except chathub.Error as error:
                        assert error.name == "busy"
                        threading.Event().wait(0.001)

        flooding = asyncio.get_running_loop().run_in_executor(None, flood)
        contents, most = [], 0
        async for event in events:
            if isinstance(event, chathub.Message):
                contents.append(event.content)
                most = max(most, slow._inbox.count)
                if len(contents) % 20 == 0:
                    await asyncio.sleep(0.001)
                if len(contents) == 3000:
                    break
        await flooding
        assert contents == [str(number) for number in range(3000)]


async def test_a_reader_who_waits_for_an_answer_behind_full_events_gets_it():
    async with chathub.Server() as server, server.client("bot", max_events=5) as bot:
        await bot.join(now=True)
        other = server.client("other", max_events=0)
        await other.join(now=True)
        seen = 0
        answers = [other.post(str(number)) for number in range(100)]
        async for event in bot.events():
            if isinstance(event, chathub.Message) and event.sender == "other":
                await bot.post(f"heard {event.content}")
                seen += 1
                if seen == 100:
                    break
        for answer in answers:
            await answer


async def test_a_reader_who_stops_reading_is_told_of_and_holds_up_nothing_but_events(caplog, monkeypatch):
    from chathub import _core
    monkeypatch.setattr(_core, "LONG", 0.01)
    async with chathub.Server() as server, server.client("lazy", max_events=10) as lazy:
        await lazy.join(now=True)
        lazy.events()
        other = server.client("other", max_events=0)
        await other.join(now=True)
        for number in range(50):
            await other.post(str(number))
        while "'lazy' does not read its events" not in caplog.text:
            await asyncio.sleep(0.001)
        assert await other.post("once more") == 51
        contents = []
        async for event in lazy.events():
            if isinstance(event, chathub.Message):
                contents.append(event.content)
                if event.content == "once more":
                    break
        assert contents == [*map(str, range(50)), "once more"]


async def test_a_reader_who_is_far_too_slow_for_those_who_wait_is_closed_and_told_why(caplog):
    server = chathub.Server()
    server.authorize("hello")(lambda question: True)
    async with server, server.client("lazy", max_events=1) as lazy:
        await lazy.join(now=True)
        lazy.events()
        other = server.client("other", max_events=0)
        await other.join(now=True)
        for number in range(100):
            await other.post(str(number))
        events = [event async for event in lazy.events()]
        assert isinstance(events[-1], chathub.Closed) and chathub.Error(events[-1].code).name == "slow"
        messages = [event.content for event in events if isinstance(event, chathub.Message)]
        assert messages == [str(number) for number in range(len(messages))] and len(messages) >= 60
        with pytest.raises(chathub.Error, match="gone"):
            await lazy.post("late")
        await other.post("still here")
    assert caplog.text.count("client 'lazy' is closed") == 1


async def test_whoever_waits_for_an_answer_ends_the_rest_that_thick_events_are_taken_by(monkeypatch):
    monkeypatch.setattr(_core, "LINGER", 1000.0)
    monkeypatch.setattr(_core, "PLENTY", 1e9)
    async with chathub.Server(LISTEN) as server, server.client("bot") as bot:
        await bot.join(now=True)
        with Peer(server, "ann") as ann:
            async def talk_until_it_rests():
                while not server._core.is_resting:
                    ann.send(content="hi")
                    await asyncio.sleep(0)

            ann.send(type="join")
            await ann.seen("joined")
            await talk_until_it_rests()
            await bot.post("and you?")
            await talk_until_it_rests()
            await bot.close()


async def test_a_hook_that_is_asked_keeps_thick_events_from_being_rested_for(monkeypatch):
    monkeypatch.setattr(_core, "LINGER", 1000.0)
    server = chathub.Server(LISTEN)
    server.authorize("post")(lambda question: True)
    async with server:
        with Peer(server, "ann") as ann:
            ann.send(type="join")
            await ann.seen("joined")
            for number in range(50):
                ann.send(content=str(number), cid=str(number))
                await ann.seen("ack", cid=str(number))


@pytest.mark.takes(100)
async def test_ten_thousand_events_a_second_come_without_loss():
    seconds, rate = 5, 10000
    async with chathub.Server() as server, server.client("bot") as bot:
        await bot.join(now=True)
        events = bot.events(timeout=PATIENCE)

        def flood():
            poster = server.client("poster", max_events=0)
            poster.join(now=True).result()
            clock = threading.Event()
            for tick in range(seconds * 100):
                for number in range(rate // 100):
                    while True:
                        try:
                            poster.post(f"{tick} {number}").hush()
                            break
                        except chathub.Error as error:
                            assert error.name == "busy"
                            clock.wait(0.002)
                clock.wait(0.005)
            poster.ping().result()
            return poster

        flooding = asyncio.get_running_loop().run_in_executor(None, flood)
        last, count = 0, 0
        async for event in events:
            if type(event) is chathub.Message:
                assert event.prev == last
                last = event.position
                count += 1
                if count == seconds * rate:
                    break
        await flooding
        assert count == seconds * rate == server.stats().posts


async def test_a_reader_who_is_cancelled_as_an_event_comes_is_cancelled():
    """`asyncio.wait_for` would swallow that."""
    async with chathub.Server() as server, server.client("bot") as bot:
        events = bot.events(timeout=PATIENCE)

        async def read():
            async for _event in events:
                pass

        task = asyncio.create_task(read())
        while not bot._inbox.signal._wakers:
            await asyncio.sleep(0)
        bot._inbox.put([chathub.Bye()])
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert (await first(events, chathub.Bye)) == chathub.Bye()


async def test_a_reader_who_begins_while_events_are_dropped_gets_those_that_follow():
    """Between the look whether anybody reads and the dropping, on another thread."""
    async with chathub.Server() as server, server.client("bot", max_events=1) as bot:
        events = bot.events(timeout=PATIENCE)
        bot._inbox.is_dropping = True
        bot._inbox.put([chathub.Bye()])
        assert (await first(events, chathub.Bye)) == chathub.Bye()
