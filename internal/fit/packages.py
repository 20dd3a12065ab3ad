#!/usr/bin/env python3
"""Renews packages.txt, which tells for the libraries that extension modules often link to which package of Debian brings
each: packages.py >packages.txt. Dials Debian's archive for the Contents of RELEASES.

A line is a library and what is said of it: "libpq.so.5", a tab, "Debian: libpq5" where each release has it in that package,
else "Debian 12: libssl3, 13: libssl3t64".
"""
import collections
import gzip
import re
import subprocess
import urllib.request

RELEASES = {"bullseye": "11", "bookworm": "12", "trixie": "13"}

# LIBRARIES are the names before ".so", without the version that some have there.
LIBRARIES = set("""
    libGL libSDL2 libX11 libaio libarpack libasound libaspell libatomic libattr libaugeas libblas libbluetooth libbrotlidec libbrotlienc
    libbz2 libcairo libcap libcgraph libcrypt libcrypto libct libcups libcurl libdb libdbus libenchant libev libevent libexpat libexslt
    libffi libfftw3 libfluidsynth libfreetype libfribidi libfuse libfuse3 libgcc_s libgdal libgdbm libgeos_c libgfortran libgirepository
    libgit2 libglib libglpk libgmp libgobject libgomp libgpgme libgsl libgssapi_krb5 libgthread libgvc libharfbuzz libhdf5_serial libheif
    libicui18n libicuuc libimagequant libjpeg libkrb5 liblapack liblber liblcms2 libldap liblmdb liblz4 liblzma libmagic libmariadb
    libmemcached libmpc libmpdec libmpfr libncursesw libnetcdf libnl libodbc libopenblas libopenjp2 libpango libpcap libpcre2-8 libpng16
    libportaudio libpq libproj libpython3 libquadmath librados libraqm librdkafka libre2 libreadline libsamplerate libsasl2 libseccomp
    libsmbclient libsnappy libsndfile libsodium libsqlite3 libssl libstdc++ libsuitesparseconfig libsybdb libsystemd libtiff libtinfo
    libudev libumfpack liburing libusb libuuid libuv libvirt libwebp libwebpdemux libwebpmux libxcb libxml2 libxmlsec1
    libxmlsec1-openssl libxslt libxxhash libyaml libz libzmq libzstd
""".split())

FOLDER = r"(?:usr/)?lib/(?:x86_64-linux-gnu/)?(?:openblas-pthread/|blas/|lapack/)?"
known = collections.defaultdict(dict)
mirror = subprocess.check_output(["apt-get", "indextargets", "--format", "$(SITE)"], text=True).split()[0]  # that of this machine's apt
for release, number in RELEASES.items():
    with urllib.request.urlopen(f"{mirror}/dists/{release}/main/Contents-amd64.gz") as answer:
        for line in gzip.GzipFile(fileobj=answer):
            if b".so." not in line:
                continue
            found = re.match(FOLDER + r"((lib[^/\s]*)\.so\.[\d.]+)\s+(\S+)$", line.decode())
            if not found or re.sub(r"-\d[\d.]*$|\.\d+$", "", found[2]) not in LIBRARIES:
                continue
            # Of several, such as another build of the same, the one with the shortest name is the common one.
            package = min((p.rpartition("/")[2] for p in found[3].split(",")), key=len)
            known[found[1]].setdefault(number, package)
            known[found[1]][number] = min(known[found[1]][number], package, key=len)

for library, packages in sorted(known.items()):
    if any(library.startswith(name + ".") for name in known) and library != "libbz2.so.1.0":
        continue  # the file that such a name points to; of bzip2 it is the name itself
    if len(packages) == len(RELEASES) and len(set(packages.values())) == 1:
        print(f"{library}\tDebian: {packages['12']}")
        continue
    names = {}
    for number, package in packages.items():
        names.setdefault(package, []).append(number)
    print(f"{library}\tDebian {', '.join(' and '.join(numbers) + ': ' + package for package, numbers in names.items())}")
