"""Servers begin and end safely, whatever is collected when, forked, interrupted or forgotten."""
import asyncio
import gc
import os
import signal
import sys
import threading
import time
import warnings
import weakref

import chathub
import pytest
from chathub._ffi import library
from conftest import LISTEN, PATIENCE, Peer, first_of, python

WS = "ws://127.0.0.1:0/ws"


@pytest.fixture
def stressed():
    """The collector runs at nearly each allocation."""
    before = gc.get_threshold()
    gc.set_threshold(1)
    yield
    gc.set_threshold(*before)


def descriptors():
    return sorted(os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if name.isdigit()
                  and os.path.lexists(f"/proc/self/fd/{name}"))


def no_thread_is_left():
    """But this one, and the one that watches over tests. The system takes a thread away a moment after its end."""
    end = time.monotonic() + PATIENCE
    while len(os.listdir("/proc/self/task")) > 2 and time.monotonic() < end:
        time.sleep(0.001)
    return len(os.listdir("/proc/self/task")) == 2


async def use(server):
    async with server:
        client = server.client("bot")
        await client.join("tea")
        await client.post("hi", "tea")


def test_two_hundred_servers_leave_no_descriptor_and_no_thread():
    asyncio.run(use(chathub.Server(LISTEN, WS)))
    gc.collect()
    for how in ("async", "with"):
        before = len(descriptors())
        for _ in range(100):
            if how == "async":
                asyncio.run(use(chathub.Server(LISTEN, WS)))
            else:
                with chathub.Server(LISTEN, WS) as server:
                    server.post("hi").result(PATIENCE)
        assert len(descriptors()) == before and no_thread_is_left()


def test_a_stopped_server_is_freed_though_it_is_referred_to():
    with chathub.Server(LISTEN) as server, server.client("bot") as bot:
        before = len(descriptors())
        bot.join().result(PATIENCE)
    assert len(descriptors()) < before
    assert bot.closed and "stopped" in repr(server)


def test_a_server_that_is_not_referred_to_goes_without_the_collector():
    gc.disable()
    try:
        server = chathub.Server(LISTEN)
        with server:
            client = server.client("bot")
            client.join().result(PATIENCE)
        gone = weakref.ref(server._core), weakref.ref(server)
        del server, client
        assert [one() for one in gone] == [None, None]
    finally:
        gc.enable()


def test_a_server_lives_as_long_as_its_clients():
    server = chathub.Server(LISTEN)
    server.open()
    client = server.client("bot")
    del server
    gc.collect()
    assert client.join("tea").result(PATIENCE).room == "tea"
    client._owner.close()


def test_who_forgets_to_stop_is_warned_and_the_hub_is_freed():
    before = len(descriptors())
    server = chathub.Server(LISTEN)
    server.open()
    client = server.client("bot")
    inbox = client._inbox
    core = server._core
    with pytest.warns(ResourceWarning, match="was not stopped"):
        del server, client
        gc.collect()
    core.join(PATIENCE)
    assert len(descriptors()) == before and no_thread_is_left()
    with pytest.raises(chathub.Error, match="stopped"):
        inbox.post("late", "", "")
    assert inbox.over


def test_who_forgets_to_stop_in_a_loop_is_warned_and_the_hub_is_freed():
    async def forget():
        server = chathub.Server(LISTEN)
        await server.start()
        core = server._core
        with pytest.warns(ResourceWarning, match="was not stopped"):
            del server
            gc.collect()
        while core.hub.is_open:
            await asyncio.sleep(0.001)

    async def leave():
        server = chathub.Server(LISTEN)
        await server.start()
        return server

    before = len(descriptors())
    asyncio.run(forget())
    server = asyncio.run(leave())  # its loop is closed now
    with pytest.warns(ResourceWarning):
        del server
        gc.collect()
    assert len(descriptors()) == before


def test_a_server_that_was_never_started_needs_no_stop():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        server = chathub.Server(LISTEN)
        del server
        server = chathub.Server(LISTEN)
        server.close()
        with pytest.raises(chathub.Error, match="stopped"):
            server.open()
        del server
        gc.collect()


def test_an_exception_in_the_block_stops_the_server():
    async def main():
        async with chathub.Server(LISTEN) as server:
            raise KeyError(server)
    with pytest.raises(KeyError):
        asyncio.run(main())
    with pytest.raises(KeyError):
        with chathub.Server(LISTEN) as server:
            raise KeyError(server)


def test_a_start_that_is_cancelled_leaves_nothing():
    async def main():
        server = chathub.Server(LISTEN)
        starting = asyncio.ensure_future(server.start())
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        while server._core.hub.is_open:
            await asyncio.sleep(0.001)
    before = len(descriptors())
    asyncio.run(main())
    assert len(descriptors()) == before


