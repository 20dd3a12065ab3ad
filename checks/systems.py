#!/usr/bin/env python3
"""Builds on one Linux system, uses the builds on others: is what `curd` installs there always whole, and is nothing refused
that would work?

The systems are root file systems of Debian's releases, entered by chroot, all with the same CPython 3.11, which is
built on the oldest, and with --alpine FILE, a mini root of Alpine, an Alpine with a CPython for musl. Each in turn builds
PROJECTS from source and uploads to a new server; then each other one installs them from there, without an index and with the
source distributions at hand, so that it can build what it refuses. What was installed is imported. What was refused is
unpacked by force and imported, too: that must fail. Prints tables, as Markdown.

Needs root, debootstrap, patchelf, and a `deb-src` of bookworm, which it dials; the first run takes half an hour and 3 GB in
--roots FOLDER, which later ones find there.
"""
import argparse
import contextlib
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import textwrap
import urllib.request

import venvs

DEV = "gcc,g++,make,pkg-config,libssl-dev,zlib1g-dev,libffi-dev,libxml2-dev,libpq-dev,libcurl4-openssl-dev,ca-certificates,python3,python3-venv"
SYSTEMS = {  # what is in each: bookworm alone has two libraries more
    "bullseye": DEV,
    "bookworm": DEV + ",libyaml-dev,unixodbc-dev,musl-tools",
    "trixie": DEV,
}
PYTHON, MUSL = "/opt/py311/bin/python3.11", "/opt/py311-musl/bin/python3.11"

# PROJECTS with what is imported of each: pure Python, C, C++, the stable ABI, libraries whose names differ between the
# releases or whose functions do, and some made here for what real ones show by chance only.
PROJECTS = {
    "docopt": "docopt", "markupsafe": "markupsafe._speedups", "simplejson": "simplejson._speedups", "psutil": "psutil",
    "tornado": "tornado.speedups", "psycopg2": "psycopg2", "cffi": "_cffi_backend", "scrypt": "scrypt", "pycurl": "pycurl",
    "made-cxx": "made_cxx", "made-xml": "made_xml", "made-yaml": "made_yaml", "made-libc": "made_libc", "made-pq": "made_pq",
    "made-native": "made_native", "made-user": "made_user",
}
REQUIRED = ["setuptools", "wheel", "pycparser"]
# Whose own build does not work on a system, by itself, and why.
ALONE = {("bookworm, musl", "psycopg2"): "links Debian's libpq, which is for glibc",
         ("bookworm, musl", "made-cxx"): "links Debian's libstdc++, which is for glibc"}
# Whose wheel itself refuses at run time what its files do not tell.
JUDGES = {"pycurl": "refuses a libcurl older than the one of its build"}
OWN = ["docopt", "psutil", "tornado"]  # for which the systems' own Pythons are asked, too

