"""Fuzzes one target for a while: run.py TARGET CORPUS. What is new goes to the build folder, a crash stays there.

Five seconds, or as many as CHATHUB_FUZZ_SECONDS says; a minute for CHATHUB_LONG."""
import os
import pathlib
import subprocess
import sys

target, corpus = (pathlib.Path(argument).resolve() for argument in sys.argv[1:])
seconds = os.environ.get("CHATHUB_FUZZ_SECONDS") or ("60" if os.environ.get("CHATHUB_LONG") else "5")
found = target.parent / f"{target.name}.found"
found.mkdir(exist_ok=True)
words = corpus.parent / f"{corpus.name}.dict"
command = [target, f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1",
           "-max_len=8192", f"-artifact_prefix={target}-"]
if words.exists():
    command.append(f"-dict={words}")
sys.exit(subprocess.run(command + [found, corpus], check=False).returncode)
