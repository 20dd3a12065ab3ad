#!/bin/sh
# The solver alone, in memory, on its hardest universes: medians of RUNS runs,
# with the number of candidates whose metadata it read.
cd "$(dirname "$0")/../.." || exit 1
go test -run '^$' -bench Solve -benchtime "${TIME:-1s}" -count "${RUNS:-7}" ./internal/resolve | awk '
/^Benchmark/ {
	name = $1
	sub(/^BenchmarkSolve\//, "", name); sub(/-[0-9]+$/, "", name); gsub(/_/, " ", name)
	if (!(name in n)) order[++names] = name
	times[name, ++n[name]] = $3 / 1e6
	for (i = 4; i < NF; i++) if ($(i + 1) == "reads/op") reads[name] = $i
}
END {
	for (k = 1; k <= names; k++) {
		name = order[k]; count = n[name]
		for (i = 1; i <= count; i++)
			for (j = i + 1; j <= count; j++)
				if (times[name, j] < times[name, i]) { t = times[name, i]; times[name, i] = times[name, j]; times[name, j] = t }
		printf "%-40s %9.1f ms %8d reads\n", name, times[name, int((count + 1) / 2)], reads[name]
	}
	if (!names) exit 1
}'
