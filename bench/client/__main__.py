"""curd beside uv and pip: 130 wheels on one machine, cold and warm. See bench/README.md.

One command, nothing to edit. Everything is on loopback and on a tmpfs, and is removed afterwards; only the first
preparation dials the default index, which --files keeps for the next time.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench import chart, peers, process, scratch, table
from bench.process import Process, free_port
from bench.rows import Results
from bench.server import starting
from bench.server.servers import Server, Servers, get

from . import files, machines
from .results import CURD, CURD_NGINX, LIMIT, PIP, PROGRAMS, ROWS, UV, details

ROOT = Path(__file__).parents[2]


def arguments():
    p = argparse.ArgumentParser(prog="python3 -m bench.client", description=__doc__.splitlines()[0])
    p.add_argument("--quick", action="store_true", help="a look: 2 rounds, without pip")
    p.add_argument("--only", action="append", metavar="ROW", help=f"these rows alone, of {', '.join(ROWS)}")
    p.add_argument("--without", action="append", default=[], metavar="PROGRAM", help=f"leave one out, of {'; '.join(PROGRAMS)}")
    p.add_argument("--rounds", type=int, help="how often each is measured, in turn (7)")
    p.add_argument("--pip-rounds", type=int, default=2, help="the same of pip, which takes half a minute (2)")
    p.add_argument("--rtt", type=int, default=40, metavar="MS", help="the round trip of the row rtt (40)")
    p.add_argument("--minutes", type=float, default=25, help="after which no measurement begins (25)")
    p.add_argument("--folder", help="where to work, in a folder that is removed afterwards; without it a tmpfs")
    p.add_argument("--files", type=Path, help="keep the wheels and the peers here for the next time")
    p.add_argument("--prepare", action="store_true", help="fill --files, and measure nothing")
    p.add_argument("--curd", type=Path, default=ROOT / "bin/curd", help="the program (bin/curd)")
    p.add_argument("--curd-server", type=Path, default=ROOT / "bin/curd-server", help="the program (bin/curd-server)")
    p.add_argument("--results", type=Path, default=ROOT / "bench/results", help="folder for the table (bench/results)")
    p.add_argument("--chart", type=Path, default=ROOT / "docs/client.svg", help="where the chart of a whole run goes (docs/client.svg)")
    a = p.parse_args()
    for row in a.only or []:
        if row not in ROWS:
            p.error(f"there is no row {row}; there are {', '.join(ROWS)}")
    a.rounds = a.rounds or (2 if a.quick else 7)
    if a.quick:
        a.without.append(PIP)
    a.curd, a.curd_server, a.results = a.curd.resolve(), a.curd_server.resolve(), a.results.resolve()
    return a


class Bench:
    def __init__(self, options):
        self.o, self.began = options, time.monotonic()
        self.machine, self.commit = table.machine(), table.commit()
        self.scratch = scratch.make(options.folder, "10g")
        keep = (options.files or self.scratch / "keep").resolve()
        keep.mkdir(parents=True, exist_ok=True)
        tools = peers.virtualenv(keep, "ci")
        self.pip, self.uv = tools / "pip", tools / "uv"
        self.say("prepares the wheels")
        files.prepare(keep / "wheels", self.pip)
        self.results = Results(ROWS, PROGRAMS, CURD, self.began + options.minutes * 60, options.rounds, self.say)
        if options.prepare:
            return
        self.tool = self.scratch / "tool"
        subprocess.run(["go", "build", "-trimpath", "-o", self.tool, "./bench/tool"], check=True, cwd=ROOT, env={**os.environ, "CGO_ENABLED": "0"})
        os.chdir(self.scratch)  # so that no settings of a folder above are found
        self.machines = machines.Machines(self.scratch)
        self.serve(keep / "wheels")
        self.all, self.pinned = self.scratch / "all.txt", self.scratch / "pinned.txt"
        self.all.write_text("\n".join(files.NAMES))
        self.pinned.write_text("\n".join(files.PINS))

    def say(self, text):
        print(f"{time.monotonic() - self.began:6.0f} s  {text}", file=sys.stderr, flush=True)

    def serve(self, kept):
        wheels, static, index = (self.scratch / name for name in ("wheels", "static", "index"))
        files.serve_from(kept, wheels, static)
        servers = Servers(self.scratch, None, self.o.curd_server, self.tool)
        self.curd_server, self.tarballs = servers.curd(wheels), wheels / ".curdling/tarballs"
        projects = {files.project(w.name) for w in wheels.glob("*.whl")}
        starting.settle(self.curd_server, len(files.PINS), len(projects), get)
        servers.static_index(self.curd_server, projects, index)
        self.nginx = servers.nginx(static, index, pages="max-age=600, public")  # as the default index says
        self.nginx.until("numpy", "numpy")

    def far(self, server):
        """The same server at the end of a long way."""
        port = free_port()
        way = Process([self.tool, "delay", "-to", server.url.partition("//")[2], "-port", port, "-rtt", f"{self.o.rtt}ms"], self.scratch / "delay.log")
        far = Server(server.name, server.process, f"http://127.0.0.1:{port}")
        while True:
            try:
                get(far.url)
                return far
            except OSError:
                way.check()
                time.sleep(0.01)

    # The commands, each program in its best configuration. A server is curd-server for curd, nginx for the others.

    def curd(self, machine, server, *wanted):
        source = ["--no-index", "-c", server.url] if server.process is self.curd_server.process else ["-i", server.url + "/simple/"]
        return [self.o.curd, "install", "-q", "--python", machine.venv, "--link-mode", "hardlink", *source, *wanted]

    def run_uv(self, machine, server, *wanted):
        return [self.uv, "pip", "install", "-q", "--python", machine.venv, "--link-mode", "hardlink", "--index-url", server.url + "/simple/", *wanted]

    def run_pip(self, machine, server, *wanted):
        return [self.pip, "--python", machine.venv, "install", "-q", "--no-input", "--disable-pip-version-check", "--no-compile",
                "--index-url", server.url + "/simple/", *wanted]

    def run_limit(self, machine, server, *wanted):
        """What nobody can do without: unpacking and linking, of what is there already."""
        return [self.tool, "limit", "-tarballs", self.tarballs, "-trees", machine.home / "trees", "-to", machine.venv / "lib"]

    def contenders(self, row):
        """Program to command and server."""
        every = {CURD: (self.curd, self.curd_server), CURD_NGINX: (self.curd, self.nginx), UV: (self.run_uv, self.nginx), PIP: (self.run_pip, self.nginx)}
        if row in ("cold", "warm"):
            every[LIMIT] = (self.run_limit, self.curd_server)
        return {name: pair for name, pair in every.items() if name not in self.o.without}

    def row(self, row, *wanted, way=lambda server: server, before=None, times=1):
        """Measures a row with all programs in turn. before makes the machine, the same each round; without it each round has a fresh one."""
        done, trials = {}, {}
        for name, (command, server) in self.contenders(row).items():
            server = way(server)
            machine = before and self.machines.fresh()
            if machine:
                self.machines.run(machine, command(machine, server, *wanted), server.process)

            def trial(name=name, command=command, server=server, kept=machine):
                done[name] = done.get(name, 0) + 1
                if name == PIP and done[name] > self.o.pip_rounds:
                    return
                machine = kept or self.machines.fresh()
                costs = []
                for _ in range(times if name != PIP else 1):
                    if before:
                        before(machine)
                    costs.append(self.machines.run(machine, command(machine, server, *wanted), server.process))
                cost = sorted(costs, key=lambda c: c.seconds)[len(costs) // 2]
                if done[name] == 1 and name != LIMIT:
                    self.compare(row, name, machine)
                if not kept:
                    self.machines.forget(machine)
                self.results.add(row, name, cost.seconds, cost.cpu, cost.peak, cost.server)
                if row == "cold" and name != LIMIT:
                    self.results.add("memory", name, cost.peak / 1e6)
            trials[name] = trial
        self.results.in_turn(trials, row=row)

    def compare(self, row, name, machine):
        """Everybody must have installed what the first did."""
        out, first = machine.home / "installed.txt", self.scratch / f"installed-{row}.txt"
        files.listing(machine.venv, out)
        if not first.exists():
            out.rename(first)
        elif other := set(out.read_text().splitlines()) ^ set(first.read_text().splitlines()):
            self.results.note(f"{row}: {name} installed otherwise than the first, in {len(other)} files: {', '.join(sorted(other)[:5])}")

    def run(self):
        new_venv, everything = self.machines.new_venv, ["-r", self.all]
        rows = {
            "cold": lambda: self.row("cold", *everything),
            "pinned": lambda: self.row("pinned", "--no-deps", "-r", self.pinned),
            "rtt": lambda: self.row("rtt", *everything, way=self.far),
            "warm": lambda: self.row("warm", *everything, before=new_venv, times=3),
            "nothing": lambda: self.row("nothing", *everything, before=lambda _: None, times=11),
        }
        for row, measure in rows.items():
            if not self.o.only or row in self.o.only or row == "cold" and "memory" in self.o.only:
                measure()

    def report(self):
        o, sizes = self.o, {"rtt": self.o.rtt}
        text = f"""# curd beside uv and pip, {table.today()}

