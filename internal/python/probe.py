# Prints, as one line of JSON after a mark, what package python wants to know
# of the interpreter that runs this. It needs the standard library alone, and
# must be readable to Python 3.6, which it then declines. Imports cost more than all
# else: on Linux there are none of json, re, platform and what these bring.
import os
import sys


def version(info):
    s = "%d.%d.%d" % info[:3]
    if info.releaselevel != "final":
        s += info.releaselevel[0] + str(info.serial)
    return s


def markers():
    if sys.platform == "linux" and sys.implementation.name == "cpython":
        # As platform has it, which imports much.
        system, _, release, build, machine = os.uname()
        implementation, full = "CPython", sys.version.split()[0]
    else:
        import platform

        system, release, build, machine = platform.system(), platform.release(), platform.version(), platform.machine()
        implementation, full = platform.python_implementation(), platform.python_version()
    # As packaging.markers.default_environment.
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": version(sys.implementation.version),
        "os_name": os.name,
        "platform_machine": machine,
        "platform_python_implementation": implementation,
        "platform_release": release,
        "platform_system": system,
        "platform_version": build,
        "python_full_version": full,
        "python_version": ".".join(full.split(".")[:2]),
        "sys_platform": sys.platform,
    }


def in_virtualenv():
    return sys.prefix != sys.base_prefix or hasattr(sys, "real_prefix")


def scheme():
    """The paths that pip installs to."""
    import sysconfig

    paths = None
    if not getattr(sysconfig, "_PIP_USE_SYSCONFIG", sys.version_info >= (3, 10)):
        paths = distutils_paths()
    if paths is None:
        paths = sysconfig.get_paths(scheme_name(sysconfig))
    if in_virtualenv():
        xy = "python%d.%d" % sys.version_info[:2]
        paths["include"] = os.path.join(sys.prefix, "include", "site", xy)
    return {k: paths[k] for k in ("purelib", "platlib", "scripts", "data", "include")}


def scheme_name(sysconfig):
    if hasattr(sysconfig, "get_preferred_scheme"):
        return sysconfig.get_preferred_scheme("prefix")
    names = sysconfig.get_scheme_names()
    implementation = sys.implementation.name
    framework = sysconfig.get_config_var("PYTHONFRAMEWORK")
    if framework and not in_virtualenv() and "osx_framework_library" in names:
        return "osx_framework_library"
    for name in (implementation + "_" + os.name, implementation, os.name + "_prefix", os.name):
        if name in names:
            return name
    return "posix_prefix"


def distutils_paths():
    """None where there is no distutils."""
    try:
        try:
            __import__("_distutils_hack").remove_shim()
        except (ImportError, AttributeError):
            pass
        from distutils.dist import Distribution
    except ImportError:
        return None
    install = Distribution({"name": "name"}).get_command_obj("install", create=True)
    install.finalize_options()
    return {
        "purelib": install.install_purelib,
        "platlib": install.install_platlib,
        "scripts": install.install_scripts,
        "data": install.install_data,
        "include": os.path.dirname(install.install_headers),
    }


def externally_managed():
    """The message of PEP 668, "" where the environment is ours to change."""
    import sysconfig

    marker = os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    if in_virtualenv() or not os.path.isfile(marker):
        return ""
    import configparser

    message = ""
    try:
        config = configparser.ConfigParser(interpolation=None)
        config.read(marker, encoding="utf-8")
        message = config.get("externally-managed", "Error", fallback="")
    except (OSError, UnicodeError, configparser.Error):
        pass
    return message or "This Python is managed by the operating system or another program."


def numbers(text):
    """The first two numbers of a version, as a list."""
    found = [int(part) for part in text.split(".")[:2]]
    return found + [0] * (2 - len(found))


def target():
    """The fields of package tag's Target, which says what each is."""
    import struct
    import sysconfig

    debug = sysconfig.get_config_var("Py_DEBUG")
    if debug is None:
        from importlib.machinery import EXTENSION_SUFFIXES

        debug = hasattr(sys, "gettotalrefcount") or "_d.pyd" in EXTENSION_SUFFIXES
    t = {
        "implementation": sys.implementation.name,
        "version": list(sys.version_info[:2]),
        "nodot": str(sysconfig.get_config_var("py_version_nodot") or ""),
        "ext_suffix": sysconfig.get_config_var("EXT_SUFFIX") or "",
        "debug": bool(debug),
        "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "pointer32": struct.calcsize("P") == 4,
    }
    name = sysconfig.get_platform()
    if sys.platform == "linux" and name.startswith("linux-"):
        t.update(os="linux", arch=name[len("linux-"):])
        linux(t)
        return t
    import platform

    system = platform.system()
    if system == "Darwin":
        t.update(os="macos", arch=platform.mac_ver()[2], os_version=macos_version())
    elif system == "iOS":
        t.update(os="ios", arch=sys.implementation._multiarch)
        t.update(os_version=numbers(platform.ios_ver().release))
    elif system == "Android":
        t.update(os="android", arch=name.split("-")[-1])
        t.update(os_version=[platform.android_ver().api_level, 0])
    elif name == "win32" or name.startswith("win-"):
        t.update(os="windows", arch=name[len("win-"):] if name != "win32" else name)
    else:
        t.update(os=name)
    return t


