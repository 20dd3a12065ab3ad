"""Write test vectors for package tag, as Python's packaging judges them.

usage: python3 vectors.py SEED OUTFILE

OUTFILE is gzip'ed JSON lines; on one machine the same seed gives the same
bytes. Lines:
  {"target": FACTS, "tags": [TAG, ...]}   sys_tags() of a target, in order
  {"parse": INPUT, "tags": [TAG, ...]}    the members of a tag, sorted
  {"parse": INPUT, "tags": null}          no tag
The targets are this machine's interpreters (those on PATH and of pyenv), with
what probe.py says of them, and many that packaging is made to believe in.
"""

import contextlib
import glob
import gzip
import json
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import types
from unittest import mock

import packaging
from packaging import _manylinux, _musllinux, tags

HERE = pathlib.Path(__file__).parent
X86, ARM_HARD, ARM_SOFT = (3, 0), (40, 0x05000400), (40, 0x05000200)


def cpython(minor, **facts):
    return dict({"implementation": "cpython", "version": [3, minor], "nodot": "3%d" % minor}, **facts)


def other(name, minor, suffix, **facts):
    return dict(cpython(minor, implementation=name, ext_suffix=suffix), **facts)


def linux(arch, elf=None, **facts):
    header = elf and {"class": 1, "data": 1, "machine": elf[0], "flags": elf[1]}
    return dict({"os": "linux", "arch": arch, "elf": header}, **facts)


def system(name, arch="", version=(0, 0), **facts):
    return dict({"os": name, "arch": arch, "os_version": list(version)}, **facts)


SYSTEMS = [
    *(linux(arch, glibc=[2, minor]) for arch, minor in [
        ("x86_64", 36), ("x86_64", 17), ("x86_64", 5), ("x86_64", 4), ("aarch64", 39), ("ppc64le", 28), ("ppc64", 17),
        ("s390x", 31), ("riscv64", 41), ("loongarch64", 38), ("mips64", 36)]),
    linux("x86_64", glibc=[3, 1]), linux("aarch64", glibc=[4, 0]), linux("x86_64"),
    linux("x86_64", glibc=[2, 36], not_manylinux=["manylinux_2_17_x86_64", "manylinux_2_36_x86_64"]),
    linux("x86_64", X86, glibc=[2, 31], pointer32=True), linux("x86_64", glibc=[2, 31], pointer32=True),
    linux("i686", X86, glibc=[2, 12], pointer32=True), linux("i686", (62, 0), glibc=[2, 12], pointer32=True),
    linux("armv7l", ARM_HARD, glibc=[2, 31], pointer32=True), linux("armv7l", ARM_SOFT, glibc=[2, 31], pointer32=True),
    linux("aarch64", ARM_HARD, glibc=[2, 36], pointer32=True), linux("armv8l", ARM_SOFT, glibc=[2, 36], pointer32=True),
    linux("armv6l", ARM_HARD, glibc=[2, 28], pointer32=True),
    *(linux(arch, musl=version) for arch, version in [
        ("x86_64", [1, 2]), ("aarch64", [1, 2]), ("x86_64", [1, 1]), ("ppc64le", [1, 2]), ("s390x", [1, 2]),
        ("riscv64", [1, 2])]),
    linux("armv7l", ARM_HARD, musl=[1, 2], pointer32=True), linux("aarch64", X86, musl=[1, 2], pointer32=True),
    *(system("macos", arch, version) for arch, version in [
        ("x86_64", (10, 3)), ("x86_64", (10, 9)), ("x86_64", (10, 15)), ("x86_64", (10, 16)), ("x86_64", (11, 0)),
        ("x86_64", (13, 6)), ("arm64", (11, 0)), ("arm64", (12, 3)), ("arm64", (15, 1)), ("arm64", (26, 0)),
        ("i386", (10, 6)), ("ppc64", (10, 5)), ("ppc", (10, 6))]),
    system("macos", "x86_64", (10, 8), pointer32=True), system("macos", "ppc64", (10, 5), pointer32=True),
    system("windows", "amd64"), system("windows", "win32", pointer32=True), system("windows", "arm64"),
    system("ios", "arm64-iphoneos", (17, 2)), system("ios", "x86_64-iphonesimulator", (13, 0)),
    system("ios", "arm64-iphoneos", (11, 4)),
    system("android", "arm64_v8a", (34, 0)), system("android", "x86_64", (21, 0)), system("android", "arm64_v8a", (15, 0)),
    *(system(name) for name in ["freebsd-14.1-release-amd64", "cygwin-3.4.9-x86_64", "mingw_x86_64_ucrt",
                                "emscripten-3.1.58-wasm32", "solaris-2.11-i86pc.32bit", "openbsd-7.5 amd64"]),
]