HEAD = "#define PY_SSIZE_T_CLEAN\n#include <Python.h>\n"
TAIL = """
static PyMethodDef methods[] = {{"call", call, METH_NOARGS, ""}, {0}};
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "%(name)s", "", -1, methods};
PyMODINIT_FUNC PyInit_%(name)s(void) { return PyModule_Create(&def); }
"""
MADE = {
    "made-xml": ("#include <libxml/parser.h>", "LIBXML_TEST_VERSION; return PyLong_FromLong(xmlParserVersion != 0);",
                 dict(libraries=["xml2"], include_dirs=["/usr/include/libxml2"])),
    "made-yaml": ("#ifdef WITH_YAML\n#include <yaml.h>\n#endif", """
#ifdef WITH_YAML
    int major, minor, patch; yaml_get_version(&major, &minor, &patch); return PyLong_FromLong(major + minor);
#endif
    return PyLong_FromLong(0);""",
                  'dict(libraries=["yaml"], define_macros=[("WITH_YAML", "1")]) if os.path.exists("/usr/include/yaml.h") else {}'),
    # What a newer libstdc++ has in it alone.
    "made-cxx": ("#include <string>\n#include <charconv>\n#include <filesystem>", """
    double x = 0; const char text[] = "1.5"; std::from_chars(text, text + 3, x);
    return PyLong_FromLong(std::filesystem::path("a/b").filename().string().size() + (long)x);""", dict(language="c++", extra_compile_args=["-std=c++17"])),
    # A function of glibc 2.36, where it is there.
    "made-libc": ("#include <stdlib.h>", """
#ifdef __GLIBC__
#if __GLIBC_PREREQ(2, 36)
    return PyLong_FromUnsignedLong(arc4random());
#endif
#endif
    return PyLong_FromLong(rand());""", {}),
    # A function of libpq 17, whose symbols have no versions.
    "made-pq": ("#include <libpq-fe.h>", """
#ifdef LIBPQ_HAS_ASYNC_CANCEL
    PQcancelFinish(0);
#endif
    return PyLong_FromLong(PQlibVersion());""", dict(libraries=["pq"], include_dirs=["/usr/include/postgresql"])),
    "made-native": ("", "double sum = 0; for (int i = 0; i < 1000; i++) sum += i * 1.5; return PyFloat_FromDouble(sum);",
                    dict(extra_compile_args=["-O3", "-ffast-math", "-march=native"])),
    # Its library comes with another wheel.
    "made-user": ("int made_answer(void);", "return PyLong_FromLong(made_answer());",
                  dict(extra_link_args=["-Wl,-rpath,$ORIGIN/made_library", "-Wl,--no-as-needed", "answer.so", "-Wl,--as-needed"])),
}


def mirror():
    """The mirror that this machine's own apt uses."""
    return subprocess.check_output(["apt-get", "indextargets", "--format", "$(SITE)"], text=True).split()[0]


