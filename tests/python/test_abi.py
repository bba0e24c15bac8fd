"""The package declares all of chathub.h, as it is: every function, struct, number and callback, with their types."""
import ctypes
import re
import subprocess
import sys

import pytest
from conftest import ROOT

from chathub import _abi, errors

sys.path.insert(0, str(ROOT / "tests/abi"))
import table as headers  # noqa: E402

HEADER = ROOT / "libchathub/include/chathub.h"
# What is not bound, and why.
NOT_BOUND = {
    "chathub_client.h": "the client in C; Python's has its own wire, and needs no library",
}
# Types that are handed on as they are: a hub, and what only the host knows.
POINTERS = ("struct chathub *", "struct uv_loop_s *", "void *")
NUMBERS = {
    "int": ctypes.c_int, "int32_t": ctypes.c_int32, "int64_t": ctypes.c_int64, "uint8_t": ctypes.c_uint8,
    "uint32_t": ctypes.c_uint32, "uint64_t": ctypes.c_uint64, "size_t": ctypes.c_size_t,
}


@pytest.fixture(scope="module")
def table():
    return headers.of([HEADER])


def shape(function_type):
    return function_type._restype_, function_type._argtypes_


def types_of(written):
    """The types of ctypes that a type in C may be declared as."""
    bare = re.sub(r"\bconst ", "", written).strip()
    if bare == "void":
        return [None]
    if bare in NUMBERS:
        return [NUMBERS[bare]]
    if bare == "char *":
        return [ctypes.c_char_p]
    if bare in POINTERS:
        return [ctypes.c_void_p]
    if bare in _abi.CALLBACKS:
        return [_abi.CALLBACKS[bare]]
    array = re.fullmatch(r"(\w+)\[(\d+)\]", bare)
    if array:
        return [NUMBERS[array[1]] * int(array[2])]
    struct = re.fullmatch(r"struct (\w+) \*", bare)
    if struct:
        return [ctypes.POINTER(_abi.STRUCTS[struct[1]])]
    pointer = re.fullmatch(r"(.+?) ?\*", bare)
    assert pointer, f"a type of C that this test does not know: {written}"
    return [ctypes.POINTER(inner) for inner in types_of(pointer[1].strip())]


def test_every_function_is_declared_with_its_types(table):
    assert list(_abi.FUNCTIONS) == list(table["functions"])
    for name, declared in table["functions"].items():
        result, arguments = _abi.FUNCTIONS[name]
        assert result in types_of(declared["result"]), name
        assert len(arguments) == len(declared["arguments"]), name
        for number, (argument, written) in enumerate(zip(arguments, declared["arguments"])):
            assert argument in types_of(written), f"argument {number} of {name}: {written}"


def test_every_callback_is_declared_with_its_types(table):
    assert list(_abi.CALLBACKS) == list(table["callbacks"])
    for name, declared in table["callbacks"].items():
        result, arguments = shape(_abi.CALLBACKS[name])
        assert result in types_of(declared["result"]), name
        assert [argument in types_of(written) for argument, written in zip(arguments, declared["arguments"])] \
            == [True] * len(declared["arguments"]), name


def test_every_struct_has_its_fields_where_they_are(table):
    assert list(_abi.STRUCTS) == list(table["structs"])
    for name, declared in table["structs"].items():
        struct = _abi.STRUCTS[name]
        assert ctypes.sizeof(struct) == declared["size"], name
        assert [(field, getattr(struct, field).offset, getattr(struct, field).size) for field, _ in struct._fields_] \
            == [(field["name"], field["offset"], field["size"]) for field in declared["fields"]], name
        for (field, kind), written in zip(struct._fields_, declared["fields"]):
            if "(*)" in written["type"]:
                assert_function(kind, written["type"])
            # Pointers to texts that Python is not to make a text of at each look are plain pointers.
            elif kind is not ctypes.c_void_p or "*" not in written["type"]:
                assert kind in types_of(written["type"]), f"{name}.{field}"


def assert_function(kind, written):
    result, arguments = re.fullmatch(r"(.+?) ?\(\*\)\((.*)\)", written).groups()
    declared_result, declared = shape(kind)
    assert declared_result in types_of(result)
    for one, text in zip(declared, arguments.split(", "), ):
        assert one in types_of(text) or (one is ctypes.c_void_p and "*" in text), text
    assert len(declared) == len(arguments.split(", "))


def test_every_number_is_declared_with_its_value(table):
    for name, values in table["enums"].items():
        if name == "chathub_error":
            continue
        for constant, value in values.items():
            assert getattr(_abi, constant[len("CHATHUB_"):]) == value, constant
    assert (_abi.NUL, _abi.DUP, _abi.ON) == tuple(table["constants"]["CHATHUB_" + name] for name in ("NUL", "DUP", "ON"))


def test_every_kind_of_event_is_made_something_of(table):
    from chathub import _batch
    kinds = set(table["enums"]["chathub_event_type"].values())
    assert set(_batch._MAKERS) | {_abi.EVENT_MESSAGE} == kinds


def test_the_table_of_errors_is_the_headers(table):
    values = dict(table["enums"]["chathub_error"])
    assert values.pop("CHATHUB_OK") == 0
    assert [row[0] for row in errors.TABLE] == list(values.values())
    from chathub._ffi import library
    for code, name, text in errors.TABLE:
        assert library.chathub_errname(code) == name.encode()
        assert library.chathub_strerror(code) == text.encode()


def test_every_header_is_bound_or_left_out_for_a_reason():
    others = {path.name for path in HEADER.parent.glob("*.h")} - {HEADER.name}
    assert others <= set(NOT_BOUND)


def test_the_library_exports_what_is_declared_and_nothing_else():
    import os
    from chathub._find import checkout
    named = os.environ.get("CHATHUB_LIBRARY")
    if not named:
        pytest.skip("only where the library is named")
    lines = subprocess.run(["nm", "-D", "--defined-only", named], capture_output=True, text=True, check=True).stdout
    exported = {line.split()[2].split("@")[0] for line in lines.splitlines() if " T " in line}
    other = set()
    for path in HEADER.parent.glob("*.h"):
        if path.name in NOT_BOUND:
            other |= set(headers.of([path])["functions"]) - set(_abi.FUNCTIONS)
    assert exported - other == set(_abi.FUNCTIONS)
    assert checkout() == ROOT


def test_a_function_that_an_older_library_lacks_says_so():
    from chathub import _ffi

    class Old:
        pass

    old = Old()
    for name in _abi.FUNCTIONS:
        if name != "chathub_take":
            setattr(old, name, type("Function", (), {})())
    _ffi._declare(old)
    with pytest.raises(errors.Error, match="no chathub_take; it is older"):
        old.chathub_take(None)
