#!/usr/bin/env python3
"""Holds the platforms that `curd` gives to what it builds against auditwheel's verdict.

Each PROJECT is built from its source distribution by `curd wheel --no-binary`; then `auditwheel show` says of the wheel
for which platform it is. The same, or `linux` of both with the reasons, or it is a difference. Dials the default index.
What some of the projects need to build, on Debian: libpq-dev libxml2-dev libxslt1-dev libjpeg-dev zlib1g-dev libffi-dev
libssl-dev libyaml-dev libsnappy-dev libzmq3-dev libxxhash-dev gfortran cmake, and Rust (cargo).
"""
import argparse
import os
import pathlib
import re
import shutil
import sys
import tempfile

import venvs

PROJECTS = """
    markupsafe pyyaml cffi lxml psycopg2 pillow bcrypt rpds-py orjson regex msgpack ujson simplejson wrapt greenlet kiwisolver
    multidict yarl frozenlist propcache aiohttp psutil zstandard lz4 brotli xxhash mmh3 pynacl pycryptodome bitarray
    immutables coverage levenshtein tornado charset-normalizer sqlalchemy httptools setproctitle python-snappy
    zope.interface lazy-object-proxy cython cymem murmurhash preshed netifaces pycurl pyodbc contourpy blake3
""".split()


def verdict(auditwheel, wheel):
    """The platform that auditwheel names, without its older name, and what it says."""
    said = venvs.run(auditwheel, "show", wheel)
    found = re.search(r'consistent\s+with\s+the\s+following\s+platform\s+tag:\s+"([^"]+)"', said)
    constrained = re.search(r'constrains the platform tag\s+to "([^"]+)"', said)
    return (found or constrained).group(1), " ".join(said.split())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curd", type=os.path.abspath)
    parser.add_argument("project", nargs="*", default=PROJECTS)
    args = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="curd-fit-"))
    same = different = unbuilt = 0
    try:
        venvs.run(sys.executable, "-m", "venv", work / "tools")
        venvs.run(work / "tools/bin/pip", "install", "-q", "auditwheel")
        for project in args.project:
            out = work / "out"
            shutil.rmtree(out, ignore_errors=True)
            try:
                venvs.run(args.curd, "wheel", "-q", "-w", out, "--no-deps", "--no-binary", project, "--python", sys.executable,
                          project, env=dict(venvs.ENV, CURD_CACHE=str(work / "curds"), CURD_CACHES=""))
            except venvs.Failed as e:
                unbuilt += 1
                print(f"{project}: not built: {str(e).strip().splitlines()[-1][:200]}", flush=True)
                continue
            wheel = next(out.iterdir())
            ours = wheel.stem.split("-")[-1].split(".")[-1]
            if ours == "any":
                print(f"{wheel.name}: has no machine code", flush=True)
                continue
            theirs, said = verdict(work / "tools/bin/auditwheel", wheel)
            if ours == theirs:
                same += 1
                print(f"{wheel.name}: same", flush=True)
            else:
                different += 1
                print(f"{wheel.name}: DIFFERENT, auditwheel: {theirs}: {said}", flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{same} the same, {different} different, {unbuilt} could not be built")
    sys.exit(different != 0)


if __name__ == "__main__":
    main()
