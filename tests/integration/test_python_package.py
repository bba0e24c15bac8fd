"""The Python package as such: what it says and needs, where it finds the library, how it is installed."""
import ast
import ctypes.util
import os
import pathlib
import pickle
import re
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT, find_program

PACKAGE = ROOT / "bindings/python"
SOURCES = sorted((PACKAGE / "chathub").glob("*.py"))
HEADER = (ROOT / "libchathub/include/chathub.h").read_text()
PROTOCOL = (ROOT / "docs/protocol.md").read_text()
SLOW = 300  # seconds for programs of others

sys.path.insert(0, str(PACKAGE))
import chathub  # noqa: E402
from chathub import _frames, errors, events  # noqa: E402


def python(code, path=PACKAGE, **env):
    """Runs code in a Python of its own, with the package at `path`."""
    clean = {name: value for name, value in os.environ.items() if name not in ("CHATHUB_LIBRARY", "LD_PRELOAD")}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SLOW, check=False,
                          cwd="/", env={**clean, "PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1",
                                        **{name: str(value) for name, value in env.items()}})


# ------------------------------------------------------------------------------------------------ what it says

def test_the_errors_are_those_of_the_header():
    begin = HEADER.index("#define CHATHUB_ERRORS")
    table = HEADER[begin:HEADER.index("enum chathub_error {", begin)]
    rows = re.findall(r'\bX\(E\w+,\s*(-\d+),\s*"(\w+)",[\s\\]*"([^"]*)"\)', table)
    assert len(rows) == len(re.findall(r"\bX\(E", table)) > 40
    assert [(int(number), name, text) for number, name, text in rows] == list(errors.TABLE)


def test_the_version_is_that_of_the_library():
    assert chathub.__version__ == re.search(r'#define CHATHUB_VERSION "(.*)"', HEADER)[1]


def test_every_frame_of_the_protocol_is_known():
    """The types of frames that docs/protocol.md shows as received, and nothing that it does not know."""
    shown = set(re.findall(r'^(?:\w+)?< \{"type":"(\w+)"', PROTOCOL, re.MULTILINE))
    shown |= set(re.findall(r'^\{"type":"(\w+)"', PROTOCOL, re.MULTILINE)) | {"bye", "status"}
    assert shown <= set(_frames._MAKERS) and len(shown) > 12
    for kind in _frames._MAKERS:
        assert f"`{kind}`" in PROTOCOL, kind


def test_events_are_immutable_and_small():
    for kind in events.Event.__args__:
        assert issubclass(kind, tuple) and kind.__doc__
        one = kind(*range(len(kind._fields)))
        assert not hasattr(one, "__dict__")
        for field in kind._fields:
            with pytest.raises(AttributeError):
                setattr(one, field, 1)
            assert field.islower()
    for name in chathub.__all__:
        assert getattr(chathub, name) is not None


def test_the_kinds_of_events_are_those_of_the_header():
    """Each event of a client inside the process has its class, under the same name."""
    names = re.findall(r"CHATHUB_EVENT_([A-Z]+)", HEADER[HEADER.index("enum chathub_event_type {"):
                                                        HEADER.index("#define CHATHUB_DUP")])
    ours = {kind.__name__.upper() for kind in events.Event.__args__}
    assert len(names) >= 17
    names = set(names) - {"QUESTION", "LOG", "STOPPED"}  # not a client's: hooks, the log and the server take them
    assert {"FAILURE" if name == "ERROR" else name for name in names} <= ours  # Error is the exception


def test_errors_can_be_copied_and_say_what_they_are():
    for error in (chathub.Error(-24), chathub.Error.named("name_taken", "taken", retry_after=1.5),
                  chathub.Error.named("from_the_future", "new")):
        again = pickle.loads(pickle.dumps(error))
        assert vars(again) == vars(error) and str(again) == str(error) == f"{error.name}: {error.message}"
    elsewhere = chathub.Error(-29, "join it first", room="tea")
    assert str(elsewhere) == "not_member: join it first (room 'tea')" == str(pickle.loads(pickle.dumps(elsewhere)))
    assert chathub.Error(-24).name == "name_taken" and chathub.Error.named("from_the_future").code == 0


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_the_oldest_python_can_read_it(path):
    text = path.read_text()
    ast.parse(text, str(path), feature_version=(3, 9))
    assert "from __future__ import annotations" in text or path.name in ("_version.py", "__main__.py")
    assert text.startswith('"""')