def make_sdist(folder, name, files):
    with tarfile.open(folder / f"{name.replace('-', '_')}-1.0.tar.gz", "w:gz") as tar:
        info = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        for path, text in {"PKG-INFO": info, "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n', **files}.items():
            member = tarfile.TarInfo(f"{name.replace('-', '_')}-1.0/{path}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))


def make_sdists(folder):
    for name, (include, body, how) in MADE.items():
        module = name.replace("-", "_")
        source = f"{HEAD}{include}\nstatic PyObject *call(PyObject *self, PyObject *none) {{ {body} }}\n{TAIL % {'name': module}}"
        first = 'import os, subprocess\n'
        file = "module.cc" if "cxx" in name else "module.c"
        needs = []
        if name == "made-user":  # linked against a stand-in of the library
            first += 'open("answer.c", "w").write("int made_answer(void) { return 0; }")\n' \
                     'subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-Wl,-soname,libmade_answer.so", "-o", "answer.so", "answer.c"], check=True)\n'
            needs = ["made-library"]
        make_sdist(folder, name, {file: source, "setup.py": first + textwrap.dedent(f"""
            from setuptools import setup, Extension
            setup(name={name!r}, version="1.0", py_modules=[], install_requires={needs!r}, ext_modules=[Extension({module!r}, [{file!r}], **({how}))])
        """)})
    make_sdist(folder, "made-library", {"made_library/__init__.py": "", "setup.py": textwrap.dedent("""
        import os, subprocess
        open("answer.c", "w").write("int made_answer(void) { return 42; }")
        subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-Wl,-soname,libmade_answer.so", "-o", "made_library/libmade_answer.so", "answer.c"], check=True)
        from setuptools import setup, Distribution
        class Binary(Distribution):
            has_ext_modules = lambda self: True
        setup(name="made-library", version="1.0", packages=["made_library"], package_data={"made_library": ["*.so"]}, distclass=Binary)
    """)})


def fetch(folder, index, name, ending):
    """The newest file of a project that is no prerelease."""
    request = urllib.request.Request(index + name + "/", headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    files = [f for f in json.load(urllib.request.urlopen(request))["files"]
             if f["filename"].endswith(ending) and not f.get("yanked") and not re.search(r"\d(a|b|rc|\.dev)\d", f["filename"])]
    newest = max(files, key=lambda f: f["upload-time"])
    (folder / newest["filename"]).write_bytes(urllib.request.urlopen(newest["url"]).read())


def make_files(folder):
    """The source distributions, and the wheels of what builds require."""
    from pip._internal.models.index import PyPI
    folder.mkdir()
    for name in PROJECTS:
        if name not in MADE:
            fetch(folder, PyPI.simple_url + "/", name, ".tar.gz")
    for name in REQUIRED:
        fetch(folder, PyPI.simple_url + "/", name, "none-any.whl")


def make_roots(folder, alpine):
    sources = folder / "sources"
    if not sources.exists():
        (sources / "lists/partial").mkdir(parents=True)
        (sources / "list").write_text(f"deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror()} bookworm main\n")
        options = [f"-oDir::Etc::sourcelist={sources}/list", "-oDir::Etc::sourceparts=-", f"-oDir::State::lists={sources}/lists"]
        venvs.run("apt-get", *options, "-q", "update")
        venvs.run("apt-get", *options, "-q", "source", "--download-only", "python3.11", "zlib", cwd=sources)
    for release, packages in SYSTEMS.items():
        if not (folder / release / "etc/os-release").exists():
            print(f"{release}: debootstrap", file=sys.stderr)
            venvs.run("debootstrap", "--variant=minbase", f"--include={packages}", release, folder / release)
    build_python(folder, sources, "bullseye", PYTHON, "gcc", [])
    compiler = folder / "bookworm/usr/local/bin/musl-cc"  # it names its own multiarch folder, which CPython's configure insists on
    compiler.write_text('#!/bin/sh\ncase $1 in *-print-multiarch) exec echo x86_64-linux-musl ;; esac\nexec musl-gcc "$@"\n')
    compiler.chmod(0o755)
    build_python(folder, sources, "bookworm", MUSL, "musl-cc", ["--disable-ipv6"])
    for release in SYSTEMS:
        copy_python(folder / "bullseye", folder / release, PYTHON)
    if alpine and not (folder / "alpine").exists():
        (folder / "alpine").mkdir()
        venvs.run("tar", "-xzf", alpine, "-C", folder / "alpine")
    if (folder / "alpine").exists():
        copy_python(folder / "bookworm", folder / "alpine", MUSL)


def copy_python(there, here, python):
    prefix = pathlib.Path(python).parents[1].relative_to("/")
    if (here / prefix).exists():
        return
    shutil.copytree(there / prefix, here / prefix, symlinks=True)
    # What its own modules need comes along, for them alone.
    modules = here / prefix / "lib/python3.11/lib-dynload"
    for library in there.glob("usr/lib/x86_64-linux-gnu/lib*.so.*"):
        if library.name in ("libffi.so.7", "libssl.so.1.1", "libcrypto.so.1.1"):
            shutil.copy(library, modules)
            for name in ("_ctypes", "_ssl", "_hashlib"):
                venvs.run("patchelf", "--set-rpath", "$ORIGIN", *modules.glob(name + ".*.so"))


def build_python(folder, sources, release, python, compiler, options):
    prefix = pathlib.Path(python).parents[1]
    if (folder / release / python.lstrip("/")).exists():
        return
    print(f"{release}: builds a CPython with {compiler}", file=sys.stderr)
    work = folder / release / "root/build"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    for name in ["python", "zlib"]:
        venvs.run("tar", "-xf", *sources.glob(name + "*.orig.tar.*"), "-C", work)
        next(work.glob(name.capitalize() + "*" if name == "python" else name + "*")).rename(work / ("src-" + name))
    with mounted(folder / release):
        inside(folder / release, "sh", "-ec", f"""
            cd /root/build/src-zlib
            ./configure --static --prefix={prefix}; make -s libz.a
            mkdir -p {prefix}/lib {prefix}/include; cp libz.a {prefix}/lib; cp zlib.h zconf.h {prefix}/include
            cd /root/build/src-python
            ./configure -q --prefix={prefix} --without-ensurepip --disable-test-modules {" ".join(options)}
            make -s -j2; make -s install""", CC=compiler, CFLAGS="-O1 -fPIC", CPPFLAGS=f"-I{prefix}/include", LDFLAGS=f"-L{prefix}/lib",
               ZLIB_CFLAGS=f"-I{prefix}/include", ZLIB_LIBS=f"-L{prefix}/lib -lz")
    shutil.rmtree(work)


@contextlib.contextmanager
def mounted(root):
    for name in ["proc", "dev"]:
        venvs.run("mount", "--bind", "/" + name, root / name)
    try:
        yield
    finally:
        for name in ["proc", "dev"]:
            venvs.run("umount", root / name)


def inside(root, *command, **variables):
    """What the command prints in that root, to its standard error, too."""
    env = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8", **variables}
    return venvs.run("chroot", root, *command, env=env, errors=True)


class System:
    """One root with one of its Pythons."""

    def __init__(self, name, root, python, **variables):
        self.name, self.root, self.python, self.variables = name, root, python, variables
        self.folder = root / "tmp/systems"

    def fresh(self, curd, files):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        shutil.copy(curd, self.folder / "curd")
        shutil.copytree(files, self.folder / "files")
        inside(self.root, self.python, "-m", "venv", "--without-pip", "/tmp/systems/venv")

    def install(self, url, project, *options):
        """The URL that it was installed from, and the log."""
        report = self.folder / "report"
        log = inside(self.root, "/tmp/systems/curd", "install", "-l", "info", "-c", url, "--no-index", "--find-links", "/tmp/systems/files",
                     "--python", "/tmp/systems/venv", "--report", "/tmp/systems/report", *options, project, CURD_CACHE="/tmp/systems/curds", **self.variables)
        installed = {i["metadata"]["name"].lower().replace("_", "-"): i["download_info"]["url"] for i in json.loads(report.read_text())["install"]}
        return installed[project], log

    def imports(self, project, path="", whole=True):
        """Why the import fails, "" where it does not; with a path, of what is unpacked there, and not of what is installed.
        Not whole: some do without their machine code where there is no compiler."""
        module = PROJECTS[project] if whole else PROJECTS[project].partition(".")[0]
        try:
            python = self.python if path else "/tmp/systems/venv/bin/python"
            inside(self.root, python, "-c", f"import {module} as m; getattr(m, 'call', int)()", PYTHONPATH=path)
        except venvs.Failed as e:
            return str(e).strip().splitlines()[-1].replace("|", "/")
        return ""

    def forced(self, wheel, project):
        shutil.rmtree(self.folder / "forced", ignore_errors=True)
        shutil.unpack_archive(wheel, self.folder / "forced", "zip")
        return self.imports(project, "/tmp/systems/forced")


@contextlib.contextmanager
def serving(server, folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    process = subprocess.Popen([server, "-H", "127.0.0.1", "-p", "0", folder], text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        yield re.search(r"http://[^,\s]+", process.stdout.readline())[0]
    finally:
        process.terminate()
        process.wait()


def last(error):
    return venvs.telling(error).replace("|", "/")


def use(system, url, project, wheel, builder):
    """A cell of the table, and whether all is as it must be. Builds are not shared between different Pythons, nor between
    glibc and musl, even where they would work: a setup.py may look."""
    try:
        source, log = system.install(url, project)
    except venvs.Failed as e:
        source, log = "", str(e)
    why = re.search(r"(?:is left out|does not work on this machine).*?why=(\"[^\"]*\"|\S+)", log)
    if source.startswith(url):
        failed = system.imports(project)
        if failed and project in JUDGES:
            return f"used, fails: it {JUDGES[project]}", True
        return ("used" if not failed else f"**USED, FAILS**: {failed}"), not failed
    shared = system.python == builder.python
    reason = why[1].strip('"') if why else "nothing was built" if not wheel else "its tags" if shared else "for another Python"
    cell = f"refused ({reason})"
    good = True
    if wheel and shared:
        failed = system.forced(wheel, project)
        good = failed != ""
        cell += f", by force: {failed}" if failed else ", **BY FORCE IT WORKS**"
    if not source:
        return f"{cell}; not built: {last(log)}", good
    failed = system.imports(project, whole=False)
    if failed and (system.name, project) in ALONE:
        return f"{cell}; built anew, fails by itself: {ALONE[system.name, project]}", good
    return f"{cell}; built anew, {'works' if not failed else '**FAILS**: ' + failed}", good and not failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curd", type=os.path.abspath)
    parser.add_argument("server", type=os.path.abspath)
    parser.add_argument("project", nargs="*", default=list(PROJECTS))
    parser.add_argument("--roots", type=pathlib.Path, default="/var/tmp/curd-systems", help="where the root file systems are or are made")
    parser.add_argument("--alpine", help="archive of an Alpine mini root")
    parser.add_argument("--builder", action="append", help="only this one builds; may repeat")
    args = parser.parse_args()
    args.roots.mkdir(parents=True, exist_ok=True)
    make_roots(args.roots, args.alpine)
    files = args.roots / "files"
    if not files.exists():
        make_files(files)
    make_sdists(files)
    systems = [System(name, args.roots / name, PYTHON) for name in SYSTEMS]
    musl = System("bookworm, musl", args.roots / "bookworm", MUSL)
    users = [*systems, musl]
    if (args.roots / "alpine").exists():
        users.append(System("alpine", args.roots / "alpine", MUSL))
    own = [System(f"{name}, its own Python", args.roots / name, "/usr/bin/python3") for name in SYSTEMS if name != "bookworm"]
    faults = 0
    with contextlib.ExitStack() as stack:
        for root in {s.root for s in users}:
            stack.enter_context(mounted(root))
        for builder in [*systems, musl]:
            if args.builder and builder.name not in args.builder:
                continue
            store = args.roots / "store"
            with serving(args.server, store) as url:
                builder.fresh(args.curd, files)
                wheels = {}
                rows = {}
                for project in args.project:
                    try:
                        source, log = builder.install(url, project, "-u")
                        failed = builder.imports(project) if (builder.name, project) not in ALONE else ""
                        wheels[project] = next((w for w in store.rglob("*.whl") if w.name.lower().startswith(project.replace("-", "_") + "-")), None)
                        name = wheels[project].stem.split("-", 2)[2] if wheels[project] else "nothing was uploaded"
                        rows[project] = [name + (f", **FAILS**: {failed}" if failed else "")]
                        faults += failed != "" or not wheels[project]
                    except venvs.Failed as e:
                        rows[project] = ["not built: " + last(e)]
                print(f"Built by {builder.name}: made", file=sys.stderr, flush=True)
                others = [u for u in [*users, *own] if u is not builder]
                for user in others:
                    user.fresh(args.curd, files)
                    for project in args.project:
                        if user in own and project not in OWN:
                            cell, good = "", True
                        else:
                            cell, good = use(user, url, project, wheels.get(project), builder)
                        faults += not good
                        rows[project].append(cell)
                        print(f"{builder.name}, {user.name}: {project}: {cell}", file=sys.stderr, flush=True)
                print(f"\nBuilt on {builder.name}:\n\n| project | its wheel | {' | '.join(u.name for u in others)} |\n|{'---|' * (len(others) + 2)}")
                for project, cells in rows.items():
                    print("|", " | ".join([project, *cells]), "|", flush=True)
    print(f"\n{faults} faults")
    sys.exit(faults != 0)


if __name__ == "__main__":
    main()
