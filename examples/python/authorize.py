#!/usr/bin/python3
"""A server that asks before it lets people do things: `authorize.py [URL]`.

    PYTHONPATH=bindings/python examples/python/authorize.py ws://127.0.0.1:8080/ws
"""
import asyncio
import sys

import chathub

MEMBERS = {"ann": {"staff"}, "bob": set()}
RUDE = {"darn"}


async def groups_of(name):
    await asyncio.sleep(0.01)  # a database, for instance: everybody else goes on meanwhile
    return MEMBERS.get(name)


def protect(server):
    @server.authorize("hello")
    async def only_members(question):
        return await groups_of(question.name) is not None or "ask ann to let you in"

    @server.authorize("join")
    async def staff_only(question):
        return question.room != "staff" or "staff" in await groups_of(question.name)

    @server.authorize("post")
    def politely(question):
        if RUDE & set(question.content.lower().split()):
            raise chathub.Denied("mind your words")
        return True


async def main(url):
    server = chathub.Server(url)
    protect(server)
    async with server:
        print("listening at", *server.listeners, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080/ws"))
    except KeyboardInterrupt:
        pass