def macos_version():
    import platform

    text = platform.mac_ver()[0]
    if numbers(text) == [10, 16]:
        # A build against an old SDK is told 10.16 for whatever it runs on.
        import subprocess

        code = "import platform; print(platform.mac_ver()[0])"
        text = subprocess.check_output(
            [sys.executable, "-IS", "-c", code], env={"SYSTEM_VERSION_COMPAT": "0"}
        ).decode()
    return numbers(text)


def linux(t):
    glibc = glibc_version()
    if glibc:
        t["glibc"] = glibc
    elf, loader = read_elf(sys.executable)
    if elf:
        t["elf"] = elf
    if "musl" in loader:
        musl = musl_version(loader)
        if musl:
            t["musl"] = musl
    if glibc:
        t["not_manylinux"] = not_manylinux(t["arch"], t["pointer32"], glibc)


def glibc_version():
    text = ""
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION").split()[1]
    except (AttributeError, IndexError, OSError, ValueError):
        try:
            import ctypes

            ask = ctypes.CDLL(None).gnu_get_libc_version
            ask.restype = ctypes.c_char_p
            text = ask().decode("ascii")
        except (ImportError, AttributeError, OSError):
            pass
    major, _, rest = text.partition(".")
    minor = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return [int(major), int(minor)] if major.isdecimal() and minor else None


def read_elf(path):
    """The facts of an ELF header, and its loader or ""."""
    import struct

    try:
        with open(path, "rb") as f:
            ident = f.read(16)
            if ident[:4] != b"\x7fELF":
                return None, ""
            order = "<" if ident[5] == 1 else ">"
            wide = ident[4] == 2
            form = order + ("HHIQQQIHHH" if wide else "HHIIIIIHHH")
            head = struct.unpack(form, f.read(struct.calcsize(form)))
            elf = {"class": ident[4], "data": ident[5], "machine": head[1], "flags": head[6]}
            form = order + ("IIQQQQQQ" if wide else "IIIIIIII")
            for i in range(head[9]):
                f.seek(head[4] + head[8] * i)
                entry = struct.unpack(form, f.read(struct.calcsize(form)))
                if entry[0] == 3:  # PT_INTERP
                    f.seek(entry[2] if wide else entry[1])
                    name = f.read(entry[5] if wide else entry[4])
                    return elf, os.fsdecode(name).strip("\0")
            return elf, ""
    except (OSError, IndexError, TypeError, ValueError, struct.error):
        return None, ""


def musl_version(loader):
    import re
    import subprocess

    try:
        run = subprocess.Popen([loader], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        answer = run.communicate()[1].decode("ascii", "replace")
    except OSError:
        return None
    found = re.match(r"\s*musl.*\s+Version (\d+)\.(\d+)", answer)
    return [int(n) for n in found.groups()] if found else None


def not_manylinux(arch, pointer32, glibc):
    """What the distribution's module _manylinux (PEP 600) turns down."""
    try:
        import _manylinux
    except ImportError:
        return []
    archs = [arch]
    if arch == "x86_64" and pointer32:
        archs = ["i686"]
    elif arch == "armv8l" or arch == "aarch64" and pointer32:
        archs = ["armv8l", "armv7l"]
    old = {(2, 5): "manylinux1", (2, 12): "manylinux2010", (2, 17): "manylinux2014"}
    refused = []
    for a in archs:
        for major in range(2, glibc[0] + 1):
            for minor in range((glibc[1] if major == glibc[0] else 50) + 1):
                ok = None
                if hasattr(_manylinux, "manylinux_compatible"):
                    ok = _manylinux.manylinux_compatible(major, minor, a)
                elif (major, minor) in old:
                    ok = getattr(_manylinux, old[major, minor] + "_compatible", None)
                if ok is not None and not ok:
                    refused.append("manylinux_%d_%d_%s" % (major, minor, a))
    return refused


def bytecode():
    """Which bytecode the interpreter takes: none where the tag is None."""
    try:
        from _frozen_importlib_external import MAGIC_NUMBER
    except ImportError:
        from importlib.util import MAGIC_NUMBER

    tag = sys.implementation.cache_tag
    return {"cachetag": tag or "", "magic": MAGIC_NUMBER.hex() if tag else ""}


def encoded(value):
    """JSON in ASCII, of what is in an answer."""
    if isinstance(value, dict):
        return "{" + ",".join(encoded(k) + ":" + encoded(v) for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(encoded, value)) + "]"
    if isinstance(value, str):
        units = value.encode("utf-16-be", "surrogatepass").hex()
        plain = all(" " <= c <= "~" and c not in "\"\\" for c in value)
        return '"' + (value if plain else "".join("\\u" + units[i : i + 4] for i in range(0, len(units), 4))) + '"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def main():
    answer = {"version": "%d.%d.%d" % sys.version_info[:3]}
    if sys.version_info >= (3, 8):
        answer.update(
            executable=sys.executable,
            markers=markers(),
            target=target(),
            prefix=sys.prefix,
            baseprefix=sys.base_prefix,
            externallymanaged=externally_managed(),
            syspath=sys.path,
            **scheme()
        )
        answer.update(bytecode())
    print("\ncurdling:" + encoded(answer))


main()
