"""chatd's settings: every option as a flag, a variable and a line of the file, and errors that say what to do."""
import os
import pathlib
import re
import shlex
import signal
import socket
import stat
import subprocess

import pytest

from conftest import PATIENCE, ROOT, as_record, find_program

# What an address sanitizer needs rights for that are given up.
NO_LEAKS = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
as_root = pytest.mark.skipif(os.getuid() != 0, reason="this is not root")


def options_of(text):
    """name → value of what --print-config printed, but for the list."""
    return dict(re.findall(r"^([a-z-]+): (.*)$", text, re.M))


def test_help_is_one_screen_and_names_the_way_to_everything(run_chatd):
    done = run_chatd("--help")
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) <= 24 and max(map(len, lines)) <= 80
    for wanted in ("--listen", "--log-file", "--config", "--insecure", "--help all"):
        assert wanted in done.stdout
    assert run_chatd("-h").stdout == done.stdout


def test_help_all_explains_every_option_that_print_config_prints(run_chatd):
    every = run_chatd("--help", "all").stdout
    printed = run_chatd("--print-config").stdout
    names = re.findall(r"^([a-z-]+):", printed, re.M)
    assert len(names) > 50
    for name in names:
        assert f"  --{name}" in every
        assert f"  --{name}" in run_chatd("--help", name).stdout


def test_without_listeners_it_is_at_home_on_this_machine_alone(run_chatd):
    listen = re.search(r"listen:\n((?:  - .*\n)+)", run_chatd("--print-config").stdout).group(1)
    assert re.findall(r'"(.*)"', listen) == ["ws://localhost:8080/ws", "tcp://localhost:7000"]


def test_print_config_is_valid_as_a_file_and_means_the_same(run_chatd, settings_file):
    first = run_chatd("--print-config", "--max-clients", "77", "--rooms", 'a,b "c"', "--listen", "tcp://localhost:0",
                      "--www", "a\\b", "--return-time=90s")
    path = settings_file(first.stdout)
    assert run_chatd("--config", path, "--print-config").stdout == first.stdout
    assert options_of(first.stdout)["max-clients"] == "77"


@pytest.mark.parametrize("log,shown", [
    ("jetstream:nats://chat:secret@a,tls.secret@b:1/S", "jetstream:nats://***@a,***@b:1/S"),
    ("jetstream:secret@a", "jetstream:***@a"),
    ("jetstream:tls://chat:se://cret@[::1]:4222,tls://a", "jetstream:tls://***@[::1]:4222,tls://a"),
    ("jetstream:nats://a:4222,b/chat", "jetstream:nats://a:4222,b/chat"),
])
def test_passwords_in_the_log_are_not_printed(run_chatd, settings_file, nats, log, shown):
    first = run_chatd("--print-config", "--log", log)
    assert first.returncode == 0 and options_of(first.stdout)["log"] == f'"{shown}"'
    assert "cret" not in first.stdout + first.stderr and ("which is not shown" in first.stdout) == ("***" in shown)
    assert run_chatd("--config", settings_file(first.stdout), "--check-config").returncode == 0


@pytest.mark.parametrize("log", ["jetsream:nats://chat:secret@a", "jetstream:nats://secret@:0", "jetstream:secret@",
                                 "jetstream:http://secret@a", "nats://secret@a", "jetstream:nats://a@b/secret@c/d/",
                                 "jetstream:tls://a,tls://chat:secret@b"])
def test_passwords_in_a_wrong_log_are_not_told(run_chatd, nats, log):
    done = run_chatd("--check-config", "--log", log)
    assert done.returncode == 2 and "log" in done.stderr and "secret" not in done.stdout + done.stderr


def test_every_option_is_a_variable_and_a_flag_too(run_chatd):
    values = options_of(run_chatd("--print-config").stdout)
    values = {name: value.strip('"') for name, value in values.items() if value != '""'}
    variables = {"CHATD_" + name.upper().replace("-", "_"): value for name, value in values.items()}
    as_variables = run_chatd("--print-config", env=variables)
    assert as_variables.returncode == 0 and as_variables.stderr == ""
    as_flags = run_chatd("--print-config", *[f"--{name}={value}" for name, value in values.items()])
    assert as_flags.stdout == as_variables.stdout == run_chatd("--print-config").stdout


