#!/usr/bin/env python3
"""Holds what `curd` resolves against what uv resolves, in turn, cold and warm.

    checks/uv.py CURD UV [--runs N] [CASE...]

Each asks the default index for one virtualenv: cold with an empty cache, warm with the cache that this left.
Printed are whether the versions agree, and of the times the medians and the median of the ratios. Where the versions differ,
uv is asked whether ours hold together: with ours as constraints it must come to the same set. Dials the default index.
"""
import os
import pathlib
import re
import shutil
import statistics
import sys
import tempfile
import time

import venvs

CASES = [
    "jupyter",
    "apache-airflow",
    "transformers[all]",
    # Through many versions, back and forth.
    "boto3 urllib3<2",
    "boto3 urllib3<1.25.4 tqdm",
    "s3fs boto3 aiobotocore",
    "starlette<=0.36.0 fastapi<=0.115.2",
    "python-rapidjson<=1.20,>=1.4 sentry-kafka-schemas<=0.1.113,>=0.1.50",
    "opentelemetry-distro protobuf<4 grpcio-status",
    "google-cloud-aiplatform protobuf<4",
    "apache-airflow[all]",
]


class Race:
    def __init__(self, curd, uv, work):
        self.curd, self.uv, self.work = curd, uv, work
        self.venv = venvs.fresh(work / "venv")

    def ours(self, case, cache):
        start = time.monotonic()
        out = venvs.run(self.curd, "install", "--dry-run", "--python", self.venv, *case.split(),
                        env=dict(venvs.ENV, CURD_CACHE=str(cache), CURD_CACHES=""))
        return time.monotonic() - start, {(venvs.normal(m[1]), m[2]) for m in re.finditer(r"^\+ (\S+) (\S+)", out, re.M)}

    def theirs(self, case, cache, *options):
        start = time.monotonic()
        out = venvs.run(self.uv, "pip", "install", "--dry-run", "--cache-dir", cache, "--python", self.venv,
                        *options, *case.split(), errors=True)
        return time.monotonic() - start, {(venvs.normal(m[1]), m[2]) for m in re.finditer(r"^ \+ (\S+)==(\S+)", out, re.M)}

    def run(self, case, runs):
        """Prints how the case went, and tells whether our versions are good."""
        times = {(who, how): [] for how in ("cold", "warm") for who in (self.ours, self.theirs)}
        found = {}
        for i in range(runs):
            for who in (self.ours, self.theirs)[::-1 if i % 2 else 1]:
                cache = pathlib.Path(tempfile.mkdtemp(dir=self.work))
                for how in "cold", "warm":
                    took, found[who] = who(case, cache)
                    times[who, how].append(took)
                shutil.rmtree(cache)
        mine, other = found[self.ours], found[self.theirs]
        print(f"{case}: {len(mine)} packages, {'agree' if mine == other else f'{len(mine - other)} in another version'}")
        for how in "cold", "warm":
            ours, theirs = times[self.ours, how], times[self.theirs, how]
            ratios = [a / b for a, b in zip(ours, theirs)]
            print(f"    {how}: curd {statistics.median(ours):.2f} s, uv {statistics.median(theirs):.2f} s, "
                  f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})", flush=True)
        if mine == other:
            return True
        print(f"    curd: {' '.join(sorted(map('=='.join, mine - other)))}\n"
              f"    uv:   {' '.join(sorted(map('=='.join, other - mine)))}")
        pins = self.work / "pins.txt"
        pins.write_text("\n".join(map("==".join, mine)))
        good = self.theirs(case, self.work / "uv", "-c", pins)[1] == mine
        print(f"    to uv, ours {'hold together' if good else 'DO NOT HOLD TOGETHER'}", flush=True)
        return good


def main():
    curd, uv, *cases = sys.argv[1:]
    runs = 7
    if cases[:1] == ["--runs"]:
        runs, cases = int(cases[1]), cases[2:]
    failed = 0
    work = pathlib.Path(tempfile.mkdtemp(prefix="curd-uv-"))
    try:
        race = Race(os.path.abspath(curd), os.path.abspath(uv), work)
        for case in cases or CASES:
            try:
                failed += not race.run(case, runs)
            except venvs.Failed as e:
                failed += 1
                print(f"{case}: {e}", flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
