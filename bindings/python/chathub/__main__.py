"""python3 -m chathub URL: a small terminal chat."""
import sys

from chathub._terminal import run

if __name__ == "__main__":
    sys.exit(run())
