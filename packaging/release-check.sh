#!/bin/sh
# release-check.sh RELEASE VERSION INDEX: makes the release a second time, from a
# copy of the sources in another folder and with an empty build cache, and
# compares each byte with the first, which is in the folder RELEASE.
set -eu
release=$(realpath "$1") version=$2 index=$3
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT INT TERM
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}"

mkdir "$tmp/elsewhere"
tar -c --exclude=./bin --exclude=./.git --exclude=./.tools . | tar -x -C "$tmp/elsewhere"
cd "$tmp/elsewhere"
GOCACHE="$tmp/cache" "${GO:-go}" run ./packaging release -version "$version" -index "$index" -o "$tmp/release"
diff -r "$release" "$tmp/release"
cd "$release"
sha256sum -c --quiet SHA256SUMS
echo "the same bytes twice: $(find . -type f | wc -l) files, $(du -sh . | cut -f1)"
