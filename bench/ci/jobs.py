"""Jobs on fresh machines, and what they cost."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.process import Process

from . import application

# Prints the versions of what is installed, after the import of all that was built.
LOOK = """
import importlib, importlib.metadata, json, re
for module in %r: importlib.import_module(module)
print(json.dumps({re.sub(r"[-_.]+", "-", d.metadata["Name"]).lower(): d.version for d in importlib.metadata.distributions()}))
"""


@dataclass
class Cost:
    seconds: float
    cpu: float        # seconds of the processors, of the job's programs and not of servers
    received: float   # bytes from servers, and of an archive
    load: float       # of the machine when the job began


def environment(home, path="", cargo=None):
    """NAME=VALUE of a job: nothing of this machine's settings, but for the trust that its network needs."""
    tmp = home / "tmp"
    tmp.mkdir(parents=True, exist_ok=True)
    values = {"PATH": f"{path}:/usr/local/bin:/usr/bin:/bin".lstrip(":"), "HOME": home, "TMPDIR": tmp, "LANG": "C.UTF-8",
              "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1", "UV_PYTHON_DOWNLOADS": "never"}
    if cargo:
        values.update(CARGO_HOME=cargo, CARGO_NET_OFFLINE="true")
    for name in "SSL_CERT_FILE", "PIP_CERT", "http_proxy", "https_proxy", "no_proxy":
        if name in os.environ and not cargo:
            values[name] = os.environ[name]
    return [f"{name}={value}" for name, value in values.items()]


@dataclass
class Machine:
    """A fresh home and virtualenv, with crates where cargo looks for them."""
    home: Path
    environment: list = field(default_factory=list)

    @property
    def venv(self):
        return self.home / "venv"


class Machines:
    def __init__(self, scratch, files, tools):
        self.scratch, self.files, self.tools, self.count = scratch, files, tools, 0
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", scratch / "venv"], check=True)
        (scratch / "requirements.txt").write_text("\n".join(application.PINS))
        self.versions = None

    def fresh(self, home=None):
        """A machine that has nothing; with a home, one that had a job already, and a fresh virtualenv."""
        if home is None:
            self.count += 1
            home = self.scratch / f"machine-{self.count}"
            shutil.copytree(self.files / "cargo", home / "cargo")
        shutil.rmtree(home / "venv", ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", home / "venv"], check=True)
        return Machine(home, environment(home, self.tools, home / "cargo"))

    def run(self, machine, servers, commands, archive=0):
        """Runs a job's commands; all of them must succeed, and what is installed must work and be what the others have."""
        load, before, log = os.getloadavg()[0], sum(s.sent() for s in servers), machine.home / "log"
        cpu, began = 0.0, time.monotonic()
        for command in commands:
            process = Process(["env", "-i", *machine.environment, *command], log, cwd=machine.home)
            _, status, usage = os.wait4(process.popen.pid, 0)
            process.popen.returncode = os.waitstatus_to_exitcode(status)
            cpu += usage.ru_utime + usage.ru_stime
            if status:
                process.check()
            process.stop()
        seconds = time.monotonic() - began
        self.look(machine)
        return Cost(seconds, cpu, sum(s.sent() for s in servers) - before + archive, load)

    def look(self, machine):
        out = subprocess.run([machine.venv / "bin/python", "-c", LOOK % sorted(application.MODULES.values())],
                             check=True, capture_output=True, text=True, cwd=machine.home)
        versions = json.loads(out.stdout)
        if self.versions is None:
            self.versions = versions
        if versions != self.versions:
            raise RuntimeError(f"installed otherwise: {sorted(set(versions.items()) ^ set(self.versions.items()))}")

    def forget(self, machine):
        shutil.rmtree(machine.home, ignore_errors=True)