def test_a_stop_that_is_cancelled_ends_at_once():
    async def main():
        server = chathub.Server(LISTEN, stop_time="1h")
        await server.start()
        with Peer(server, "ann") as peer:
            await peer.seen("welcome")
            stopping = asyncio.ensure_future(server.stop())
            await asyncio.sleep(0)
            stopping.cancel()
            with pytest.raises(asyncio.CancelledError):
                await stopping
        assert "stopped" in repr(server) and not server._core.hub.is_open
    asyncio.run(main())


def test_stopping_twice_at_once_is_one_good_stop():
    async def main():
        server = chathub.Server(LISTEN, stop_time="200ms")
        await server.start()
        with Peer(server, "ann") as peer:
            await peer.seen("welcome")
            await asyncio.gather(server.stop(), server.stop())
            assert peer.wait("bye") is not None
    asyncio.run(main())


def test_everything_under_a_busy_collector(stressed):
    class Cycle:
        pass

    with chathub.Server(LISTEN) as server:
        for number in range(10):
            cycle = Cycle()
            cycle.self, cycle.client = cycle, server.client(f"bot{number}")
            cycle.client.join("tea").result(PATIENCE)
            cycle.events = cycle.client.events(timeout=PATIENCE)
            cycle.client.post("hi", "tea").result(PATIENCE)
            first_of(cycle.events, chathub.Message)
            del cycle
    async_server = chathub.Server(LISTEN)
    asyncio.run(use(async_server))


def test_servers_in_cycles_are_collected_by_any_thread(stressed):
    stop, faults = threading.Event(), []

    def litter():
        while not stop.is_set():
            cycle = []
            cycle.append(cycle)

    litterer = threading.Thread(target=litter)
    litterer.start()
    old = threading.excepthook
    threading.excepthook = faults.append
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            for _ in range(5):
                server = chathub.Server(LISTEN)
                server.open()
                client = server.client("bot")
                client.join("tea")
                cycle = [server, client, client.events()]
                cycle.append(cycle)
                core = server._core
                del server, client, cycle
                gc.collect()
                core.join(PATIENCE)
                assert not core.hub.is_open
    finally:
        stop.set()
        litterer.join()
        threading.excepthook = old
    assert not faults


def test_calls_of_other_threads_while_a_server_closes_are_errors_and_no_crash():
    for _ in range(10):
        server = chathub.Server()
        server.open()
        client = server.client("bot", max_events=0)
        client.join(now=True).result(PATIENCE)
        faults = []

        def hammer():
            try:
                while True:
                    server.stats()
                    client.post("hi").hush()
            except chathub.Error as error:
                if error.name not in ("stopped", "busy", "gone"):
                    faults.append(error)

        hammers = [threading.Thread(target=hammer) for _ in range(3)]
        for one in hammers:
            one.start()
        server.close()
        for one in hammers:
            one.join(PATIENCE)
        assert not faults and not server._core.hub.is_open


