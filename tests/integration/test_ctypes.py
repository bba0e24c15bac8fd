"""The shared library can be driven from another language, with no more than its header says."""
import os
import subprocess
import sys

import pytest

from conftest import PATIENCE, ROOT, find_program


def test_python_drives_the_library_by_ctypes():
    folder = find_program("chatd").parents[2] / "libchathub"
    library = folder / "libchathub.so.0"
    if not library.exists():
        pytest.skip("only a static library was built")
    env = dict(os.environ)
    if b"__asan_init" in library.read_bytes():
        # the sanitizer has to be there before Python is, and Python's own memory is not its matter
        runtimes = [line.split()[2] for line in subprocess.run(["ldd", library], capture_output=True, text=True,
                                                               check=True).stdout.splitlines() if "asan" in line]
        if not runtimes or not os.path.isabs(runtimes[0]):
            pytest.skip("the sanitizer is linked into programs only (clang); the release build runs this test")
        env.update(LD_PRELOAD=runtimes[0], ASAN_OPTIONS="detect_leaks=0")
    done = subprocess.run([sys.executable, str(ROOT / "bindings/python/smoke.py"), str(library)], capture_output=True,
                          text=True, timeout=PATIENCE, check=False, env=env)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