PYTHONS = [
    *(cpython(minor) for minor in (12, 11, 8, 9, 10, 13, 14, 15, 7, 6)),
    cpython(13, free_threaded=True), cpython(14, free_threaded=True), cpython(15, free_threaded=True),
    cpython(11, debug=True), cpython(14, debug=True, free_threaded=True), cpython(12, free_threaded=True),
    cpython(7, debug=True), cpython(7, no_pymalloc=True), cpython(6, debug=True, no_pymalloc=True),
    cpython(12, nodot=""),
    other("pypy", 9, ".pypy39-pp73-x86_64-linux-gnu.so"), other("pypy", 11, ".pypy311-pp73-darwin.so"),
    other("pypy", 10, ".pypy310-pp73-win_amd64.pyd"),
    other("graalpy", 11, ".graalpy242-311-native-x86_64-linux.so"), other("pyston", 8, ".pyston-23-x86_64-linux-gnu.so"),
    other("ironpython", 4, ".pyd"), other("jython", 4, ".so", debug=True), other("rustpython", 13, ".rustpython-313.so"),
    other("python", 12, ".cpython-312-x86_64-linux-gnu.so"), other("other", 10, ".cp310-win_amd64.pyd"),
    other("other", 13, ".cp313t-win_arm64.pyd"), other("other", 12, ".none.so"), other("Mixed", 12, "..so"),
]

MODULES = {"linux": "Linux", "macos": "Darwin", "windows": "Windows", "ios": "iOS", "android": "Android"}


def targets(r):
    for i, s in enumerate(SYSTEMS):
        yield dict(PYTHONS[i % 6], **s)
    for p in PYTHONS[6:]:
        yield dict(p, **r.choice(SYSTEMS))
    for _ in range(40):
        t = dict(r.choice(PYTHONS), **r.choice(SYSTEMS))
        if t.get("glibc"):
            t["glibc"] = [t["glibc"][0], r.randrange(60)]
            t["not_manylinux"] = ["manylinux_2_%d_%s" % (r.randrange(60), t["arch"])] if r.random() < 0.3 else None
        if t.get("musl"):
            t["musl"] = [r.choice([1, 1, 2]), r.randrange(6)]
        if t.get("os_version", [0])[0]:
            t["os_version"] = [max(10, t["os_version"][0] + r.randrange(-3, 4)), r.randrange(18)]
        yield t


