//go:build unix

package main

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"sync"

	"curdling/internal/wheel/wheeltest"
)

// zipHeader is what a local header, or one of the central directory, says.
type zipHeader struct {
	flags, method uint16
	crc           uint32
	packed, size  uint32
	name          string
	extra         []byte
	comment       string // central only, as what follows
	disk          uint16
	mode          uint32 // st_mode
	offset        uint32
}

// zipEntry is one member, and how its headers lie.
type zipEntry struct {
	zipHeader
	data           []byte           // as it stands in the archive
	local, central func(*zipHeader) // lies of one of the headers; nil: none
	after          []byte           // between this member and the next
	hidden         bool             // not in the central directory
	shared         bool             // has no local header and data, but those of the member before
}

// zipFile is an archive.
type zipFile struct {
	entries               []zipEntry
	prefix, gap, suffix   []byte // before all; before the end record; after all
	comment               string
	total                 int // members that the end record says more than there are
	end64                 func(count, size, offset uint64) []byte
	sizeOfDir, startOfDir uint32 // 0: the truth
}

// evilZip is the wheel evil with its members laid open for changes.
func evilZip() *zipFile { return zipOf(evil().Members()) }

func zipOf(members []wheeltest.Member) *zipFile {
	z := &zipFile{}
	for _, m := range members {
		e := stored(m.Name, m.Content)
		z.entries = append(z.entries, e)
	}
	return z
}

func stored(name, content string) zipEntry {
	return zipEntry{data: []byte(content), zipHeader: zipHeader{
		flags: 0x800, name: name, mode: 0o100644,
		crc: crc32.ChecksumIEEE([]byte(content)), packed: uint32(len(content)), size: uint32(len(content)),
	}}
}

// entry gives the member whose name ends so.
func (z *zipFile) entry(end string) *zipEntry {
	for i := range z.entries {
		if strings.HasSuffix(z.entries[i].name, end) {
			return &z.entries[i]
		}
	}
	panic("no " + end)
}

// add puts a member before all others.
func (z *zipFile) add(e ...zipEntry) *zipFile {
	z.entries = append(e, z.entries...)
	return z
}

func (h *zipHeader) common(b []byte) []byte {
	for _, v := range []uint16{20, h.flags, h.method, 0, 0x21} {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	for _, v := range []uint32{h.crc, h.packed, h.size} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(h.name)))
	return binary.LittleEndian.AppendUint16(b, uint16(len(h.extra)))
}

func (z *zipFile) bytes() []byte {
	b := bytes.Clone(z.prefix)
	var directory []byte
	count, offset := 0, uint32(0)
	for _, e := range z.entries {
		if !e.shared {
			offset = uint32(len(b))
			h := e.zipHeader
			if e.local != nil {
				e.local(&h)
			}
			b = h.common(append(b, "PK\x03\x04"...))
			b = append(append(append(b, h.name...), h.extra...), e.data...)
		}
		b = append(b, e.after...)
		if e.hidden {
			continue
		}
		h := e.zipHeader
		h.offset = offset
		if e.central != nil {
			e.central(&h)
		}
		count++
		directory = h.common(append(directory, "PK\x01\x02\x14\x03"...))
		for _, v := range []uint16{uint16(len(h.comment)), h.disk, 0} {
			directory = binary.LittleEndian.AppendUint16(directory, v)
		}
		directory = binary.LittleEndian.AppendUint32(directory, h.mode<<16)
		directory = binary.LittleEndian.AppendUint32(directory, h.offset)
		directory = append(append(append(directory, h.name...), h.extra...), h.comment...)
	}
	return z.end(b, directory, count+z.total)
}

