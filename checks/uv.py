#!/usr/bin/env python3
"""Holds what `curd` resolves against what uv resolves, cold, in turn.

    checks/uv.py CURD UV [RUNS]

Each asks the default index with an empty cache, for one virtualenv. Printed are
whether the versions agree, and the medians of the times. Dials the default index.
"""
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

CASES = ["jupyter", "apache-airflow", "boto3 urllib3<2"]


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def timed(command, env):
    start = time.monotonic()
    done = subprocess.run(command, env=env, text=True, capture_output=True)
    took = time.monotonic() - start
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return took, done.stdout + done.stderr


def main():
    curd, uv = map(os.path.abspath, sys.argv[1:3])
    runs = int(sys.argv[3]) if len(sys.argv) > 3 else 7
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CURD_", "UV_", "PIP_")) and k != "VIRTUAL_ENV"}
    failed = 0
    with tempfile.TemporaryDirectory() as tmp:
        venv = os.path.join(tmp, "venv")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        for case in CASES:
            ours, theirs, ratios = [], [], []
            for run in range(runs):
                home = os.path.join(tmp, f"curds-{len(case)}-{run}")
                took, out = timed([curd, "install", "--dry-run", "--python", venv, *case.split()], dict(env, CURD_CACHE=home))
                mine = {(normal(m[1]), m[2]) for m in re.finditer(r"^\+ (\S+) (\S+)", out, re.M)}
                uv_took, out = timed([uv, "pip", "install", "--no-cache", "--dry-run", "--python", venv, *case.split()], env)
                other = {(normal(m[1]), m[2]) for m in re.finditer(r"^ \+ (\S+)==(\S+)", out, re.M)}
                ours.append(took)
                theirs.append(uv_took)
                ratios.append(took / uv_took)
            agree = mine == other
            failed += not agree
            print(f"{case}: {len(mine)} packages, {'agree' if agree else f'differ: {sorted(mine ^ other)}'}; "
                  f"curd {statistics.median(ours):.2f} s, uv {statistics.median(theirs):.2f} s, "
                  f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})", flush=True)
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
