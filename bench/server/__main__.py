"""curd-server beside nginx, proxpi, devpi and pypiserver: see bench/README.md.

One command, nothing to edit; everything on loopback, and everything removed
afterwards. Rows are chosen by --only; what they are called stands in ROWS of results.py.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from bench import peers, process, scratch, table
from bench.rows import FAILURES, Results

from . import mirroring, reading, starting, writing
from .results import ROWS, SERVERS, details
from .servers import PASSWORD, Server, Servers, get

ROOT = Path(__file__).parents[2]
HOT, HOT_WHEEL = "project7", "project7-1.3-py3-none-any.whl"


def arguments():
    p = argparse.ArgumentParser(prog="python3 -m bench.server", description=__doc__.splitlines()[0])
    p.add_argument("--quick", action="store_true", help="a look in about 3 minutes: 2 short rounds, 5,000 wheels for start and memory")
    p.add_argument("--only", action="append", metavar="ROW", help=f"these rows alone, of {', '.join(ROWS)}")
    p.add_argument("--without", action="append", default=[], metavar="SERVER", help="leave a server out (devpi starts slowly)")
    p.add_argument("--rounds", type=int, help="how often each is measured, in turn (7)")
    p.add_argument("--seconds", type=int, help="of each measurement by load (2)")
    p.add_argument("--large", action="store_true", help="also 200,000 wheels; takes some minutes more")
    p.add_argument("--minutes", type=float, default=25, help="after which no measurement begins (25)")
    p.add_argument("--folder", help="where to work, in a folder that is removed afterwards; without it a tmpfs")
    p.add_argument("--disk", default="/var/tmp", help="a folder on a disk, for the uploads on disk (/var/tmp)")
    p.add_argument("--venvs", type=Path, help="keep the peers' virtualenvs here for the next time")
    p.add_argument("--curd-server", type=Path, help="the program; without it, it is built")
    p.add_argument("--results", type=Path, default=ROOT / "bench/results", help="folder for the table (bench/results)")
    a = p.parse_args()
    for row in a.only or []:
        if row not in ROWS:
            p.error(f"there is no row {row}; there are {', '.join(ROWS)}")
    a.rounds, a.seconds = a.rounds or (2 if a.quick else 7), a.seconds or (1 if a.quick else 2)
    if "nginx" in a.without:
        p.error("nginx cannot be left out: others are held against it, and proxpi reads from it")
    if a.curd_server and not a.curd_server.is_file():
        p.error(f"there is no {a.curd_server}")
    a.large = a.large or any(row.endswith("-large") for row in a.only or [])
    a.many, a.huge = 5_000 if a.quick else 20_000, 200_000
    return a


class Bench:
    def __init__(self, options):
        self.o = options
        self.began = time.monotonic()
        self.scratch = scratch.make(options.folder, "12g" if options.large else "8g")
        self.tool = self.scratch / "tool"
        program = options.curd_server and options.curd_server.resolve() or self.scratch / "curd-server"
        for output, package in (self.tool, "./bench/tool"), (self.scratch / "curd-server", "./cmd/curd-server"):
            if output in (self.tool, program):
                subprocess.run(["go", "build", "-trimpath", "-o", output, package], check=True, cwd=ROOT, env={**os.environ, "CGO_ENABLED": "0"})
        self.servers = Servers(self.scratch, options.venvs or self.scratch / "venvs", program, self.tool)
        self.results = Results(ROWS, SERVERS, "curd-server", self.began + options.minutes * 60, options.rounds, self.say)

    def say(self, text):
        print(f"{time.monotonic() - self.began:6.0f} s  {text}", file=sys.stderr, flush=True)

    def wants(self, *rows):
        return not self.o.only or any(row in self.o.only for row in rows)

    def wheels(self, folder, count, size, **options):
        command = [self.tool, "wheels", "-dir", folder, "-count", count, "-size", size]
        for key, value in options.items():
            command += [f"-{key}", value]
        out = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout
        return out

    def all_servers(self, folder, index, state):
        """Functions that start each server on the same wheels."""
        s = self.servers
        begin = {
            "curd-server": lambda: s.curd(folder),
            "nginx": lambda: s.nginx(folder, index),
            "devpi": lambda: s.devpi(state),
            "pypiserver gunicorn": lambda: s.pypiserver(folder),
            "pypiserver waitress": lambda: s.pypiserver(folder, "waitress"),
        }
        return {name: start for name, start in begin.items() if self.has(name)}

    def has(self, server):
        return server not in self.o.without

    def prepare(self, name, count, projects, devpi=True):
        """A folder of wheels that curd-server has learnt, a static index of it, and devpi's own store of it."""
        folder, index, state = (self.scratch / f"{name}{suffix}" for suffix in ("", "-index", "-devpi"))
        curd = self.servers.curd(folder)
        curd.until(HOT)
        starting.settle(curd, count, len(projects), get)
        self.servers.static_index(curd, projects, index)
        curd.stop()
        if devpi:
            self.say(f"devpi takes {count} wheels")
            try:
                self.servers.devpi_import(folder, state)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                self.results.note(f"devpi was left out: it did not take {count} wheels ({str(error)[-200:]})")
                self.o.without.append("devpi")
        return folder, index, state

    def serve_2000(self):
        """Pages, wheels, passwords and uploads, with 2,000 wheels and a large one."""
        reads = self.wants("page", "unchanged", "wheel", "big", "p99")
        auth, uploads = self.wants("auth5", "auth10"), self.wants("upload1", "upload16", "disk1", "disk16")
        if not (reads or auth or uploads):
            return
        folder = self.scratch / "wheels"
        self.wheels(folder, 2000, 20_000)
        projects = [f"project{i}" for i in range(200)]
        if reads:
            self.wheels(folder, 1, 300_000_000, name="big")
            projects.append("big0")
        prepared = self.prepare("wheels", 2000 + reads, projects, devpi=self.has("devpi") and (reads or self.wants("upload1", "upload16")))
        if reads:
            self.read(*prepared)
        if auth:
            self.passwords(*prepared[:2])
        if uploads:
            self.upload(*prepared)

    def up(self, name, begin, ready):
        """Starts a server and has it show that it works; None, with a note, where it does not."""
        server = None
        try:
            server = begin()
            ready(server)
            return server
        except FAILURES as error:
            self.results.note(f"{name} was left out: {' '.join(str(error).split())[-300:]}")
            if server:
                server.stop()
            return None

    def read(self, folder, index, state):
        r, seconds = self.results, self.o.seconds

        def whole(server):
            server.until(HOT, HOT_WHEEL)
            for wheel in (HOT_WHEEL, "big0-1.0-py3-none-any.whl"):
                status, _, body = get(server.file_url(wheel), timeout=120)
                if status != 200 or len(body) != (folder / wheel).stat().st_size:
                    raise RuntimeError(f"{status}, {len(body)} bytes of {wheel}")

        begin = self.all_servers(folder, index, state)
        running = [server for server in (self.up(name, b, whole) for name, b in begin.items()) if server]
        upstream = next(server.url for server in running if server.name == "nginx")
        if self.has("proxpi") and (proxpi := self.up("proxpi", lambda: self.servers.proxpi(upstream), whole)):
            running.append(proxpi)
        try:
            for row, trials in {
                "page": lambda: reading.pages(r, running, HOT, seconds),
                "unchanged": lambda: reading.unchanged(r, running, HOT, seconds),
                "wheel": lambda: reading.wheels(r, running, HOT_WHEEL, seconds),
                "big": lambda: reading.big(r, running, "big0-1.0-py3-none-any.whl", seconds),
                "p99": lambda: reading.p99(r, running, HOT, seconds + 1),
            }.items():
                if self.wants(row):
                    r.in_turn(trials(), row=row)
        finally:
            for server in running:
                server.stop()

    def passwords(self, folder, index):
        for cost in "5", "10":
            if not self.wants(f"auth{cost}"):
                continue
            s, users = self.servers, self.scratch / f"users{cost}"
            users.write_text(subprocess.run([self.tool, "htpasswd", "alice", PASSWORD, cost], check=True, capture_output=True, text=True).stdout)

            def asks(server):
                while True:
                    server.process.check()
                    try:
                        if get(server.page_url(HOT), server.headers)[0] == 401:
                            return
                    except OSError:
                        pass
                    if time.monotonic() > server.process.began + 60:
                        raise TimeoutError("it does not ask for a password")
                    time.sleep(0.05)

            plain = s.curd(folder)
            begin = {"curd-server": lambda: s.curd(folder, "-u", users), "nginx": lambda: s.nginx(folder, index, users),
                     "pypiserver gunicorn": lambda: s.pypiserver(folder, users=users)}
            running = [server for server in (self.up(name, b, asks) for name, b in begin.items() if self.has(name)) if server]
            try:
                plain.until(HOT)
                self.results.in_turn(reading.with_password(self.results, plain, running, HOT, self.o.seconds, cost), row=f"auth{cost}")
            finally:
                for server in [plain, *running]:
                    server.stop()

    def upload(self, folder, index, state):
        """Each server gets a folder of its own; curd-server also one on disk."""
        s, seconds = self.servers, self.o.seconds
        disk = scratch.make(self.o.disk)
        copies = {name: self.scratch / f"copy-{name}" for name in ("curd", "gunicorn", "waitress")}
        for copy in [*copies.values(), disk / "wheels"]:
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("big0*"))
        (disk / "limit").mkdir()

        def ready(server):
            server.until(HOT, HOT_WHEEL)
            if server.user:
                s.devpi_login(server)

        begin = {"curd-server": lambda: s.curd(copies["curd"]), "devpi": lambda: s.devpi(state),
                 "pypiserver gunicorn": lambda: s.pypiserver(copies["gunicorn"]),
                 "pypiserver waitress": lambda: s.pypiserver(copies["waitress"], "waitress")}
        if not state.exists() or not self.wants("upload1", "upload16"):
            del begin["devpi"]
        running = [server for server in (self.up(name, b, ready) for name, b in begin.items() if self.has(name)) if server]
        on_disk = s.curd(disk / "wheels")
        try:
            ready(on_disk)
            for n in 1, 16:
                if self.wants(f"upload{n}"):
                    self.results.in_turn({x.name: writing.upload(self.results, self.tool, x, n, seconds) for x in running}, row=f"upload{n}")
                if self.wants(f"disk{n}"):
                    self.results.in_turn({"curd-server": writing.upload(self.results, self.tool, on_disk, n, seconds, f"disk{n}"),
                                          "disk": writing.disk_limit(self.results, disk / "limit", n, seconds, f"disk{n}")})
        finally:
            for server in [*running, on_disk]:
                server.stop()

    def start(self):
        """Start and memory with many wheels. They are small: their number counts here."""
        if not self.wants("start", "memory", "memory-load"):
            return
        many = self.o.many
        self.wheels(self.scratch / "many", many, 0)
        with_devpi = self.has("devpi") and bool(not self.o.quick or self.o.only)
        if self.o.quick and not with_devpi:
            self.results.note("devpi is left out of start and memory by --quick: it takes a minute to prepare")
        prepared = self.prepare("many", many, [f"project{i}" for i in range(many // 10)], with_devpi)
        project, filename = f"project{many // 20}", f"project{many // 20}-1.9-py3-none-any.whl"
        begin = self.all_servers(*prepared)
        if not with_devpi:
            begin.pop("devpi", None)
        upstream = begin["nginx"]()
        upstream.until(project)
        if self.has("proxpi"):
            begin["proxpi"] = lambda: self.servers.proxpi(upstream.url)
        try:
            self.results.in_turn({name: starting.start(self.results, b, project, filename) for name, b in begin.items()}, row="start")
        finally:
            upstream.stop()

    def large(self):
        if not (self.o.large and self.wants("latency", "latency-large", "start-large", "memory-large")):
            return
        if not (self.scratch / "wheels").exists():
            self.wheels(self.scratch / "wheels", 2000, 20_000)
        folder = self.scratch / "huge"
        self.say(f"{self.o.huge} wheels")
        self.wheels(folder, self.o.huge, 0)
        small, large = self.servers.curd(self.scratch / "wheels"), self.servers.curd(folder)
        try:
            for server in small, large:
                server.until(HOT)
            self.say("curd-server learns them")
            starting.settle(large, self.o.huge, self.o.huge // 10, get, 900)
            self.results.in_turn({
                "small": starting.latency(self.results, small, HOT, "latency", "curd-server", self.o.seconds),
                "large": starting.latency(self.results, large, HOT, "latency-large", "curd-server", self.o.seconds),
                "pair": lambda: self.results.add("latency-large", "curd-server, 2,000 wheels", self.results.samples("latency")["curd-server"][-1]),
            })
        finally:
            small.stop()
            large.stop()
        self.results.in_turn({"curd-server": starting.start(
            self.results, lambda: self.servers.curd(folder), "project9999", "project9999-1.9", "-large", load=False)}, min(3, self.o.rounds))

    def mirror(self):
        wanted = [row for row in ("burst", "wrong", "silent") if self.wants(*(k for k in ROWS if k.startswith(row)))]
        if not wanted:
            return
        s, folder, state = self.servers, self.scratch / "upstream", self.scratch / "mirror-devpi"
        big = self.wheels(folder, 1, 60_000_000, name="big")
        small = self.wheels(folder, 1, 1_000_000, name="small")
        big, small = ({**f, "project": f["file"].split("-")[0]} for f in (json.loads(big), json.loads(small)))
        upstream = mirroring.Upstream(self.tool, folder, self.scratch / "upstream.log")
        begin = {"curd-server": lambda ttl: self.mirror_curd(upstream, ttl), "proxpi": lambda ttl: self.mirror_proxpi(upstream, ttl),
                 "devpi": lambda ttl: self.mirror_devpi(state, ttl)}
        begin = {name: start for name, start in begin.items() if self.has(name)}
        if "devpi" in begin:
            s.devpi_mirror(upstream.url, state)
        if not self.curd_has("--upstream"):
            del begin["curd-server"]
            self.results.note("this curd-server has no --upstream: it takes no part in the rows of mirrors")
        rounds = min(self.o.rounds, 2)  # these fail or hold; they do not vary
        for row in wanted:
            trial, file = {"burst": (mirroring.burst, big), "wrong": (mirroring.wrong, small), "silent": (mirroring.silent, small)}[row]
            ttl = 1 if row == "silent" else 36000
            self.results.in_turn({name: trial(self.results, self.tool, upstream, lambda b=b: b(ttl), file) for name, b in begin.items()}, rounds, row)
        upstream.process.stop()

    def fresh(self, name):
        self.servers.count += 1
        return self.scratch / f"{name}-{self.servers.count}"

    def mirror_proxpi(self, upstream, ttl):
        server = self.servers.proxpi(upstream.url, ttl, name=self.fresh("proxpi").name)
        server.name = "proxpi"
        return server

    def mirror_devpi(self, state, ttl):
        copy = self.fresh("mirror-devpi")
        shutil.copytree(state, copy)
        return self.servers.devpi(copy, "--mirror-cache-expiry", ttl)

    def mirror_curd(self, upstream, ttl):
        folder = self.fresh("mirror-curd")
        folder.mkdir()
        server = self.servers.curd(folder, "--upstream", f"up={upstream.url}/simple/")
        server.due = 16.0  # it believes no upstream that pages last for less than 15 s
        return server

    def curd_has(self, option):
        return option in subprocess.run([self.servers.curd_server, "--help"], capture_output=True, text=True).stdout

    def report(self):
        sizes = {"many": f"{self.o.many:,}", "large": f"{self.o.huge:,}"}
        o = self.o
        kind = "a quick look, not a result: " if o.quick else ""
        text = f"""# curd-server beside others, {table.today()}

{kind}{o.rounds} rounds in turn, {o.seconds} s each; medians. Load and servers share {self.machine}; files on {scratch.kind(self.scratch / 'x')}.
Beside curd-server at {table.commit()}: {'; '.join(peers.versions())}. Ratios are medians of the ratios within each round. How and what: [README](../README.md).

{self.results.summary(sizes)}
## Details

{details(self.results, sizes)}"""
        if self.results.notes:
            text += "\n## Notes\n\n" + "".join(f"- {note}\n" for note in self.results.notes)
        return text

    def run(self):
        self.machine = table.machine()
        try:
            for stage in self.serve_2000, self.start, self.mirror, self.large:
                if not self.results.late():
                    stage()
        finally:
            process.stop_all()
            if self.results.cells:
                text = self.report()
                print(text)
                self.o.results.mkdir(parents=True, exist_ok=True)
                name = "server-quick" if self.o.quick or self.o.only else f"server-{table.today()}"
                (self.o.results / f"{name}.md").write_text(text)
                self.say(f"{self.o.results / name}.md")


process.stop_on_signals()
Bench(arguments()).run()
