"""What the tour of the code names is there: each file, function, struct, slot, and proof."""
import re

import pytest

from pages import ROOT

TEXT = (ROOT / "docs/architecture.md").read_text()
PICTURE = (ROOT / "docs/pictures/architecture.svg").read_text()
LIBRARY = ROOT / "libchathub"
PLACES = [ROOT, LIBRARY, LIBRARY / "include", ROOT / "tests/integration", ROOT / "tests/unit", ROOT / "tests/simulation"]
SOURCES = {path: path.read_text() for path in LIBRARY.rglob("*.[ch]")}


def files(text):
    """What looks like a file of C or Python, with or without its folder."""
    plain = re.sub(r"\]\([^)]*\)", "]", text)
    return sorted(set(re.findall(r"\b(?:[\w-]+/)*[\w-]+\.(?:[ch]|py|map)\b", plain)))


def is_there(name):
    if any((place / name).exists() for place in PLACES):
        return True
    return "/" not in name and any(path.name == name for path in SOURCES)


@pytest.mark.parametrize("name", files(TEXT))
def test_a_file_that_is_named_is_there(name):
    assert is_there(name)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([a-z]\w+/(?:\w+/)*)`", TEXT))))
def test_a_folder_that_is_named_is_there(name):
    assert (LIBRARY / name).is_dir() or (ROOT / name).is_dir()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(?:struct |enum )?(\w+)`", TEXT)) - {"alloc", "gap", "joined", "left"}))
def test_a_function_or_struct_that_is_named_is_there(name):
    assert any(re.search(rf"\b{name}\b", text) for text in SOURCES.values())


@pytest.mark.parametrize("function, file", [(function, file) for functions, file in re.findall(
    r"((?:`\w+`(?:, )?)+) in \[?([\w/]+\.[ch])\b", TEXT) for function in re.findall(r"\w+", functions)])
def test_a_function_is_in_the_file_that_is_said(function, file):
    """Defined there: its name begins a block, or is a field."""
    texts = [text for path, text in SOURCES.items() if str(path).endswith("/" + file)]
    assert texts and any(re.search(rf"\b{function}(\(|;|\))|struct {function} {{", text) for text in texts)


def test_each_proof_is_one():
    """Names with a hyphen in the table of laws are ways to break the library that the simulation notices."""
    laws = TEXT[TEXT.index("## Laws"):TEXT.index("## Threads")]
    named = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", laws))
    text = (ROOT / "tests/simulation/breakages.py").read_text()
    assert len(named) > 20
    assert not [name for name in named if f'"{name}"' not in text]


def test_each_folder_of_the_library_is_in_the_tour():
    tour = TEXT[TEXT.index("## The folders"):TEXT.index("## In which order")]
    named = set(re.findall(r"^      (\w+)/", tour, re.M))
    assert named == {path.name for path in LIBRARY.iterdir() if path.is_dir() and path.name != "__pycache__"}


def test_what_the_picture_names_is_there():
    named = set(re.findall(r"\b(\w+\.c)\b", PICTURE))
    assert len(named) >= 10
    assert all(any(path.name == name for path in SOURCES) for name in named)
    assert all((LIBRARY / folder).is_dir() for folder in re.findall(r">(\w+)/<", PICTURE))
