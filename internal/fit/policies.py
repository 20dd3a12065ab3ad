#!/usr/bin/env python3
"""Renews policies.json, the published policies of manylinux and musllinux wheels (PEP 513, 571, 599, 600, 656), from
the data of an `auditwheel` that can be imported: policies.py >policies.json.

The policies of an architecture are nested: what one allows, all of newer systems allow. So it suffices to keep, of
each symbol version and each library, the oldest policy that allows it, and of each private symbol the last one that forbids it.
A policy of manylinux is the minor version of its glibc, 2.N.
"""
import importlib.metadata
import importlib.resources
import json
import sys

folder = importlib.resources.files("auditwheel.policy")
source = f"auditwheel {importlib.metadata.version('auditwheel')} (MIT), policy/manylinux-policy.json and musllinux-policy.json"
policies = [p for p in json.loads((folder / "manylinux-policy.json").read_text()) if p["name"] != "linux"]
number = {p["name"]: int(p["name"].split("_")[2]) for p in policies}
policies.sort(key=lambda p: number[p["name"]])

versions, libraries, private = {}, {}, {}
for p in policies:
    n = number[p["name"]]
    for arch, families in p["symbol_versions"].items():
        of = versions.setdefault(arch, {})
        for family, names in families.items():
            for name in names:
                of.setdefault(family, {}).setdefault(name, n)
        for family, known in of.items():
            assert known.keys() <= set(families[family]), (p["name"], arch, family, "is not nested")
    for library in p["lib_whitelist"]:
        libraries.setdefault(library, n)
    assert libraries.keys() <= set(p["lib_whitelist"]), (p["name"], "is not nested")
    for library, names in p["blacklist"].items():
        for name in names:
            assert private.setdefault(library, {}).get(name, 0) in (0, *[m for m in number.values() if m < n])
            private[library][name] = n

musl = [p for p in json.loads((folder / "musllinux-policy.json").read_text()) if p["name"] != "linux"]
musl_libraries = {library for p in musl for library in p["lib_whitelist"]} - {"libc.so"}
musl_private = {library: sorted({n for p in musl for n in p["blacklist"].get(library, [])}) for library in sorted(musl_libraries)}
json.dump({
    "source": source, "levels": sorted(number.values()), "versions": versions, "libraries": libraries, "private": private,
    "musl_libraries": musl_private,
}, sys.stdout, indent=None, separators=(",", ":"), sort_keys=True)
print()
