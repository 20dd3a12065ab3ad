#!/bin/sh
# Makes ARCH.so, an extension module for each machine that Debian's compilers can make (gcc-aarch64-linux-gnu and the like): it
# needs a symbol of libc.so.6 by the version that the machine's first glibc gave it, and libown.so.1.
set -e
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
make() { # architecture of the tag, compiler, version
	flags="-shared -fPIC -nostdlib -Os -fno-asynchronous-unwind-tables -Wl,--build-id=none -Wl,-z,max-page-size=4096 -Wl,-z,norelro,-z,noseparate-code -s"
	echo "$3 { global: puts; };" >"$work/versions"
	echo 'int puts(const char *s) { return 0; }' | $2 $flags -x c - -x none -o "$work/libc.so" -Wl,-soname,libc.so.6 "-Wl,--version-script=$work/versions"
	echo 'int own(void) { return 1; }' | $2 $flags -x c - -x none -o "$work/libown.so" -Wl,-soname,libown.so.1
	echo 'int puts(const char *); int own(void); int hello(void) { return puts("hello") + own(); }' |
		$2 $flags -x c - -x none -o "$1.so" -Wl,-soname,hello.so "$work/libc.so" "$work/libown.so"
}
make x86_64 x86_64-linux-gnu-gcc GLIBC_2.2.5
make i686 i686-linux-gnu-gcc GLIBC_2.0
make aarch64 aarch64-linux-gnu-gcc GLIBC_2.17
make armv7l arm-linux-gnueabihf-gcc GLIBC_2.4
make ppc64le powerpc64le-linux-gnu-gcc GLIBC_2.17
make s390x s390x-linux-gnu-gcc GLIBC_2.2
make riscv64 riscv64-linux-gnu-gcc GLIBC_2.27
chmod 644 ./*.so
