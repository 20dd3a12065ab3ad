"""The servers, each in its best configuration: how it is prepared, started and asked."""

import hashlib
import http.client
import json
import os
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path

from bench import peers
from bench.process import Process, free_port

JSON = "application/vnd.pypi.simple.v1+json"
CPUS = len(os.sched_getaffinity(0))
PASSWORD = "correct horse"


def get(url, headers=None, timeout=30, method="GET", body=None):
    """One request: status, headers, body."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
    try:
        connection.request(method, urllib.parse.urlunsplit(("", "", *parts[2:])), body, headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


@dataclass
class Server:
    """A server that runs."""
    name: str
    process: Process
    url: str                                     # without a slash at the end
    page: str = "/simple/{project}/"             # path of a project's page
    file: str = "/p/{file}"                      # path of a file; of devpi it is taken from the page
    upload: str = "/legacy/"                     # path that takes twine's form
    headers: dict = field(default_factory=lambda: {"Accept": JSON})
    user: tuple = ()                             # name and password for uploads
    due: float = 1.5                             # seconds after which a mirror asks for a page again

    def page_url(self, project):
        return self.url + self.page.format(project=project)

    def file_url(self, filename):
        project = filename.split("-")[0]
        if "{file}" in self.file:
            return self.url + self.file.format(project=project, file=filename)
        page = self.page_url(project)
        files = json.loads(get(page, self.headers)[2])["files"]
        return urllib.parse.urljoin(page, next(f["url"] for f in files if f["filename"] == filename)).partition("#")[0]

    def until(self, project, filename="", timeout=180):
        """Waits until the page of a project names a file, and gives the seconds since the start."""
        while True:
            try:
                status, _, body = get(self.page_url(project), self.headers, timeout=timeout)
                if status == 200 and filename.encode() in body:
                    return time.monotonic() - self.process.began
            except (OSError, http.client.HTTPException):
                pass
            self.process.check()
            if time.monotonic() - self.process.began > timeout:
                raise TimeoutError(f"{self.name} does not show {project} after {timeout} s")
            time.sleep(0.002)

    def stop(self):
        self.process.stop()


class Servers:
    """Starts servers in a scratch folder."""

    def __init__(self, scratch, venvs, curd_server, tool):
        self.scratch, self.venvs, self.curd_server, self.tool, self.count = scratch, venvs, curd_server, tool, 0

    def _log(self, name):
        self.count += 1
        return self.scratch / f"{name}-{self.count}.log"

    def _bin(self, name, program):
        return peers.virtualenv(self.venvs, name) / program

    def curd(self, folder, *options, name="curd-server"):
        port = free_port()
        process = Process([self.curd_server, "-H", "127.0.0.1", "-p", port, *options, folder], self._log(name))
        return Server(name, process, f"http://127.0.0.1:{port}")

    def static_index(self, server, projects, folder):
        """The pages of curd-server as files, for nginx: the same bytes."""
        for project in projects:
            (folder / project).mkdir(parents=True)
            status, _, body = get(server.page_url(project), server.headers)
            if status != 200:
                raise RuntimeError(f"{server.name}: {status} for {project}")
            (folder / project / "index.json").write_bytes(body)

    def nginx(self, folder, index, users=None, name="nginx", pages="no-cache"):
        """A static index of JSON pages, with nginx's cache of open files; pages is how long clients may believe them."""
        port, home = free_port(), self.scratch / f"{name}-home"
        home.mkdir(exist_ok=True)
        auth = f"auth_basic bench; auth_basic_user_file {users};" if users else ""
        temp = " ".join(f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (home / "nginx.conf").write_text(f"""
daemon off; pid {home}/pid; error_log {home}/error.log; worker_processes {CPUS};
{"user root;" if os.geteuid() == 0 else ""}
worker_rlimit_nofile 65536;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_timeout 300; keepalive_requests 1000000000; {temp}
  open_file_cache max=50000 inactive=10m; open_file_cache_valid 10m; default_type application/octet-stream;
  absolute_redirect off; types {{ }}
  server {{
    listen 127.0.0.1:{port} backlog=4096 reuseport; {auth}
    location /simple/ {{ alias {index}/; index index.json; default_type {JSON}; add_header Vary Accept; add_header Cache-Control "{pages}"; }}
    location /p/ {{ alias {folder}/; add_header Cache-Control "public, max-age=31536000, immutable"; }}
  }}
}}
""")
        process = Process([peers.system("nginx"), "-p", home, "-c", home / "nginx.conf", "-e", home / "error.log"], self._log(name))
        return Server(name, process, f"http://127.0.0.1:{port}")

    def pypiserver(self, folder, with_server="gunicorn", users=None, name=None):
        """With watchdog, so that it caches its listing and hashes; one process for each processor under gunicorn."""
        port, name = free_port(), name or f"pypiserver {with_server}"
        home = self.scratch / f"{name.replace(' ', '-')}-home"
        home.mkdir(exist_ok=True)
        who = f"authenticate=['list', 'download', 'update'], password_file={str(users)!r}" if users else "authenticate=[], password_file='.'"
        (home / "served.py").write_text(
            "import pathlib, pypiserver\n"
            f"application = pypiserver.app(roots=[pathlib.Path({str(folder)!r})], hash_algo='sha256', disable_fallback=True, {who})\n")
        if with_server == "gunicorn":
            command = [self._bin("pypiserver-gunicorn", "gunicorn"), "--log-level", "warning", "-k", "gevent", "-w", CPUS, "--backlog", 4096,
                       "--worker-connections", 4096, "-b", f"127.0.0.1:{port}", "served"]
        else:
            command = [self._bin("pypiserver-waitress", "waitress-serve"), "--listen", f"127.0.0.1:{port}", "--threads", 8,
                       "--connection-limit", 4096, "--backlog", 4096, "served:application"]
        process = Process(command, self._log(name.replace(" ", "-")), {"PYTHONWARNINGS": "ignore"}, home)
        return Server(name, process, f"http://127.0.0.1:{port}", file="/packages/{file}", upload="/", headers={})

    def proxpi(self, upstream, ttl=36000, timeout=60, name="proxpi"):
        """One process, as its manual asks; files stay in its cache, and clients wait for them rather than being sent upstream."""
        port, cache = free_port(), self.scratch / f"{name}-cache"
        process = Process(
            [self._bin("proxpi", "gunicorn"), "--log-level", "warning", "-k", "gevent", "-w", 1, "--backlog", 4096,
             "--worker-connections", 4096, "-b", f"127.0.0.1:{port}", "proxpi.server:app"], self._log(name),
            {"PROXPI_INDEX_URL": upstream + "/simple/", "PROXPI_INDEX_TTL": str(ttl), "PROXPI_CACHE_DIR": str(cache),
             "PROXPI_DOWNLOAD_TIMEOUT": str(timeout), "PROXPI_LOGGING_LEVEL": "WARNING", "PROXPI_BINARY_FILE_MIME_TYPE": "1"})
        return Server(name, process, f"http://127.0.0.1:{port}", page="/index/{project}/", file="/index/{project}/{file}")

    def devpi_import(self, folder, state):
        """Has devpi take a folder of wheels: by its import, which is the fastest way in."""
        dump = Path(f"{state}-dump")
        projects, files = {}, []
        for path in sorted(folder.glob("*.whl")):
            name, version = path.name.split("-")[:2]
            relative = Path(name, version, path.name)
            (dump / relative).parent.mkdir(parents=True, exist_ok=True)
            os.link(path, dump / relative)
            with path.open("rb") as f:
                sha256 = hashlib.file_digest(f, "sha256").hexdigest()
            projects.setdefault(name, {})[version] = {"name": name, "version": version, "requires_python": ">=3.8"}
            files.append({"relpath": str(relative), "projectname": name, "version": version, "type": "releasefile",
                          "entrymapping": {"last_modified": "Thu, 01 Jan 2026 00:00:00 GMT", "hashes": {"sha256": sha256}}})
        self._devpi_load(dump, state, {"indexconfig": {"type": "stage", "volatile": False, "bases": []}, "projects": projects, "files": files})

    def devpi_mirror(self, upstream, state):
        """Has devpi's index be a mirror of another one."""
        self._devpi_load(Path(f"{state}-dump"), state, {"indexconfig": {
            "type": "mirror", "volatile": True, "mirror_url": upstream + "/simple/", "title": "upstream"}, "projects": {}, "files": []})

    def _devpi_load(self, dump, state, index):
        dump.mkdir(exist_ok=True)
        (dump / "dataindex.json").write_text(json.dumps({"dumpversion": "2", "users": {}, "indexes": {"root/bench": index}}))
        process = Process([self._bin("devpi", "devpi-import"), "--serverdir", state, "--root-passwd", PASSWORD, "--no-root-pypi",
                           "--hard-links", dump], self._log("devpi-import"))
        try:
            process.popen.wait(600)
            if process.popen.returncode != 0:
                process.check()
        finally:
            process.stop()

    def devpi(self, state, *options, name="devpi"):
        port = free_port()
        process = Process([self._bin("devpi", "devpi-server"), "--serverdir", state, "--host", "127.0.0.1", "--port", port,
                           "--threads", 50, "--connection-limit", 4096, *options], self._log(name))
        return Server(name, process, f"http://127.0.0.1:{port}", page="/root/bench/+simple/{project}/", file="", upload="/root/bench/",
                      user=("root", PASSWORD))  # the password becomes a token: see devpi_login

    def devpi_login(self, server):
        """Has uploads use a token, as devpi's own client does; a password costs devpi 50 ms each time."""
        body = json.dumps({"user": "root", "password": PASSWORD})
        answer = json.loads(get(server.url + "/+login", {"Content-Type": "application/json"}, method="POST", body=body)[2])
        server.user = ("root", answer["result"]["password"])
