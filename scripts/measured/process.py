"""Runs programs and says what they cost: wall time, processor time of all their processes, the largest resident set."""
import os, shutil, subprocess, sys, tempfile, time
from dataclasses import dataclass


@dataclass
class Cost:
    wall: float
    cpu: float
    peak: float = 0.0  # MB
    disk: int = 0  # bytes it made the files that count larger
    wire: int = 0  # bytes that crossed the network, both ways

    def __add__(self, other):
        return Cost(self.wall + other.wall, self.cpu + other.cpu, max(self.peak, other.peak), self.disk + other.disk,
                    self.wire + other.wire)


def has(*programs):
    return all(shutil.which(program) for program in programs)


def run(args, **options):
    """Runs a program that has to succeed, without measuring; returns what it printed."""
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace")[-2000:]
        sys.exit(f"bench: exit code {done.returncode} of {' '.join(map(str, args))}\n{said}")
    return done.stdout


def measure(args, size=None, allowed=(0,), **options):
    """Runs a program and returns its cost. `size` says how many bytes count, before and after.

    It runs below `time`, for a child's peak begins with that of the process that started it, and Python is large.
    """
    before = size() if size else 0
    with tempfile.NamedTemporaryFile("r") as said, tempfile.TemporaryFile() as errors:
        begin = time.monotonic()
        child = subprocess.Popen(["/usr/bin/time", "-f", "%M", "-o", said.name, *map(str, args)],
                                 stdout=subprocess.DEVNULL, stderr=errors, **options)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode not in allowed:
            errors.seek(0)
            said = errors.read().decode(errors="replace")[-2000:]
            sys.exit(f"bench: exit code {child.returncode} of {' '.join(map(str, args))}\n{said}")
        peak = int(said.read().split()[-1]) * 1024 / 1e6
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak, (size() if size else 0) - before)


def shell(script, *args, **options):
    """Measures a shell's pipeline; `args` are `$1`, `$2`, ... in it."""
    return measure(["bash", "-euo", "pipefail", "-c", script, "bash", *map(str, args)], **options)


def bytes_in(*paths):
    """Returns how many bytes the files below have."""
    total = 0
    for path in paths:
        if os.path.isfile(path):
            total += os.path.getsize(path)
        for place, _, files in os.walk(path):
            for name in files:
                try:
                    total += os.lstat(os.path.join(place, name)).st_size
                except FileNotFoundError:
                    pass
    return total
