"""The files in docs/operations.md do what it says: three NATS servers and chatd, with no more rights than it gives."""
import json
import re
import subprocess
import urllib.request

import pytest

from cluster import need_cluster
from conftest import PATIENCE, ROOT, find_program
from nats import Nats, Natses
from wire import Raw, head

TEXT = (ROOT / "docs/operations.md").read_text()


def block(kind):
    """The file of that kind."""
    return re.search(rf"^```{kind}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL).group(1)


class Documented(Nats):
    """A server whose file is the page's, at its own place."""

    def configuration(self):
        text = block("conf").replace("server_name: nats1 ", f"server_name: {self.name} ")
        places = [("0.0.0.0:4222", f"127.0.0.1:{self.port}"), ("127.0.0.1:8222", f"127.0.0.1:{self.monitor}"),
                  ("0.0.0.0:6222", f"127.0.0.1:{self.route}"), ("/var/lib/nats", f'"{self.store}"'), ("50GB", "1GB")]
        places += [(f"nats{number}:6222", f"127.0.0.1:{one.route}") for number, one in
                   enumerate(sorted([self, *self.routes], key=lambda one: one.name), 1)]
        for there, here in places:
            assert there in text, there
            text = text.replace(there, here)
        return text


@pytest.fixture
def documented(tmp_path, start_chatd):
    need_cluster()
    servers = Natses(tmp_path, 3)
    servers.all = [Documented(tmp_path, f"nats{number}") for number in (1, 2, 3)]
    for one in servers.all:
        one.routes = [other for other in servers.all if other is not one]
    servers.start()
    yield servers
    servers.stop()


def chatd_file(servers, number):
    text = block("yaml").replace("ws://0.0.0.0:8080/ws", "ws://127.0.0.1:0/ws").replace("name: node-1", f"name: node-{number}")
    for place, one in zip(("nats1:4222", "nats2:4222", "nats3:4222"), servers.all):
        assert place in text
        text = text.replace(place, f"127.0.0.1:{one.port}")
    return re.sub("^user: .*\n", "", text, flags=re.MULTILINE)


async def test_nodes_by_the_files_are_one_chat(documented, start_chatd, settings_file, tmp_path):
    nodes = []
    for number in (1, 2):
        path = settings_file("")
        path = path.with_name(f"node-{number}.yaml")
        path.write_text(chatd_file(documented, number))
        nodes.append(start_chatd("--config", path, listen=(), log=None))
    alice, bob = await nodes[0].client("alice"), await nodes[1].client("bob")
    for number in range(60):
        await alice.post(f"line {number}")
    for number in range(60):
        await bob.chat(f"line {number}")
    page = await bob.ask({"type": "history", "room": "general", "limit": 20}, "history")
    older = await bob.ask({"type": "history", "room": "general", "before": page["entries"][0]["position"]}, "history")
    assert [one["content"] for one in older["entries"] + page["entries"]] == [f"line {number}" for number in range(60)]
    await alice.ask({"type": "typing"}, "ok")
    assert (await bob.get("typing"))["sender"] == "alice"
    told = documented.wait_whole()
    stream = documented.leader().stream()
    assert told and stream["config"]["num_replicas"] == 3 and len(stream["cluster"]["replicas"]) == 2
    for node in nodes:
        assert not [record for record in node.records() if record["event"] in ("log_trouble", "log_passed_over", "log_hole")]
        assert "CHATD-PASSWORD" not in "\n".join(node.log.all + node.out.all)
    for one in documented.all:
        assert "ermissions Violation" not in one.said()


def test_the_question_of_the_load_balancer_is_answered(start_chatd):
    line = re.search(r"http-check send meth GET uri (\S+) ver HTTP/1.1 hdr Host (\S+)", block("haproxy"))
    chatd = start_chatd()
    with Raw(chatd.address("ws")) as raw:
        raw.send(head(f"GET {line.group(1)} HTTP/1.1", "Connection: close", host=f"Host: {line.group(2)}"))
        status, _, body = raw.response()
    assert status == 200 and json.loads(body)["name"] == "main"
    assert urllib.request.urlopen(chatd.http("/server.json"), timeout=PATIENCE).status == 200


def commands(kind, number):
    """The lines of the page's blocks of shell commands."""
    return re.findall(rf"^```{kind}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)[number].splitlines()


async def test_a_copy_is_made_and_put_back_as_it_says(sqlite, start_chatd, tmp_path):
    """With chatd's usual port and folders of its own in place of the page's."""
    chatd = start_chatd(log=tmp_path / "main-8080.db")
    log, backup = f"{tmp_path}/main-8080.db", f"{tmp_path}/chat-2026-01-02.db"

    def do(lines):
        for line in lines:
            words = line.replace("/backups/chat-2026-01-02.db", backup).replace("chatd-data/main-8080.db", log).split()
            if words[0] == "chatd":
                words[0] = str(find_program("chatd"))
                words += [] if "--log" in words else ["--log", f"sqlite:{log}"]
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE)
            assert done.returncode == 0, done.stderr

    ann = await chatd.client("ann")
    await ann.post("one")
    do(commands("sh", 0))
    seen = await ann.post("two")
    epoch, session = ann.epoch, ann.session
    await ann.close()
    await chatd.stopped()
    do(commands("sh", 1))
    chatd = start_chatd(log=log)
    again = await chatd.client("ann", room=None, session=session)
    await again.ask({"type": "join", "room": "general", "after": seen["position"], "epoch": epoch}, "joined")
    assert (await again.get("gap"))["room"] == "general"
    page = await again.ask({"type": "history", "room": "general"}, "history")
    assert [entry["content"] for entry in page["entries"]] == ["one"]
