package wheel

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const emptySHA256 = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"

func sampleManifest() Manifest {
	return Manifest{
		Name: "foo-bar", Version: "1.0", RootIsPurelib: true, DistInfo: "foo_bar-1.0.dist-info", DataDir: "foo_bar-1.0.data",
		ConsoleScripts: []EntryPoint{{"foo", "foo", "main"}, {"bar", "foo.bar", "Main.run"}},
		Folders:        []string{"foo", "foo/my data"},
		Files: []ManifestFile{
			{Path: "foo/my data/größe, x", Size: 7, SHA256: emptySHA256, Executable: true, Shebang: true},
			{Path: "foo/x", SHA256: emptySHA256, Hash: "sha512=" + strings.Repeat("A", 86)},
		},
	}
}

func marshal(t testing.TB, m Manifest) []byte {
	t.Helper()
	b, err := m.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestManifest(t *testing.T) {
	t.Parallel()
	for _, want := range []Manifest{{DistInfo: "x", Folders: []string{}, Files: []ManifestFile{}}, sampleManifest()} {
		var got Manifest
		if err := got.UnmarshalBinary(marshal(t, want)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestManifestRefuses(t *testing.T) {
	t.Parallel()
	good := marshal(t, sampleManifest())
	// sealed changes the text and makes the checksum right again.
	sealed := func(old, new string) []byte {
		body, _, _ := bytes.Cut(good, []byte("crc32 "))
		body = bytes.Replace(body, []byte(old), []byte(new), 1)
		return fmt.Appendf(body, "crc32 %08x\n", crc32.ChecksumIEEE(body))
	}
	for _, tt := range []struct {
		what string
		b    []byte
		want string
	}{
		{"nothing", nil, "is damaged"},
		{"cut", good[:len(good)/2], "is damaged"},
		{"changed", bytes.Replace(good, []byte("foo"), []byte("fop"), 1), "is damaged"},
		{"zeros", make([]byte, 1000), "is damaged"},
		{"another form", sealed("tree 1", "tree 2"), "is of another form"},
		{"traversal", sealed("foo/x", "../x"), `".." segment`},
		{"folder traversal", sealed("\nfoo\n", "\n..\n"), `".." segment`},
		{"script traversal", sealed("\nbar foo.bar", "\n../bar foo.bar"), "entry point"},
		{"too many files", sealed("files 2", "files 2000000000"), "wrong number of files"},
		{"negative number", sealed("folders 2", "folders -2"), "wrong number of folders"},
		{"too few files", sealed("files 2", "files 1"), "more lines"},
		{"negative size", sealed("\n7 ", "\n-7 "), "wrong line"},
		{"short hash", sealed(emptySHA256, "AAAA"), "wrong line"},
		{"strange hash", sealed("sha512=", "md5="), "hash algorithm"},
		{"missing field", sealed("version 1.0\n", ""), `"version" is missing`},
	} {
		var m Manifest
		if err := m.UnmarshalBinary(tt.b); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.what, err, tt.want)
		}
	}
}

func BenchmarkUnmarshalManifest3000(b *testing.B) {
	m := Manifest{DistInfo: "x-1.dist-info"}
	for i := range 3000 {
		m.Files = append(m.Files, ManifestFile{Path: fmt.Sprintf("package/subpackage_%d/tests/module_%d.py", i/30, i), Size: int64(i), SHA256: emptySHA256})
	}
	m.Folders = folders(m.Files)
	text := marshal(b, m)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		var got Manifest
		if err := got.UnmarshalBinary(text); err != nil {
			b.Fatal(err)
		}
	}
}
