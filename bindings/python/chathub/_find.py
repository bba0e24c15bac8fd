"""Finds and loads libchathub.so.0, or says what was tried.

In this order: the file that CHATHUB_LIBRARY names (and nothing else, if it is set); one beside this
package; the newest in the build folders of the checkout that the package is in; what the system's
loader finds by the soname.
"""
from __future__ import annotations

import ctypes
import os
import pathlib
from typing import List, Optional

SONAME = "libchathub.so.0"
VARIABLE = "CHATHUB_LIBRARY"

ADVICE = (f"Install libchathub, or build it in the checkout (./examples/chatd/run, or: meson setup build/release "
          f"-Dtests=false && meson compile -C build/release), or name the file by {VARIABLE}. "
          "chathub.connect, the client, works without it.")


def beside() -> pathlib.Path:
    """Where a copy of the library is looked for beside the package's own files."""
    return pathlib.Path(__file__).resolve().parent / SONAME


def checkout() -> Optional[pathlib.Path]:
    """The checkout that the package is in, if it was not installed."""
    parents = pathlib.Path(__file__).resolve().parents
    root = parents[3] if len(parents) > 3 else None
    return root if root and (root / "libchathub/include/chathub.h").is_file() else None


def _age(path: pathlib.Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def built(root: pathlib.Path) -> List[pathlib.Path]:
    """The libraries in the build folders of a checkout, the newest first."""
    found = [*root.glob(f"build/*/libchathub/{SONAME}"), *root.glob(f"build/*/*/libchathub/{SONAME}"),
             *root.glob(f"build*/libchathub/{SONAME}")]
    return sorted(set(found), key=_age, reverse=True)


def is_sanitized(path: pathlib.Path) -> bool:
    """Whether only a program that was built with a sanitizer can load it."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return b"__asan_init" in content or b"__tsan_init" in content


class _Search:
    """One search, and what it tried."""

    def __init__(self) -> None:
        self.tried: List[str] = []

    def load(self, name: str) -> Optional[ctypes.CDLL]:
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            said = str(error)
            self.tried.append(said if name in said else f"{name}: {said}")
            return None

    def load_file(self, path: pathlib.Path) -> Optional[ctypes.CDLL]:
        if not path.is_file():
            self.tried.append(f"{path}: there is no such file")
            return None
        return self.load(str(path))

    def load_built(self) -> Optional[ctypes.CDLL]:
        root = checkout()
        if root is None:
            self.tried.append("build folders: this package is not in a checkout of libchathub")
            return None
        found = built(root)
        if not found:
            self.tried.append(f"{root}/build*: there is no libchathub/{SONAME} in any build folder")
        for path in found:
            # One that needs a sanitizer does not fail to load: it ends the process.
            if is_sanitized(path) and "LD_PRELOAD" not in os.environ:
                self.tried.append(f"{path}: built with a sanitizer, which would have to be preloaded")
                continue
            library = self.load_file(path)
            if library is not None:
                return library
        return None

    def run(self) -> Optional[ctypes.CDLL]:
        named = os.environ.get(VARIABLE)
        if named:
            return self.load_file(pathlib.Path(named))
        return self.load_file(beside()) or self.load_built() or self.load(SONAME)


def load_library() -> ctypes.CDLL:
    """The library, without the types of its functions. ImportError says what was tried."""
    search = _Search()
    library = search.run()
    if library is not None:
        return library
    first = f"{VARIABLE} names no library that can be loaded" if os.environ.get(VARIABLE) else f"{SONAME} was not found"
    tried = "\n".join(f"  - {line}" for line in search.tried)
    raise ImportError(f"{first}. Tried:\n{tried}\n{ADVICE}")
