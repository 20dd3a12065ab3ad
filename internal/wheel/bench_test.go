package wheel

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"curdling/internal/wheel/wheeltest"
)

// BenchmarkUnpack unpacks a wheel of 300 files, one of them large, that compress as code does.
func BenchmarkUnpack(b *testing.B) {
	words := strings.Fields("def return self import from class for in if not None True False raise ValueError yield with open as lambda")
	random := rand.New(rand.NewPCG(1, 2))
	text := func(n int) string {
		var s strings.Builder
		for s.Len() < n {
			fmt.Fprintf(&s, "%s%d ", words[random.IntN(len(words))], random.IntN(1000))
		}
		return s.String()
	}
	w := wheeltest.Wheel{Name: "big", Version: "1.0", Files: map[string]string{"big/large.py": text(8 << 20)}}
	for i := range 300 {
		w.Files[fmt.Sprintf("big/sub%d/module%d.py", i/20, i)] = text(8 << 10)
	}
	content := wheeltest.Build(w)
	dir := b.TempDir()
	b.SetBytes(8<<20 + 300*8<<10)
	n := 0
	for b.Loop() {
		w, err := Open(bytes.NewReader(content), int64(len(content)), w.Filename())
		if err != nil {
			b.Fatal(err)
		}
		n++
		if _, err := w.Unpack(context.Background(), filepath.Join(dir, fmt.Sprint(n))); err != nil {
			b.Fatal(err)
		}
	}
}
