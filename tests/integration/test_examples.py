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
    """Starts an example; it has to end well on SIGINT."""
    running = []

    def go(name, *args):
        process = subprocess.Popen([str(find_program(name)), *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   stdin=subprocess.DEVNULL)
        running.append((process, Lines(process.stderr)))
        return process
    yield go
    while LineClient.opened:
        LineClient.opened.pop().close()
    for process, errors in running:
        process.send_signal(signal.SIGINT)
        code = process.wait(PATIENCE)
        errors.thread.join(PATIENCE)
        check_sanitizers("\n".join(errors.all))
        assert code == 0, errors.all
        process.stdout.close()


def listening(process):
    return re.search(r"(?:ws|tcp)://\S+\d(?:/ws)?", process.stdout.readline().decode()).group()


@pytest.mark.parametrize("name,most", [("ws-chat", 60), ("tcp-chat", 60), ("embed", 40)])
def test_examples_are_short_and_use_the_public_face_alone(name, most):
    text = (ROOT / "examples" / name / "main.c").read_text()
    assert len(text.splitlines()) <= most
    assert set(re.findall(r"#include [<\"]([^>\"]+/[^>\"]+)", text)) <= {"sys/prctl.h"}
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


@pytest.mark.parametrize("name", ["ws-chat", "tcp-chat"])
def test_an_address_that_cannot_be_used_is_told(name):
    done = subprocess.run([str(find_program(name)), "nonsense"], capture_output=True, text=True, timeout=PATIENCE,
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
