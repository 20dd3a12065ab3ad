package tag

import "testing"

func BenchmarkTarget(b *testing.B) {
	target := Target{Implementation: "cpython", Version: [2]int{3, 12}, OS: "linux", Arch: "x86_64", Glibc: &[2]int{2, 39}}
	b.Run("Supported", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Supported(target)
		}
	})
	tags := Supported(target)
	b.Run("Rank", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Rank(tags)
		}
	})
	ranking := Rank(tags)
	some, err := Parse("cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64")
	if err != nil {
		b.Fatal(err)
	}
	b.Run("Best", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ranking.Best(some)
		}
	})
}
