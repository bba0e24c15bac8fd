"""The recipes of docs/contributing.md work: all of them, put into a copy of this tree, build and pass the tests that they
bring along."""
import os
import re
import shutil
import subprocess
import sys

import pytest

from pages import ROOT

PAGE = ROOT / "docs/contributing.md"
RECIPES = ["dialect", "log", "transport", "option"]
TARGETS = ["examples/chatd/chatd", "examples/packets/packets", "tests/conformance/test_log_counted"]
MESON = "/usr/bin/meson" if os.access("/usr/bin/meson", os.X_OK) else "meson"


def recipe(name):
    """The text of one."""
    return re.search(rf"^### How to add an? {name}\n(.*?)(?=^##|\Z)", PAGE.read_text(), re.M | re.S)[1]


def blocks(text):
    """Its files, as (path, text), and its diffs, as (None, text)."""
    return [(path or None, body) for kind, path, body in
            re.findall(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", text, re.M | re.S)
            if path or kind == "diff"]


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout[-6000:]}"
    return done.stdout


def apply(tree, name):
    for path, body in blocks(recipe(name)):
        if path:
            assert not (tree / path).exists(), f"{path} is there already"
            (tree / path).parent.mkdir(exist_ok=True)
            (tree / path).write_text(body)
        else:
            run("patch", "-p1", "--forward", "--no-backup-if-mismatch", "--fuzz=0", cwd=tree, input=body)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the tree with all recipes in it, built into its folder `build`."""
    copy = tmp_path_factory.mktemp("recipes")
    for path in run("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT).split("\n"):
        if path and (ROOT / path).is_file() and not path.startswith(("tests/browser/", "tests/fuzz/corpus")):
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, copy / path)
    for name in RECIPES:
        apply(copy, name)
    compiler = "ccache gcc" if shutil.which("ccache") else "gcc"
    # Without optimization, gcc thinks more texts to be cut than can be.
    env = {**os.environ, "CC": compiler, "CFLAGS": "-O0 -g0"}
    run(MESON, "setup", copy / "build", "--buildtype=debug", "-Dwerror=true", "-Ddefault_library=shared", cwd=copy, env=env)
    run("nice", "ninja", "-C", copy / "build", *TARGETS, cwd=copy, env=env)
    return copy


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_keeps_what_its_tests_promise(tree, name):
    tests = [path for path, _ in blocks(recipe(name)) if path and path.endswith(".py")]
    assert tests
    # Another program may be named for all other tests.
    env = {key: value for key, value in os.environ.items() if not key.startswith("CHATD")}
    out = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, cwd=tree,
              env={**env, "CHATHUB_BUILD": str(tree / "build")})
    assert " skipped" not in out


def test_the_log_keeps_the_contract(tree):
    out = run(tree / "build/tests/conformance/test_log_counted", env={**os.environ, "CK_FORK": "no"})
    assert int(re.search(r"Checks: (\d+), Failures: 0, Errors: 0", out)[1]) >= 20


def test_the_reference_takes_the_new_option(tree):
    assert "max-lines" not in (tree / "docs/configuration.md").read_text()
    run(sys.executable, "docs/options.py", tree / "build/examples/chatd/chatd", "--renew", cwd=tree)
    assert "max-lines" in (tree / "docs/configuration.md").read_text()


def test_the_layers_are_kept(tree):
    run(sys.executable, "tests/unit/layers.py", tree, cwd=tree)
    run(sys.executable, "tests/unit/banned.py", tree, cwd=tree)


def test_the_recipes_are_laid_out_as_the_rest(tree):
    if not shutil.which("clang-format"):
        pytest.skip("there is no clang-format")
    files = [path for name in RECIPES for path, _ in blocks(recipe(name)) if path and path.endswith(".c")]
    changed = re.findall(r"^\+\+\+ b/(\S+\.[ch])$", PAGE.read_text(), re.M)
    assert len(files) == 4 and changed
    run("clang-format", "--dry-run", "-Werror", *files, *sorted(set(changed)), cwd=tree)
