"""kill -9 at random moments under load: what was acked or shown is there, once; whoever comes back misses nothing.

A round starts chatd, waits until it is ready (or not), and kills it a random time later, while 20 clients post and all
read; see crowd.py for what they check. CHATHUB_SEED repeats a run, as far as the system lets it; CHATHUB_ROUNDS and
CHATHUB_LONG set how many rounds there are.
"""
import asyncio
import math
import os
import random
import sqlite3

import pytest

from crowd import Crowd, new_seed

pytestmark = pytest.mark.usefixtures("sqlite")
MOMENTS = (0.005, 0.3)  # seconds, from the shortest to the longest life


def rounds(count):
    if "CHATHUB_ROUNDS" in os.environ:
        return int(os.environ["CHATHUB_ROUNDS"])
    return 4 * count if "CHATHUB_LONG" in os.environ else count


def moment(dice):
    """Short lives are as likely as long ones."""
    low, high = map(math.log, MOMENTS)
    return math.exp(dice.uniform(low, high))


async def one_life(crowd, start_logged, *args):
    """Starts chatd and kills it: most often in the middle of its work, sometimes while it starts."""
    if crowd.dice.random() < 0.125:
        chatd = await asyncio.to_thread(start_logged, *args, wait=False, log_level="info")
        await asyncio.sleep(crowd.dice.uniform(0, 0.08))
        await asyncio.to_thread(chatd.kill)
        return
    chatd = await asyncio.to_thread(start_logged, *args, log_level="info")
    await crowd.meet(chatd)
    await asyncio.sleep(moment(crowd.dice))
    await crowd.kill()


@pytest.mark.takes(1800)
@pytest.mark.parametrize("sync,count", [("full", 50)] * 4 + [("normal", 25)])
async def test_what_was_acked_or_shown_outlives_kill_9(start_logged, log_path, sync, count):
    """200 deaths with log-sync full; fewer with normal, which promises the same for the death of a process."""
    crowd = Crowd(new_seed())
    try:
        for _ in range(rounds(count)):
            await one_life(crowd, start_logged, "--log-sync", sync)
            crowd.check()
        last = await asyncio.to_thread(start_logged, "--log-sync", sync)
        await crowd.meet(last)
        await crowd.settle()
        found = await crowd.verify(last)
        await crowd.repeat_some(last, 10)
        print(f"{len(found)} posts, {len(crowd.book.acked)} acked, {crowd.book.dups} of them when they were repeated")
        assert len(crowd.book.acked) > 100 and len(crowd.book.acked) == len(found)
    finally:
        await crowd.end()
    await last.stopped()
    with sqlite3.connect(f"file:{log_path}?mode=ro", uri=True) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_death_while_the_file_is_made_leaves_nothing_in_the_way(start_chatd, tmp_path):
    """The next start works, whatever the first one left."""
    dice = random.Random(new_seed())
    for number in range(rounds(20)):
        path = tmp_path / str(number) / "deep" / "chat.db"
        first = start_chatd(log=path, wait=False)
        try:
            first.process.wait(dice.uniform(0, 0.08))
        except Exception:  # it lives, as it should
            first.kill()
        second = start_chatd(log=path)
        second.lines().send({"content": "hi"})
        second.kill()
        start_chatd(log=path).stop()
