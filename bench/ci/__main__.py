"""A job in CI on fresh machines: pip, uv and curd, cold and with what earlier jobs left. See bench/README.md.

One command, nothing to edit. Everything is on loopback and on a tmpfs, and is removed afterwards; only the first
preparation dials the default index, which --files keeps for the next time.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench import chart, peers, process, scratch, table
from bench.rows import FAILURES

from . import application, index, jobs

ROOT = Path(__file__).parents[2]
PIP, UV, WHOLE, PRUNED, COLD, WARM = ("pip", "uv", "uv, its cache restored", "uv, its pruned cache restored",
                                      "curd, no server", "curd, a warm server")
SLOW, FAST = [COLD, UV, PIP], [WARM, WHOLE, PRUNED]
GOALS = {PIP: 0.03, UV: 0.1}


def arguments():
    p = argparse.ArgumentParser(prog="python3 -m bench.ci", description=__doc__.splitlines()[0])
    p.add_argument("--rounds", type=int, default=3, help="how often each job that builds is measured, in turn (3)")
    p.add_argument("--fast", type=int, default=7, help="the same of jobs that build nothing (7)")
    p.add_argument("--minutes", type=float, default=60, help="after which no job begins (60)")
    p.add_argument("--folder", help="where to work, in a folder that is removed afterwards; without it a tmpfs")
    p.add_argument("--files", type=Path, help="keep the index's files and the tools here for the next time")
    p.add_argument("--prepare", action="store_true", help="fill --files, and measure nothing")
    p.add_argument("--curd", type=Path, default=ROOT / "bin/curd", help="the program (bin/curd)")
    p.add_argument("--curd-server", type=Path, default=ROOT / "bin/curd-server", help="the program (bin/curd-server)")
    p.add_argument("--results", type=Path, default=ROOT / "bench/results", help="folder for the table (bench/results)")
    p.add_argument("--chart", type=Path, default=ROOT / "docs/ci.svg", help="where the chart goes (docs/ci.svg)")
    a = p.parse_args()
    a.curd, a.curd_server = a.curd.resolve(), a.curd_server.resolve()
    return a


def rust():
    """The folder of the true cargo and rustc: rustup's own need a home that is not fresh."""
    return Path(subprocess.run([peers.system("rustc"), "--print", "sysroot"], check=True, capture_output=True, text=True).stdout.strip()) / "bin"


