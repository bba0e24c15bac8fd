#!/usr/bin/python3
"""A hub inside a Python program, with default settings, listeners, and a bot of its own in the default room.

    tests/integration/dialect_bot.py PATH/libchathub.so.0

Prints JSON, a value a line: first the listeners' URLs, then each entry that the bot hears, {"sender":…,"content":…}. A
line on standard input is said by the bot; its end is the hub's.
"""
import ctypes
import json
import os
import pathlib
import select
import sys
from ctypes import byref, c_size_t, c_uint64

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bindings" / "python"))
import smoke  # noqa: E402  the library's functions and types, by ctypes

LISTEN = (b"ws://127.0.0.1:0/ws", b"tcp://127.0.0.1:0")


class Bot(smoke.Smoke):
    def take(self, hub, event, arg):
        super().take(hub, event, arg)
        kind, content, sender = self.events.pop()[:3]
        if kind == smoke.MESSAGE:
            print(json.dumps({"sender": sender, "content": content}), flush=True)

    def start(self):
        self.check(self.lib.chathub_new(byref(self.hub)))
        for url in LISTEN:
            self.check(self.lib.chathub_listen(self.hub, url))
        self.check(self.lib.chathub_start(self.hub, None))
        text, urls = ctypes.create_string_buffer(128), []
        for index in range(len(LISTEN)):
            self.check(self.lib.chathub_listener(self.hub, index, text, len(text)))
            urls.append(text.value.decode())
        self.client = c_uint64()
        self.check(self.lib.chathub_client(self.hub, b"bot", self.on_event, None, byref(self.client)))
        self.check(self.lib.chathub_join(self.hub, self.client, None, 0, 0))
        print(json.dumps(urls), flush=True)

    def say(self, line):
        self.check(self.lib.chathub_post(self.hub, self.client, None, line, c_size_t(len(line)), None))

    def step(self, *others):
        """Waits for the hub, or one of `others`, and lets the hub work. Answers which of those can be read."""
        timeout = self.lib.chathub_timeout(self.hub)
        readable = select.select([self.lib.chathub_fd(self.hub), *others], [], [],
                                 None if timeout < 0 else timeout / 1000)[0]
        self.check(self.lib.chathub_step(self.hub, 0))
        return [other for other in others if other in readable]

    def run(self):
        rest = b""
        while True:
            if self.step(0):
                data = os.read(0, 65536)
                if not data:
                    break
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self.say(line)
        self.check(self.lib.chathub_stop(self.hub, self.on_stop, None))
        self.step_until(lambda: self.stopped)
        self.lib.chathub_free(self.hub)


def main(path):
    bot = Bot(smoke.load(path))
    bot.start()
    bot.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