def test_flags_win_over_variables_over_the_file_over_defaults(run_chatd, settings_file):
    path = settings_file("max-clients: 2\nmax-rooms: 2\nmax-content: 2k\nlisten:\n  - tcp://localhost:1\n")
    done = run_chatd("--config", path, "--max-clients", "4", "--print-config",
                     env={"CHATD_MAX_CLIENTS": "3", "CHATD_MAX_ROOMS": "3",
                          "CHATD_LISTEN": "tcp://localhost:2 tcp://localhost:3"})
    values = options_of(done.stdout)
    assert (values["max-clients"], values["max-rooms"], values["max-content"]) == ("4", "3", "2k")
    assert "localhost:1" not in done.stdout and "localhost:2" in done.stdout and "localhost:3" in done.stdout
    assert values["default-room"] == '"general"'
    assert "localhost:2" not in run_chatd("--listen", "tcp://localhost:4", "--print-config",
                                          env={"CHATD_LISTEN": "tcp://localhost:2"}).stdout
    assert options_of(run_chatd("--print-config", env={"CHATD_CONFIG": str(path)}).stdout)["max-clients"] == "2"


def test_switches_can_be_said_in_each_way(run_chatd, settings_file):
    def insecure(*args):
        return options_of(run_chatd("--print-config", *args).stdout)["insecure"]
    assert insecure("--insecure") == insecure("--insecure=yes") == "yes"
    assert insecure("--no-insecure") == insecure("--insecure=no") == insecure() == "no"
    assert insecure("--config", settings_file("insecure: true\n")) == "yes"
    assert insecure("--config", settings_file("insecure: off\n")) == "no"


@pytest.mark.parametrize("text,where,wanted", [
    ("max-clients: 7\nlog-fromat: json\n", "2:1", 'did you mean "log-format"'),
    ("max_clients: 7\n", "1:1", 'did you mean "max-clients"'),
    ("frobnicate: 7\n", "1:1", "--help all"),
    ("max-clients:   many\n", "1:16", "a number from 1"),
    ("# nothing\n\nmax-content: 5x\n", "3:14", "a size such as"),
    ("return-time: 5\n", "1:14", "a time such as"),
    ("insecure: maybe\n", "1:11", "neither yes nor no"),
    ("log-level: loud\n", "1:12", "debug, info, warning, error"),
    ("rooms: a\nrooms: b\n", "2:1", "twice"),
    ("rooms: [a, b]\n", "1:8", "single value"),
    ("rooms: &x a\nname: *x\n", "2:7", "aliases"),
    ("- rooms\n", "1:1", "option: value"),
    ("rooms\n", "1:1", "option: value"),
    ("rooms: a\n---\nrooms: b\n", "2:1", "one is enough"),
    ("rooms: \"a\n", "2:1", "valid YAML"),
    ("\tx: 1\n", "1:1", "valid YAML"),
    ("help: all\n", "1:1", "command line"),
    ("listen: [tcp://localhost:0, http://x]\n", "1:29", "http://x"),
])
def test_a_wrong_file_is_refused_with_place_and_remedy(run_chatd, settings_file, text, where, wanted):
    path = settings_file(text)
    done = run_chatd("--config", path, "--check-config")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"chatd: {path}:{where}: ") and wanted in done.stderr


@pytest.mark.parametrize("text", ["", "# a comment\n", "---\n", "---\n...\n", "rooms: a, b\n"])
def test_a_right_file_is_valid(run_chatd, settings_file, text):
    done = run_chatd("--config", settings_file(text), "--check-config")
    assert (done.returncode, done.stdout, done.stderr) == (0, "the settings are valid\n", "")


@pytest.mark.parametrize("args,wanted", [
    (["--max-clinets", "3"], "did you mean --max-clients?"),
    (["--frobnicate"], "--help all"),
    (["serve"], "options begin with --"),
    (["--max-clients"], "needs a value"),
    (["--max-clients", "x"], "--max-clients: 'x' does not fit"),
    (["--no-max-clients"], "there is no option"),
    (["--help", "lisen"], "did you mean --listen?"),
    (["--log-format=xml"], "logfmt, json"),
    (["--listen", "ws:/x"], "--listen: "),
    (["--listen", "ws://0.0.0.0:0/ws"], "insecure"),
    (["--version=maybe"], "yes, no"),
])
def test_a_wrong_flag_exits_2_with_one_line_that_helps(run_chatd, args, wanted):
    done = run_chatd(*args)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("chatd: ") and done.stderr.count("\n") == 1 and wanted in done.stderr


