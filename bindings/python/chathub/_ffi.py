"""The C library by ctypes. Importing this loads it: ImportError says where it was looked for."""
from __future__ import annotations

import ctypes
from typing import Any, Callable

from . import _abi
from ._find import load_library
from .errors import CODES, Error


def _missing(name: str) -> Callable[..., int]:
    """In place of a function that an older library lacks."""
    def refuse(*_arguments: Any) -> int:
        raise Error(CODES["feature"], f"the libchathub that is loaded has no {name}; it is older than this package")
    return refuse


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    for name, (result, arguments) in _abi.FUNCTIONS.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            setattr(library, name, _missing(name))
            continue
        function.restype, function.argtypes = result, arguments
    return library


library = _declare(load_library())


def library_version() -> str:
    """The version of the library that is loaded."""
    text = library.chathub_version()
    assert isinstance(text, bytes)
    return text.decode()
