// Package wheeltest makes wheels for tests: whole ones from a few words, and
// broken ones by saying what to break.
package wheeltest

import (
	"bytes"
	"cmp"
	"compress/flate"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Wheel says what to make. Only Name and Version are needed.
type Wheel struct {
	Name, Version string
	BuildTag      string            // "" is none
	Tag           string            // "" is "py3-none-any"
	Files         map[string]string // path in the archive: content
	Data          map[string]string // path below NAME-VERSION.data: content ("scripts/run": "#!python\n...")
	Executable    []string          // paths in the archive that get the executable bits
	Platlib       bool              // Root-Is-Purelib: false

	Requires       []string // Requires-Dist
	RequiresPython string
	ProvidesExtra  []string
	ConsoleScripts map[string]string // name: "module:attr"
	GUIScripts     map[string]string
	Summary        string

	// What follows breaks or bends the wheel; the zero values leave it whole.

	DistInfo       string            // the .dist-info folder's name; "" is NAME-VERSION.dist-info
	WheelVersion   string            // "" is "1.0"
	EntryPoints    string            // the whole of entry_points.txt, in place of the two maps
	Metadata       string            // the whole of METADATA
	RawWheel       string            // the whole of WHEEL
	RawRecord      string            // the whole of RECORD
	Without        []string          // members to leave out of the archive, by name; RECORD lists them still
	Unlisted       []Member          // members that RECORD does not list
	DeclaredSHA256 map[string]string // what RECORD says of a path, in place of the truth
}

// Member is one entry of the archive.
type Member struct {
	Name    string
	Content string
	Mode    fs.FileMode // 0 is 0644 of a regular file
	Stored  bool        // not deflated
}

// Filename is the wheel's file name.
func (w Wheel) Filename() string {
	parts := []string{escape(w.Name), escape(w.Version)}
	if w.BuildTag != "" {
		parts = append(parts, w.BuildTag)
	}
	return strings.Join(append(parts, cmp.Or(w.Tag, "py3-none-any")), "-") + ".whl"
}

// Build makes the wheel's bytes, the same ones for the same Wheel.
func Build(w Wheel) []byte { return Zip(w.Members()) }

// Members gives what Build puts into the archive, RECORD last, for tests that
// want to change it before Zip.
func (w Wheel) Members() []Member {
	info := w.distInfo()
	files := map[string]string{
		info + "/METADATA": cmp.Or(w.Metadata, w.metadata()),
		info + "/WHEEL":    cmp.Or(w.RawWheel, w.wheel()),
	}
	if e := cmp.Or(w.EntryPoints, w.entryPoints()); e != "" {
		files[info+"/entry_points.txt"] = e
	}
	maps.Copy(files, w.Files)
	for path, content := range w.Data {
		files[strings.TrimSuffix(info, ".dist-info")+".data/"+path] = content
	}
	var members []Member
	for _, path := range slices.Sorted(maps.Keys(files)) {
		m := Member{Name: path, Content: files[path], Mode: 0o644}
		if slices.Contains(w.Executable, path) {
			m.Mode = 0o755
		}
		members = append(members, m)
	}
	record := Member{Name: info + "/RECORD", Content: cmp.Or(w.RawRecord, w.record(members, info))}
	members = append(append(members, w.Unlisted...), record)
	return slices.DeleteFunc(members, func(m Member) bool { return slices.Contains(w.Without, m.Name) })
}

// Zip packs members, in their order.
func Zip(members []Member) []byte {
	var body, directory bytes.Buffer
	for _, m := range members {
		offset := body.Len()
		content, method := []byte(m.Content), uint16(0)
		if !m.Stored && len(m.Content) > 0 {
			content, method = deflate(content), 8
		}
		var h header
		h.u16(20, 0x800, method, 0, 0x21) // version, UTF-8 names, method, midnight, 1980-01-01
		h.u32(crc32.ChecksumIEEE([]byte(m.Content)), uint32(len(content)), uint32(len(m.Content)))
		h.u16(uint16(len(m.Name)), 0)

		body.WriteString("PK\x03\x04")
		body.Write(h)
		body.WriteString(m.Name)
		body.Write(content)

		directory.WriteString("PK\x01\x02\x14\x03") // made by Unix
		directory.Write(h)
		h = h[:0]
		h.u16(0, 0, 0)
		h.u32(unixMode(m)<<16, uint32(offset))
		directory.Write(h)
		directory.WriteString(m.Name)
	}
	var end header
	end.u16(0, 0, uint16(len(members)), uint16(len(members)))
	end.u32(uint32(directory.Len()), uint32(body.Len()))
	end.u16(0)
	body.Write(directory.Bytes())
	body.WriteString("PK\x05\x06")
	body.Write(end)
	return body.Bytes()
}

// header is a run of little-endian fields.
type header []byte

func (h *header) u16(v ...uint16) {
	for _, x := range v {
		*h = binary.LittleEndian.AppendUint16(*h, x)
	}
}

func (h *header) u32(v ...uint32) {
	for _, x := range v {
		*h = binary.LittleEndian.AppendUint32(*h, x)
	}
}

func deflate(b []byte) []byte {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.DefaultCompression)
	if err != nil {
		panic(err)
	}
	if _, err := w.Write(b); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// unixMode is a member's st_mode.
func unixMode(m Member) uint32 {
	perm := uint32(m.Mode.Perm())
	switch {
	case m.Mode&fs.ModeSymlink != 0:
		return 0o120000 | perm
	case m.Mode&fs.ModeDevice != 0:
		return 0o060000 | perm
	case m.Mode&fs.ModeNamedPipe != 0:
		return 0o010000 | perm
	case m.Mode.IsDir() || strings.HasSuffix(m.Name, "/"):
		return 0o040000 | cmp.Or(perm, 0o755)
	}
	return 0o100000 | cmp.Or(perm, 0o644)
}

func (w Wheel) distInfo() string {
	return cmp.Or(w.DistInfo, escape(w.Name)+"-"+escape(w.Version)+".dist-info")
}

func escape(s string) string { return strings.ReplaceAll(s, "-", "_") }

func (w Wheel) metadata() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Metadata-Version: 2.1\nName: %s\nVersion: %s\n", w.Name, w.Version)
	for _, line := range []struct {
		key    string
		values []string
	}{
		{"Summary", []string{w.Summary}},
		{"Requires-Python", []string{w.RequiresPython}},
		{"Requires-Dist", w.Requires},
		{"Provides-Extra", w.ProvidesExtra},
	} {
		for _, v := range line.values {
			if v != "" {
				fmt.Fprintf(&b, "%s: %s\n", line.key, v)
			}
		}
	}
	return b.String()
}