def test_a_wrong_variable_is_named(run_chatd):
    done = run_chatd("--check-config", env={"CHATD_MAX_CLIENTS": "some"})
    assert done.returncode == 2 and "CHATD_MAX_CLIENTS: 'some'" in done.stderr


def test_a_file_that_is_not_there_is_named(run_chatd, settings_file, tmp_path):
    settings_file("").unlink()
    done = run_chatd("--config", tmp_path / "none.yaml")
    assert done.returncode == 1 and "none.yaml: cannot be read: No such file" in done.stderr


def test_without_libyaml_a_file_is_refused_with_the_reason(run_chatd):
    done = run_chatd("--config", "/dev/null", "--check-config")
    if done.returncode == 0:
        pytest.skip("this chatd was built with libyaml")
    assert done.returncode == 2 and "without libyaml" in done.stderr and "CHATD_" in done.stderr


def test_a_port_in_use_is_named_and_leaves_nothing_open(run_chatd):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_chatd("--listen", "tcp://127.0.0.1:0", "--listen", f"ws://127.0.0.1:{port}/ws")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert str(port) in done.stderr and "in use" in done.stderr


def test_a_log_file_that_cannot_be_made_is_named(run_chatd, tmp_path):
    done = run_chatd("--log-file", tmp_path / "none" / "log", "--listen", "tcp://127.0.0.1:0")
    assert done.returncode == 1 and "none/log cannot be opened" in done.stderr


def test_version(run_chatd):
    assert re.fullmatch(r"chatd \d+\.\d+\.\d+\n", run_chatd("--version").stdout)


def test_foreign_variables_are_only_remarked(start_chatd):
    chatd = start_chatd(env={"CHATD_SERVICE_HOST": "10.0.0.1"})
    assert chatd.record("unknown_variable")["name"] == "CHATD_SERVICE_HOST"


def test_the_process_is_careful(chatd):
    status = pathlib.Path(f"/proc/{chatd.pid}/status").read_text()
    limits = pathlib.Path(f"/proc/{chatd.pid}/limits").read_text()
    assert "Umask:\t0077" in status and "NoNewPrivs:\t1" in status
    soft, hard = re.search(r"Max open files\s+(\d+)\s+(\d+)", limits).groups()
    assert soft == hard


def test_the_first_words_tell_where_what_and_how(chatd):
    text = "\n".join(chatd.out.all)
    ws, tcp = chatd.address("ws")[1], chatd.address("tcp")[1]
    assert f"http://localhost:{ws}/" in text and f"nc localhost {tcp}" in text
    assert "memory" in text and f"kill {chatd.pid}" in text and "--insecure" in text


@pytest.mark.parametrize("args,wanted", [
    (["--listen", "ws://0.0.0.0:0/ws"], "--insecure"),
    (["--listen", "tcp://[::]:0"], "--insecure"),
    (["--rooms", "fine,bad\x07bell"], "--rooms: "),
    (["--default-room", "bad\u202eroom"], "--default-room: "),
    (["--log", "papyrus"], "--log: "),
    pytest.param(["--user", "nobody-of-this-name"], "--user: there is no user", marks=as_root),
    pytest.param(["--user", "root"], '--user: "root" is root itself', marks=as_root),
])
def test_check_config_refuses_what_the_start_refuses(run_chatd, args, wanted):
    if args[0] != "--listen":
        args = [*args, "--listen", "tcp://127.0.0.1:0"]
    checked, started = run_chatd("--check-config", *args), run_chatd(*args)
    assert checked.returncode == 2 and checked.stdout == "" and checked.stderr.count("\n") == 1
    assert wanted in checked.stderr
    assert (started.returncode, started.stderr) == (2, checked.stderr)


def test_check_config_takes_what_the_start_takes(run_chatd):
    done = run_chatd("--check-config", "--insecure", "--listen", "ws://0.0.0.0:0/ws", "--rooms", "a, b")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_name_that_is_none_is_told_with_its_place_in_the_file(run_chatd, settings_file):
    path = settings_file('max-clients: 7\nrooms: "a,b\\ac"\n')
    done = run_chatd("--config", path, "--check-config")
    assert done.returncode == 2 and done.stderr.startswith(f"chatd: {path}:2:8: ")


