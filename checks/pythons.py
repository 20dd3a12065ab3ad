#!/usr/bin/env python3
"""Has `curd install` install for several Pythons of one machine.

For each interpreter, `curd install --python` of flask and markupsafe goes into a virtualenv without pip, from one
cache for all. `pip check` must find nothing to say, the files must be those that the newest pip for that Python
installs, the interpreter must import them, and flask's script run. Dials the default index.
"""
import argparse
import os
import pathlib
import shutil
import sys
import tempfile

import venvs

PROJECTS = ["flask", "markupsafe"]
SAY = "import flask, markupsafe; print(markupsafe.escape('<'))"


def files(venv):
    """What is in it. Of scripts, which older pips word in another way, only the names count."""
    return {path: "" if path.startswith("bin/") else content for path, content in venvs.listing(venv).items()}


def compare(curd, python, work):
    """The problems, and the versions that curd installed."""
    shutil.rmtree(work / "pip", ignore_errors=True)
    pip = venvs.newest_pip(work / "pip", python)
    theirs, ours = venvs.fresh(work / "theirs", python), venvs.fresh(work / "ours", python)
    venvs.run(curd, "install", "-q", "--python", ours, *PROJECTS,
              env=dict(venvs.ENV, CURD_CACHE=str(work / "curds"), CURD_CACHES=""))
    problems = []
    if (said := venvs.run(ours / "bin/python", "-B", "-c", SAY)) != "&lt;\n":
        problems.append(f"says {said!r}")
    pip("check", python=ours)
    pip("install", "-q", "--no-compile", *PROJECTS, python=theirs)
    if differ := venvs.differences(files(theirs), files(ours)):
        problems.append(f"files: {differ}")
    venvs.run(ours / "bin/flask", "--version")
    return problems, sorted(venvs.versions(pip, ours))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curd", type=os.path.abspath)
    parser.add_argument("python", nargs="+", type=os.path.abspath, help="an interpreter")
    args = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="curd-pythons-"))
    failed = 0
    try:
        for python in args.python:
            try:
                problems, versions = compare(args.curd, python, work)
            except venvs.Failed as e:
                problems, versions = [str(e)], []
            failed += bool(problems)
            print(f"{python}: {'DIFFERENT' if problems else 'same'}: {' '.join(map('=='.join, versions))}",
                  *problems, sep="\n    ", flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{len(args.python)} Pythons: {len(args.python) - failed} the same, {failed} different")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