func (z *zipFile) end(b, directory []byte, count int) []byte {
	start, size := uint32(len(b)), uint32(len(directory))
	b = append(append(b, directory...), z.gap...)
	if z.end64 != nil {
		b = append(b, z.end64(uint64(count), uint64(size), uint64(start))...)
	}
	if z.startOfDir != 0 {
		start = z.startOfDir
	}
	if z.sizeOfDir != 0 {
		size = z.sizeOfDir
	}
	b = append(b, "PK\x05\x06\x00\x00\x00\x00"...)
	b = binary.LittleEndian.AppendUint16(b, uint16(count))
	b = binary.LittleEndian.AppendUint16(b, uint16(count))
	b = binary.LittleEndian.AppendUint32(b, size)
	b = binary.LittleEndian.AppendUint32(b, start)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(z.comment)))
	return append(append(b, z.comment...), z.suffix...)
}

// end64 makes a zip64 end record and its locator, at offset at.
func end64(count, size, start, at uint64) []byte {
	le := binary.LittleEndian
	b := le.AppendUint64([]byte("PK\x06\x06"), 44)
	b = le.AppendUint32(le.AppendUint32(le.AppendUint32(b, 45|45<<16), 0), 0)
	for _, v := range []uint64{count, count, size, start} {
		b = le.AppendUint64(b, v)
	}
	b = append(b, "PK\x06\x07\x00\x00\x00\x00"...)
	return le.AppendUint32(le.AppendUint64(b, at), 1)
}

// extra is an extra field of a header.
func extra(id uint16, data string) []byte {
	b := binary.LittleEndian.AppendUint16(nil, id)
	return append(binary.LittleEndian.AppendUint16(b, uint16(len(data))), data...)
}

// long is a zip64 field with these values.
func long(values ...uint64) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return extra(1, string(b))
}

// descriptor is a data descriptor.
func descriptor(crc, packed, size uint32) []byte {
	b := []byte("PK\x07\x08")
	for _, v := range []uint32{crc, packed, size} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// zeros gives so many MiB of zeros, deflated to a thousandth.
func zeros(mib int) []byte {
	parts := zeroParts()
	out := append(bytes.Clone(parts[0]), bytes.Repeat(parts[1], mib-1)...)
	return append(out, 1, 0, 0, 0xff, 0xff) // the last one, of no bytes
}

// zeroParts are the first MiB of zeros deflated, and any other: every block after the first is the same.
var zeroParts = sync.OnceValue(func() (parts [2][]byte) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err)
	}
	for i := range parts {
		_, _ = w.Write(make([]byte, 1<<20))
		_ = w.Flush()
		parts[i] = bytes.Clone(b.Bytes())
		b.Reset()
	}
	return parts
})

