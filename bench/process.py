"""Programs that a benchmark starts: what they cost, and that none outlives it."""

import atexit
import ctypes
import os
import signal
import socket
import subprocess
import threading
import time

TICK = os.sysconf("SC_CLK_TCK")
started = []


def free_port():
    """A port of loopback that nothing listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


class Process:
    """A program and all that it starts. Its output goes to a file."""

    def __init__(self, command, log, env=None, cwd=None):
        self.command, self.log = [str(c) for c in command], log
        self.began = time.monotonic()
        with open(log, "ab") as out:
            self.popen = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd,
                env={**os.environ, **(env or {})}, start_new_session=True, preexec_fn=_die_with_parent)
        started.append(self)

    def check(self):
        """Raises where the program has ended."""
        if self.popen.poll() is not None:
            with open(self.log, errors="replace") as f:
                raise RuntimeError(f"{self.command[0]} ended with {self.popen.returncode}: {f.read()[-1500:]}")

    def stop(self):
        """Asks it to end, and ends it, with whatever it started."""
        if self in started:
            started.remove(self)
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(10)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait()

    def pids(self):
        """The program and its descendants."""
        children = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and (stat := _stat(entry)):
                children.setdefault(int(stat[1]), []).append(int(entry))
        found, todo = [], [self.popen.pid]
        while todo:
            found.append(todo.pop())
            todo += children.get(found[-1], [])
        return found

    def cpu(self):
        """Seconds of processor time so far, also of children that have ended."""
        return sum(sum(map(int, stat[11:15])) for pid in self.pids() if (stat := _stat(pid))) / TICK

    def memory(self):
        """Bytes that are its own, plus its share of what is shared (PSS)."""
        total = 0
        for pid in self.pids():
            try:
                with open(f"/proc/{pid}/smaps_rollup") as f:
                    total += sum(int(line.split()[1]) * 1024 for line in f if line.startswith("Pss:"))
            except OSError:
                pass
        return total


def _stat(pid):
    """The fields of /proc/PID/stat after the name: state, ppid, ..."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()
    except OSError:
        return None


class Watch:
    """What a process used while the block ran: .cpu in seconds, .peak in bytes."""

    def __init__(self, process):
        self.process, self.peak, self.done = process, 0, threading.Event()

    def __enter__(self):
        self.before = self.process.cpu()
        self.thread = threading.Thread(target=self._sample)
        self.thread.start()
        return self

    def _sample(self):
        while True:
            self.peak = max(self.peak, self.process.memory())
            if self.done.wait(0.2):
                return

    def __exit__(self, *_):
        self.cpu = self.process.cpu() - self.before
        self.done.set()
        self.thread.join()


@atexit.register
def stop_all():
    for process in list(started):
        process.stop()


def stop_on_signals():
    """Has a signal end the program the normal way, so that all is stopped and removed."""
    def leave(number, _frame):
        raise SystemExit(128 + number)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, leave)
