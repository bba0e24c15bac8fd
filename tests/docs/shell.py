"""What a block of shell commands names: programs, their options, and files of this tree. It is parsed, not run."""
import functools
import os
import pathlib
import re
import shlex
import shutil
import subprocess

from pages import ROOT

# Programs that a page may name though no test needs them: the reader's own, or of packages that the page names.
ELSEWHERE = set("""sudo apt apt-get dpkg dpkg-buildpackage dpkg-deb debuild lintian docker docker-compose systemctl journalctl
systemd-analyze systemd-run nats nats-server haproxy nginx caddy perf wscat nc curl scdoc man doxygen mandoc gnuplot valgrind setcap
useradd adduser install pidof open xdg-open ssh git meson ninja cmake pip python3 pkg-config cc gcc clang clang-tidy
clang-format logrotate debootstrap chroot abidw go node npm npx""".split())
BUILTINS = set("cd export source . set exec eval wait kill ulimit umask trap true false test [ echo printf read".split())
PREFIXES = {"sudo", "exec", "nohup", "time", "nice", "env"}
TAKES_OPTION = {"sudo": {"-u", "-g"}, "nice": {"-n"}}
# Options of meson's own, beside those in meson_options.txt.
MESON = set("""prefix libdir bindir includedir buildtype default_library b_sanitize b_lundef b_ndebug b_pie werror auto_features c_args
warning_level c_std optimization debug""".split())
PLACES = ("libchathub/", "examples/", "bindings/", "tests/", "docs/", ".ci/", "build/")


def find_build():
    """The build folder that is meant: CHATHUB_BUILD, or the newest that has a chatd."""
    if os.environ.get("CHATHUB_BUILD"):
        return pathlib.Path(os.environ["CHATHUB_BUILD"]).resolve()
    found = sorted(ROOT.glob("build/*/examples/chatd/chatd"), key=lambda path: path.stat().st_mtime)
    assert found, "there is no chatd in build/*; build it, or name a build folder by CHATHUB_BUILD"
    return found[-1].parents[2]


def program_of(word):
    """Which of the project's programs a command calls, however it is reached: chatd, chat, chatbench …"""
    if word in ("./examples/chatd/run", "examples/chatd/run"):
        return "chatd"
    name = word.rsplit("/", 1)[-1]
    return name if (ROOT / "examples" / name / "meson.build").exists() else None


@functools.lru_cache(maxsize=None)
def options_of(program):
    """The long options that a program tells of by --help."""
    command = [str(find_build() / "examples" / program / program), "--help"] + (["all"] if program == "chatd" else [])
    if program == "python3 -m chathub":
        command = ["/usr/bin/python3", "-m", "chathub", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT / "bindings/python")})
    return set(re.findall(r"(?<![\w-])(--?[a-z][\w-]*)", done.stdout + done.stderr))


def without_comments(line):
    """A line without the comment at its end."""
    quote = ""
    for at, one in enumerate(line):
        if quote:
            quote = "" if one == quote else quote
        elif one in "'\"":
            quote = one
        elif one == "#" and (at == 0 or line[at - 1].isspace()):
            return line[:at].rstrip()
    return line


def lines_of(text):
    """The commands of a block, one each: lines that end in \\ are joined, and here-documents stay whole."""
    whole, until = [], None
    for line in text.splitlines():
        if until is not None:
            whole[-1] += "\n" + line
            until = None if line.strip() == until else until
            continue
        joined = whole and whole[-1].endswith("\\")
        line = without_comments(line)
        if joined:
            whole[-1] = whole[-1][:-1].rstrip() + " " + line.strip()
        elif line.strip():
            whole.append(line.strip())
        here = re.search(r"<<-?\s*['\"]?(\w+)", line)
        until = here[1] if here else None
    return whole


