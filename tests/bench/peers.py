"""The servers of others that chatd is compared with: where their parts are, what is missing, how they start."""
import glob
import os
import pathlib
import shutil
import subprocess

import harness

FOLDER = pathlib.Path(__file__).resolve().parent / "peers"
GO_PATH = "/usr/share/gocode"
NODE_PATH = "/usr/share/nodejs"

PACKAGES = {"gorilla": "golang-go golang-github-gorilla-websocket-dev", "ws": "nodejs node-ws"}


def find_go():
    """Debian's compiler; another one may come first in PATH."""
    found = sorted(glob.glob("/usr/lib/go-*/bin/go"), key=lambda path: [int(n) for n in path.split("/")[3][3:].split(".")])
    return found[-1] if found else shutil.which("go")


def build_gorilla(folder):
    """The program, built into the folder; None: its parts are not there."""
    go = find_go()
    if not go or not os.path.isdir(f"{GO_PATH}/src/github.com/gorilla/websocket"):
        return None
    program = pathlib.Path(folder) / "hub-go"
    env = dict(os.environ, GO111MODULE="off", GOPATH=GO_PATH, GOFLAGS="", GOTOOLCHAIN="local")
    if not {"HOME", "GOCACHE", "XDG_CACHE_HOME"} & set(env):
        env["GOCACHE"] = str(pathlib.Path(folder) / "go-cache")
    done = subprocess.run([go, "build", "-o", str(program), str(FOLDER / "hub.go")], env=env, capture_output=True,
                          text=True, timeout=600, check=False)
    if done.returncode != 0:
        raise harness.Failed(f"{go} cannot build {FOLDER / 'hub.go'}:\n{done.stderr.strip()}")
    return [program]


def find_ws(_):
    node = shutil.which("node")
    return [node, FOLDER / "hub.js"] if node and os.path.isdir(f"{NODE_PATH}/ws") else None


def find(folder, tell):
    """Commands of the peers that can run here, by name. tell(text) hears of those that cannot."""
    found = {name: how(folder) for name, how in (("gorilla", build_gorilla), ("ws", find_ws))}
    for name in [name for name, command in found.items() if not command]:
        tell(f"{name} is left out; for it: apt-get install --no-install-recommends {PACKAGES[name]}")
        del found[name]
    return found


def server(command):
    return harness.Server(command, {"ws": harness.WS}, ends_by_input=True, env={"NODE_PATH": NODE_PATH})