// zipCases are archives that no two readers need agree about, and those that lie about their sizes.
func zipCases() []hostile {
	of := func(name string, change func(z *zipFile), want ...string) hostile {
		return hostile{name: "zip: " + name, want: append(want, evil().Filename()), serve: func(*box) site {
			z := evilZip()
			change(z)
			return wheelOf(z.bytes())(nil)
		}}
	}
	local := func(name string, lie func(h *zipHeader)) hostile {
		return of("local header with another "+name, func(z *zipFile) { z.entry("data.txt").local = lie },
			"evil/data.txt: local header: contradicts the central directory")
	}
	harmless := func(why string, h hostile) hostile { h.harmless = why; return h }
	pwned := stored("pwned.py", "x = 1\n")
	return append([]hostile{
		local("name", func(h *zipHeader) { h.name = "evil/pwned.xx" }),
		local("longer name", func(h *zipHeader) { h.name += "x" }),
		local("size", func(h *zipHeader) { h.size++ }),
		local("packed size", func(h *zipHeader) { h.packed-- }),
		local("checksum", func(h *zipHeader) { h.crc++ }),
		local("method", func(h *zipHeader) { h.method = 8 }),
		local("encoding of the name", func(h *zipHeader) { h.flags = 0 }),
		local("zip64 size", func(h *zipHeader) { h.size, h.packed, h.extra = 1<<32-1, 1<<32-1, long(7, 5000) }),
		of("local header whose zip64 field nobody asked for", func(z *zipFile) {
			z.entry("data.txt").local = func(h *zipHeader) { h.extra = long(7, 7) }
		}, "evil/data.txt: local header", "zip64 field contradicts the header"),
		of("directory whose zip64 field nobody asked for", func(z *zipFile) {
			z.entry("data.txt").central = func(h *zipHeader) { h.extra = long(7, 7) }
		}, "evil/data.txt", "zip64 field contradicts the header"),
		of("local header with a second name", func(z *zipFile) {
			z.entry("data.txt").local = func(h *zipHeader) { h.extra = extra(0x7075, "\x01\x00\x00\x00\x00pwned.py") }
		}, "evil/data.txt", "second name"),
		of("directory with a second name", func(z *zipFile) {
			z.entry("data.txt").central = func(h *zipHeader) { h.extra = extra(0x7075, "\x01\x00\x00\x00\x00pwned.py") }
		}, "evil/data.txt", "second name"),
		of("two zip64 fields", func(z *zipFile) {
			z.entry("data.txt").central = func(h *zipHeader) {
				h.size = 1<<32 - 1
				h.extra = append(long(5000), long(7)...)
			}
		}, "evil/data.txt", "two zip64 fields"),
		of("zip64 field that is missing", func(z *zipFile) {
			z.entry("data.txt").central = func(h *zipHeader) { h.size = 1<<32 - 1 }
		}, "evil/data.txt", "zip64 field is missing"),
		of("cut extra field", func(z *zipFile) {
			z.entry("data.txt").central = func(h *zipHeader) { h.extra = []byte{1, 0, 99, 0, 1} }
		}, "evil/data.txt", "extra field is cut"),
		harmless("too few bytes for a field are padding to all readers", of("bytes after the extra fields", func(z *zipFile) {
			z.entry("data.txt").central = func(h *zipHeader) { h.extra = []byte{1, 0, 0} }
		})),
		of("wrong checksum in both headers", func(z *zipFile) { z.entry("data.txt").crc++ }, "evil/data.txt: checksum does not match"),
		of("data descriptor that is missing", func(z *zipFile) {
			e := z.entry("data.txt")
			e.flags |= 8
			e.local = func(h *zipHeader) { h.crc, h.packed, h.size = 0, 0, 0 }
		}, "evil/data.txt: local header: data descriptor is missing"),
		of("data descriptor that lies", func(z *zipFile) {
			e := z.entry("data.txt")
			e.flags |= 8
			e.after = descriptor(e.crc, e.packed, e.size+1)
		}, "evil/data.txt: local header: data descriptor contradicts"),
		of("data descriptor with more after it", func(z *zipFile) {
			e := z.entry("data.txt")
			e.flags |= 8
			e.after = append(descriptor(e.crc, e.packed, e.size), make([]byte, 30)...)
		}, "evil/data.txt: local header: data descriptor is missing, or hidden data follow"),
		of("member with a local header alone", func(z *zipFile) {
			pwned.hidden = true
			z.entries = append(z.entries[:1:1], append([]zipEntry{pwned}, z.entries[1:]...)...)
		}, "hidden data"),
		of("member with a local header alone, at the start", func(z *zipFile) { pwned.hidden = true; z.add(pwned) },
			"hidden data lie between"),
		of("member with a local header alone, at the end", func(z *zipFile) { pwned.hidden = true; z.entries = append(z.entries, pwned) },
			"hidden data follow"),
		of("local header twice, of one name", func(z *zipFile) {
			e := stored("evil/data.txt", "pwned")
			e.hidden = true
			z.add(e)
		}, "hidden data lie between"),
		of("member twice in the directory", func(z *zipFile) { z.add(stored("evil/data.txt", "pwned")) }, "evil/data.txt: is there twice"),
		of("member of the directory without local header", func(z *zipFile) {
			e := stored("pwned.py", "")
			e.shared = true
			z.entries = append(z.entries, e)
		}, "overlaps"),
		of("data between two members", func(z *zipFile) { z.entries[0].after = []byte("hidden") }, "hidden data follow"),
		of("data before the archive", func(z *zipFile) { z.prefix = []byte("#!/bin/sh\n") }, "hidden data lie between"),
		of("data before an archive that does not know of them", func(z *zipFile) { z.startOfDir = 1 },
			"data before the zip archive, or between its central directory and its end record"),
		of("data after the archive", func(z *zipFile) { z.suffix = []byte("more") }, "follow its end record"),
		of("an archive after the archive", func(z *zipFile) { z.suffix = evilZip().bytes() }, "data before the zip archive"),
		of("two end records", func(z *zipFile) { z.gap = (&zipFile{}).bytes() }, "data before the zip archive, or between"),
		of("comment", func(z *zipFile) { z.comment = "hello" }, "a comment or other data follow its end record"),
		of("comment that is an end record", func(z *zipFile) { z.comment = string((&zipFile{}).bytes()) }, "data before the zip archive"),
		of("comment that is an archive", func(z *zipFile) { z.comment = string(evilZip().bytes()) }, "data before the zip archive"),
		of("data between directory and end record", func(z *zipFile) { z.gap = []byte("hidden") }, "between its central directory and its end record"),
		of("fewer members than stated", func(z *zipFile) { z.total = 1 }, "its end record says"),
		of("more members than stated", func(z *zipFile) { z.total = -1 }, "its end record says"),
		of("another part's member", func(z *zipFile) { z.entry("data.txt").disk = 3 }, "evil/data.txt", "another part"),
		of("zip64 end record that contradicts", func(z *zipFile) {
			z.end64 = func(n, size, start uint64) []byte { return end64(n, size-1, start+1, start+size) }
		}, "zip64 end record contradicts"),
		of("zip64 locator that leads elsewhere", func(z *zipFile) {
			z.end64 = func(n, size, start uint64) []byte { return end64(n, size, start, 0) }
		}, "zip64 end record is not before its locator"),
		of("zip64 end record of a billion members", func(z *zipFile) {
			z.total = 0xffff - len(z.entries)
			z.end64 = func(_, size, start uint64) []byte { return end64(1e9, size, start, start+size) }
		}, "central directory of 1000000000 members"),
		harmless("wheels of more than 4 GiB need it, and what it says is the truth", of("honest zip64", func(z *zipFile) {
			e := z.entry("data.txt")
			lie := func(h *zipHeader) { h.size, h.packed, h.extra = 1<<32-1, 1<<32-1, long(5000, 5000) }
			e.local, e.central = lie, lie
			z.end64 = func(n, size, start uint64) []byte { return end64(n, size, start, start+size) }
		})),
		harmless("programs that write to a pipe make them", of("honest data descriptor", func(z *zipFile) {
			e := z.entry("data.txt")
			e.flags |= 8
			e.local = func(h *zipHeader) { h.crc, h.packed, h.size = 0, 0, 0 }
			e.after = descriptor(e.crc, e.packed, e.size)
		})),
		harmless("the comment of a member is passed over", of("member with a comment", func(z *zipFile) { z.entry("data.txt").comment = "PK\x05\x06" })),
	}, bombs(of)...)
}

