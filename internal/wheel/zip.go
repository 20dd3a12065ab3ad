package wheel

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A member is one entry of the zip archive.
type member struct {
	name   string // without a folder's last slash
	folder bool
	flags  uint16
	method uint16
	mode   uint32 // st_mode, 0 where the archive tells none
	crc    uint32
	packed int64 // bytes in the archive
	size   int64 // bytes unpacked
	header int64 // offset of the local header
	data   int64 // offset of the packed bytes, 0 before checkLocals
}

const (
	stored   = 0
	deflated = 8

	flagEncrypted  = 1 << 0
	flagDescriptor = 1 << 3
	flagPatch      = 1 << 5
	flagStrong     = 1 << 6
	flagUTF8       = 1 << 11
	flagMasked     = 1 << 13

	typeMask   = 0o170000
	typeFile   = 0o100000
	typeFolder = 0o040000

	endLen         = 22
	end64Len       = 56
	locator64Len   = 20
	centralLen     = 46
	localLen       = 30
	extraZip64     = 0x0001
	extraUnicode   = 0x7075
	unknown32      = 0xffffffff
	endSig         = "PK\x05\x06"
	end64Sig       = "PK\x06\x06"
	locator64Sig   = "PK\x06\x07"
	centralSig     = "PK\x01\x02"
	localSig       = "PK\x03\x04"
	descriptorSig  = "PK\x07\x08"
	deflateMaximum = 1032 // deflate cannot expand by more
)

// directory is where the central directory lies.
type directory struct {
	offset, size int64
	members      uint64
}

var le = binary.LittleEndian

// readDirectory reads the central directory. Only one reading of the archive
// is possible: the directory ends where the end record begins, the end record
// ends the file, and there is no comment in which another one could hide.
func readDirectory(r io.ReaderAt, size int64) ([]member, directory, error) {
	if size > MaxArchive {
		return nil, directory{}, fmt.Errorf("archive of %d bytes, at most %d are allowed", size, MaxArchive)
	}
	dir, err := findDirectory(r, size)
	if err != nil {
		return nil, dir, err
	}
	if dir.members > MaxMembers || dir.size > MaxDirectory || dir.members*centralLen > uint64(dir.size) {
		return nil, dir, fmt.Errorf("central directory of %d members in %d bytes, at most %d in %d are allowed",
			dir.members, dir.size, MaxMembers, MaxDirectory)
	}
	buf := make([]byte, dir.size)
	if err := readAt(r, buf, dir.offset); err != nil {
		return nil, dir, fmt.Errorf("central directory: %w", err)
	}
	members := make([]member, 0, dir.members)
	for len(buf) > 0 {
		m, n, err := parseCentral(buf)
		if err != nil {
			return nil, dir, fmt.Errorf("central directory, member %d: %w", len(members)+1, err)
		}
		if members = append(members, m); len(members) > MaxMembers {
			return nil, dir, fmt.Errorf("more than %d members", MaxMembers)
		}
		buf = buf[n:]
	}
	if uint64(len(members)) != dir.members {
		return nil, dir, fmt.Errorf("central directory has %d members, its end record says %d", len(members), dir.members)
	}
	return members, dir, nil
}

// findDirectory reads the end records, the 64 bit ones where they are.
func findDirectory(r io.ReaderAt, size int64) (directory, error) {
	if size < endLen {
		return directory{}, errors.New("not a zip archive: too short")
	}
	tail := make([]byte, min(size, end64Len+locator64Len+endLen))
	if err := readAt(r, tail, size-int64(len(tail))); err != nil {
		return directory{}, err
	}
	end := tail[len(tail)-endLen:]
	if string(end[:4]) != endSig || le.Uint16(end[20:]) != 0 {
		return directory{}, errors.New("not a zip archive, or a comment or other data follow its end record")
	}
	if le.Uint16(end[4:]) != 0 || le.Uint16(end[6:]) != 0 || !bytes.Equal(end[8:10], end[10:12]) {
		return directory{}, errors.New("zip archive of several parts")
	}
	dir := directory{offset: int64(le.Uint32(end[16:])), size: int64(le.Uint32(end[12:])), members: uint64(le.Uint16(end[10:]))}
	stop := size - endLen
	if before := tail[:len(tail)-endLen]; len(before) >= locator64Len &&
		string(before[len(before)-locator64Len:][:4]) == locator64Sig {
		var err error
		if dir, err = findDirectory64(before, stop, dir); err != nil {
			return dir, err
		}
		stop -= locator64Len + end64Len
	}
	if dir.offset < 0 || dir.size < 0 || dir.offset > stop || dir.size != stop-dir.offset {
		return dir, errors.New("data before the zip archive, or between its central directory and its end record")
	}
	return dir, nil
}

