"""Three nodes on three NATS servers, while processes die and stop and the network parts them: what clients were told stays true.

Clients go from node to node, post and read (wanderers.py), and write down what they did and were told; in the end all posts that
were acked are there, once; every reader saw each room in the same order and without a hole; all nodes agree about what is there
and who (histories.py). Each kind of fault has its test, and some seeds mix them. CHATHUB_SEED repeats one seed as far as the
system lets it; CHATHUB_SEEDS says how many there are, which are 100 with CHATHUB_LONG. A failure keeps what was told in
CHATHUB_HISTORIES, or the test's folder.
"""
import asyncio
import contextlib
import os
import pathlib
import random
import secrets
import shutil
import tempfile

import pytest

from cluster import Cluster, need_cluster
from conftest import check_sanitizers
from histories import faults
from nats import Network
from wanderers import Crowd

LONG = "CHATHUB_LONG" in os.environ
SEEDS = int(os.environ.get("CHATHUB_SEEDS", 100 if LONG else 2))


class CopiesDiffer(Exception):
    """NATS broke its own promise; what chatd shows then is no fault of chatd's. The servers' own words say so."""


class Held:
    """The cluster that all tests of this file use, one after the other; a new one after a failure."""

    def __init__(self, networks):
        self.networks, self.cluster, self.folder = networks, None, None
        self.broken = 0  # stories in which NATS itself broke

    def get(self):
        if not self.cluster:
            need_cluster()
            self.folder = pathlib.Path(tempfile.mkdtemp(prefix="chathub-cluster-"))
            self.cluster = Cluster(self.folder, networks=self.networks)
            self.cluster.start()
        return self.cluster

    def drop(self, well):
        cluster, self.cluster = self.cluster, None
        if not cluster:
            return
        try:
            if not well:
                for node in cluster.nodes:
                    with contextlib.suppress(Exception):
                        node.kill()
            cluster.end()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def held():
    """On loopback where there may be no namespaces: faults of the network are skipped then."""
    made = Held(networks=networks_work())
    yield made
    made.drop(well=True)


def networks_work():
    try:
        Network(["one"]).close()
        return True
    except pytest.skip.Exception:
        return False


# ---------------------------------------------------------------------------------------------------------- the faults
#
# Each does something to a cluster, waits a random time, and takes it back. `dice` decides.


async def do(what, *args):
    return await asyncio.to_thread(what, *args)


async def kill_node(cluster, dice):
    node = dice.choice(cluster.nodes)
    await do(node.kill)
    await asyncio.sleep(dice.uniform(0, 1))
    await do(node.start)


async def stop_node(cluster, dice):
    """In good order, as for an upgrade."""
    node = dice.choice(cluster.nodes)
    await do(node.stop)
    await asyncio.sleep(dice.uniform(0, 1))
    await do(node.start)


async def pause_node(cluster, dice):
    node = dice.choice(cluster.nodes)
    node.pause()
    await asyncio.sleep(dice.uniform(0.2, 4))
    node.resume()


async def some_nats(cluster, dice):
    """Mostly the one that leads the stream."""
    await do(cluster.nats.wait_whole)
    leader = await do(cluster.nats.leader)
    return leader if leader and dice.random() < 0.7 else dice.choice(cluster.nats.all)


async def kill_nats(cluster, dice):
    nats = await some_nats(cluster, dice)
    await do(nats.kill)
    await asyncio.sleep(dice.uniform(0, 2))
    await do(nats.start)


async def pause_nats(cluster, dice):
    nats = await some_nats(cluster, dice)
    nats.pause()
    await asyncio.sleep(dice.uniform(0.5, 4))
    nats.resume()


async def kill_two_nats(cluster, dice):
    """There is no majority for a while."""
    one = await some_nats(cluster, dice)
    other = dice.choice([nats for nats in cluster.nats.all if nats is not one])
    await do(one.kill)
    await asyncio.sleep(dice.uniform(0, 0.5))
    await do(other.kill)
    await asyncio.sleep(dice.uniform(0, 1))
    await do(one.start)
    await do(other.start)


async def cut_node(cluster, dice):
    """A node reaches no NATS server, or not the one that leads."""
    node = dice.choice(cluster.nodes)
    leader = await do(cluster.nats.leader)
    await do(cluster.cut, node, cluster.nats.all if dice.random() < 0.7 or not leader else [leader])
    await asyncio.sleep(dice.uniform(0.5, 4))
    await do(cluster.cut, node, [])


async def cut_nats(cluster, dice):
    """A NATS server reaches no other; the nodes reach all, or not this one either."""
    nats = await some_nats(cluster, dice)
    others = [other for other in cluster.nats.all if other is not nats]
    await do(cluster.cut, nats, others + (cluster.nodes if dice.random() < 0.5 else []))
    await asyncio.sleep(dice.uniform(0.5, 8))
    await do(cluster.cut, nats, [])


ON_LOOPBACK = (kill_node, stop_node, pause_node, kill_nats, pause_nats, kill_two_nats)
ON_NETWORKS = (cut_node, cut_nats)


