#!/usr/bin/python3
"""A bot: `bot.py URL` on a hub elsewhere, or without a URL in a server of its own.

    PYTHONPATH=bindings/python examples/python/bot.py ws://127.0.0.1:8080/ws

Say `!roll`, `!roll 20` or `!help` to it. server.add(bot) would let it take part in a server in this process.
"""
import random
import sys

import chathub

bot = chathub.Bot("dice", rooms=["lobby"])


@bot.command("roll")
def roll(said):
    """A text that is answered is said in the same room."""
    sides = int(said.args[0]) if said.args else 6
    return f"{said.sender} rolled {random.randint(1, sides)} of {sides}"


@bot.command("help")
async def help_them(said):
    await said.reply("!roll [SIDES]")


@bot.on_join
async def hear_who_comes(room, person):
    print(person.sender, "came to", room, flush=True)


@bot.on_error
def complain(error, handler, event):
    """`!roll many` ends up here. Without this it would be in the log, and the bot goes on in any case."""
    print(f"{handler}: {error}", flush=True)


def serve():
    with chathub.Server("ws://127.0.0.1:8080/ws", default_room="lobby") as server:
        server.add(bot)
        print("listening at", *server.listeners, flush=True)
        for event in server.events():
            if isinstance(event, chathub.Message):
                print(f"{event.sender}: {event.content}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        bot.run(sys.argv[1])
    else:
        serve()
