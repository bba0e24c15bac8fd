"""docs/packaging/debian says what the rest of the tree says: the functions, the version, what a build needs."""
import re
import subprocess
import sys

import pytest

from pages import ROOT

sys.path.insert(0, str(ROOT / "tests/unit"))
from face import Header  # noqa: E402

DEBIAN = ROOT / "docs/packaging/debian"
# Build-essential, or brought by others of them; and what only an example needs that is not packaged.
NOT_ASKED_FOR = {"gcc", "libc6-dev", "ninja-build", "libedit-dev"}
ANOTHER_NAME = {"pkg-config": "pkgconf"}


def declared():
    """All functions of the installed library's headers."""
    headers = (ROOT / "libchathub/include/chathub.h", ROOT / "libchathub/include/chathub_client.h")
    return {name for header in headers for name, _ in Header(header.read_text()).functions()}


def symbols(text):
    """The functions of a symbols file; a function's line ends with the version since which it is there."""
    return set(re.findall(r"^ (chathub_\w+)@CHATHUB_0 \d\S*$", text, flags=re.M))


def packages_of(field, text):
    """The packages that a field of a control file names, without versions and alternatives."""
    value = re.search(rf"^{field}:((?:.*\n)(?:[ #].*\n)*)", text, flags=re.M)[1]
    entries = re.sub(r"^#.*\n", "", value, flags=re.M).split(",")
    return {re.split(r"[\s(|:]", entry.strip())[0] for entry in entries if entry.strip()}


def build_packages():
    asked = subprocess.run(["bash", "-c", "source tests/install.sh; echo ${build_packages[*]}"], cwd=ROOT, check=True,
                           capture_output=True, text=True).stdout.split()
    return {ANOTHER_NAME.get(package, package) for package in asked}


def test_symbols_are_those_of_the_headers():
    """A new function gets a line ` NAME@CHATHUB_0 VERSION` in libchathub0.symbols, in the order of names."""
    text = (DEBIAN / "libchathub0.symbols").read_text()
    assert symbols(text) == declared()
    lines = re.findall(r"^ (chathub_\w+)@", text, flags=re.M)
    assert lines == sorted(lines)


def test_the_version_is_the_same():
    newest = (DEBIAN / "changelog").read_text().split("\n", 1)[0]
    version = re.search(r"^  version: '(.*)'", (ROOT / "meson.build").read_text(), flags=re.M)[1]
    assert re.match(rf"chathub \({re.escape(version)}-", newest), newest


def test_a_package_build_asks_for_what_a_build_needs():
    asked = packages_of("Build-Depends", (DEBIAN / "control").read_text())
    assert build_packages() - NOT_ASKED_FOR <= asked


@pytest.mark.parametrize("line", (DEBIAN / "tests/control").read_text().split("\n"))
def test_each_test_of_the_packages_is_there(line):
    if line.startswith("Tests:"):
        script = DEBIAN / "tests" / line.split()[1]
        assert script.exists() and script.stat().st_mode & 0o111, script


def test_what_is_missing_is_found():
    assert symbols(" chathub_new@CHATHUB_0 0.1.0\n chathub_old@CHATHUB_0\n") == {"chathub_new"}
    assert packages_of("Build-Depends", "Build-Depends:\n a (>= 1),\n# why\n b | c,\n d:any\nX: e\n") == {"a", "b", "d"}