async def mixed(cluster, dice):
    """Two of them, one after the other or at the same time."""
    kinds = ON_LOOPBACK + (ON_NETWORKS if cluster.network else ())
    one, other = dice.choice(kinds), dice.choice(kinds)
    of_nats = {kill_nats, pause_nats, kill_two_nats, cut_nats}
    of_nodes = set(kinds) - of_nats
    if (one in of_nats) != (other in of_nats) and dice.random() < 0.6:
        await asyncio.gather(one(cluster, dice), other(cluster, dice))
    elif one in of_nodes and other in of_nodes:
        await one(cluster, dice)
        await other(cluster, dice)
    else:
        await one(cluster, dice)


# ----------------------------------------------------------------------------------------------------------- one story


async def story(cluster, seed, fault, **crowd):
    """A crowd before, during and after a fault; then all that it was told is looked at."""
    dice = random.Random(seed)
    made = Crowd(seed, cluster.nodes, **crowd)
    try:
        async with made:
            await asyncio.sleep(0.3)
            await fault(cluster, dice)
            await asyncio.sleep(dice.uniform(0, 0.5))
            await do(cluster.heal)
            await made.settle()
        found = faults(made.history)
        assert not found, f"{len(found)} faults:\n" + "\n".join(found[:20])
    except BaseException as error:
        keep(cluster, made, seed, error)
        if isinstance(error, AssertionError) and cluster.nats and (copies := await do(cluster.nats.copies_differ)):
            raise CopiesDiffer(f"seed {seed}: the copies of the stream differ among the NATS servers: {copies}") from error
        raise
    acked, dups = len({event["cid"] for event in made.history.of("acked")}), len(made.history.of("acked"))
    print(f"seed {seed}: {acked} posts, acked {dups} times, {made.heard} received, errors {made.errors}")
    assert acked > 10 and made.heard > acked
    return made


def keep(cluster, crowd, seed, error):
    """What is needed to understand a failure."""
    folder = pathlib.Path(os.environ.get("CHATHUB_HISTORIES", cluster.folder.parent)) / f"chathub-history-{seed}"
    crowd.history.save(folder / "history.jsonl")
    (folder / "error.txt").write_text(f"{type(error).__name__}: {error}\n")
    for node in cluster.nodes:
        (folder / f"{node.name}.log").write_text("\n".join("\n".join(chatd.log.all) for chatd in node.ran))
    for nats in cluster.nats.all if cluster.nats else ():
        (folder / f"{nats.name}.log").write_text(nats.said())
    print(f"to have the same again: CHATHUB_SEED={seed}; what was told is kept in {folder}")


def new_seed():
    return int(os.environ.get("CHATHUB_SEED", secrets.randbits(32)))


async def told(held, fault, seed, most_broken=0):
    """A story in the cluster that is held. The test is skipped when NATS broke more often than that."""
    cluster = await do(held.get)
    try:
        await story(cluster, seed, fault)
        for node in cluster.nodes:
            for chatd in node.ran:
                check_sanitizers("\n".join(chatd.log.all))
            node.ran = node.ran[-1:]
    except CopiesDiffer as broken:
        await do(held.drop, False)
        print(broken)
        held.broken += 1
        if held.broken > most_broken:
            pytest.skip(str(broken))
    except BaseException:
        await do(held.drop, False)
        raise


@pytest.mark.takes(240)
@pytest.mark.parametrize("fault", ON_LOOPBACK, ids=lambda fault: fault.__name__)
async def test_what_was_told_stays_true_when_processes(held, fault):
    await told(held, fault, new_seed())


@pytest.mark.takes(240)
@pytest.mark.parametrize("fault", ON_NETWORKS, ids=lambda fault: fault.__name__)
async def test_what_was_told_stays_true_when_the_network(held, fault):
    if not held.networks:
        pytest.skip("network namespaces with nftables are not permitted here")
    await told(held, fault, new_seed())


@pytest.mark.takes(3600)
async def test_what_was_told_stays_true_when_faults_meet(held):
    first = new_seed()
    for seed in range(first, first + SEEDS):
        print(f"CHATHUB_SEED={seed}")
        await told(held, mixed, seed, most_broken=SEEDS // 10)


# ------------------------------------------------------------------------------------- the same of one node, on SQLite


@pytest.mark.takes(240)
@pytest.mark.parametrize("fault", [kill_node, stop_node, pause_node], ids=lambda fault: fault.__name__)
async def test_one_node_on_sqlite_keeps_the_same_promises(sqlite, tmp_path, fault):
    cluster = Cluster(tmp_path, nodes=1, servers=0, log=f"sqlite:{tmp_path}/chat.db")
    await do(cluster.start)
    try:
        await story(cluster, new_seed(), fault)
    finally:
        await do(cluster.end)


async def test_a_lost_post_and_a_lost_entry_are_found_in_a_real_story(sqlite, tmp_path):
    """The story is true; with one of its lines gone it is not."""
    cluster = Cluster(tmp_path, nodes=1, servers=0, log=f"sqlite:{tmp_path}/chat.db")
    await do(cluster.start)
    try:
        made = await story(cluster, new_seed(), stop_node, posters=3, readers=1)
    finally:
        await do(cluster.end)
    events = made.history.events
    reader = made.people[-1].name
    one = next(event for event in reversed(events) if event["kind"] == "entry" and event["who"] == reader)
    events.remove(one)
    assert any("did not get" in fault for fault in faults(made.history))
    events.append(one)
    final = next(event for event in events if event["kind"] == "final" and len(event["entries"]) > 2)
    del final["entries"][1]
    assert any("was acked" in fault for fault in faults(made.history))
