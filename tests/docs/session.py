#!/usr/bin/python3
"""Does what a tutorial tells its reader to do, in an empty folder, and looks for what the page says that he will see.

    tests/docs/session.py PAGE [FOLDER]

- A block ```c, ```python or ```yaml whose text before it names a file (`host.c`) is written to that file.
- Each command of a block ```sh is run at a terminal, and has to end with exit status 0; the last one of ```sh stays is left running.
- The lines of a block ```text have to appear in what the last command says, in this order (… stands for anything).
- A block ```lines is a dialogue with the command above it: `> ` is typed, `< ` has to come.
- "Ctrl-C" in the text stops what was started last and runs still, "Ctrl-C in both" two of them, "Ctrl-C in all" everything.

With CHATHUB_BUILD the programs and the library of that build folder are used; without it what is installed. Where the system
lets us, all this happens in a network of its own, so that the page's ports are free."""
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import threading

from pages import ROOT, blocks
from shell import lines_of

PATIENCE = 30
RUN = "./examples/chatd/run"


class Trouble(Exception):
    """What the page says is not so."""


class Output:
    """What a command says, line by line; whoever waits for a line finds it once."""

    def __init__(self, descriptor):
        self.lines, self.at, self.ended = [], 0, False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self.read, args=(descriptor,), daemon=True)
        self.thread.start()

    def read(self, descriptor):
        rest = b""
        while True:
            try:
                piece = os.read(descriptor, 65536)
            except OSError:
                piece = b""  # the terminal's last user has gone
            *whole, rest = (rest + piece).split(b"\n")
            with self.changed:
                self.lines += [line.decode("utf-8", "replace").rstrip("\r") for line in whole]
                if not piece and rest:
                    self.lines.append(rest.decode("utf-8", "replace"))
                self.ended = not piece
                self.changed.notify_all()
            if not piece:
                os.close(descriptor)
                return

    def wait(self, wanted):
        """Until a line comes that is as wanted."""
        pattern = ".*".join(re.escape(part) for part in wanted.strip().split("…"))
        with self.changed:
            def found():
                while self.at < len(self.lines):
                    self.at += 1
                    if re.fullmatch(pattern, self.lines[self.at - 1].strip()):
                        return True
                return self.ended
            before = self.at
            self.changed.wait_for(found, PATIENCE)
            if not (self.at > before and re.fullmatch(pattern, self.lines[self.at - 1].strip())):
                raise Trouble(f"this line did not come:\n    {wanted}\nbut:\n    " + "\n    ".join(self.lines))