class Bench:
    def __init__(self, options):
        self.o, self.began, self.costs, self.notes = options, time.monotonic(), {}, []
        self.machine = table.machine()
        self.scratch = scratch.make(options.folder, "10g")
        keep = (options.files or self.scratch).resolve()
        keep.mkdir(parents=True, exist_ok=True)
        tools = peers.virtualenv(keep, "ci")
        self.pip, self.uv, cargo = tools / "pip", tools / "uv", rust()
        self.say("prepares the index")
        index.prepare(keep / "index", options.curd_server, self.pip, sys.executable, cargo, jobs.environment, self.scratch / "prepare.log")
        if options.prepare:
            return
        files = self.scratch / "index"
        if not files.exists():
            shutil.copytree(keep / "index", files)
        self.machines = jobs.Machines(self.scratch, files, cargo)
        self.index = index.Index(files, self.scratch / "nginx")
        self.server = index.CacheServer(options.curd_server, self.scratch / "store", self.scratch / "server.log")
        self.requirements = self.scratch / "requirements.txt"
        self.jobs = {PIP: self.run_pip, UV: self.run_uv, WHOLE: lambda: self.restored("whole"), PRUNED: lambda: self.restored("pruned"),
                     COLD: self.cold, WARM: self.warm}

    def say(self, text):
        print(f"{time.monotonic() - self.began:6.0f} s  {text}", file=sys.stderr, flush=True)

    # The commands, each program in its best configuration.

    def pip_command(self, machine):
        return [self.pip, "--python", machine.venv, "install", "-q", "--no-input", "--disable-pip-version-check", "--no-compile",
                "--index-url", self.index.url, "--no-binary", ",".join(application.MODULES), "-r", self.requirements]

    def uv_command(self, machine):
        return [self.uv, "pip", "install", "-q", "--python", machine.venv, "--index-url", self.index.url,
                *(word for name in application.MODULES for word in ("--no-binary", name)), "-r", self.requirements]

    def curd_command(self, machine, *options):
        return [self.o.curd, "install", "-q", "--python", machine.venv, "-i", self.index.url,
                "--no-binary", ",".join(application.MODULES), "-r", self.requirements, *options]

    # The jobs. What the first ones leave is what the restored ones begin with.

    def run_pip(self):
        machine = self.machines.fresh()
        cost = self.machines.run(machine, [self.index], [self.pip_command(machine)])
        self.machines.forget(machine)
        return cost

    def run_uv(self):
        machine = self.machines.fresh()
        cost = self.machines.run(machine, [self.index], [self.uv_command(machine)])
        if not self.archive("whole").exists():
            self.pack(machine, "whole")
            subprocess.run(["env", "-i", *machine.environment, self.uv, "cache", "prune", "--ci", "-q"], check=True)
            self.pack(machine, "pruned")
        self.machines.forget(machine)
        return cost

    def archive(self, kind):
        return self.scratch / f"uv-{kind}.tar.zst"

    def pack(self, machine, kind):
        subprocess.run(["tar", "--use-compress-program", "zstd -q -T0", "-cf", self.archive(kind), "-C", machine.home, ".cache/uv"], check=True)

    def restored(self, kind):
        machine, archive = self.machines.fresh(), self.archive(kind)
        restore = ["tar", "--use-compress-program", "zstd -d", "-xf", archive, "-C", machine.home]
        cost = self.machines.run(machine, [self.index], [restore, self.uv_command(machine)], archive.stat().st_size)
        self.machines.forget(machine)
        return cost

    def cold(self):
        machine = self.machines.fresh()
        cost = self.machines.run(machine, [self.index], [self.curd_command(machine)])
        if not self.filled():
            # Its next job has the server at hand, and gives it what it built.
            machine = self.machines.fresh(machine.home)
            self.machines.run(machine, [self.index, self.server], [self.curd_command(machine, "-c", self.server.url, "-u")])
        self.machines.forget(machine)
        return cost

    def filled(self):
        return any((self.scratch / "store").glob("*.whl"))

    def warm(self):
        machine = self.machines.fresh()
        cost = self.machines.run(machine, [self.index, self.server], [self.curd_command(machine, "-c", self.server.url)])
        self.machines.forget(machine)
        return cost

    def measure(self, name):
        try:
            cost = self.jobs[name]()
        except FAILURES as error:
            self.note(f"{name} failed: {' '.join(str(error).split())[-400:]}")
            return
        self.costs.setdefault(name, []).append(cost)
        self.say(f"{name}: {cost.seconds:.1f} s, processor {cost.cpu:.1f} s, {cost.received / 1e6:.1f} MB, load {cost.load:.1f}")

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)
            self.say(f"note: {text}")

    def run(self):
        for i in range(max(self.o.rounds, self.o.fast)):
            slow, fast = SLOW if i < self.o.rounds else [], FAST if i < self.o.fast else []
            for name in slow[i % 3:] + slow[:i % 3] + fast[i % 3:] + fast[:i % 3]:
                if time.monotonic() > self.began + self.o.minutes * 60:
                    self.note(f"time was up in round {i + 1}")
                    break
                self.measure(name)
            if i == 0 or i == self.o.fast - 1 or slow:
                self.report()  # so that little is lost where it is stopped

    def middle(self, name, what):
        return statistics.median(getattr(c, what) for c in self.costs[name])

    def report(self):
        spread = lambda name, what, unit=1: table.spread([getattr(c, what) / unit for c in self.costs[name]])  # noqa: E731
        rows, goals = [], []
        for name in self.jobs:
            if name not in self.costs:
                continue
            ratios = [table.number(self.middle(name, "seconds") / self.middle(other, "seconds")) if other in self.costs else "" for other in GOALS]
            rows.append([name, spread(name, "seconds"), spread(name, "cpu"), spread(name, "received", 1e6), *ratios, len(self.costs[name]), spread(name, "load")])
        for other, goal in GOALS.items():
            if WARM in self.costs and other in self.costs:
                time_, cpu = (self.middle(WARM, what) / self.middle(other, what) for what in ("seconds", "cpu"))
                goals.append([f"curd with a warm server, beside {other}", f"at most {goal}", table.number(time_), "yes" if time_ <= goal else "**no**", table.number(cpu)])
        pins = application.PINS
        text = f"""# A job in CI, {table.today()}

{len(pins)} packages on a fresh machine, of which {len(application.MODULES)} are built from source ({'; '.join(f"{language}: {', '.join(names)}" for language, names in application.BUILT.items())}).
Medians (from, to) of the rounds. {self.machine}; files on {scratch.kind(self.scratch / 'x')}.
Curdling at {table.commit()}; {', '.join(p.replace('==', ' ') for p in peers.PINNED['ci'])}; Python {sys.version.split()[0]}; {subprocess.run([rust() / 'rustc', '--version'], capture_output=True, text=True).stdout.split(' (')[0]}. How and what: [README](../README.md).

{table.markdown(["job", "time, s", "processor, s", "received, MB", "time, x pip", "time, x uv", "rounds", "load of the machine"], rows)}
{table.markdown(["goal", "", "time", "holds", "processor"], goals)}
{''.join(f'- {note}{chr(10)}' for note in self.notes)}"""
        print(text)
        self.o.results.mkdir(parents=True, exist_ok=True)
        (self.o.results / f"ci-{table.today()}.md").write_text(text.rstrip() + "\n")
        if PIP in self.costs:
            # Processor time, which other work on the machine changes little.
            bars = [(name, self.middle(name, "cpu"), f"done in {table.number(self.middle(name, 'seconds'))} s, {self.middle(name, 'received') / 1e6:.0f} MB",
                     name in (COLD, WARM)) for name in self.jobs if name in self.costs]
            self.o.chart.write_text(chart.svg(f"Processor time of a CI job that installs {len(pins)} packages, {len(application.MODULES)} of them from source",
                                              "Medians, each on a fresh machine; everything on loopback. Less is better.", bars))


def main():
    process.stop_on_signals()
    try:
        bench = Bench(arguments())
        if not bench.o.prepare:
            bench.run()
    finally:
        process.stop_all()  # before the folder goes that they write to


if __name__ == "__main__":
    main()