def commands_of(line):
    """The simple commands of a line, each a list of words; those within $( ) come first."""
    line, inner = line.split("\n", 1)[0], []
    while found := re.search(r"\$\(([^()]*)\)", line):
        inner += commands_of(found[1])
        line = line[:found.start()] + "$within" + line[found.end():]
    line = re.sub(r"<<-?\s*['\"]?\w+['\"]?|\d?>&\d|&>", " ", line)
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.commenters, lexer.whitespace_split = "", True
    found = [[]]
    for word in lexer:
        if re.fullmatch(r"[;|&()]+", word) or word in ("do", "then", "else"):
            found.append([])
        elif re.fullmatch(r"[<>]+", word):
            found[-1].append(">")
        else:
            found[-1].append(word)
    return inner + [strip(words) for words in found if strip(words)]


def strip(words):
    """Without variables, redirections, and what only passes a command on."""
    plain, skip = [], False
    for word in words:
        if skip or word == ">":
            skip = word == ">"
        else:
            plain.append(word)
    while plain and (re.match(r"[A-Za-z_]\w*=", plain[0]) or plain[0] in PREFIXES):
        wrapper = plain.pop(0)
        while plain and plain[0].startswith("-") and wrapper in PREFIXES:
            if plain.pop(0) in TAKES_OPTION.get(wrapper, ()):
                plain = plain[1:]
    return [] if plain and plain[0] in ("for", "while", "if", "fi", "done") else plain


def is_here(word):
    """Whether a path of this tree is there; what a build makes has to have its source."""
    path = word.split("…")[0].rstrip("/")
    path = path[2:] if path.startswith("./") else path
    built = re.fullmatch(r"build(?:/[\w-]+)?/((?:examples|tests)/.+)", path)
    if built:
        path = built[1]
        folder = pathlib.PurePath(path).parent
        return (ROOT / path).exists() or (find_build() / path).exists() or (ROOT / folder / "meson.build").exists()
    return path.startswith("build") or any(ROOT.glob(path)) if path else True


def wrong_words(words, made):
    """What is wrong with one command: `made` are programs and files that the page had the reader make."""
    program, *rest = words
    name = program.rsplit("/", 1)[-1]
    ours = program_of(program)
    if program == "python3" and rest[:2] == ["-m", "chathub"]:
        ours = "python3 -m chathub"
    if program.startswith(PLACES) or program.startswith("./"):
        if name not in made and not is_here(program):
            yield f"{program}: there is no such file in this tree"
    elif not (ours or name in made or program in BUILTINS | ELSEWHERE or shutil.which(program) or program.startswith("$")):
        yield f"{program}: there is no such program; one of another package goes to ELSEWHERE in tests/docs/shell.py"
    if ours:
        for word in rest:
            option = re.match(r"(--?[a-z][\w-]*)", word)
            if option and option[1].replace("--no-", "--", 1) not in options_of(ours) and option[1] not in options_of(ours):
                yield f"{program}: there is no option {option[1]}"
    if name == "meson":
        for option in re.findall(r"-D(\w+)=", " ".join(rest)):
            if option not in MESON and f"option('{option}'" not in (ROOT / "meson_options.txt").read_text():
                yield f"meson: there is no option {option}"
    for word in rest:
        path = re.sub(r"^[A-Z_]+=", "", word)
        if path.removeprefix("./").startswith(PLACES) and not is_here(path) and path.rsplit("/", 1)[-1] not in made:
            yield f"{path}: there is no such file in this tree"


def wrong(text, made=()):
    """What is wrong with a block of commands, a line each."""
    parsed = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
    if parsed.returncode:
        return [parsed.stderr.strip()]
    found = []
    for line in lines_of(text):
        for words in commands_of(line):
            found += [f"{problem}   in: {line}" for problem in wrong_words(words, set(made))]
        found += paths_of_variables(line)
    return found


def paths_of_variables(line):
    """Variables that are set to paths of this tree: PYTHONPATH=bindings/python."""
    return [f"{path}: there is no such file in this tree   in: {line}" for path in re.findall(r"\b[A-Z_]+=(?:\$PWD/)?([\w./-]+)", line)
            if path.startswith(PLACES) and not is_here(path)]
