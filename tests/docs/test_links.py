"""Whatever a page points to in this tree is there: files, folders, and headings within pages. And every
page of docs/ can be reached from README.md."""
import pathlib
import re

import pytest

from pages import ROOT, anchors, pages, prose

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def broken(page, text):
    """The links of a page that lead nowhere."""
    wrong = []
    for link in LINK.findall(prose(text)):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or ROOT not in (target, *target.parents):
            wrong.append(f"{link}: there is no such file")
        elif heading and heading not in anchors(text if target == page else target.read_text()):
            wrong.append(f"{link}: there is no such heading")
    return wrong


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_is_broken(page):
    assert not broken(page, page.read_text())


def test_a_broken_link_is_found():
    page = ROOT / "README.md"
    text = "# One\n## One\n[a](docs/none.md) [b](#two) [c](#one-1) [d](docs/chatd.md#no) [e](libchathub) [f](../x) `[g](no)`"
    assert [line.split(":")[0] for line in broken(page, text)] == ["docs/none.md", "#two", "docs/chatd.md#no", "../x"]


def targets(page):
    """The pages that a page links to."""
    found = {(page.parent / link.partition("#")[0]).resolve() for link in LINK.findall(prose(page.read_text()))
             if not re.match(r"[a-z][a-z0-9+.-]*:|#", link)}
    return {path for path in found if path.suffix == ".md" and path.exists()}


def reachable(page):
    """All pages that somebody comes to who begins at one and follows links."""
    seen, ahead = set(), {page}
    while ahead:
        seen |= ahead
        ahead = {path for one in ahead for path in targets(one)} - seen
    return seen


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_a_page_can_be_reached_from_the_readme(page):
    assert page in reachable(ROOT / "README.md"), f"link {page.name} under \"All pages\" in README.md: one line, with what it is for"


def test_a_page_that_nobody_links_to_is_found(tmp_path):
    for name, text in {"a.md": "[b](b.md#x) `[d](d.md)`", "b.md": "[c](c.md)", "c.md": "[a](a.md)", "d.md": ""}.items():
        pathlib.Path(tmp_path, name).write_text(text)
    assert {path.name for path in reachable(tmp_path / "a.md")} == {"a.md", "b.md", "c.md"}
