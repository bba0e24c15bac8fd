"""Does by hand what the Dockerfile says, in plain Debian roots, and uses what comes of it: `docker.py`, as root.

Each stage is a root of root.sh; RUN is done in it by /bin/sh, with the network; COPY copies. Then, without a network, chatd
runs as the image would run it: as its user, with its environment and entry point, is asked for its health, keeps a post over a
restart, and ends by its signal. What the final image adds to Debian's is told in MB. The roots are made in a folder of their
own and removed at the end. CHATHUB_ROOTS is as for root.sh."""
import json
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile

import dockerfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FILE = ROOT / "docs/packaging/docker/Dockerfile"

# What is done in the final root: $1 is the entry point, $2 what HEALTHCHECK runs.
USE = r"""
set -eu
healthy() {
    local try
    for try in $(seq 100); do
        if sh -c "$2" >/dev/null 2>&1; then return 0; fi
        sleep 0.1
    done
    sh -c "$2"
}
until_heard() { # says the rest of the arguments, and listens until a line has this
    local line wanted=$1
    shift
    exec 3<>/dev/tcp/127.0.0.1/7000
    printf '%s\n' "$@" >&3
    while read -r -t 20 line <&3; do
        if [[ $line == *"$wanted"* ]]; then exec 3>&-; return 0; fi
    done
    echo "there came no $wanted"
    return 1
}
test "$(id -u)" != 0
if sh -c "$2" >/dev/null 2>&1; then echo "healthy before it runs"; exit 1; fi
for turn in 1 2; do
    sh -c "exec $1" >/dev/null 2>/tmp/log-$turn &
    healthy "$1" "$2"
    if test $turn = 2; then
        until_heard '"content":"turn 1"' '{"type":"hello","name":"ann"}' '{"type":"join","room":"general","last":10}'
    fi
    until_heard '"type":"ack"' '{"type":"hello","name":"bob"}' '{"type":"join","room":"general"}' \
        '{"type":"post","room":"general","content":"turn '"$turn"'"}'
    kill -TERM $!
    wait $! || { echo "exit status $?"; cat /tmp/log-$turn; exit 1; }
done
test -s /var/lib/chatd/chatd-data/main-8080.db
"""


def root_sh(*words, **options):
    return subprocess.run([HERE / "root.sh", *map(str, words)], check=True, **options)


def size_of(root):
    """Bytes on the disk, without what apt keeps in mounts and what an image leaves out."""
    told = subprocess.run(["du", "-sx", "--block-size=1", "--exclude=var/lib/apt/lists", "--exclude=var/cache/apt",
                           "--exclude=var/log", "."], cwd=root, check=True, capture_output=True, text=True)
    return int(told.stdout.split()[0])


class Image:
    """A stage, done."""

    def __init__(self, stage, folder, done):
        self.stage, self.root, self.done = stage, folder / stage.name, done
        self.env, self.user, self.place = {}, "root", "/"
        root_sh("make", self.root)
        self.bare = size_of(self.root)
        for step in stage.steps:
            print(f"{stage.name}: {step.name} {step.text[:100]}", flush=True)
            does = {"RUN": self.run, "COPY": self.copy, "ENV": self.set_env, "WORKDIR": self.set_place,
                    "USER": self.set_user}.get(step.name)
            if does:
                does(step)

    def inside(self, command, *args, network=False, user=None, env=None):
        """A shell's command in the root, at the place and as the user that were said before."""
        user = user or self.user
        words = [f"{name}={value}" for name, value in {**self.env, **(env or {})}.items()]
        shell = ["/bin/bash" if args else "/bin/sh", "-c", f"cd {shlex.quote(self.place)} && {command}", "sh", *args]
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user != "root" else []
        return root_sh("run", *(["--network"] if network else []), self.root, "env", *words, *become, *shell)

    # ---- one for each instruction that does something

    def run(self, step):
        self.inside(step.text, network=True)

    def set_env(self, step):
        self.env.update(word.split("=", 1) for word in shlex.split(step.text))

    def set_place(self, step):
        self.place = step.text
        (self.root / step.text.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def set_user(self, step):
        self.user = step.text

    def copy(self, step):
        source = self.done[step.flags["from"]].root if "from" in step.flags else ROOT
        *names, to = step.words
        for name in names:
            self.copy_one(source / name.lstrip("/"), self.root / to.lstrip("/"), to.endswith("/"))

    @staticmethod
    def copy_one(source, to, into):
        if source.is_dir():
            shutil.copytree(source, to, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
            return
        to = to / source.name if into else to
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, to)


def words_of(stage, name):
    text = next(step.text for step in stage.steps if step.name == name)
    return shlex.join(json.loads(text[text.index("["):]))


def use_chatd(image):
    image.inside(USE, words_of(image.stage, "ENTRYPOINT"), words_of(image.stage, "HEALTHCHECK"))


def use_nats(image):
    """It has its folder, and takes connections."""
    image.inside("""
        sh -c "exec $1" >/tmp/log 2>&1 &
        for try in $(seq 100); do
            if (exec 3<>/dev/tcp/127.0.0.1/4222) 2>/dev/null; then test -d /var/lib/nats-js/jetstream && exit 0; fi
            sleep 0.1
        done
        cat /tmp/log; exit 1""", words_of(image.stage, "ENTRYPOINT"))


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="chathub-docker-"))
    folder.chmod(0o755)
    done = {}
    try:
        for stage in dockerfile.read(FILE):
            done[stage.name] = Image(stage, folder, done)
        use_nats(done["nats"])
        use_chatd(done["chatd"])
        final = done["chatd"]
        print(f"the image adds {(size_of(final.root) - final.bare) / 1e6:.1f} MB to Debian's, "
              f"of which chatd is {(final.root / 'usr/bin/chatd').stat().st_size / 1e6:.1f} MB")
    finally:
        for stage in done:
            root_sh("remove", folder / stage)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
