"""What docs/embedding.md says is so. The ways to build that it shows are tried by tests/installed."""
import re

from conftest import ROOT

TEXT = (ROOT / "docs/embedding.md").read_text()


def test_every_example_of_one_file_is_named():
    small = {path.parent.name for path in ROOT.glob("examples/*/main.c")
             if len(list(path.parent.glob("*.[ch]"))) == 1}
    assert small and small <= set(re.findall(r"^\| \[([\w-]+)\]", TEXT, re.M))


def test_whatever_it_points_to_exists():
    links = re.findall(r"\]\(([^)#:]+)\)", TEXT) + re.findall(r"`((?:\.\./)?tests/[\w/.]+)[ `]", TEXT)
    assert len(links) > 10
    for link in links:
        assert (ROOT / link).exists() or (ROOT / "docs" / link).exists(), link


def test_its_cmake_is_the_one_that_is_tried():
    tried = (ROOT / "tests/installed/cmake/CMakeLists.txt").read_text().replace("../host.c", "host.c")
    lines = [line for line in re.search(r"```cmake\n(.*?)```", TEXT, re.S).group(1).splitlines() if line]
    assert len(lines) == 4
    for line in lines:
        assert f"{line}\n" in tried


def test_its_meson_is_the_one_that_is_tried():
    assert re.search(r"```meson\n(.*?)```", TEXT, re.S).group(1) in (ROOT / ".ci/run").read_text()
