"""A server in Python without asyncio."""
import asyncio
import threading

import chathub
import pytest
from conftest import LISTEN, PATIENCE, Peer, first_of


def test_what_peers_say_comes_as_events():
    with chathub.Server(LISTEN) as server:
        events = server.events("tea", timeout=PATIENCE)
        with Peer(server, "ann") as peer:
            peer.send(type="join", room="tea")
            peer.send(content="hi", room="tea")
            ack = peer.wait("ack")
            message = first_of(events, chathub.Message)
            assert (message.content, message.sender, message.position) == ("hi", "ann", ack["position"])
            position = server.post("hello ann", "tea").result(PATIENCE)
            assert peer.wait("chat", position=position)["content"] == "hello ann"


def test_events_end_with_their_timeout_and_with_the_server():
    server = chathub.Server()
    server.open()
    assert [event for event in server.client("idle").events(timeout=0.01)] == []
    bot = server.client("bot")
    bot.join().result(PATIENCE)
    kinds = []
    reader = threading.Thread(target=lambda: kinds.extend(type(event) for event in bot.events()))
    reader.start()
    server.close()
    reader.join(PATIENCE)
    assert kinds[0] is chathub.Joined and kinds[-1] is chathub.Closed
    server.close()
    with pytest.raises(chathub.Error, match="started once"):
        server.open()


def test_many_threads_use_one_server():
    with chathub.Server() as server:
        faults = []

        def work(number):
            try:
                with server.client(f"bot{number}") as bot:
                    bot.join(f"room{number}").result(PATIENCE)
                    for post in range(100):
                        bot.post(f"{post}", f"room{number}").result(PATIENCE)
                    assert len(bot.history(f"room{number}", limit=100).result(PATIENCE).entries) == 100
                    contents = []
                    for event in bot.events(timeout=PATIENCE):
                        if isinstance(event, chathub.Message):
                            contents.append(event.content)
                            if len(contents) == 100:
                                break
                    assert contents == [str(post) for post in range(100)]
                    server.stats()
            except BaseException as error:
                faults.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE * 2)
        assert not faults
        assert server.stats().posts == 600


def test_a_server_of_a_thread_is_used_by_tasks_of_a_loop():
    with chathub.Server() as server:
        async def use():
            async with server.client("task") as client:
                await client.join("tea")
                await client.post("from a task", "tea")
                async for event in client.events():
                    if isinstance(event, chathub.Message):
                        return event.content
        for _ in range(2):
            assert asyncio.run(use()) == "from a task"


def test_a_server_of_a_loop_is_used_and_stopped_by_a_thread():
    async def main():
        async with chathub.Server() as server:
            def use():
                with server.client("thread") as client:
                    client.join("tea").result(PATIENCE)
                    client.post("from a thread", "tea").result(PATIENCE)
                    message = first_of(client.events(timeout=PATIENCE), chathub.Message)
                asyncio.run(server.stop())
                return message.content
            assert await asyncio.get_running_loop().run_in_executor(None, use) == "from a thread"
            assert "stopped" in repr(server)
    asyncio.run(main())


def test_asyncio_run_twice_each_with_a_server():
    async def main():
        async with chathub.Server(LISTEN) as server:
            return await server.post("hi")
    assert [asyncio.run(main()) for _ in range(2)] == [1, 1]


def test_a_result_that_does_not_come_in_time_is_a_timeout():
    server = chathub.Server()

    @server.authorize("post")
    async def never(_question):
        await asyncio.Event().wait()

    with server, server.client("bot") as bot:
        bot.join().result(PATIENCE)
        answer = bot.post("hi")
        with pytest.raises(TimeoutError, match="no answer to a post of bot"):
            answer.result(0.05)
        answer.hush()


def test_requests_of_many_threads_keep_each_threads_order():
    with chathub.Server() as server, server.client("bot", max_events=5000) as bot:
        bot.join(now=True).result(PATIENCE)
        threads = [threading.Thread(target=lambda start=start: [bot.post(f"{start} {number}") for number in range(200)])
                   for start in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        bot.ping().result(PATIENCE)
        heard = {}
        for _ in range(800):
            start, number = first_of(bot.events(timeout=PATIENCE), chathub.Message).content.split()
            heard.setdefault(start, []).append(int(number))
        assert heard == {str(start): list(range(200)) for start in range(4)}


def test_a_server_of_a_thread_that_a_task_stops_leaves_no_thread():
    server = chathub.Server()
    server.open()
    thread = server._core._thread
    asyncio.run(server.stop())
    thread.join(PATIENCE)
    assert not thread.is_alive()
    server.close()


def test_a_server_of_a_loop_is_closed_in_good_order_by_a_thread_and_not_by_its_own():
    async def main():
        async with chathub.Server(LISTEN) as server:
            with Peer(server, "bob") as bob:
                await bob.seen("welcome")
                with pytest.raises(RuntimeError, match="await server.stop"):
                    server.close()
                await asyncio.get_running_loop().run_in_executor(None, server.close)
                assert await bob.seen("bye")
            server.close()  # once it has ended, that is nothing
    asyncio.run(main())