{"a quick look, not a result: " if o.quick else ""}{len(files.PINS)} wheels, {o.rounds} rounds in turn ({o.pip_rounds} of pip); medians. {self.machine}; files on {scratch.kind(self.scratch / 'x')}.
Curdling at {self.commit}; {', '.join(p.replace('==', ' ') for p in peers.PINNED['ci'])}; Python {sys.version.split()[0]}. Ratios are medians of the ratios within each round. How and what: [README](../README.md).

{self.results.summary(sizes)}
## Details

{details(self.results, sizes)}"""
        if self.results.notes:
            text += "\n## Notes\n\n" + "".join(f"- {note}\n" for note in self.results.notes)
        return text

    def draw(self):
        """The chart of the row cold."""
        cells = {name: self.results.cells["cold", name] for name in (CURD, UV, PIP)}
        bars = [(name, statistics.median(c.values), f"processor {table.number(statistics.median(c.cpu))} s", name == CURD) for name, c in cells.items()]
        return chart.svg(f"An empty machine installs {len(files.PINS)} wheels from a server beside it",
                         "JupyterLab, pandas, Sphinx, Django and what they need; medians, everything on loopback. Less is better.", bars)


def main():
    process.stop_on_signals()
    try:
        bench = Bench(arguments())
        if bench.o.prepare:
            return
        try:
            bench.run()
        finally:
            if bench.results.cells:
                text = bench.report()
                print(text)
                bench.o.results.mkdir(parents=True, exist_ok=True)
                whole = not (bench.o.quick or bench.o.only or bench.o.without)
                name = f"client-{table.today()}" if whole else "client-quick"
                (bench.o.results / f"{name}.md").write_text(text)
                if whole:
                    bench.o.chart.write_text(bench.draw())
    finally:
        process.stop_all()  # before the folder goes that they write to


if __name__ == "__main__":
    main()
