"""The small examples do what they say, and the README's program is one."""
import asyncio
import json
import pathlib
import re
import signal
import subprocess

import pytest

from conftest import PATIENCE, ROOT, Client, LineClient, Lines, UnixLines, check_sanitizers, find_program
import websockets


@pytest.fixture
def start():
    """Starts an example; it has to end well on SIGINT, or the signal `ending`."""
    running = []

    def go(name, *args, ending=signal.SIGINT):
        process = subprocess.Popen([str(find_program(name)), *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   stdin=subprocess.DEVNULL)
        errors = Lines(process.stderr)
        running.append((process, errors, ending))
        return process
    yield go
    while LineClient.opened:
        LineClient.opened.pop().close()
    for process, errors, ending in running:
        process.send_signal(ending)
        code = process.wait(PATIENCE)
        errors.thread.join(PATIENCE)
        check_sanitizers("\n".join(errors.all))
        assert code == 0, errors.all
        process.stdout.close()


def listening(process):
    return re.search(r"(?:ws|tcp)://\S+\d(?:/ws)?", process.stdout.readline().decode()).group()


@pytest.mark.parametrize("name,most", [("ws-chat", 60), ("tcp-chat", 60), ("embed", 40), ("embed-epoll", 150),
                                       ("embed-thread", 150), ("bot", 150), ("auth", 170), ("bridge", 220)])
def test_examples_are_short_and_use_the_public_face_alone(name, most):
    text = (ROOT / "examples" / name / "main.c").read_text()
    assert len(text.splitlines()) <= most
    assert {name.split("/")[0] for name in re.findall(r"#include [<\"]([^>\"]+/[^>\"]+)", text)} <= {"sys", "arpa"}
    assert "chathub.h" in text and "chi_" not in text


async def test_ws_chat(start):
    url = listening(start("ws-chat", "ws://127.0.0.1:0/ws"))
    async with websockets.connect(url, subprotocols=["chathub.v1"]) as one, websockets.connect(url) as two:
        alice, guest = Client(one), Client(two)
        await alice.hello("alice")
        await alice.join()
        await guest.send('{"content":"hi"}')
        assert (await alice.chat("hi"))["sender"].startswith("guest-")


def test_tcp_chat(start):
    host, port = re.search(r"//(.*):(\d+)", listening(start("tcp-chat", "tcp://127.0.0.1:0"))).groups()
    one, two = LineClient((host, int(port))), LineClient((host, int(port)))
    one.say("hi")
    one.until(lambda line: "hi" in line)
    two.say("hello yourself")
    one.until(lambda line: "hello yourself" in line)


async def until_connected(path, process):
    while True:
        try:
            return UnixLines(path)
        except OSError:
            assert process.poll() is None
            await asyncio.sleep(0.01)


async def test_embed_has_a_bot_that_answers(start, tmp_path):
    process = start("embed", f"tcp+unix:{tmp_path}/chat")
    alice = await until_connected(tmp_path / "chat", process)
    alice.say("/nick alice")
    alice.say("ping")
    assert "bot" in alice.until(lambda line: "pong, alice" in line)


def people(process, *names):
    """Clients of plain lines with these names, in the room, at the next address that a program tells."""
    host, port = re.search(r"//(.*):(\d+)", listening(process)).groups()
    clients = []
    for name in names:
        clients.append(LineClient((host, int(port))))
        clients[-1].say(f"/nick {name}")
        clients[-1].say("/join general")
        clients[-1].until(lambda line, name=name: "general" in line and name in line)
    return clients


def test_embed_epoll_works_beside_the_hub(start):
    alice, = people(start("embed-epoll", "tcp://127.0.0.1:0", "1", ending=signal.SIGTERM), "alice")
    alice.until(lambda line: "clock" in line and re.search(r"2 clients, 0 posts", line))
    alice.say("hi")
    alice.until(lambda line: "clock" in line and "2 clients" in line and "0 posts" not in line)


def test_bot_answers_what_others_say(start):
    alice, = people(start("bot", "tcp://127.0.0.1:0"), "alice")
    alice.say("!time")
    alice.until(lambda line: "bot" in line and re.search(r"it is \d\d:\d\d:\d\d", line))
    alice.say("hello")
    alice.say("!help")
    seen = []
    alice.until(lambda line: seen.append(line) or "alice, I know" in line)
    assert not [line for line in seen if "bot" in line.split(":")[0] and "I know" not in line]


def test_bot_says_what_it_could_not_answer(start):
    process = start("bot", "tcp://127.0.0.1:0", ending=signal.SIGTERM)
    clients = people(process, "alice", "bob", "carol", "dave", "erin")
    process.send_signal(signal.SIGSTOP)  # so that it finds all of it at once
    for client in clients:
        client.socket.sendall(b"!me\n" * 64)
    process.send_signal(signal.SIGCONT)
    answered = missed = 0
    while answered + missed < 64 * len(clients):
        line = clients[0].until(lambda line: "you are " in line or "too much at once" in line)
        count = re.search(r"at once: (\d+) commands", line)
        answered, missed = answered + (count is None), missed + (int(count.group(1)) if count else 0)
    assert answered and missed
    clients[0].say("!help")
    clients[0].until(lambda line: "alice, I know" in line)


def test_auth_asks_elsewhere_who_may_enter(start):
    alice, eve = people(start("auth", "tcp://127.0.0.1:0"), "alice", "eve")
    for _ in range(3):
        eve.say("/join staff")
        alice.say("/join staff")
        eve.until(lambda line: "this room is for alice and bob" in line)
        alice.until(lambda line: "staff" in line and "alice" in line)
        alice.say("/leave staff")
    eve.say("/join STAFF")
    eve.until(lambda line: "this room is for alice and bob" in line)


def test_auth_knows_names_however_they_are_typed(start):
    alice, = people(start("auth", "tcp://127.0.0.1:0"), "ALICE")
    alice.say("/join Staff")
    alice.until(lambda line: "joined" in line and "staff" in line.lower())


def test_auth_ends_in_the_middle_of_many_questions(start):
    process = start("auth", "tcp://127.0.0.1:0", ending=signal.SIGTERM)
    for client in people(process, *(f"guest{i}" for i in range(80))):
        client.say("/join staff")


def test_bridge_carries_both_ways_and_back_never(start):
    process = start("bridge", "tcp://127.0.0.1:0", "tcp://127.0.0.1:0")
    (alice,), (bob,) = people(process, "alice"), people(process, "bob")
    alice.say("hi")
    bob.until(lambda line: "alice@north: hi" in line)
    bob.say("hello yourself")
    alice.until(lambda line: "bob@south: hello yourself" in line)
    for one, other in ((alice, bob), (bob, alice)):
        one.say("the end")
        seen = []
        other.until(lambda line, seen=seen: seen.append(line) or "the end" in line)
        assert not [line for line in seen if "@" in line and "the end" not in line], "it came back"


def test_bridge_keeps_the_order_of_more_than_it_can_hold(start):
    process = start("bridge", "tcp://127.0.0.1:0", "tcp://127.0.0.1:0", ending=signal.SIGTERM)
    (alice,), (bob,) = people(process, "alice"), people(process, "bob")
    alice.socket.sendall(b"".join(b"from the north %d\n" % i for i in range(2000)))
    bob.socket.sendall(b"".join(b"from the south %d\n" % i for i in range(2000)))
    for client, where in ((bob, "north"), (alice, "south")):
        for number in range(2000):
            line = client.until(lambda line, where=where: f"@{where}: " in line)
            assert line.endswith(f"@{where}: from the {where} {number}")


def test_embed_thread_answers_from_its_own_thread(start):
    alice, = people(start("embed-thread", "tcp://127.0.0.1:0"), "alice")
    for number in range(3):
        alice.say("ping")
        alice.until(lambda line: "thread" in line and "pong, alice" in line)


def test_embed_thread_answers_a_burst(start):
    alice, = people(start("embed-thread", "tcp://127.0.0.1:0", ending=signal.SIGTERM), "alice")
    alice.socket.sendall(b"ping\n" * 500)
    for _ in range(500):
        alice.until(lambda line: "pong, alice" in line)


@pytest.mark.parametrize("name", ["ws-chat", "tcp-chat", "embed-epoll", "embed-thread", "bot", "auth", "bridge"])
def test_an_address_that_cannot_be_used_is_told(name):
    done = subprocess.run([str(find_program(name)), "nonsense", "1"], capture_output=True, text=True, timeout=PATIENCE,
                          check=False)
    assert done.returncode == 1 and "nonsense" in done.stderr
    check_sanitizers(done.stderr)


def library_flags(build):
    """Linking against the build folder's shared library, as it was built."""
    folder = build / "libchathub"
    return ["-I", str(ROOT / "libchathub/include"), f"-L{folder}", "-lchathub", f"-Wl,-rpath,{folder}"]


def compiler_of(build):
    """The compiler of the build folder, with its sanitizers if it has any: only these fit its library."""
    command = json.loads((build / "compile_commands.json").read_text())[0]["command"].split()
    compiler = command[1] if command[0].endswith("ccache") else command[0]
    return [compiler, *[part for part in command if part.startswith("-fsanitize=")]]


def test_the_programs_in_the_readme_compile_and_run(tmp_path):
    found = re.findall(r"```c\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert found
    build = find_program("chatd").parents[2]
    for number, text in enumerate(found):
        source, program = tmp_path / f"{number}.c", tmp_path / str(number)
        source.write_text(text.replace("ws://localhost:8080/ws", f"ws+unix:{tmp_path}/socket"))
        done = subprocess.run([*compiler_of(build), "-std=c11", "-Wall", "-Werror", str(source), "-o", str(program),
                               *library_flags(build)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        process = subprocess.Popen([str(program)])
        try:
            asyncio.run(asyncio.wait_for(speak(tmp_path / "socket", process), PATIENCE))
        finally:
            process.kill()
            process.wait()


async def speak(path: pathlib.Path, process):
    while True:
        try:
            socket_ = await websockets.unix_connect(str(path), uri="ws://localhost/ws", subprotocols=["chathub.v1"])
            break
        except OSError:
            assert process.poll() is None, "it ended"
            await asyncio.sleep(0.01)
    client = Client(socket_)
    await client.hello("alice")
    await client.join()
    await client.post("hi")
    await client.chat("hi")
    await client.close()
