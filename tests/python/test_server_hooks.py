"""Authorize hooks in Python: who may do what, decided by functions, plain and async."""
import asyncio
import logging

import chathub
import pytest
from conftest import LISTEN, PATIENCE, Peer


async def test_hooks_decide_and_are_told_all_about_it():
    server = chathub.Server(LISTEN)
    asked = []

    @server.authorize("join", "post")
    async def members_only(question):
        asked.append(question)
        await asyncio.sleep(0)
        return question.name == "ann" or "only members may"

    async with server:
        with Peer(server, "ann") as ann, Peer(server, "bob") as bob:
            ann.send(type="join", room="tea")
            await ann.seen("joined", room="tea")
            ann.send(content="hi", room="tea")
            await ann.seen("ack")
            bob.send(type="join", room="tea")
            error = await bob.seen("error")
    assert (error["code"], error["message"]) == ("denied", "only members may")
    assert [(one.action, one.name, one.room, one.content) for one in asked] \
        == [("join", "ann", "tea", ""), ("post", "ann", "tea", "hi"), ("join", "bob", "tea", "")]
    assert all(one.client and one.sender_id for one in asked)


async def test_every_action_can_be_authorized_by_plain_functions():
    server = chathub.Server()
    asked = []

    @server.authorize("hello", "join", "post", "history")
    def watch(question):
        asked.append(question.action)
        return True

    async with server, server.client("bot") as bot:
        await bot.join("tea")
        await bot.post("hi", "tea")
        await bot.history("tea")
    assert asked == ["hello", "join", "post", "history"]


async def test_a_hook_that_raises_means_no_and_is_reported(caplog):
    server = chathub.Server()

    @server.authorize("join")
    async def broken(question):
        if question.room == "quiet":
            raise chathub.Denied("not today")
        raise ZeroDivisionError("oh")

    async with server, server.client("bot") as bot:
        with pytest.raises(chathub.Error, match="denied: not today"):
            await bot.join("quiet")
        assert "broken" not in caplog.text
        with pytest.raises(chathub.Error, match="denied"):
            await bot.join("loud")
        await bot.ping()
    assert "broken failed" in caplog.text and "ZeroDivisionError: oh" in caplog.text


async def test_a_hook_that_answers_nothing_means_no_and_is_reported(caplog):
    server = chathub.Server()
    server.authorize("join")(lambda question: None)
    async with server, server.client("bot") as bot:
        with pytest.raises(chathub.Error, match="denied"):
            await bot.join("tea")
    assert "has to answer True, False or a text" in caplog.text


async def test_several_hooks_all_have_to_allow():
    server = chathub.Server()
    asked = []
    server.authorize("join")(lambda question: asked.append(1) or True)
    server.authorize("join")(lambda question: question.room != "no")
    server.authorize("join")(lambda question: asked.append(3) or True)
    async with server, server.client("bot") as bot:
        await bot.join("yes")
        with pytest.raises(chathub.Error, match="denied"):
            await bot.join("no")
    assert asked == [1, 3, 1]


async def test_as_many_questions_as_may_are_decided_at_once():
    server = chathub.Server(max_clients=1000)
    now, most = 0, 0
    go_on = asyncio.Event()

    @server.authorize("join")
    async def slow(question):
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == 100:
            go_on.set()
        await go_on.wait()
        await asyncio.sleep(0)
        now -= 1
        return True

    async with server:
        clients = [server.client(f"bot{number}") for number in range(150)]
        for answer in [client.join("tea") for client in clients]:
            await answer
    assert most == 100


async def test_hooks_are_cancelled_when_the_server_stops():
    server = chathub.Server()
    begun, ends = asyncio.Event(), []

    @server.authorize("join")
    async def endless(question):
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    async with server:
        server.client("bot").join("tea").hush()
        await begun.wait()
    await asyncio.sleep(0)
    assert ends == ["cancelled"]


async def test_an_answer_that_comes_too_late_changes_nothing(caplog):
    caplog.set_level(logging.INFO, "chathub")
    server = chathub.Server(authorize_timeout="30ms")
    late = asyncio.Event()

    @server.authorize("join")
    async def slow(question):
        await late.wait()
        return True

    async with server, server.client("bot") as bot:
        with pytest.raises(chathub.Error, match="denied"):
            await bot.join("tea")
        late.set()
        await bot.ping()
        while "came too late" not in caplog.text:
            await asyncio.sleep(0.001)


async def test_hooks_are_added_before_the_start():
    server = chathub.Server()
    with pytest.raises(ValueError, match="there are hello, join, post, history"):
        server.authorize("jion")(lambda question: True)
    with pytest.raises(ValueError, match="name what"):
        server.authorize()
    async with server:
        with pytest.raises(chathub.Error, match="started"):
            server.authorize("join")


def test_hooks_of_a_server_without_asyncio():
    server = chathub.Server()

    @server.authorize("join")
    async def no_tea(question):
        await asyncio.sleep(0)
        return question.room != "tea"

    with server, server.client("bot") as bot:
        bot.join("coffee").result(PATIENCE)
        with pytest.raises(chathub.Error, match="denied"):
            bot.join("tea").result(PATIENCE)


async def test_a_hook_that_waits_for_what_is_cancelled_means_no_and_is_reported(caplog):
    server = chathub.Server(authorize_timeout="1h")

    @server.authorize("join")
    async def waits(_question):
        task = asyncio.ensure_future(asyncio.sleep(PATIENCE))
        task.cancel()
        await task

    async with server, server.client("bot") as bot:
        with pytest.raises(chathub.Error, match="denied"):
            await bot.join("tea")
    assert "waits failed, which counts as no" in caplog.text