def test_it_is_typed_strictly():
    """For Python 3.9, whose library mypy knows, too."""
    mypy = shutil.which("mypy", path="/usr/bin") or shutil.which("mypy")
    if not mypy:
        pytest.skip("mypy is missing; install it with: apt-get install mypy")
    done = subprocess.run([mypy, "--strict", "--python-version", "3.9", "--cache-dir", os.devnull, "-p", "chathub"],
                          cwd=PACKAGE, capture_output=True, text=True, timeout=SLOW, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# ------------------------------------------------------------------------------------------------ what it needs

def test_clients_need_no_library(tmp_path):
    done = python("import chathub, sys; chathub.connect('ws://localhost/'); print('chathub._ffi' in sys.modules)",
                  CHATHUB_LIBRARY=tmp_path / "none")
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
    done = python("import chathub; chathub.library_version()", CHATHUB_LIBRARY=tmp_path / "none")
    assert done.returncode == 1 and "ImportError" in done.stderr and "works without it" in done.stderr
    done = python("import chathub; chathub.nonsense")
    assert "AttributeError: module 'chathub' has no attribute 'nonsense'" in done.stderr


def test_without_websockets_the_error_says_what_to_install(chatd):
    code = ("import sys, asyncio; sys.modules['websockets'] = None; import chathub\n"
            "async def main(url):\n    async with chathub.connect(url) as client: print(await client.post('hi'))\n"
            "asyncio.run(main({!r}))")
    done = python(code.format(chatd.url("ws")))
    assert done.returncode == 1
    assert "ImportError: chathub.connect needs" in done.stderr and "python3-websockets" in done.stderr
    done = python(code.format(chatd.url("tcp")))
    assert (done.returncode, done.stderr) == (0, "")
    code = "import sys; sys.modules['websockets'] = None; from chathub._terminal import run; sys.exit(run([{!r}]))"
    done = python(code.format(chatd.url("ws")))
    assert done.returncode == 1 and done.stderr.startswith("chathub: ") and "python3-websockets" in done.stderr
    assert "Traceback" not in done.stderr


# ------------------------------------------------------------------------------------------------ where the library is

LOAD = "from chathub._find import load_library; print(load_library()._name)"


@pytest.fixture
def checkout(tmp_path):
    """A checkout with the package and nothing built, and a library to put somewhere: any that can be loaded."""
    root = tmp_path / "checkout"
    shutil.copytree(PACKAGE / "chathub", root / "bindings/python/chathub", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "libchathub/include").mkdir(parents=True)
    (root / "libchathub/include/chathub.h").touch()
    return root


def some_library():
    """A shared library of the system, by its file."""
    name = ctypes.util.find_library("m")
    for folder in ("/lib", "/usr/lib"):
        for path in sorted(pathlib.Path(folder).glob(f"*/{name}")) + [pathlib.Path(folder, name)]:
            if path.exists():
                return path
    pytest.skip("there is no library to try with")


def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(some_library(), path)
    return path


def test_the_library_is_looked_for_in_this_order(checkout, tmp_path):
    package, name = checkout / "bindings/python", "libchathub.so.0"
    by_soname = put(tmp_path / "system" / name)

    def found(**env):
        done = python(LOAD, package, LD_LIBRARY_PATH=by_soname.parent, **env)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()
    assert found() == name  # by the system's loader
    older, newer = put(checkout / "build/gcc/libchathub" / name), put(checkout / "build/ci/release/libchathub" / name)
    os.utime(older, (1, 1))
    assert found() == str(newer)
    os.utime(older)
    os.utime(newer, (1, 1))
    assert found() == str(older)
    plain = put(checkout / "build/libchathub" / name)
    os.utime(plain, (2 ** 31, 2 ** 31))
    assert found() == str(plain)
    beside = put(package / "chathub" / name)
    assert found() == str(beside)
    named = put(tmp_path / "named.so")
    assert found(CHATHUB_LIBRARY=named) == str(named)


def test_a_library_with_a_sanitizer_is_passed_over(checkout):
    """To load it would end the process."""
    with open(put(checkout / "build/sanitize/libchathub/libchathub.so.0"), "ab") as file:
        file.write(b"__asan_init")
    done = python(LOAD, checkout / "bindings/python", LD_LIBRARY_PATH="/none")
    assert done.returncode == 1 and "sanitizer" in done.stderr


def test_the_error_says_all_that_was_tried_and_what_to_do(checkout, tmp_path):
    package = checkout / "bindings/python"
    broken = checkout / "build/gcc/libchathub/libchathub.so.0"
    broken.parent.mkdir(parents=True)
    broken.write_text("no library")
    done = python(LOAD, package, LD_LIBRARY_PATH="/none")
    assert "ImportError: libchathub.so.0 was not found. Tried:" in done.stderr
    for words in (f"{package}/chathub/libchathub.so.0: there is no such file", f"{broken}: ", "libchathub.so.0: cannot open",
                  "meson compile -C", "CHATHUB_LIBRARY"):
        assert words in done.stderr, (words, done.stderr)
    shutil.rmtree(checkout / "build")
    assert "in any build folder" in python(LOAD, package, LD_LIBRARY_PATH="/none").stderr
    shutil.rmtree(checkout / "libchathub")
    assert "not in a checkout" in python(LOAD, package, LD_LIBRARY_PATH="/none").stderr
    done = python(LOAD, package, CHATHUB_LIBRARY=tmp_path / "none.so")
    assert "CHATHUB_LIBRARY names no library that can be loaded" in done.stderr
    assert f"{tmp_path}/none.so: there is no such file" in done.stderr


def test_the_built_library_is_found_and_of_this_version():
    library = find_program("chatd").parents[2] / "libchathub/libchathub.so.0"
    if not library.exists():
        pytest.skip("only a static library was built")
    env = {"CHATHUB_LIBRARY": library}
    if b"__asan_init" in library.read_bytes():
        runtimes = [line.split()[2] for line in subprocess.run(["ldd", library], capture_output=True, text=True,
                                                               check=True).stdout.splitlines() if "asan" in line]
        if not runtimes or not os.path.isabs(runtimes[0]):
            pytest.skip("the sanitizer is linked into programs only (clang)")
        env.update(LD_PRELOAD=runtimes[0], ASAN_OPTIONS="detect_leaks=0")
    done = python("import chathub; print(chathub.library_version() == chathub.__version__)", **env)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


# ------------------------------------------------------------------------------------------------ how it is installed

@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A virtual environment with the package, by Debian's pip and setuptools and without a network."""
    folder = tmp_path_factory.mktemp("venv")
    source = folder / "source"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__"))
    for command in (["/usr/bin/python3", "-m", "venv", "--system-site-packages", str(folder / "env")],
                    [str(folder / "env/bin/python"), "-m", "pip", "install", "--no-build-isolation", "--no-index",
                     "--disable-pip-version-check", str(source)]):
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_", "PYENV"))}
        done = subprocess.run(command, capture_output=True, text=True, timeout=SLOW, check=False, env=clean)
        assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(source)
    return folder / "env"


def test_it_is_installed_without_a_compiler_and_imported_from_elsewhere(installed, tmp_path):
    code = ("import chathub, pathlib; folder = pathlib.Path(chathub.__file__).parent\n"
            "print(chathub.__version__, (folder / 'py.typed').exists(), folder)")
    done = subprocess.run([installed / "bin/python", "-I", "-c", code], capture_output=True, text=True, timeout=SLOW,
                          check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    version, typed, folder = done.stdout.split()
    assert (version, typed) == (chathub.__version__, "True") and folder.startswith(str(installed))
    kept = {path.name for path in pathlib.Path(folder).iterdir()} - {"__pycache__"}
    assert kept == {path.name for path in SOURCES} | {"py.typed"}


def test_its_program_is_there(installed, chatd):
    for command in (["bin/chathub"], ["bin/python", "-m", "chathub"]):
        done = subprocess.run([installed / command[0], *command[1:], chatd.url()], input="hi\n", capture_output=True,
                              text=True, timeout=SLOW, check=False, cwd="/")
        assert done.returncode == 0 and ": hi\n" in done.stdout, done
