#!/bin/sh
# Holds the foundations against the newest `packaging`, `pip` and `dependency-groups`, fetched from the
# index. vectors.sh "" PACKAGE... renews the committed vectors; vectors.sh SEED
# PACKAGE... makes others in a temporary folder. Both run the tests on them.
set -eu
seed=$1
shift
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m pip install --quiet --target "$tmp/lib" --upgrade packaging pip dependency-groups
tests=""
for p in "$@"; do
	out="$tmp/vectors/$p.gz"
	mkdir -p "$tmp/vectors"
	PYTHONPATH="$tmp/lib" python3 "internal/$p/testdata/vectors.py" "${seed:-0}" "$out"
	[ -n "$seed" ] || cp "$out" "internal/$p/testdata/vectors.jsonl.gz"
	tests="$tests ./internal/$p"
done
# shellcheck disable=SC2086
CURDLING_VECTORS="$tmp/vectors" ${GO:-go} test -count=1 $tests