// findDirectory64 reads the zip64 end record and its locator, which end tail;
// stop is the offset at which tail ends, and short what the 32 bit record says.
func findDirectory64(tail []byte, stop int64, short directory) (directory, error) {
	if len(tail) < end64Len+locator64Len {
		return short, errors.New("zip64 end record is cut")
	}
	end, locator := tail[:end64Len], tail[end64Len:]
	if string(end[:4]) != end64Sig || le.Uint64(end[4:]) != end64Len-12 ||
		le.Uint64(locator[8:]) != uint64(stop-locator64Len-end64Len) {
		return short, errors.New("zip64 end record is not before its locator, or is of an unknown form")
	}
	if le.Uint32(locator[4:]) != 0 || le.Uint32(locator[16:]) != 1 ||
		le.Uint64(end[16:]) != 0 || !bytes.Equal(end[24:32], end[32:40]) {
		return short, errors.New("zip archive of several parts")
	}
	dir := directory{offset: int64(le.Uint64(end[48:])), size: int64(le.Uint64(end[40:])), members: le.Uint64(end[32:])}
	if (short.offset != unknown32 && short.offset != dir.offset) || (short.size != unknown32 && short.size != dir.size) ||
		(short.members != 0xffff && short.members != dir.members) {
		return short, errors.New("zip64 end record contradicts the end record")
	}
	return dir, nil
}

// parseCentral reads the first header of the central directory's rest and its length.
func parseCentral(b []byte) (m member, n int, err error) {
	if len(b) < centralLen || string(b[:4]) != centralSig {
		return m, 0, errors.New("not a header")
	}
	nameLen, extraLen, commentLen := int(le.Uint16(b[28:])), int(le.Uint16(b[30:])), int(le.Uint16(b[32:]))
	n = centralLen + nameLen + extraLen + commentLen
	if len(b) < n {
		return m, 0, errors.New("header is cut")
	}
	name := string(b[centralLen:][:nameLen])
	m = member{
		flags:  le.Uint16(b[8:]),
		method: le.Uint16(b[10:]),
		mode:   le.Uint32(b[38:]) >> 16,
		crc:    le.Uint32(b[16:]),
		packed: int64(le.Uint32(b[20:])),
		size:   int64(le.Uint32(b[24:])),
		header: int64(le.Uint32(b[42:])),
	}
	m.name, m.folder = strings.CutSuffix(name, "/")
	if err := checkPath(m.name); err != nil {
		return m, 0, err
	}
	long, err := zip64Extra(b[centralLen+nameLen:][:extraLen])
	if err == nil {
		err = widen(long, &m.size, &m.packed, &m.header)
	}
	if err == nil {
		err = m.check(le.Uint16(b[34:]))
	}
	if err != nil {
		return m, 0, fmt.Errorf("%s: %w", m.name, err)
	}
	return m, n, nil
}

// check refuses what a wheel has no use for.
func (m *member) check(disk uint16) error {
	kind := m.mode & typeMask
	switch {
	case disk != 0:
		return errors.New("lies in another part of the archive")
	case m.flags&(flagEncrypted|flagStrong|flagMasked) != 0:
		return errors.New("is encrypted")
	case m.flags&flagPatch != 0 || (m.method != stored && m.method != deflated):
		return fmt.Errorf("compression method %d is not supported", m.method)
	case m.flags&flagUTF8 == 0 && !isASCII(m.name):
		return fmt.Errorf("name %q is not marked as UTF-8", m.name)
	case m.folder && (kind != 0 && kind != typeFolder || m.size != 0):
		return errors.New("is a folder by name and something else by mode or size")
	case !m.folder && kind != 0 && kind != typeFile:
		return fmt.Errorf("is a link, device or other special file (mode %o)", m.mode)
	case m.packed < 0 || m.size < 0 || m.header < 0 || m.size > MaxFile:
		return fmt.Errorf("%d bytes unpacked, at most %d are allowed", m.size, MaxFile)
	case m.method == stored && m.packed != m.size, m.size/deflateMaximum > m.packed:
		return fmt.Errorf("%d bytes cannot come out of %d", m.size, m.packed)
	}
	return nil
}

// executable tells whether pip would make the file executable.
func (m *member) executable() bool {
	return m.mode&typeMask == typeFile && m.mode&0o111 != 0
}

// zip64Extra finds the zip64 field among the extra fields, nil where there is none.
func zip64Extra(extra []byte) (long []byte, err error) {
	for len(extra) >= 4 {
		id, n := le.Uint16(extra), int(le.Uint16(extra[2:]))
		if 4+n > len(extra) {
			return nil, errors.New("extra field is cut")
		}
		switch {
		case id == extraUnicode:
			return nil, errors.New("has a second name in an extra field")
		case id == extraZip64 && long != nil:
			return nil, errors.New("has two zip64 fields")
		case id == extraZip64:
			long = extra[4:][:n:n]
		}
		extra = extra[4+n:]
	}
	return long, nil
}

