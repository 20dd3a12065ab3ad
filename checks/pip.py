#!/usr/bin/env python3
"""Holds what `curd install` makes against what pip makes, file by file.

For each requirement, both install it from the default index into a virtualenv of its own. Compared are the
versions, the files, their contents and modes, RECORD's rows, and what `pip check` and `pip inspect` say; what
names the installer or the virtualenv set aside. Then `pip uninstall` of everything must leave no file, and
no folder that it does not leave of its own install. REQUIREMENT may be `name --no-binary`, which compares only
the names of the files, or `name --compile`, with bytecode (its names). Dials the default index. Two are compared
at a time, below TMPDIR, which is best on a tmpfs.
"""
import argparse
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import venvs

USUAL = ["flask", "numpy", "pandas", "jupyterlab", "black", "docopt", "pyyaml --no-binary", "markupsafe --no-binary",
         "flask --compile", "sqlalchemy --compile", "jinja2 --compile"]

POPULAR = """
    requests flask django numpy pandas boto3 botocore urllib3 setuptools wheel six python-dateutil pyyaml cryptography
    certifi idna charset-normalizer packaging pytest tox black ruff mypy click jinja2 markupsafe werkzeug sqlalchemy
    alembic psycopg2-binary redis celery fastapi uvicorn pydantic httpx aiohttp attrs rich typer tqdm pillow matplotlib
    lxml beautifulsoup4 jsonschema protobuf grpcio google-api-core openai ipython sphinx docutils virtualenv twine
    build hatchling scrapy ansible-core gunicorn
""".split()


def inspected(pip, venv):
    """What `pip inspect` says of each package and of the environment, without the installer's name."""
    said = json.loads(pip("inspect", python=venv).replace(str(venv), "VENV"))
    for package in said["installed"]:
        package.pop("installer", None)
    found = {venvs.normal(p["metadata"]["name"]): p for p in said.pop("installed")}
    return {**found, "the environment": said}


def unlike(a, b):
    """Names what differs in two answers of `pip inspect`: package and field."""
    return [f"{name} {key}: {a.get(name, {}).get(key)} {b.get(name, {}).get(key)}"
            for name in sorted(a.keys() | b.keys()) for key in sorted(a.get(name, {}).keys() | b.get(name, {}).keys())
            if a.get(name, {}).get(key) != b.get(name, {}).get(key)]


def checked(pip, venv):
    """What `pip check` says, be it good or bad."""
    try:
        return pip("check", python=venv)
    except venvs.Failed as e:
        return str(e).partition("\n")[2]


def leftover(pip, theirs, ours, names):
    """Uninstalls all from both: the files left in ours, and the folders that are not left in theirs too."""
    for venv in theirs, ours:
        pip("uninstall", "-y", "-q", *names, python=venv)
    before = venvs.exact(venvs.template(sys.executable)).keys()
    folders = venvs.exact(ours).keys() - venvs.exact(theirs).keys() - {".curdling.lock"}
    return sorted((folders | venvs.listing(ours).keys()) - before)


def compare(curd, pip, requirement, work):
    """The problems, the number of files and of packages, and the seconds of pip and of curd."""
    name, *options = requirement.split()
    flags = ["--no-binary", name] if "--no-binary" in options else []
    theirs, ours = venvs.fresh(work / "theirs"), venvs.fresh(work / "ours")
    times = [time.monotonic()]
    pip("install", "-q", *([] if "--compile" in options else ["--no-compile"]), *flags, name, python=theirs)
    times.append(time.monotonic())
    # A cache that outlives the run only if whoever starts it says so.
    env = dict(venvs.ENV, CURD_CACHE=os.environ.get("CURD_CACHE", str(work.parent / "curds")), CURD_CACHES="")
    venvs.run(curd, "install", "-q", "--python", ours, *(["--compile-bytecode"] if "--compile" in options else []),
              *flags, name, env=env)
    times.append(time.monotonic())

    problems = []
    a, b = inspected(pip, theirs), inspected(pip, ours)
    if "--no-binary" not in options:
        problems += [f"pip inspect, {p}" for p in unlike(a, b)[:5]]
    theirs_say, ours_say = checked(pip, theirs), checked(pip, ours)
    if theirs_say.replace(str(theirs), "VENV") != ours_say.replace(str(ours), "VENV"):
        problems.append(f"pip check: {theirs_say!r} {ours_say!r}")
    theirs_has, ours_has = venvs.listing(theirs), venvs.listing(ours)
    if "--no-binary" in options:  # two builds of one source differ in what the compiler made of it
        theirs_has, ours_has = dict.fromkeys(theirs_has), dict.fromkeys(ours_has)
    if differ := venvs.differences(theirs_has, ours_has):
        problems.append(f"files: {differ}")
    if left := leftover(pip, theirs, ours, (a.keys() | b.keys()) - {"the environment"}):
        problems.append(f"pip uninstall leaves {left[:5]}")
    count = len(theirs_has) - len(venvs.listing(venvs.template(sys.executable)))
    return problems, count, len(a) - 1, times[1] - times[0], times[2] - times[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curd", type=os.path.abspath)
    parser.add_argument("requirement", nargs="*", default=USUAL)
    parser.add_argument("--popular", action="store_true", help=f"compare {len(POPULAR)} popular projects")
    args = parser.parse_intermixed_args()
    requirements = POPULAR if args.popular else args.requirement
    failed = files = packages = 0
    work = pathlib.Path(tempfile.mkdtemp(prefix="curd-pip-"))

    def one(requirement):
        own = pathlib.Path(tempfile.mkdtemp(dir=work))
        try:
            return compare(args.curd, pip, requirement, own)
        except venvs.Failed as e:
            return [str(e)], 0, 0, 0, 0
        finally:
            shutil.rmtree(own)

    try:
        pip = venvs.newest_pip(work / "pip")
        venvs.template(sys.executable)  # before two ask for it at once
        with ThreadPoolExecutor(2) as pool:
            for requirement, (problems, count, wheels, theirs, ours) in zip(requirements, pool.map(one, requirements)):
                files, packages, failed = files + count, packages + wheels, failed + bool(problems)
                print(f"{requirement}: {'DIFFERENT' if problems else 'same'}: {count} files of {wheels} packages; "
                      f"pip {theirs:.1f} s, curd {ours:.1f} s", *problems, sep="\n    ", flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{len(requirements)} projects, {packages} packages, {files} files: "
          f"{len(requirements) - failed} the same, {failed} different")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