// bombs are archives that are larger inside than out.
func bombs(of func(string, func(*zipFile), ...string) hostile) []hostile {
	deflated := func(name string, mib int) zipEntry {
		e := stored(name, "")
		e.method, e.data, e.size = 8, zeros(mib), uint32(mib)<<20
		e.packed = uint32(len(e.data))
		return e
	}
	return []hostile{
		of("bomb of one file", func(z *zipFile) { z.add(deflated("evil/pwned", 900)) }, "would unpack to", "more than 100 times"),
		of("bomb of many files", func(z *zipFile) {
			for _, c := range "abcdefghijklmnopqrst" {
				z.add(deflated("evil/pwned"+string(c), 20))
			}
		}, "would unpack to", "more than 100 times"),
		of("bomb of members that share their data", func(z *zipFile) {
			for range 100 {
				e := deflated("evil/pwned"+strings.Repeat("x", len(z.entries)), 20)
				e.shared = true
				z.entries = append(z.entries, e)
			}
		}, "overlaps"),
		of("bomb of members quoted by the one before", quotedBomb, "overlaps"),
		of("file that says less than it is", func(z *zipFile) {
			e := deflated("evil/pwned", 100)
			e.size = 1000
			*z = *evilWith(e)
		}, "evil/pwned: unpacks to more than the central directory says"),
		of("file that says more than it is", func(z *zipFile) {
			e := deflated("evil/pwned", 1)
			e.size++
			*z = *evilWith(e)
		}, "evil/pwned: does not unpack to the size that the central directory says"),
		of("file with more behind its end", func(z *zipFile) {
			e := deflated("evil/pwned", 1)
			e.data = append(e.data, "hidden"...)
			e.packed += 6
			*z = *evilWith(e)
		}, "evil/pwned: does not unpack to the size that the central directory says"),
		of("file of a size that cannot be", func(z *zipFile) {
			e := stored("evil/pwned", "x")
			e.method, e.size = 8, 1<<31
			z.add(e)
		}, "evil/pwned: 2147483648 bytes cannot come out of 1"),
		of("file of 17 GiB", func(z *zipFile) {
			e := stored("evil/pwned", "x")
			e.method, e.size, e.extra = 8, 1<<32-1, long(17<<30)
			z.add(e)
		}, "evil/pwned: 18253611008 bytes unpacked, at most 17179869184 are allowed"),
		of("METADATA that is a bomb", func(z *zipFile) {
			*z.entry("METADATA") = deflated("evil-1.0.dist-info/METADATA", 200)
		}, "METADATA: 209715200 bytes, at most 16777216 are allowed"),
		of("METADATA that is a bomb in disguise", func(z *zipFile) {
			e := deflated("evil-1.0.dist-info/METADATA", 200)
			e.size = 1000
			*z.entry("METADATA") = e
		}, "METADATA: unpacks to more than the central directory says"),
		of("RECORD that is a bomb", func(z *zipFile) { *z.entry("RECORD") = deflated("evil-1.0.dist-info/RECORD", 200) },
			"RECORD: 209715200 bytes, at most 67108864 are allowed"),
	}
}

