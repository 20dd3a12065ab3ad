#!/usr/bin/env python3
"""Holds what `curd install` makes against what pip makes, file by file.

    checks/pip.py CURD [REQUIREMENT...]

For each requirement, both install it from the default index into a virtualenv of
its own. Compared are the files, their contents and modes, and RECORD's rows;
bytecode, and what names the installer or the virtualenv, set aside. Then `pip check` must
be content with ours, and `pip uninstall` must remove it without a trace.
REQUIREMENT may be `name --no-binary`. Dials the default index.
"""
import csv
import hashlib
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile

USUAL = ["flask", "numpy", "pandas", "jupyterlab", "black", "docopt", "pyyaml --no-binary", "markupsafe --no-binary"]


def run(*command, **kw):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kw)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


def listing(venv):
    """Maps each path to what it holds, with the virtualenv's own path and the installer's name taken out."""
    found = {}
    for path in sorted(venv.rglob("*")):
        rel = str(path.relative_to(venv))
        if path.is_dir() or path.suffix == ".pyc" or ".curdling" in rel or path.is_symlink():
            continue
        content = path.read_bytes()
        if path.name == "RECORD":
            rows = csv.reader(content.decode().splitlines())
            content = "\n".join(",".join(normal(row)) for row in rows if not row[0].endswith(".pyc")).encode()
        elif path.name == "INSTALLER":
            content = b""
        else:
            content = content.replace(bytes(venv), b"VENV")
        found[rel] = (hashlib.sha256(content).hexdigest(), oct(stat.S_IMODE(path.stat().st_mode)))
    return found


def normal(row):
    """A row of RECORD without what must differ: the hashes of INSTALLER and of scripts, which name the virtualenv."""
    if row[0].endswith("/INSTALLER") or re.match(r"(\.\./)+bin/", row[0]):
        return row[:1]
    return row


def freeze(python):
    return run(python, "-m", "pip", "freeze", "--all").split()


def compare(curd, requirement, work):
    name, *options = requirement.split()
    flags = ["--no-binary", name] if "--no-binary" in options else []
    theirs, ours = work / "theirs/venv", work / "ours/venv"
    for venv in theirs, ours:
        run(sys.executable, "-m", "venv", venv)
        run(venv / "bin/python", "-m", "pip", "install", "-q", "--upgrade", "pip")
    empty, seeds = listing(ours), set(freeze(ours / "bin/python"))
    run(theirs / "bin/python", "-m", "pip", "install", "-q", "--no-compile", "--no-cache-dir", *flags, name)
    # The same versions, whatever is published in between.
    pins = sorted(set(freeze(theirs / "bin/python")) - seeds)
    env = dict(os.environ, CURD_CACHE=str(work / "curds"), CURD_CACHES="")
    env.pop("VIRTUAL_ENV", None)
    run(curd, "install", "-q", "--python", ours, *flags, name, env=env)
    if "--no-binary" not in options:
        have = sorted(set(freeze(ours / "bin/python")) - seeds)
        if have != pins:
            return f"other versions were chosen: {sorted(set(have) ^ set(pins))}"
    a, b = listing(theirs), listing(ours)
    differ = sorted(p for p in a.keys() | b.keys() if a.get(p) != b.get(p))
    if "--no-binary" in options:  # two builds of one source differ in what the compiler made of it
        differ = [p for p in differ if (a.get(p) is None) != (b.get(p) is None)]
    if differ:
        return "differ: " + ", ".join(f"{p} {a.get(p)} {b.get(p)}" for p in differ[:10])
    python = ours / "bin/python"
    run(python, "-m", "pip", "check")
    run(python, "-m", "pip", "uninstall", "-y", "-q", *[p.split("==")[0] for p in pins])
    left = listing(ours)
    if left.keys() != empty.keys():
        return f"pip uninstall left {sorted(left.keys() ^ empty.keys())[:10]}"
    return f"same: {len(a) - len(empty)} files of {len(pins)} packages"


def main():
    curd, requirements = os.path.abspath(sys.argv[1]), sys.argv[2:] or USUAL
    failed = 0
    for requirement in requirements:
        work = pathlib.Path(tempfile.mkdtemp(prefix="curd-pip-"))
        try:
            result = compare(curd, requirement, work)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        failed += not result.startswith("same")
        print(f"{requirement}: {result}", flush=True)
    print(f"{len(requirements) - failed} passed, {failed} failed")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
