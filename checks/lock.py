#!/usr/bin/env python3
"""Holds the lock files of `curd lock` against pip and uv, and theirs against `curd install` and `curd sync`.

Each set of requirements is locked; `curd install -r` of the lock, at one path, twice, each time with an empty
cache, must make the same bytes; locking again must change nothing, and --check agree; pip and uv
must make of our lock file the same versions and files (of uv's, what uv writes in its own way aside). Then `pip lock`,
`uv pip compile --universal` and `uv export` write lock files, and from these curd must install what pip and uv
install. Dials the default index.
"""
import argparse
import os
import pathlib
import shutil
import sys
import tempfile

import venvs

SETS = ["flask", "requests[socks]", "jupyterlab", "pandas matplotlib", "black[jupyter,d]", "docopt",
        "fastapi[standard] sqlalchemy[asyncio]", "boto3 urllib3<2", "rich colorama;sys_platform=='win32'"]
THEIRS = ["flask", "requests[socks]", "pandas matplotlib", "docopt", "rich colorama;sys_platform=='win32'"]

PROJECT = """\
[project]
name = "little"
version = "1"
requires-python = ">=3.10"
dependencies = ["httpx[http2]", "click", "tomli; python_version < '3.11'", "colorama; sys_platform == 'win32'"]
[project.optional-dependencies]
more = ["rich"]
[dependency-groups]
dev = ["pytest", "docopt"]
"""


class Check:
    def __init__(self, curd, uv, work):
        self.curd, self.uv, self.work = curd, uv, work
        self.pip = venvs.newest_pip(work / "pip")
        self.problems = []

    def say(self, what, differ):
        if differ:
            self.problems.append(f"{what}: {differ}")

    def curd_run(self, *args, cache=None, cwd=None):
        """Runs curd with that cache; without one, with an empty one."""
        home = cache or tempfile.mkdtemp(dir=self.work)
        try:
            return venvs.run(self.curd, *args, cwd=cwd,
                             env=dict(venvs.ENV, CURD_CACHE=str(home), CURD_CACHES=""))
        finally:
            if not cache:
                shutil.rmtree(home)

    def uv_run(self, *args, cwd=None):
        return venvs.run(self.uv, *args, cwd=cwd, env=dict(venvs.ENV, UV_CACHE_DIR=str(self.work / "uv")))

    def ours(self, requirements):
        """Locks the requirements, and has all three install the lock."""
        folder = self.work / "lock"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        lock = folder / "pylock.toml"
        self.curd_run("lock", "-q", "-o", lock, *requirements)
        first = lock.read_bytes()
        self.curd_run("lock", "-q", "-o", lock, *requirements)
        self.say("curd lock again", first != lock.read_bytes() and "the file changed")
        self.curd_run("lock", "-q", "--check", "-o", lock, *requirements)

        venv = self.work / "venv"
        trees = []
        for _ in range(2):
            self.curd_run("install", "-q", "--python", venvs.fresh(venv), "-r", lock)
            trees.append(venvs.exact(venv))
        self.say("curd install again", venvs.differences(*trees))
        self.curd_run("sync", "-q", "--python", venv, lock)
        self.say("curd sync after it", venvs.differences(trees[0], venvs.exact(venv)))
        have, tree, code = venvs.versions(self.pip, venv), venvs.listing(venv), venvs.listing(venv, venvs.OWN)

        self.pip("install", "-q", "--no-compile", "-r", lock, python=venvs.fresh(venv))
        self.say("versions of pip", sorted(have ^ venvs.versions(self.pip, venv)))
        self.say("files of pip", venvs.differences(venvs.listing(venv), tree))
        self.uv_run("pip", "install", "-q", "--python", venvs.fresh(venv), "-r", lock)
        self.say("versions of uv", sorted(have ^ venvs.versions(self.pip, venv)))
        self.say("files of uv", venvs.differences(venvs.listing(venv, venvs.OWN), code))
        return f"{len(have)} packages, {len(tree)} files"

    def theirs(self, install, lock):
        """Whether curd makes of their lock file what install, which installs into the virtualenv, makes."""
        venv = venvs.fresh(self.work / "venv")
        install(venv)
        have = venvs.versions(self.pip, venv)
        self.curd_run("install", "-q", "--python", venvs.fresh(venv), "-r", lock, cache=self.work / "curds")
        self.say("curd install", sorted(have ^ venvs.versions(self.pip, venv)))
        # What sync must do: replace one, remove one, add the rest.
        self.curd_run("install", "-q", "--python", venvs.fresh(venv), "click<8", "six", cache=self.work / "curds")
        self.curd_run("sync", "-q", "--python", venv, lock, cache=self.work / "curds")
        self.say("curd sync", sorted(have ^ venvs.versions(self.pip, venv)))
        return f"{len(have)} packages"

    def of_pip(self, requirements):
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.work))
        lock = folder / "pylock.toml"
        self.pip("lock", "-q", "-o", lock, *requirements, python=venvs.fresh(self.work / "venv"))
        return self.theirs(lambda venv: self.pip("install", "-q", "--no-compile", "-r", lock, python=venv), lock)

    def of_uv_compile(self, requirements):
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.work))
        lock = folder / "pylock.toml"
        (folder / "requirements.in").write_text("\n".join(requirements))
        self.uv_run("pip", "compile", "-q", "--universal", "--format", "pylock.toml", "-o", lock,
                    "--python", venvs.fresh(self.work / "venv"), folder / "requirements.in")
        return self.theirs(lambda venv: self.uv_run("pip", "install", "-q", "--python", venv, "-r", lock), lock)

    def of_uv_export(self, *flags):
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.work))
        (folder / "pyproject.toml").write_text(PROJECT)
        lock = folder / "pylock.toml"
        self.uv_run("export", "-q", "--format", "pylock.toml", "-o", lock, "--no-emit-project", *flags, cwd=folder)
        return self.theirs(lambda venv: self.uv_run("pip", "install", "-q", "--python", venv, "-r", lock), lock)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curd", type=os.path.abspath)
    parser.add_argument("uv", type=lambda program: os.path.abspath(shutil.which(program) or program))
    parser.add_argument("requirements", nargs="*", help="a set of requirements, with spaces between")
    args = parser.parse_args()
    sets, theirs = args.requirements or SETS, args.requirements or THEIRS
    work = pathlib.Path(tempfile.mkdtemp(prefix="curd-lock-"))
    failed = 0
    try:
        check = Check(args.curd, args.uv, work)
        todo = [(f"curd lock {s}", lambda s=s: check.ours(s.split())) for s in sets]
        todo += [(f"pip lock {s}", lambda s=s: check.of_pip(s.split())) for s in theirs]
        todo += [(f"uv pip compile --universal {s}", lambda s=s: check.of_uv_compile(s.split())) for s in theirs]
        todo += [(f"uv export {f}", lambda f=f: check.of_uv_export(*f.split())) for f in ("--no-dev", "--all-extras --all-groups")]
        for what, do in todo:
            check.problems = []
            try:
                said = do()
            except venvs.Failed as e:
                said = ""
                check.problems.append(str(e))
            failed += bool(check.problems)
            print(f"{what}: {'DIFFERENT' if check.problems else 'same'}: {said}", *check.problems, sep="\n    ", flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{len(todo) - failed} the same, {failed} different")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
