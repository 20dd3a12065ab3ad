package disk

import (
	"bytes"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
)

// BenchmarkCreate keeps files of 20 kB, each synced, in the folder CURDLING_BENCH or a temporary one.
func BenchmarkCreate(b *testing.B) {
	for _, at := range []int{1, 16} {
		b.Run(fmt.Sprint(at), func(b *testing.B) {
			dir, err := os.MkdirTemp(os.Getenv("CURDLING_BENCH"), "curdling-bench-")
			if err != nil {
				b.Fatal(err)
			}
			defer os.RemoveAll(dir)
			s, err := Open(dir)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			var n atomic.Int64
			content := make([]byte, 20_000)
			b.SetParallelism(at)
			if at == 1 {
				for b.Loop() {
					if err := s.Create(b.Context(), fmt.Sprint(n.Add(1)), bytes.NewReader(content), int64(len(content))); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := s.Create(b.Context(), fmt.Sprint(n.Add(1)), bytes.NewReader(content), int64(len(content))); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
