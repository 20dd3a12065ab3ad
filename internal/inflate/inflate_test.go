package inflate

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// samples are texts of many kinds, by name.
func samples() map[string][]byte {
	random := rand.New(rand.NewChaCha8([32]byte{1}))
	noise := make([]byte, 200_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	var code strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&code, "def f%d(self, x=%d):\n    return self.f%d(x + %d)\n", i, random.IntN(1000), random.IntN(5000), random.IntN(10))
	}
	skewed := make([]byte, 300_000) // codes of all lengths
	for i := range skewed {
		for random.IntN(2) == 0 && skewed[i] < 200 {
			skewed[i]++
		}
	}
	return map[string][]byte{
		"empty": {}, "byte": {7}, "noise": noise, "code": []byte(code.String()), "skewed": skewed,
		"zeros": make([]byte, 100_000), "pairs": bytes.Repeat([]byte("ab"), 50_000), "sevens": bytes.Repeat([]byte("abcdefg"), 20_000),
	}
}

func deflate(t testing.TB, level int, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDecode(t *testing.T) {
	t.Parallel()
	var d Decoder // one for all: what one leaves behind must not matter
	for name, text := range samples() {
		for _, level := range []int{flate.HuffmanOnly, 0, 1, 6, 9} {
			packed := deflate(t, level, text)
			out := make([]byte, len(text))
			if err := d.Decode(out, packed); err != nil || !bytes.Equal(out, text) {
				t.Errorf("%s, level %d: %v", name, level, err)
			}
			for what, err := range map[string]error{
				"too small":       d.Decode(make([]byte, max(len(text)-1, 0)), packed),
				"too large":       d.Decode(make([]byte, len(text)+1), packed),
				"cut":             d.Decode(out, packed[:len(packed)-1]),
				"followed by one": d.Decode(out, append(bytes.Clone(packed), 0)),
			} {
				if err == nil && (what != "too small" || len(text) > 0) {
					t.Errorf("%s, level %d, %s: no error", name, level, what)
				}
			}
		}
	}
}

// FuzzDecode holds Decode against compress/flate: the same bytes, or errors from both.
func FuzzDecode(f *testing.F) {
	for _, text := range samples() {
		text = text[:min(len(text), 2000)]
		for _, level := range []int{flate.HuffmanOnly, 0, 6} {
			f.Add(deflate(f, level, text), len(text))
		}
	}
	f.Fuzz(func(t *testing.T, packed []byte, size int) {
		in := bytes.NewReader(packed)
		want, err := io.ReadAll(io.LimitReader(flate.NewReader(in), 1<<20))
		if len(want) == 1<<20 {
			return
		}
		if err != nil {
			want = make([]byte, max(0, min(size, 1<<20)))
		}
		out := make([]byte, len(want))
		switch got := new(Decoder).Decode(out, packed); {
		case err == nil && in.Len() == 0 && got != nil:
			t.Fatalf("%v, but compress/flate unpacks %d bytes", got, len(want))
		case (err != nil || in.Len() > 0) && got == nil:
			t.Fatalf("no error, but compress/flate: %v, %d bytes left", err, in.Len())
		case got == nil && !bytes.Equal(out, want):
			t.Fatal("other bytes than those of compress/flate")
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, name := range []string{"code", "skewed"} {
		b.Run(name, func(b *testing.B) {
			text := samples()[name]
			packed, out := deflate(b, 6, text), make([]byte, len(text))
			var d Decoder
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if err := d.Decode(out, packed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
