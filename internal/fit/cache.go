package fit

import (
	"bytes"
	"encoding/binary"
)

// The form of /etc/ld.so.cache (glibc, sysdeps/generic/dl-cache.h), in this machine's byte order. An old
// one may stand before it, whose entries have 12 bytes each after a header of 16.
const (
	cacheMagic    = "glibc-ld.so.cache1.1"
	oldCacheMagic = "ld.so-1.7.0\x00"
	cacheHeader   = 48
	cacheEntry    = 24
	maxEntries    = 1 << 20
)

// parseCache gives the paths of each library, in the order in which the loader tries them.
func parseCache(b []byte) map[string][]string {
	paths := make(map[string][]string)
	if bytes.HasPrefix(b, []byte(oldCacheMagic)) && len(b) >= 16 {
		old := 16 + 12*uint64(binary.NativeEndian.Uint32(b[12:]))
		old = (old + 7) &^ 7
		if old > uint64(len(b)) {
			return paths
		}
		b = b[old:]
	}
	if !bytes.HasPrefix(b, []byte(cacheMagic)) || len(b) < cacheHeader {
		return paths
	}
	text := func(offset uint32) (string, bool) {
		if uint64(offset) >= uint64(len(b)) {
			return "", false
		}
		s, _, ok := bytes.Cut(b[offset:], []byte{0})
		return string(s), ok && len(s) <= 4096
	}
	count := binary.NativeEndian.Uint32(b[len(cacheMagic):])
	for i := range min(count, maxEntries) {
		at := cacheHeader + uint64(i)*cacheEntry
		if at+cacheEntry > uint64(len(b)) {
			break
		}
		entry := b[at:]
		key, ok := text(binary.NativeEndian.Uint32(entry[4:]))
		value, good := text(binary.NativeEndian.Uint32(entry[8:]))
		if ok && good {
			paths[key] = append(paths[key], value)
		}
	}
	return paths
}
