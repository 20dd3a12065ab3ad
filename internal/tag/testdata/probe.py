"""Print the facts of the running interpreter that tag.Target wants, as JSON.

It is the plain reading of Target's comments, for tests.
"""

import importlib.machinery
import json
import os
import platform
import re
import struct
import subprocess
import sys
import sysconfig


def facts():
    system, plat, var = platform.system(), sysconfig.get_platform(), sysconfig.get_config_var
    debug, pymalloc = var("Py_DEBUG"), var("WITH_PYMALLOC")
    t = {
        "implementation": sys.implementation.name,
        "version": list(sys.version_info[:2]),
        "nodot": str(var("py_version_nodot") or ""),
        "ext_suffix": var("EXT_SUFFIX") or "",
        "debug": bool(debug or debug is None and (hasattr(sys, "gettotalrefcount")
                                                  or "_d.pyd" in importlib.machinery.EXTENSION_SUFFIXES)),
        "free_threaded": bool(var("Py_GIL_DISABLED")),
        "no_pymalloc": pymalloc is not None and not pymalloc,
        "pointer32": struct.calcsize("P") == 4,
        "os": plat,
    }
    if system == "Darwin":
        version, _, arch = platform.mac_ver()
        if version.split(".")[:2] == ["10", "16"]:
            version = subprocess.check_output([sys.executable, "-sS", "-c", "import platform; print(platform.mac_ver()[0])"],
                                              env={"SYSTEM_VERSION_COMPAT": "0"}).decode().strip()
        t.update(os="macos", arch=arch, os_version=numbers(version))
    elif system == "iOS":
        t.update(os="ios", arch=sys.implementation._multiarch, os_version=numbers(platform.ios_ver().release))
    elif system == "Android":
        t.update(os="android", arch=plat.split("-")[-1], os_version=[platform.android_ver().api_level, 0])
    elif system == "Linux" and plat.startswith("linux-"):
        t.update(os="linux", arch=plat[len("linux-"):])
        linux(t)
    elif plat == "win32" or plat.startswith("win-"):
        t.update(os="windows", arch=plat if plat == "win32" else plat[len("win-"):])
    return {key: value for key, value in t.items() if value}


def numbers(version):
    return [int(n) for n in (version.split(".") + ["0"])[:2]]


def linux(t):
    t["glibc"] = glibc()
    t["elf"], loader = elf()
    if loader and "musl" in loader:
        said = subprocess.run([loader], stderr=subprocess.PIPE, universal_newlines=True).stderr
        match = re.search(r"^musl[^\n]*\s+Version (\d+)\.(\d+)", said.strip())
        t["musl"] = match and [int(n) for n in match.groups()]
    t["not_manylinux"] = not_manylinux(t)


def glibc():
    try:
        version = os.confstr("CS_GNU_LIBC_VERSION").rsplit()[1]
    except (AttributeError, OSError, ValueError, IndexError):
        try:
            import ctypes
            ask = ctypes.CDLL(None).gnu_get_libc_version
        except (ImportError, OSError, AttributeError):
            return None
        ask.restype = ctypes.c_char_p
        version = ask().decode()
    match = re.match(r"([0-9]+)\.([0-9]+)", version)
    return match and [int(n) for n in match.groups()]


def elf():
    """The header of the executable, and the loader that it names."""
    try:
        with open(sys.executable, "rb") as f:
            ident = f.read(16)
            if ident[:4] != b"\x7fELF" or ident[4] not in (1, 2) or ident[5] not in (1, 2):
                return None, None
            order, wide = "<>"[ident[5] - 1], ident[4] == 2
            form = order + ("HHIQQQIHHH" if wide else "HHIIIIIHHH")
            _, machine, _, _, start, _, flags, _, size, count = struct.unpack(form, f.read(struct.calcsize(form)))
            loader = None
            form = order + ("IIQQQQQQ" if wide else "IIIIIIII")
            for i in range(count):
                f.seek(start + i * size)
                header = struct.unpack(form, f.read(struct.calcsize(form)))
                if header[0] == 3:
                    f.seek(header[2 if wide else 1])
                    loader = os.fsdecode(f.read(header[5 if wide else 4])).strip("\0")
                    break
            return {"class": ident[4], "data": ident[5], "machine": machine, "flags": flags}, loader
    except (OSError, struct.error):
        return None, None


def not_manylinux(t):
    try:
        import _manylinux as module
    except ImportError:
        return None
    arch = t["arch"].replace("-", "_").replace(".", "_")
    if t["pointer32"]:
        arch = {"x86_64": "i686", "aarch64": "armv8l"}.get(arch, arch)
    archs = ["armv8l", "armv7l"] if arch == "armv8l" else [arch]
    refused = []
    for arch in archs:
        for major in range(2, (t["glibc"] or [0])[0] + 1):
            for minor in range((t["glibc"][1] if major == t["glibc"][0] else 50) + 1):
                if hasattr(module, "manylinux_compatible"):
                    answer = module.manylinux_compatible(major, minor, arch)
                    answer = answer is None or answer
                else:
                    name = {(2, 5): "1", (2, 12): "2010", (2, 17): "2014"}.get((major, minor))
                    answer = getattr(module, "manylinux%s_compatible" % name, True)
                if not answer:
                    refused.append("manylinux_%d_%d_%s" % (major, minor, arch))
    return refused


if __name__ == "__main__":
    print(json.dumps(facts(), sort_keys=True))