class Command:
    """A command that runs, at a terminal or, where somebody talks to it, at pipes."""

    def __init__(self, line, folder, env, talks):
        self.line = line
        if talks:
            read, write = os.pipe()
            self.process = subprocess.Popen(["bash", "-c", line], cwd=folder, env=env, stdin=subprocess.PIPE, stdout=write,
                                            stderr=write, start_new_session=True)
        else:
            read, write = pty.openpty()
            attributes = termios.tcgetattr(write)
            attributes[3] &= ~termios.ECHO
            termios.tcsetattr(write, termios.TCSANOW, attributes)
            self.process = subprocess.Popen(["bash", "-c", line], cwd=folder, env=env, stdin=write, stdout=write, stderr=write,
                                            start_new_session=True)
        os.close(write)
        self.output = Output(read)

    def type(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def runs(self):
        return self.process.poll() is None

    def end(self):
        """It has to end by itself, and well."""
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Trouble(f"does not end: {self.line}\n(if it is not to, begin the block with: ```sh stays)") from None
        self.output.thread.join(PATIENCE)
        self.look()
        if status:
            raise Trouble(f"exit status {status}: {self.line}\n    " + "\n    ".join(self.output.lines))

    def look(self):
        """A sanitizer's word is trouble."""
        said = "\n".join(self.output.lines).strip()
        if said.endswith("KeyboardInterrupt"):
            return  # how Python takes a Ctrl-C that the program does not
        if re.search(r"(Address|Leak|UndefinedBehavior)Sanitizer|runtime error:|Traceback", said):
            raise Trouble(f"{self.line} went wrong:\n{said}")

    def interrupt(self):
        """Ctrl-C."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(PATIENCE)
        self.output.thread.join(PATIENCE)
        self.look()
        if self.process.returncode not in (0, 128 + signal.SIGINT, -signal.SIGINT):
            raise Trouble(f"exit status {self.process.returncode} after Ctrl-C: {self.line}\n    "
                          + "\n    ".join(self.output.lines[-20:]))

    def kill(self):
        if self.runs():
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Session:
    """A reader with a page."""

    def __init__(self, page, folder):
        self.page, self.folder, self.running, self.last = page, pathlib.Path(folder), [], None
        self.env = environment(self.folder)

    def go(self):
        try:
            all_blocks = blocks(self.page)
            for block, following in zip(all_blocks, [*all_blocks[1:], None]):
                try:
                    self.hear(block.before)
                    self.do(block, following)
                except Trouble as trouble:
                    raise Trouble(f"{block.place}: {trouble}") from None
            for command in reversed(self.running):
                command.interrupt()
        finally:
            for command in self.running:
                command.kill()

    def hear(self, prose):
        """Obeys "Ctrl-C"; what has ended by itself must have ended well."""
        for command in [command for command in self.running if not command.runs()]:
            self.running.remove(command)
            command.end()
        for how_many in re.findall(r"Ctrl-C(?:\s+in\s+(both|all))?", prose):
            for _ in range({"both": 2, "all": len(self.running)}.get(how_many, 1)):
                if self.running:
                    self.running.pop().interrupt()

    def do(self, block, following):
        if block.kind == "sh":
            *first, last = lines_of(block.text)
            for line in first:
                self.start(line).end()
            talks = following is not None and following.kind == "lines"
            self.last = self.start(last, talks)
            if talks or "stays" in block.words:
                self.running.append(self.last)
            else:
                self.last.end()
        elif block.kind == "text":
            for line in block.text.splitlines():
                self.last.output.wait(line)
        elif block.kind == "lines":
            self.talk(block.text.splitlines())
        elif block.file:
            (self.folder / block.file).write_text(block.text)
        else:
            raise Trouble(f"the text before this block of {block.kind} does not name its file, as in: `host.{block.kind}`")

    def start(self, line, talks=False):
        return Command(line, self.folder, self.env, talks)

    def talk(self, lines):
        for line in lines:
            if line.startswith("> "):
                self.last.type(line[2:])
            else:
                self.last.output.wait(line.removeprefix("< "))


def script(path, text):
    path.write_text("#!/bin/bash\n" + text)
    path.chmod(0o755)


def environment(folder):
    """What commands are run with; the build folder's programs are laid into the reader's path."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("CHATD_")}
    env.update(PYTHONUNBUFFERED="1", PATH=env["PATH"] + ":/usr/sbin:/sbin")
    if os.environ.get("CHATHUB_BUILD"):
        lay_tools(folder, pathlib.Path(os.environ["CHATHUB_BUILD"]).resolve(), env)
    return env


def lay_tools(folder, build, env):
    """The programs of a build folder, what finds its library, and what of the clone the pages use."""
    tools = folder / ".tools"
    tools.mkdir()
    for name in ("chatd", "chat"):
        (tools / name).symlink_to(build / "examples" / name / name)
    (folder / RUN).parent.mkdir(parents=True)
    script(folder / RUN, f'exec -a "$0" {build}/examples/chatd/chatd "$@"\n')
    (folder / "bindings").symlink_to(ROOT / "bindings")
    library = build / "libchathub"
    for name, place in (("chathub", "libchathub"), ("chathub-testing", "tests/kit")):
        told = build / f"meson-private/{name}.pc"
        if told.exists():  # a build may leave the kit for tests out
            (tools / f"{name}.pc").write_text(as_built(told.read_text(), build / place))
    shared = (library / "libchathub.so.0").resolve()
    lay_languages(tools, shared)
    env.update(PATH=f"{tools}:{env['PATH']}", PKG_CONFIG_PATH=str(tools), PYTHONPATH=str(ROOT / "bindings/python"),
               CHATHUB_LIBRARY=str(shared))


def as_built(text, library):
    """What pkg-config will know of a library when it is installed, but for where it is."""
    text = re.sub(r"^libdir=.*", f"libdir={library}", text, flags=re.M)
    text = re.sub(r"^Cflags: -I\S+", f"Cflags: -I{ROOT}/libchathub/include -I{ROOT}/tests/kit", text, flags=re.M)
    return re.sub(r"^Libs: .*", rf"\g<0> -Wl,-rpath,{library}", text, flags=re.M)


def lay_languages(tools, shared):
    """cc and python3 that get on with a library that has sanitizers in it."""
    before = ""
    if b"__asan_init" in shared.read_bytes():
        compiler, runtime = sanitizer(shared)
        script(tools / "cc", f'exec {compiler} -fsanitize=address,undefined -fno-sanitize-recover=all "$@"\n')
        before = f"export LD_PRELOAD={runtime} ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0\n"
    script(tools / "python3", before + 'exec /usr/bin/python3 "$@"\n')


def sanitizer(shared):
    """The compiler by which a library with sanitizers was built, and their runtime, which Python has to load first."""
    needed = subprocess.run(["ldd", shared], capture_output=True, text=True).stdout
    gcc = re.search(r"libasan\S* => (\S+)", needed)
    if gcc:
        return "gcc", gcc[1]
    runtime = subprocess.run(["clang", "-print-file-name=libclang_rt.asan-x86_64.so"], check=True, capture_output=True, text=True)
    return "clang", runtime.stdout.strip()


def alone(command):
    """A command in a network of its own, if the system lets us; else as it is."""
    inside = ["unshare", "--map-root-user", "--net", "sh", "-c", 'PATH=$PATH:/sbin ip link set lo up && exec "$@"', "sh"]
    if shutil.which("unshare") and not subprocess.run([*inside, "true"], capture_output=True).returncode:
        return [*inside, *map(str, command)]
    return [str(word) for word in command]


def main(page, folder):
    try:
        Session(pathlib.Path(page).resolve(), folder).go()
    except Trouble as trouble:
        sys.exit(str(trouble))


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[3] == "--here":
        main(sys.argv[1], sys.argv[2])
    else:
        with tempfile.TemporaryDirectory() as empty:
            where = sys.argv[2] if len(sys.argv) > 2 else empty
            sys.exit(subprocess.run(alone([sys.executable, __file__, sys.argv[1], where, "--here"])).returncode)
