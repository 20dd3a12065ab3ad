package inflate

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
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
	far := bytes.Clone(noise) // what it repeats is as far away as can be
	for range 3 {
		far = append(append(far, far[len(far)-window:len(far)-window+1000]...), noise[:30_000]...)
	}
	return map[string][]byte{
		"far":   far,
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

func unpack(d *Decoder, packed []byte) ([]byte, error) {
	var out bytes.Buffer
	err := d.Decode(&out, bytes.NewReader(packed))
	return out.Bytes(), err
}

func TestDecode(t *testing.T) {
	t.Parallel()
	var d Decoder // one for all: what one leaves behind must not matter
	for name, text := range samples() {
		for _, level := range []int{flate.HuffmanOnly, 0, 1, 6, 9} {
			packed := deflate(t, level, text)
			if out, err := unpack(&d, packed); err != nil || !bytes.Equal(out, text) {
				t.Errorf("%s, level %d: %v", name, level, err)
			}
			var out bytes.Buffer
			if err := d.Decode(&out, iotest.OneByteReader(bytes.NewReader(packed))); err != nil || !bytes.Equal(out.Bytes(), text) {
				t.Errorf("%s, level %d, byte by byte: %v", name, level, err)
			}
			for what, wrong := range map[string][]byte{
				"cut":             packed[:len(packed)-1],
				"followed by one": append(bytes.Clone(packed), 0),
				"followed much":   append(bytes.Clone(packed), make([]byte, 2*inSize)...),
			} {
				if _, err := unpack(&d, wrong); !errors.Is(err, ErrCorrupt) && (what == "cut" || !errors.Is(err, ErrMore)) {
					t.Errorf("%s, level %d, %s: %v", name, level, what, err)
				}
			}
			torn := errors.New("torn")
			if err := d.Decode(io.Discard, io.MultiReader(bytes.NewReader(packed[:len(packed)/2]), iotest.ErrReader(torn))); !errors.Is(err, torn) {
				t.Errorf("%s, level %d, with a reader that fails: %v", name, level, err)
			}
			full := errors.New("full")
			if err := d.Decode(failing{full}, bytes.NewReader(packed)); len(text) > 0 && !errors.Is(err, full) {
				t.Errorf("%s, level %d, with a writer that fails: %v", name, level, err)
			}
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// FuzzDecode holds Decode against compress/flate: the same bytes, or errors from both.
func FuzzDecode(f *testing.F) {
	for _, text := range samples() {
		for _, level := range []int{flate.HuffmanOnly, 0, 6} {
			f.Add(deflate(f, level, text[:min(len(text), 2000)]))
		}
	}
	f.Add(deflate(f, 6, make([]byte, 2*outSize)))
	var d Decoder
	f.Fuzz(func(t *testing.T, packed []byte) {
		in := bytes.NewReader(packed)
		want, err := io.ReadAll(io.LimitReader(flate.NewReader(in), 1<<20))
		if len(want) == 1<<20 {
			return
		}
		switch got, ours := unpack(&d, packed); {
		case err == nil && in.Len() == 0 && ours != nil:
			t.Fatalf("%v, but compress/flate unpacks %d bytes", ours, len(want))
		case (err != nil || in.Len() > 0) && ours == nil:
			t.Fatalf("no error, but compress/flate: %v, %d bytes left", err, in.Len())
		case ours == nil && !bytes.Equal(got, want):
			t.Fatal("other bytes than those of compress/flate")
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, name := range []string{"code", "skewed"} {
		b.Run(name, func(b *testing.B) {
			text := samples()[name]
			packed := deflate(b, 6, text)
			var d Decoder
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if err := d.Decode(io.Discard, bytes.NewReader(packed)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
