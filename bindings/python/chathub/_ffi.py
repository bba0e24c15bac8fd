"""The C library by ctypes. Importing this loads it: ImportError says where it was looked for."""
from __future__ import annotations

import ctypes

from ._find import load_library

library = load_library()
library.chathub_version.argtypes = []
library.chathub_version.restype = ctypes.c_char_p


def library_version() -> str:
    """The version of the library that is loaded."""
    text = library.chathub_version()
    assert isinstance(text, bytes)
    return text.decode()
