"""Empty machines, and what an installation costs on one."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Cost:
    seconds: float
    cpu: float    # seconds of the processors, of the program and what it starts
    peak: int     # bytes of memory of the largest process; what it shares counts in full
    server: float = 0.0


@dataclass
class Machine:
    home: Path

    @property
    def venv(self):
        return self.home / "venv"


class Machines:
    def __init__(self, scratch):
        self.scratch, self.count = scratch, 0
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", scratch / "venv"], check=True)

    def fresh(self):
        """A machine that has nothing but Python, and a virtualenv."""
        self.count += 1
        machine = Machine(self.scratch / f"machine-{self.count}")
        (machine.home / "tmp").mkdir(parents=True)
        self.new_venv(machine)
        return machine

    def new_venv(self, machine):
        """An empty virtualenv on a machine that keeps the rest."""
        shutil.rmtree(machine.venv, ignore_errors=True)
        shutil.copytree(self.scratch / "venv", machine.venv, symlinks=True)

    def forget(self, machine):
        shutil.rmtree(machine.home, ignore_errors=True)

    def run(self, machine, command, server):
        """Runs an installer, which must succeed; server is the Process that it talks to."""
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": machine.home, "TMPDIR": machine.home / "tmp", "LANG": "C.UTF-8",
               "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1", "UV_PYTHON_DOWNLOADS": "never"}
        log, before = machine.home / "log", server.cpu()
        actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                   (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), (os.POSIX_SPAWN_DUP2, 1, 2)]
        began = time.monotonic()
        pid = os.posix_spawn(command[0], [str(c) for c in command], {k: str(v) for k, v in env.items()}, file_actions=actions, setpgroup=0)
        try:
            _, status, usage = os.wait4(pid, 0)
        except BaseException:
            os.killpg(pid, signal.SIGKILL)
            raise
        seconds = time.monotonic() - began
        if status:
            raise RuntimeError(f"{command[0]} ended with {os.waitstatus_to_exitcode(status)}: {log.read_text(errors='replace')[-1500:]}")
        return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10, server.cpu() - before)
