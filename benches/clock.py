"""What the benches measure with."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

# A child inherits its parent's peak memory over fork and exec: so a small process has to start what is measured.
TIME = shutil.which("time")


def run(command):
    """Seconds, peak memory in MiB, and what a command without a shell prints, or a command line for bash.

    Of a pipe the memory is that of its largest process.
    """
    if TIME is None:
        sys.exit("install GNU time (Debian: time)")
    if isinstance(command, str):
        command = ["bash", "-c", command]
    with tempfile.NamedTemporaryFile("r") as measured:
        start = time.monotonic()
        done = subprocess.run([TIME, "-q", "-o", measured.name, "-f", "%M", *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        took = time.monotonic() - start
        peak = int(measured.read().split()[-1]) / 1024
    return took, peak, done.stdout


def medians(command, rounds):
    """The median of the seconds, the highest peak, and what the last round printed."""
    done = [run(command) for _ in range(rounds)]
    return statistics.median(d[0] for d in done), max(d[1] for d in done), done[-1][2]
