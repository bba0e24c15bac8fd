#!/usr/bin/python3
"""A chat server in Python: `server.py [URL]`. Prints what is said in two rooms, and says how many were there at the end.

    PYTHONPATH=bindings/python examples/python/server.py ws://127.0.0.1:8080/ws
    PYTHONPATH=bindings/python python3 -m chathub ws://127.0.0.1:8080/ws
"""
import asyncio
import signal
import sys

import chathub


async def main(url):
    # Options are those of `chatd --help all`. log="sqlite:chat.db" would keep everything over restarts.
    async with chathub.Server(url, name="host", default_room="lobby") as server:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
        # The server takes part in these rooms itself, as "host".
        events = server.events("lobby", "tea")
        print("listening at", *server.listeners, flush=True)
        async for event in events:
            if isinstance(event, chathub.Message):
                print(f"[{event.room}] {event.sender}: {event.content}", flush=True)
            elif isinstance(event, chathub.Presence):
                for person in event.joined:
                    if person.sender != "host":
                        await server.post(f"welcome, {person.sender}!", event.room)


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080/ws"))
    except (KeyboardInterrupt, asyncio.CancelledError):
        pass
