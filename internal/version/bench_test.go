package version

import "testing"

func BenchmarkParse(b *testing.B) {
	for _, s := range []string{"2.31.0", "1.0rc1.post2.dev3+ubuntu.1"} {
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCompare(b *testing.B) {
	for _, pair := range [][2]string{
		{"2.31.0", "2.32.0"}, {"2.31.0", "2.31"}, {"1.0rc1.post2.dev3", "1.0rc1.post2.dev4"}, {"2024.1.20240131", "2024.1.20240201"},
	} {
		v, w := MustParse(pair[0]), MustParse(pair[1])
		b.Run(pair[0]+","+pair[1], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				v.Compare(w)
			}
		})
	}
}

func BenchmarkParseSpecifiers(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseSpecifiers(">=1.21.1,<3,!=2.0.*"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSpecifiersContains(b *testing.B) {
	s, _ := ParseSpecifiers(">=1.21.1,<3,!=2.0.*")
	v := MustParse("2.31.0")
	b.ReportAllocs()
	for b.Loop() {
		s.Contains(v)
	}
}

func BenchmarkSet(b *testing.B) {
	s, _ := ParseSpecifiers(">=1.21.1,<3,!=2.0.*")
	t, _ := ParseSpecifiers(">=2.1")
	v := MustParse("2.31.0")
	x, y := s.Set(), t.Set()
	b.Run("Contains", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			x.Contains(v)
		}
	})
	b.Run("Intersect", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			x.Intersect(y)
		}
	})
	b.Run("SubsetOf", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			x.SubsetOf(y)
		}
	})
}