// widen replaces each value that did not fit into 32 bits by the next of the zip64
// field. Some programs state there what did fit, too: that must be the same, for
// a reader may take either.
func widen(long []byte, values ...*int64) error {
	fit := make([]int64, 0, 3)
	for _, v := range values {
		if *v != unknown32 {
			fit = append(fit, *v)
			continue
		}
		if len(long) < 8 {
			return errors.New("zip64 field is missing or cut")
		}
		*v, long = int64(le.Uint64(long)), long[8:]
	}
	for _, v := range fit {
		if len(long) < 8 || le.Uint64(long) != uint64(v) {
			break
		}
		long = long[8:]
	}
	if len(long) > 0 {
		return errors.New("zip64 field contradicts the header")
	}
	return nil
}

// checkLocals holds each member's local header against the central directory
// and sets where its bytes are. The members must follow one another from the
// file's first byte to the directory without overlap or gap, so that a reader
// of the local headers sees exactly what a reader of the directory sees.
func checkLocals(r io.ReaderAt, members []member, dir directory) error {
	order := make([]*member, len(members))
	for i := range members {
		order[i] = &members[i]
	}
	slices.SortStableFunc(order, func(a, b *member) int { return cmp.Compare(a.header, b.header) })
	var at int64
	var buf []byte
	for i, m := range order {
		if m.header != at {
			return fmt.Errorf("%s: overlaps what comes before it in the archive, or hidden data lie between", m.name)
		}
		next := dir.offset
		if i+1 < len(order) {
			next = order[i+1].header
		}
		var err error
		if buf, err = m.checkLocal(r, buf, next); err != nil {
			return fmt.Errorf("%s: local header: %w", m.name, err)
		}
		at = next
	}
	if at != dir.offset {
		return errors.New("hidden data lie before the central directory")
	}
	return nil
}

// checkLocal checks one local header; next is where the member must have ended.
// buf is scratch space that is handed on.
func (m *member) checkLocal(r io.ReaderAt, buf []byte, next int64) ([]byte, error) {
	nameLen := len(m.name)
	if m.folder {
		nameLen++
	}
	want := min(localLen+nameLen+32, int(min(next-m.header, 1<<17))) // 32: room for the usual extra fields
	if want < localLen+nameLen {
		return buf, errors.New("is cut, or overlaps what follows")
	}
	buf = slices.Grow(buf[:0], want)[:want]
	if err := readAt(r, buf, m.header); err != nil {
		return buf, err
	}
	if string(buf[:4]) != localSig || int(le.Uint16(buf[26:])) != nameLen ||
		string(buf[localLen:][:len(m.name)]) != m.name || m.folder && buf[localLen+nameLen-1] != '/' ||
		le.Uint16(buf[6:]) != m.flags || le.Uint16(buf[8:]) != m.method {
		return buf, errors.New("contradicts the central directory")
	}
	extraLen := int(le.Uint16(buf[28:]))
	m.data = m.header + int64(localLen+nameLen+extraLen)
	if rest := next - m.data; rest < m.packed {
		return buf, errors.New("overlaps what follows")
	}
	if full := localLen + nameLen + extraLen; full > len(buf) {
		buf = slices.Grow(buf[:0], full)[:full]
		if err := readAt(r, buf, m.header); err != nil {
			return buf, err
		}
	}
	long, err := zip64Extra(buf[localLen+nameLen:][:extraLen])
	if err != nil {
		return buf, err
	}
	return buf, m.checkSizes(r, buf, long, next-m.data-m.packed)
}

// checkSizes compares the sizes and the checksum that the local header states,
// or the data descriptor of the given length that follows the packed bytes.
func (m *member) checkSizes(r io.ReaderAt, local, long []byte, descriptor int64) error {
	crc, packed, size := le.Uint32(local[14:]), int64(le.Uint32(local[18:])), int64(le.Uint32(local[22:]))
	if m.flags&flagDescriptor == 0 {
		if err := widen(long, &size, &packed); err != nil {
			return err
		}
		if crc != m.crc || packed != m.packed || size != m.size {
			return errors.New("contradicts the central directory")
		}
		if descriptor != 0 {
			return errors.New("hidden data follow")
		}
		return nil
	}
	if descriptor < 12 || descriptor > 24 {
		return errors.New("data descriptor is missing, or hidden data follow")
	}
	got := make([]byte, descriptor)
	if err := readAt(r, got, m.data+m.packed); err != nil {
		return err
	}
	if descriptor == 16 || descriptor == 24 {
		got = bytes.TrimPrefix(got, []byte(descriptorSig))
	}
	wide := le.AppendUint64(le.AppendUint64(le.AppendUint32(nil, m.crc), uint64(m.packed)), uint64(m.size))
	short := le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, m.crc), uint32(m.packed)), uint32(m.size))
	fits := m.packed < unknown32 && m.size < unknown32
	if ok := bytes.Equal(got, wide) || fits && bytes.Equal(got, short); !ok {
		return errors.New("data descriptor contradicts the central directory")
	}
	return nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// readAt fills b; a file that ends too soon is io.ErrUnexpectedEOF.
func readAt(r io.ReaderAt, b []byte, offset int64) error {
	n, err := r.ReadAt(b, offset)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
