#!/usr/bin/env python3
"""Holds a curd-server on loopback against the real programs that use an index: installers and uploaders.

Each installer must install a project and what it needs, leave a yanked version out but take it when it is pinned (those
that know of yanking), and refuse a file with another hash than was asked for. Each uploader must upload a wheel and a
source distribution with a password, be refused with a wrong one, and what it sent must be there byte for byte. Prints a
line for each program and version. Dials the default index to install the programs; they run against loopback alone.
Other Pythons, for old versions of pip, are looked for in ~/.pyenv/versions; what there is none for is left out, and said.
"""
import argparse
import base64
import contextlib
import glob
import hashlib
import io
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
import zipfile

USER, PASSWORD = "alice", "secret"
# Nobody's settings get into the programs that are tested; the machine's own are for installing them.
CLEAN = {k: v for k, v in os.environ.items() if not re.match("(PIP|UV|PIPX|PDM|POETRY|TWINE|FLIT|CURD)_", k) and k != "VIRTUAL_ENV"}


class Failed(Exception):
    pass


def run(*command, env=CLEAN, cwd=None, fails=False):
    done = subprocess.run([str(c) for c in command], env=env, cwd=cwd, text=True, capture_output=True, timeout=600)
    said = done.stdout + done.stderr
    if (done.returncode != 0) != fails:
        raise Failed(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{said}")
    return said


def wheel(folder, name, version, requires=()):
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"def main():\n    print('{name} {version}')\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(f"Requires-Dist: {r}\n" for r in requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: checks\nRoot-Is-Purelib: true\nTag: py2-none-any\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text)}\n"
    path = folder / f"{name}-{version}-py2.py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as z:
        for member, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            z.writestr(member, text)
    return path


def sdist(folder, name, version):
    path = folder / f"{name}-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as t:
        for member, text in {"PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "setup.py": "from setuptools import setup; setup()\n"}.items():
            entry = tarfile.TarInfo(f"{name}-{version}/{member}")
            entry.size = len(text)
            t.addfile(entry, io.BytesIO(text.encode()))
    return path


@contextlib.contextmanager
def served(server, folder, *options):
    process = subprocess.Popen([server, "-H", "127.0.0.1", "-p", "0", *options, str(folder)], text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=CLEAN)
    try:
        yield re.search(r"http://[^,\s]+", process.stdout.readline())[0]
    finally:
        process.terminate()
        process.wait()


class Clients:
    def __init__(self, server, work, only):
        self.server, self.work, self.only = server, work, only
        self.failures = 0
        self.held = work / "held"
        self.held.mkdir()
        wheel(self.held, "curdle_dep", "1.0")
        self.good = wheel(self.held, "curdle_demo", "1.0", ["curdle-dep>=1"])
        wheel(self.held, "curdle_demo", "1.1", ["curdle-dep>=1"])
        run(server, "yank", "--reason", "it curdled", self.held, "curdle-demo==1.1")

    def check(self, name, what):
        """Runs a check and prints its line; what gives what it did."""
        if self.only and not name.startswith(tuple(self.only)):
            return
        try:
            print(f"ok    {name}: {what()}", flush=True)
        except (Failed, subprocess.TimeoutExpired, AssertionError, OSError) as e:
            self.failures += 1
            print(f"FAIL  {name}: {str(e)[-3000:]}", flush=True)

    def program(self, name, version="", *beside, python=sys.executable):
        """A virtualenv with a program of the default index and what it must have beside it, and the version that came."""
        venv = self.work / "programs" / f"{name}{version}"
        if not venv.exists():
            run(python, "-m", "venv", venv, env=os.environ)
            run(venv / "bin/pip", "install", "-q", f"{name}{version}", *beside, env=os.environ)
        found = run(venv / "bin/python", "-c", f"import importlib.metadata as m; print(m.version('{name}'))")
        return venv / "bin" / name, found.strip()

    def hashes(self, right):
        """A requirements file with hashes; a wrong one for the first file."""
        lines = []
        for path in sorted(self.held.glob("*-1.0-*.whl")):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if not right and path == self.good:
                digest = "0" * 64
            lines.append(f"{path.name.split('-')[0]}==1.0 --hash=sha256:{digest}\n")
        file = self.work / f"hashes-{right}.txt"
        file.write_text("".join(lines))
        return file

    def installs(self, install, knows_yanked=True):
        """install(arguments, folder) is tried with what an installer must do and must not."""
        def version(*arguments):
            target = pathlib.Path(tempfile.mkdtemp(dir=self.work))
            install(arguments, target)
            assert list(target.rglob("curdle_dep-1.0.dist-info")), "the dependency is missing"
            return re.search(r"curdle_demo-([\d.]+)\.dist", next(target.rglob("curdle_demo-*.dist-info")).name)[1]
        latest = version("curdle-demo")
        assert latest == ("1.0" if knows_yanked else "1.1"), f"installed {latest}, 1.1 is yanked"
        pinned = version("curdle-demo==1.1")
        assert pinned == "1.1", f"installed {pinned} for ==1.1"
        return "install, dependency, " + ("yanked left out, yanked pinned" if knows_yanked else "pin (knows nothing of yanking)")

    def pip(self, url, python, pip):
        """pip, run from its own wheel, which is how its oldest versions can be had."""
        def at(arguments, target, fails=False):
            return run(python, pip, "install", "--no-cache-dir", "--disable-pip-version-check", "-i", url + "/simple/", "--target", target, *arguments, fails=fails)
        number = tuple(map(int, re.search(r"/pip-(\d+)\.(\d+)", str(pip)).groups()))
        did = self.installs(at, knows_yanked=number >= (19, 2))
        at(["-r", self.hashes(True)], tempfile.mkdtemp(dir=self.work))
        said = at(["-r", self.hashes(False)], tempfile.mkdtemp(dir=self.work), fails=True)
        assert "DO NOT MATCH" in said, said
        return did + ", hash mismatch refused"

    def pips(self, url):
        pythons = {".".join(pathlib.Path(p).parts[-3].split(".")[:2]): p for p in glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin/python"))}
        pythons.setdefault("%d.%d" % sys.version_info[:2], sys.executable)
        newest = max(pythons, key=lambda v: tuple(map(int, v.split("."))))
        for python, version in [("2.7", "9.0.3"), ("2.7", "20.3.4"), ("3.6", "10.0.1"), ("3.6", "21.3.1"), ("3.8", "19.3.1"), ("3.8", "25.0.1"), ("3.11", "22.3.1"), (newest, "")]:
            name = f"pip {version or 'newest'} on Python {python}"
            if python not in pythons:
                print(f"left out: {name}: no such Python", flush=True)
                continue

            def what(python=python, version=version):
                folder = self.work / "pips" / (version or "newest")
                run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "--python-version", python, "-d", folder, "pip" + (version and "==" + version), env=os.environ)
                pip = next(folder.glob("pip-*.whl"))
                return f"{pip.name.split('-')[1]}: " + self.pip(url, pythons[python], f"{pip}/pip")
            self.check(name, what)

    def uv(self, url, version=""):
        uv, number = self.program("uv", version)

        def at(arguments, target, fails=False):
            return run(uv, "pip", "install", "--no-cache", "--python", sys.executable, "--index-url", url + "/simple/", "--target", target, *arguments, fails=fails)
        did = self.installs(at)
        at(["--require-hashes", "-r", self.hashes(True)], tempfile.mkdtemp(dir=self.work))
        said = at(["--require-hashes", "-r", self.hashes(False)], tempfile.mkdtemp(dir=self.work), fails=True)
        assert "ash" in said, said
        return f"{number}: {did}, hash mismatch refused"

    def project(self, source):
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.work))
        (folder / "pyproject.toml").write_text('[project]\nname = "curdle-user"\nversion = "1.0"\nrequires-python = ">=3.9"\ndependencies = []\n' + source)
        return folder

    def home(self):
        """The environment with a home of its own."""
        home = tempfile.mkdtemp(dir=self.work)
        return {**CLEAN, "HOME": home, "XDG_CONFIG_HOME": home + "/config", "XDG_CACHE_HOME": home + "/cache", "XDG_DATA_HOME": home + "/data",
                "POETRY_VIRTUALENVS_IN_PROJECT": "1", "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring", "PDM_CHECK_UPDATE": "0"}

    def poetry(self, url):
        poetry, number = self.program("poetry")

        def at(arguments, target):
            folder = self.project(f'[tool.poetry]\npackage-mode = false\n[[tool.poetry.source]]\nname = "ours"\nurl = "{url}/simple/"\npriority = "primary"\n')
            run(poetry, "add", "-n", *arguments, cwd=folder, env=self.home())
            shutil.move(folder / ".venv", target)
            assert hashlib.sha256(self.good.read_bytes()).hexdigest() in (folder / "poetry.lock").read_text() or "1.1" in arguments[0]
        return f"{number}: {self.installs(at)}, hashes locked"

    def pdm(self, url):
        pdm, number = self.program("pdm", "[locked]")  # its newest dependencies do not suit it

        def at(arguments, target):
            folder = self.project(f'[[tool.pdm.source]]\nname = "pypi"\nurl = "{url}/simple/"\nverify_ssl = false\n')
            run(pdm, "use", "-f", sys.executable, cwd=folder, env=self.home())
            run(pdm, "add", "--no-self", *arguments, cwd=folder, env=self.home())
            shutil.move(folder / ".venv", target)
        return f"{number}: {self.installs(at)}"

    def pipx(self, url):
        pipx, number = self.program("pipx")
        # pipx has its own pip upgraded from the same index.
        run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", self.held, "pip", env=os.environ)
        time.sleep(2)
        env = {**CLEAN, **{k: v for k, v in os.environ.items() if k == "PIP_CERT"}, "PIPX_HOME": tempfile.mkdtemp(dir=self.work), "PIPX_BIN_DIR": tempfile.mkdtemp(dir=self.work)}
        run(pipx, "install", "--python", sys.executable, "--index-url", url + "/simple/", "curdle-demo", env=env)
        said = run(pathlib.Path(env["PIPX_BIN_DIR"]) / "curdle_demo", env=env)
        assert said == "curdle_demo 1.0\n", said
        return f"{number}: install, its script runs"

    def uploads(self, upload):
        """upload(files, url, password) is tried against a server that wants a password."""
        sent, folder = pathlib.Path(tempfile.mkdtemp(dir=self.work)), pathlib.Path(tempfile.mkdtemp(dir=self.work))
        users = self.work / "users"
        users.write_text(USER + ":{SHA}" + base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode() + "\n")
        with served(self.server, folder, "-u", users) as url:
            files = [wheel(sent, "curdle_up", "1.0"), sdist(sent, "curdle_up", "1.0")]
            upload(files, url + "/legacy/", "wrong", True)
            assert not list(folder.glob("curdle*")), "a wrong password was enough"
            made = upload(files, url + "/legacy/", PASSWORD, False)
            for path in made or files:
                assert (folder / path.name).read_bytes() == path.read_bytes(), path.name
            request = urllib.request.Request(url + "/simple/curdle-up/", headers={"Authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()})
            page = urllib.request.urlopen(request).read().decode()
            assert "curdle_up-1.0" in page, page
        return "upload of wheel and sdist, wrong password refused"

    def twine(self, version="", *beside):
        twine, number = self.program("twine", version, *beside)
        return f"{number}: " + self.uploads(lambda files, url, password, fails: run(
            twine, "upload", "--non-interactive", "--repository-url", url, "-u", USER, "-p", password, *files, env=self.home(), fails=fails) and None)

    def uv_publish(self):
        uv, number = self.program("uv")
        return f"{number}: " + self.uploads(lambda files, url, password, fails: run(
            uv, "publish", "--publish-url", url, "-u", USER, "-p", password, *files, env=self.home(), fails=fails) and None)

    def flit(self):
        flit, number = self.program("flit")

        def upload(_, url, password, fails):
            folder = pathlib.Path(tempfile.mkdtemp(dir=self.work))
            (folder / "pyproject.toml").write_text('[build-system]\nrequires = ["flit_core"]\nbuild-backend = "flit_core.buildapi"\n[project]\nname = "curdle-up"\nversion = "1.0"\ndescription = "up"\n')
            (folder / "curdle_up.py").write_text('"""up"""\n')
            run(flit, "publish", "--no-use-vcs", cwd=folder, fails=fails, env={**self.home(), "FLIT_INDEX_URL": url, "FLIT_USERNAME": USER, "FLIT_PASSWORD": password})
            return list((folder / "dist").iterdir())
        return f"{number}: " + self.uploads(upload)

    def poetry_publish(self):
        poetry, number = self.program("poetry")

        def upload(files, url, password, fails):
            folder = self.project("")
            text = (folder / "pyproject.toml").read_text().replace("curdle-user", "curdle-up")
            (folder / "pyproject.toml").write_text(text)
            shutil.copytree(files[0].parent, folder / "dist")
            env = {**self.home(), "POETRY_REPOSITORIES_OURS_URL": url}
            run(poetry, "publish", "-n", "-r", "ours", "-u", USER, "-p", password, cwd=folder, env=env, fails=fails)
        return f"{number}: " + self.uploads(upload)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", type=pathlib.Path, help="curd-server")
    parser.add_argument("only", nargs="*", help="names of programs, such as 'pip' or 'uv publish'; all without")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        c = Clients(arguments.server.resolve(), pathlib.Path(work), arguments.only)
        with served(c.server, c.held) as url:
            c.pips(url)
            for name, what in {
                "uv newest": lambda: c.uv(url), "uv 0.4": lambda: c.uv(url, "==0.4.30"), "poetry": lambda: c.poetry(url), "pdm": lambda: c.pdm(url), "pipx": lambda: c.pipx(url),
                "twine newest": c.twine, "twine 4": lambda: c.twine("==4.0.2", "importlib-metadata<8"), "uv publish": c.uv_publish, "flit": c.flit, "poetry publish": c.poetry_publish,
            }.items():
                c.check(name, what)
    sys.exit(1 if c.failures else 0)


if __name__ == "__main__":
    main()