// evilWith is the wheel evil with one more member, and a RECORD that believes it.
func evilWith(e zipEntry) *zipFile {
	w := evil()
	w.Files[e.name] = ""
	z := zipOf(w.Members())
	record := strings.Replace(string(z.entry("RECORD").data), "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,", 1)
	*z.entry("RECORD") = stored("evil-1.0.dist-info/RECORD", record)
	*z.entry(e.name) = e
	return z
}

// quotedBomb makes each member a stored block of deflate that holds the next one's local header, so that
// all of them unpack one and the same kernel.
func quotedBomb(z *zipFile) {
	kernel := zeros(1)
	local := func(name string) []byte {
		h := zipHeader{flags: 0x800, method: 8, name: name}
		return append(h.common([]byte("PK\x03\x04")), name...)
	}
	names := []string{"evil/pwned1", "evil/pwned2", "evil/pwned3"}
	data, size, length := kernel, uint32(1<<20), uint32(len(kernel))
	var entries []zipEntry
	var body []byte
	for i := len(names) - 1; i >= 0; i-- {
		e := stored(names[i], "")
		e.method, e.packed, e.size = 8, length, size
		e.shared = i > 0
		e.data = data
		at := i * (len(local(names[0])) + 5)
		e.central = func(h *zipHeader) { h.offset = uint32(at) }
		entries = append([]zipEntry{e}, entries...)
		quote := local(names[i])
		block := []byte{0, byte(len(quote)), 0, ^byte(len(quote)), 0xff}
		body = append(append(bytes.Clone(block), quote...), data...)
		data = body
		length, size = uint32(len(body)), size+uint32(len(quote))
	}
	z.add(entries...)
}