def forked(child):
    """Runs it in a fork; what it answers is true if all is well. Its hanging is a fault."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(PATIENCE)
            code = 0 if child() else 2
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def test_a_fork_can_neither_use_nor_harm_its_parents_server():
    with warnings.catch_warnings(), chathub.Server(LISTEN) as server, server.client("bot") as bot:
        warnings.simplefilter("ignore", DeprecationWarning)
        bot.join().result(PATIENCE)

        def child():
            for call in (server.stats, lambda: bot.post("hi"), lambda: server.client("x"), lambda: server.post("hi")):
                try:
                    call()
                    return False
                except chathub.Error as error:
                    if error.name != "fork":
                        return False
            server.close()
            bot.__del__()
            server.__del__()
            with chathub.Server(LISTEN) as own:
                return own.post("hi").result(PATIENCE) == 1

        assert forked(child) == 0
        assert bot.post("still here").result(PATIENCE) == 1


def test_a_fork_that_leaves_its_parents_block_does_not_stop_it():
    done = python("""
        import os, sys, chathub
        with chathub.Server("tcp://127.0.0.1:0") as server:
            server.post("one").result(10)
            pid = os.fork()
            if pid == 0:
                sys.exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
            print(server.post("two").result(10))
        """, "-W", "ignore::DeprecationWarning")
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")


def test_multiprocessing_by_fork_is_harmless():
    done = python("""
        import asyncio, multiprocessing, chathub

        def work(number):
            return number * 2

        async def main():
            async with chathub.Server("tcp://127.0.0.1:0") as server:
                with multiprocessing.get_context("fork").Pool(2) as pool:
                    print(await asyncio.get_running_loop().run_in_executor(None, pool.map, work, [1, 2]))
                print(await server.post("hi"))

        asyncio.run(main())
        """, "-W", "ignore::DeprecationWarning")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[2, 4]\n1\n", "")


@pytest.mark.parametrize("how", [
    "server.open()",
    "server.open(); client = server.client('bot'); client.join(); events = client.events()",
    "server.open(); threading.Thread(target=list, args=(server.events(),), daemon=True).start()",
    "server.open(); threading.Thread(target=hammer, daemon=True).start()",
    "asyncio.new_event_loop().run_until_complete(server.start())",
    "loop.run_until_complete(server.start()); threading.Thread(target=loop.run_forever, daemon=True).start()",
    "asyncio.run(server.start())",
    "server.open(); server.self = server; server.cycle = [server.client('bot')]; del server",
])
def test_the_interpreter_exits_with_a_server_that_runs(how):
    done = python(f"""
        import asyncio, threading, chathub
        loop = asyncio.new_event_loop()

        def hammer():
            while True:
                try:
                    server.post("hi").hush()
                except chathub.Error:
                    pass

        server = chathub.Server("tcp://127.0.0.1:0", log="memory")
        {how}
        print("end")
        """, "-X", "dev", "-W", "ignore")
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr
    assert "Fatal" not in done.stderr and "Traceback" not in done.stderr


def test_a_forgotten_server_is_told_of_at_exit():
    done = python("""
        import chathub
        server = chathub.Server("tcp://127.0.0.1:0")
        server.open()
        """, "-W", "default")
    assert done.returncode == 0 and "ResourceWarning: a server was not stopped" in done.stderr


@pytest.mark.parametrize("how", ["asyncio", "plain"])
def test_ctrl_c_stops_the_server_and_ends_the_program(how):
    done = python(f"""
        import asyncio, os, signal, threading, chathub

        def interrupt():
            os.kill(os.getpid(), signal.SIGINT)

        async def main():
            async with chathub.Server("tcp://127.0.0.1:0") as server:
                events = server.events()
                await server.post("hi")
                threading.Timer(0.05, interrupt).start()
                async for event in events:
                    pass

        def plain():
            with chathub.Server("tcp://127.0.0.1:0") as server:
                events = server.events()
                server.post("hi").result()
                threading.Timer(0.05, interrupt).start()
                for event in events:
                    pass

        try:
            asyncio.run(main()) if {how!r} == "asyncio" else plain()
        except KeyboardInterrupt:
            print("interrupted")
        """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


def test_the_package_needs_no_library_until_a_server_is_wanted():
    done = python("""
        import chathub
        chathub.Bot("x")
        try:
            chathub.Server
        except ImportError as error:
            print("CHATHUB_LIBRARY names no library" in str(error))
        """, CHATHUB_LIBRARY="/nowhere/libchathub.so.0")
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_a_client_made_while_the_server_is_ended_is_ended_too(monkeypatch):
    server = chathub.Server()
    server.open()
    call = server._core.hub.call

    def ended_in_between(function, *arguments):
        result = call(function, *arguments)
        if function is library.chathub_client:
            server._core.finish()
        return result

    monkeypatch.setattr(server._core.hub, "call", ended_in_between)
    client = server.client("late")
    with pytest.raises(chathub.Error, match="stopped"):
        client.welcome.result(PATIENCE)
    assert client.closed
    server.close()


def test_a_bot_that_comes_while_the_server_is_ended_says_so(monkeypatch):
    server = chathub.Server()
    server.open()
    loop = server._core.loop
    later = loop.call_soon_threadsafe

    def ended_in_between(function, *arguments):
        later(server._core.finish)
        return later(function, *arguments)

    monkeypatch.setattr(loop, "call_soon_threadsafe", ended_in_between)
    ready = server.add(chathub.Bot("late"))
    monkeypatch.undo()
    with pytest.raises(chathub.Error, match="stopped"):
        ready.result(PATIENCE)
    server.close()


def test_a_bot_that_is_cancelled_before_it_came_says_so():
    async def main():
        server = chathub.Server()

        @server.authorize("hello")
        async def never(_question):
            await asyncio.Event().wait()

        await server.start()
        ready = server.add(chathub.Bot("late"))
        await asyncio.sleep(0)
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(chathub.Error, match="stopped|gone|shutdown"):
            await asyncio.wait_for(ready, PATIENCE)
        await asyncio.wait({stopping})
    asyncio.run(main())
