"""An index on loopback with what the application needs: pages as the default index has them, the files that are asked for."""

import gzip
import json
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

from bench import peers
from bench.process import Process, free_port
from bench.server.servers import JSON, get

from . import application


def prepare(folder, curd_server, pip, python, tools, environment, log):
    """Fills a folder: files/ and pages/ for the index, cargo/ with crates. Dials the default index, and that of crates."""
    stamp = folder / "stamp"
    want = "\n".join([*application.PINS, *application.MODULES])
    if stamp.exists() and stamp.read_text() == want:
        return
    files, pages, work = folder / "files", folder / "pages", folder / "work"
    for old in files, pages, work, folder / "cargo":
        shutil.rmtree(old, ignore_errors=True)
    for new in files, pages, work:
        new.mkdir(parents=True)
    port = free_port()
    mirror = Process([curd_server, "-H", "127.0.0.1", "-p", port, "--upstream", "pypi", work / "mirror"], log)
    url = f"http://127.0.0.1:{port}"
    try:
        (work / "requirements.txt").write_text("\n".join(application.PINS))
        # pip needs for metadata whatever it needs for builds, and builds nothing for it.
        run = Process(["env", "-i", *environment(work), pip, "--python", python, "download", "-q", "--index-url", url + "/simple/", "-d", work / "got",
                       "--no-binary", ",".join(application.MODULES), "-r", work / "requirements.txt"], log)
        run.popen.wait()
        if run.popen.returncode:
            run.check()
        crates(work / "got", folder / "cargo", tools)
        collect(work / "mirror", url, files, pages)
    finally:
        mirror.stop()
    shutil.rmtree(work)
    stamp.write_text(want)


def collect(mirror, url, files, pages):
    """Takes a mirror's files, with the metadata of wheels, and its pages of their projects: of those that must be built without
    the wheels, whose metadata some would read."""
    for path in sorted(mirror.iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        shutil.move(path, files / path.name)
        if path.suffix == ".whl":
            name = path.name.split("-")[0]
            with zipfile.ZipFile(files / path.name) as z:
                member = next(n for n in z.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
                (files / (path.name + ".metadata")).write_bytes(z.read(member))
        else:
            name = path.name.rpartition("-")[0]
        name = re.sub(r"[-_.]+", "-", name).lower()
        if not (pages / name).exists():
            status, _, body = get(f"{url}/simple/{name}/", {"Accept": JSON}, timeout=120)
            if status != 200:
                raise RuntimeError(f"the mirror answers {status} for {name}")
            if name in application.MODULES:
                page = json.loads(body)
                page["files"] = [f for f in page["files"] if not f["filename"].endswith(".whl")]
                body = json.dumps(page).encode()
            (pages / name).mkdir()
            (pages / name / "index.json").write_bytes(body)
            (pages / name / "index.json.gz").write_bytes(gzip.compress(body, 6))


def crates(sources, home, tools):
    """Has cargo fetch what Rust's sources need."""
    home.mkdir()
    for archive in sources.glob("*.tar.gz"):
        with tarfile.open(archive) as tar:
            if not any(n.endswith("/Cargo.lock") for n in tar.getnames()):
                continue
            tar.extractall(sources / "rust", filter="data")
    for manifest in sources.glob("rust/**/Cargo.lock"):
        subprocess.run([tools / "cargo", "fetch", "-q", "--locked"], cwd=manifest.parent, check=True, env={**os.environ, "CARGO_HOME": str(home)})
    shutil.rmtree(home / "registry/src", ignore_errors=True)


class Index:
    """nginx with static pages, compressed as the real index sends them."""

    def __init__(self, folder, home):
        port, self.log = free_port(), home / "access.log"
        home.mkdir()
        temp = " ".join(f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (home / "nginx.conf").write_text(f"""
daemon off; pid {home}/pid; error_log {home}/error.log; worker_processes 2;
{"user root;" if os.geteuid() == 0 else ""}
events {{ worker_connections 1024; }}
http {{
  log_format sent '$body_bytes_sent $status $uri'; access_log {home}/access.log sent;
  sendfile on; tcp_nopush on; default_type application/octet-stream; absolute_redirect off; types {{ }} {temp}
  server {{
    listen 127.0.0.1:{port};
    location /simple/ {{ alias {folder}/pages/; index index.json; gzip_static on; default_type {JSON}; add_header Vary Accept; add_header Cache-Control "max-age=600, public"; }}
    location /p/ {{ alias {folder}/files/; add_header Cache-Control "public, max-age=31536000, immutable"; }}
  }}
}}
""")
        self.process = Process([peers.system("nginx"), "-p", home, "-c", home / "nginx.conf", "-e", home / "error.log"], home / "log")
        self.url = f"http://127.0.0.1:{port}/simple/"

    def sent(self):
        """Bytes of bodies that it sent so far."""
        if not self.log.exists():
            return 0
        with self.log.open() as f:
            return sum(int(line.split()[0]) for line in f)


class CacheServer:
    """curd-server with an empty folder."""

    def __init__(self, program, folder, log):
        port = free_port()
        self.process = Process([program, "-H", "127.0.0.1", "-p", port, folder], log)
        self.url = f"http://127.0.0.1:{port}"

    def sent(self):
        body = get(self.url + "/metrics")[2].decode()
        return sum(float(line.split()[-1]) for line in body.splitlines() if line.startswith("curd_server_sent_bytes_total"))
