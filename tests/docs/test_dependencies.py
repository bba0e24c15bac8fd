"""docs/dependencies.md tells of each package that a script installs, and of each that a build looks for."""
import re

import pytest

from pages import ROOT

TEXT = (ROOT / "docs/dependencies.md").read_text()
SCRIPT = (ROOT / "tests/install.sh").read_text()


def packages():
    listed = re.findall(r"^\w+_packages=\((.*?)\)", SCRIPT, re.M | re.S)
    assert len(listed) >= 4
    return sorted({name for some in listed for name in some.split()})


@pytest.mark.parametrize("name", packages())
def test_each_package_is_told(name):
    assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", TEXT)


@pytest.mark.parametrize("option", re.findall(r"^option\('(\w+)', type: 'feature'", (ROOT / "meson_options.txt").read_text(), re.M))
def test_each_feature_says_what_is_without_it(option):
    assert re.search(rf"^\| .*`-D{option}`.*\| \S", TEXT, re.M)