func (w Wheel) wheel() string {
	return fmt.Sprintf("Wheel-Version: %s\nGenerator: wheeltest\nRoot-Is-Purelib: %t\nTag: %s\n",
		cmp.Or(w.WheelVersion, "1.0"), !w.Platlib, cmp.Or(w.Tag, "py3-none-any"))
}

func (w Wheel) entryPoints() string {
	var b strings.Builder
	for _, group := range []struct {
		name    string
		scripts map[string]string
	}{{"console_scripts", w.ConsoleScripts}, {"gui_scripts", w.GUIScripts}} {
		if len(group.scripts) == 0 {
			continue
		}
		fmt.Fprintf(&b, "[%s]\n", group.name)
		for _, name := range slices.Sorted(maps.Keys(group.scripts)) {
			fmt.Fprintf(&b, "%s = %s\n", name, group.scripts[name])
		}
	}
	return b.String()
}

func (w Wheel) record(members []Member, info string) string {
	var b strings.Builder
	out := csv.NewWriter(&b)
	for _, m := range members {
		if strings.HasSuffix(m.Name, "/") {
			continue
		}
		hash, ok := w.DeclaredSHA256[m.Name]
		if !ok {
			sum := sha256.Sum256([]byte(m.Content))
			hash = base64.RawURLEncoding.EncodeToString(sum[:])
		}
		if err := out.Write([]string{m.Name, "sha256=" + hash, strconv.Itoa(len(m.Content))}); err != nil {
			panic(err)
		}
	}
	out.Flush()
	return b.String() + info + "/RECORD,,\n"
}