def status_of(task):
    lines = (task / "status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


@as_root
def test_root_is_given_up_for_good_and_the_log_file_can_still_be_opened(start_chatd, tmp_path):
    for folder in (tmp_path, *tmp_path.parents):  # an operator's folder of log files can be passed by anybody
        if not folder.stat().st_mode & stat.S_IXOTH:
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    path = tmp_path / "log"
    chatd = start_chatd("--user", "nobody", "--log-file", path, env=NO_LEAKS)
    for task in pathlib.Path(f"/proc/{chatd.pid}/task").iterdir():
        status = status_of(task)
        assert status["Uid"].split() == ["65534"] * 4 and status["Gid"].split() == ["65534"] * 4
        assert set(status["Groups"].split()) <= {"65534"}
        assert status["NoNewPrivs"] == "1" and int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (65534, 0o600)
    reader = subprocess.Popen(["tail", "-F", "-n", "+1", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        chatd.process.send_signal(signal.SIGHUP)
        events = []
        while "reloaded" not in events:
            events.append(as_record(reader.stdout.readline().decode())["event"])
            assert events[-1] not in ("reload_failed", "log_not_reopened", "runs_as_root")
    finally:
        reader.kill()
        reader.wait()
        reader.stdout.close()
    chatd.stop()
    assert as_record(path.read_text().splitlines()[-1])["event"] == "stopped"


@as_root
@pytest.mark.parametrize("make", ["symlink_to", "hardlink_to"])
def test_what_a_link_leads_to_is_not_given_away(start_chatd, tmp_path, make):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("")
    getattr(link, make)(target)
    start_chatd("--user", "nobody", "--log-file", link, env=NO_LEAKS).stop()
    assert target.stat().st_uid == 0 and "started" in target.read_text()


@as_root
def test_root_without_user_is_warned(start_chatd):
    record = start_chatd().record("runs_as_root")
    assert record["level"] == "warning" and "--user" in record["message"]


def test_only_root_can_become_another(run_chatd):
    options = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
    try:
        done = run_chatd("--user", "nobody", "--listen", "tcp://127.0.0.1:0", cwd="/", **options)
    except PermissionError:
        pytest.skip("nobody may not run this chatd where it is")
    assert done.returncode == 2 and "--user: only root" in done.stderr


def test_the_command_that_it_tells_is_the_one_that_started_it(start_chatd, tmp_path):
    def told(chatd):
        line = chatd.out.wait(lambda line: line if "--insecure" in line else None)
        command = shlex.split(line.split("who they are: ")[1])
        assert command[1:] == ["--listen", "ws://0.0.0.0:8080/ws", "--insecure"]
        return command[0]
    assert told(start_chatd()) == str(find_program("chatd"))
    named = tmp_path / "my $chat d"
    named.symlink_to(find_program("chatd"))
    assert told(start_chatd(program=named)) == str(named)
    script = (ROOT / "examples/chatd/run").read_text()
    end = script[script.index("command="):].replace("$root/build/release/examples/chatd/chatd", str(find_program("chatd")))
    wrapper = tmp_path / "run"
    wrapper.write_text(f"#!/bin/bash\nset -euo pipefail\nroot=/nowhere\n{end}")
    wrapper.chmod(0o755)
    assert told(start_chatd(program=wrapper)) == str(wrapper)


def test_packages_that_sudo_does_not_install_are_told_with_the_line_to_run(tmp_path):
    for name, body in (("sudo", "exit 1"), ("apt-get", "exit 1"), ("id", "echo 1000"), ("apt-cache", "exit 1"),
                       ("dpkg-query", '[ "$3" = node-llhttp ] && printf installed')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(["bash", "-c", 'set -euo pipefail; source "$1"; install_missing gcc meson', "bash",
                           str(ROOT / "tests/install.sh")], capture_output=True, text=True, timeout=PATIENCE, check=False,
                          env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.returncode == 1
    assert "\n  apt-get update && apt-get install -y --no-install-recommends gcc meson\n" in done.stderr
