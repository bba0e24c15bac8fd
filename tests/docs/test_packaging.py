"""What is shipped for services: systemd's units and Docker's files. There is no systemd that runs here and no Docker engine:
the units are read by systemd's own tools, and chatd runs under the filters of the kernel that they ask for; Docker's files are
read, and what they name is looked up. tests/packaging/docker.py does the Dockerfile's steps in a plain Debian root."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest
import yaml

from pages import ROOT

sys.path.insert(0, str(ROOT / "tests" / "packaging"))
import dockerfile  # noqa: E402

SYSTEMD = ROOT / "docs/packaging/systemd"
DOCKER = ROOT / "docs/packaging/docker"
PATIENCE = 20

need_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs Debian's package systemd")


def chatd():
    return pathlib.Path(os.environ["CHATHUB_BUILD"]).resolve() / "examples/chatd/chatd"


def run(*command, **options):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=120,
                          **options)


# ------------------------------------------------------------------------------------------------------- systemd

@pytest.fixture
def units(tmp_path):
    """The units with the chatd that was built, since the one that they name is not installed."""
    for name in ("chatd.service", "chatd.socket"):
        text = (SYSTEMD / name).read_text().replace("/usr/bin/chatd", str(chatd()))
        (tmp_path / name).write_text(text.replace("Documentation=man:chatd(1)\n", ""))
    return tmp_path


@need_systemd
def test_systemd_finds_no_fault_with_the_units(units):
    done = run("systemd-analyze", "verify", "--man=no", units / "chatd.service", units / "chatd.socket")
    assert (done.returncode, done.stderr) == (0, "")
    (units / "chatd.service").write_text((units / "chatd.service").read_text().replace("Restart=", "Restrat="))
    assert "Restrat" in run("systemd-analyze", "verify", "--man=no", units / "chatd.service").stderr


@need_systemd
def test_a_service_can_do_little_harm():
    done = run("systemd-analyze", "security", "--offline=true", "--threshold=20", SYSTEMD / "chatd.service")
    level = re.search(r"Overall exposure level for chatd.service: ([\d.]+)", done.stdout)
    assert done.returncode == 0 and float(level[1]) < 2.0, done.stdout[-400:]


def test_the_sockets_are_where_the_settings_have_chatd_listen():
    streams = re.findall(r"^ListenStream=(.+)$", (SYSTEMD / "chatd.socket").read_text(), re.M)
    settings = yaml.safe_load((SYSTEMD / "chatd.yaml").read_text())
    ports = [re.search(r"localhost:(\d+)", url)[1] for url in settings["listen"]]
    assert streams == [f"{host}:{port}" for port in ports for host in ("127.0.0.1", "[::1]")]
    done = run(chatd(), "--config", SYSTEMD / "chatd.yaml", "--check-config")
    assert done.returncode == 0 or "without libyaml" in done.stderr, done.stderr


@need_systemd
def test_chatd_runs_under_what_the_unit_forbids(tmp_path):
    """Starts, posts, reads its settings anew, and ends, all of it with a log in a file; then again."""
    pytest.importorskip("seccomp", reason="needs Debian's package python3-seccomp")
    if os.geteuid() == 0:
        tmp_path.chmod(0o777)
        for folder in tmp_path.parents[:2]:
            folder.chmod(0o755)
    sys_python = "/usr/bin/python3"
    for expected in ("1", "2"):
        notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = tmp_path / f"notify{expected}"
        notices.bind(str(path))
        path.chmod(0o777)
        notices.settimeout(PATIENCE)
        # What a leak checker does at the end is no part of chatd.
        env = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0", "NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "1000000"}
        log = ["--log", f"sqlite:{tmp_path}/data/chat.db"] if can("sqlite") else []
        process = subprocess.Popen(
            [sys_python, ROOT / "tests/packaging/confined.py", SYSTEMD / "chatd.service", chatd(), *log,
             "--listen", "tcp://127.0.0.1:0", "--listen", "ws://localhost:0/ws", "--listen", f"tcp+unix:{tmp_path}/socket"],
            env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            assert notices.recv(4096).startswith(b"READY=1")
            talk(tmp_path / "socket", expected)
            process.send_signal(signal.SIGHUP)
            told = b""
            while b"RELOADING" not in told:
                told = notices.recv(4096)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0, process.stderr.read()
        finally:
            process.kill()
            process.communicate()


def talk(path, text):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(path))
        file = client.makefile("rwb")
        for frame in ({"type": "hello", "name": "ann"}, {"type": "join", "room": "general"},
                      {"type": "post", "room": "general", "content": text, "cid": text}):
            file.write(json.dumps(frame).encode() + b"\n")
        file.flush()
        while json.loads(file.readline())["type"] != "ack":
            pass


def can(feature):
    """Whether this chatd was built with it."""
    return feature != "sqlite" or "has no SQLite" not in run(chatd(), "--check-config", "--log", "sqlite:/x/y.db").stderr


@need_systemd
def test_what_the_unit_forbids_ends_a_program():
    pytest.importorskip("seccomp", reason="needs Debian's package python3-seccomp")
    confined = ["/usr/bin/python3", ROOT / "tests/packaging/confined.py", SYSTEMD / "chatd.service", "/usr/bin/python3", "-c"]
    for text in ("import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)",
                 "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
                 "import ctypes; ctypes.CDLL(None).unshare(0x00020000)",
                 "import os; os.chmod('/tmp/none', 0o4755)", "import os; os.chown('/tmp/none', 0, 0)"):
        assert run(*confined, text).returncode == -signal.SIGSYS, text
    assert run(*confined, "print(1)").returncode == 0


# -------------------------------------------------------------------------------------------------------- Docker

def stages():
    return dockerfile.read(DOCKER / "Dockerfile")


def test_all_that_is_copied_is_there_and_let_through():
    ignored = (DOCKER / "Dockerfile.dockerignore").read_text().split("\n")
    let_through = [line[1:] for line in ignored if line.startswith("!")]
    assert ignored[0] == "*"
    for stage in stages():
        for step in stage.steps:
            if step.name == "COPY" and "from" not in step.flags:
                for source in step.words[:-1]:
                    assert (ROOT / source).exists(), source
                    assert source.rstrip("/") in let_through, source
    assert all((ROOT / path).exists() for path in let_through)


def test_all_packages_are_debians():
    if not shutil.which("apt-cache") or "bookworm" not in pathlib.Path("/etc/os-release").read_text():
        pytest.skip("needs Debian 12")
    names = {name for stage in stages() for name in dockerfile.packages(stage)}
    assert {"libuv1", "nats-server"} <= names and "libuv1-dev" in names
    known = set(run("apt-cache", "pkgnames").stdout.split())
    assert names <= known, names - known


def test_it_runs_as_nobody_special_and_tells_its_health():
    by_name = {stage.name: stage for stage in stages()}
    last = stages()[-1]
    assert {step.name: step.text for step in last.steps}["USER"] not in ("root", "0")
    assert {"USER", "HEALTHCHECK", "ENTRYPOINT", "VOLUME", "EXPOSE"} <= {step.name for step in last.steps}
    assert all(stage.base in ("debian:12-slim", *by_name) for stage in stages())
    health = next(step for step in last.steps if step.name == "HEALTHCHECK")
    assert json.loads(health.text.split("CMD", 1)[1]) == ["chatd", "--check-health"]


def test_the_images_settings_are_options_of_chatd():
    env = dockerfile.environment(stages()[-1])
    done = run(chatd(), "--print-config", env=env)
    assert done.returncode == 0, done.stderr
    # As a file that does not say them would be: each has its effect.
    printed = yaml.safe_load(done.stdout)
    for name, value in env.items():
        if name.startswith("CHATD_"):
            option = printed[name[6:].lower().replace("_", "-")]
            option = " ".join(option) if isinstance(option, list) else {True: "yes", False: "no"}.get(option, option)
            assert option == value, name


SERVICE_KEYS = {"build", "image", "restart", "ports", "volumes", "environment", "command", "read_only", "cap_drop",
                "security_opt", "stop_grace_period", "ulimits", "depends_on", "init", "tmpfs", "healthcheck"}


def compose(name):
    return yaml.safe_load((DOCKER / name).read_text())


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose.cluster.yml"])
def test_a_compose_file_holds_what_compose_knows(name):
    found = compose(name)
    targets = {stage.name for stage in stages()}
    assert {key for key in found if not key.startswith("x-")} <= {"services", "volumes"}
    for service in found["services"].values():
        assert set(service) <= SERVICE_KEYS
        assert service["restart"] == "unless-stopped"
        assert (DOCKER / service["build"]["context"]).resolve() == ROOT
        assert (ROOT / service["build"]["dockerfile"]) == DOCKER / "Dockerfile"
        assert service["build"]["target"] in targets
        for volume in service.get("volumes", ()):
            assert volume.split(":")[0] in found["volumes"]
        for other in service.get("depends_on", ()):
            assert other in found["services"]
        for port in service.get("ports", ()):
            assert re.fullmatch(r"\$\{CHATD_PUBLISH:-127\.0\.0\.1:8080\}:8080|127\.0\.0\.1:(\d+):\1", port), port


def test_one_chatd_is_published_on_this_machine_alone():
    assert compose("docker-compose.yml")["services"]["chatd"]["ports"] == ["${CHATD_PUBLISH:-127.0.0.1:8080}:8080"]


def test_three_nodes_of_one_chat():
    services = compose("docker-compose.cluster.yml")["services"]
    nodes = [service for name, service in services.items() if name != "nats"]
    assert len(nodes) == 3
    base = dockerfile.environment(stages()[-1])
    for service, port in zip(nodes, (8080, 8081, 8082)):
        assert service["ports"] == [f"127.0.0.1:{port}:{port}"]
        env = {**base, **service["environment"]}
        done = run(chatd(), "--check-config", env=env)
        assert done.returncode == 0 or "has no NATS" in done.stderr, done.stderr
        assert f":{port}/ws" in env["CHATD_LISTEN"] and env["CHATD_LOG"].startswith("jetstream:nats://nats:4222")


def test_the_script_stops_builds_and_starts_what_its_file_says(tmp_path):
    """With a docker that only tells how it was called."""
    calls = tmp_path / "calls"
    (tmp_path / "docker").write_text(f'#!/bin/sh\necho "$PWD: docker $*" >>{calls}\n')
    (tmp_path / "docker").chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = run(DOCKER / "start-docker.sh", env=env, cwd="/")
    assert done.returncode == 0, done.stderr
    said = [line for line in calls.read_text().splitlines() if "version" not in line]
    assert said == [f"{DOCKER}: docker compose -f docker-compose.yml {what}" for what in ("down", "up --build -d", "logs -f")]
    calls.unlink()
    assert run(DOCKER / "start-docker.sh", "cluster", env=env).returncode == 0
    assert all("-f docker-compose.cluster.yml" in line for line in calls.read_text().splitlines() if "version" not in line)
    assert run(DOCKER / "start-docker.sh", "nonsense", env=env).returncode == 2


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="needs Debian's package shellcheck")
def test_scripts_have_no_known_faults():
    done = run("shellcheck", DOCKER / "start-docker.sh")
    assert done.returncode == 0, done.stdout