def believe(t, stack, executable):
    """Make packaging find the facts t on this machine."""
    def patch(where, name, value):
        stack.enter_context(mock.patch.object(where, name, value, create=True))

    platforms = {"linux": "linux-" + t.get("arch", ""), "android": "android-%d-%s" % (t["os_version"][0] if "os_version" in t else 0, t.get("arch")),
                 "windows": t.get("arch") if t.get("arch") == "win32" else "win-" + t.get("arch", "")}
    variables = {"py_version_nodot": t["nodot"], "EXT_SUFFIX": t.get("ext_suffix"), "Py_DEBUG": int(t.get("debug", False)),
                 "Py_GIL_DISABLED": int(t.get("free_threaded", False)), "WITH_PYMALLOC": int(not t.get("no_pymalloc", False))}
    patch(tags.sysconfig, "get_config_var", variables.get)
    patch(tags.sysconfig, "get_platform", lambda: platforms.get(t["os"], t["os"]))
    patch(tags.platform, "system", lambda: MODULES.get(t["os"], "Other"))
    patch(tags.platform, "mac_ver", lambda: (None, None, t["arch"]))
    patch(tags.platform, "ios_ver", lambda: (None, "%d.%d" % tuple(t["os_version"]), None, None))
    patch(tags.platform, "android_ver", lambda: types.SimpleNamespace(api_level=t["os_version"][0]))
    patch(tags._linux_platforms, "__defaults__", (t.get("pointer32", False),))
    patch(tags._mac_arch, "__defaults__", (t.get("pointer32", False),))
    mac = tags.mac_platforms
    patch(tags, "mac_platforms", lambda: mac(version=tuple(t["os_version"])))
    patch(_manylinux, "_get_glibc_version", lambda: _manylinux._GLibCVersion(*t.get("glibc") or (-1, -1)))
    patch(_manylinux, "_get_manylinux_module", lambda: t.get("not_manylinux") and types.SimpleNamespace(
        manylinux_compatible=lambda *v: False if "manylinux_%d_%d_%s" % v in t["not_manylinux"] else None))
    patch(_musllinux, "_get_musl_version", lambda _: t.get("musl") and _musllinux._MuslVersion(*t["musl"]))
    if t.get("elf"):
        e = t["elf"]
        executable.write_bytes(b"\x7fELF" + bytes([e["class"], e["data"]]) + bytes(10) +
                               struct.pack("<HHIIIIIHHH", 2, e["machine"], 1, 0, 0, 0, e["flags"], 52, 0, 0))
    else:
        executable.write_bytes(b"")
    patch(sys, "executable", str(executable))
    patch(sys, "implementation", types.SimpleNamespace(name=t["implementation"], _multiarch=t.get("arch")))
    patch(sys, "version_info", tuple(t["version"]))


def judged(t):
    """The tags of the facts t, by packaging."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        believe(dict({"nodot": ""}, **t), stack, pathlib.Path(folder, "python"))
        return [str(tag) for tag in tags.sys_tags()]


def faked(r):
    for t in targets(r):
        t = {key: value for key, value in t.items() if value and value != [0, 0]}
        yield {"target": t, "tags": judged(t)}


def interpreters():
    """This machine's interpreters, each kind once. What they say themselves counts
    where they can run packaging."""
    names = ["python3"] + ["python3.%d" % minor for minor in range(6, 30)] + ["pypy3"]
    paths = [shutil.which(name) for name in names] + sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/3*/bin/python")))
    script = ("import json, sys; sys.path.insert(0, sys.argv[1]); from packaging.tags import sys_tags; "
              "print(json.dumps([str(t) for t in sys_tags()]))")
    seen = []
    for path in filter(None, paths):
        run = lambda *args: subprocess.run([path, *args], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        facts = run(str(HERE / "probe.py"))
        if facts.returncode == 0 and facts.stdout not in seen:
            seen.append(facts.stdout)
            facts = json.loads(facts.stdout)
            found = run("-c", script, str(pathlib.Path(packaging.__file__).parents[1]))
            yield {"target": facts, "tags": json.loads(found.stdout) if found.returncode == 0 else judged(facts)}


def parsed(r, count):
    pythons = ["py2", "py3", "cp311", "CP312", "pp39", "_x", "graalpy311", "3py", "cp 3", "", "p\u00fd3"]
    abis = ["none", "abi3", "cp311", "cp313t", "CP37m", "pypy39_pp73", "x y", ""]
    platforms = ["any", "linux_x86_64", "manylinux1_x86_64", "manylinux_2_17_x86_64", "win32", "macosx_11_0_ARM64", ""]
    for _ in range(count):
        pick = lambda names: ".".join(r.choice(names[:-1] if r.random() < 0.97 else names)
                                      for _ in range(r.choice([1, 1, 1, 2, 3])))
        text = "-".join([pick(pythons), pick(abis), pick(platforms)] + ["any"] * (r.random() < 0.03))
        if r.random() < 0.03:
            text = text.replace("-", "_", 1)
        try:
            found = sorted(str(tag) for tag in tags.parse_tag(text))
        except ValueError:
            found = None
        yield {"parse": text, "tags": found}


def main(seed, outfile):
    r = random.Random(int(seed))
    with open(outfile, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as out:
        for lines in (interpreters(), faked(r), parsed(r, 1000)):
            for line in lines:
                out.write(json.dumps(line, separators=(",", ":"), sort_keys=True).encode() + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
