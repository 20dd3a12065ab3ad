package inflate

import "math/bits"

// A table maps the next bits of the stream to what they mean: as many bits as its root has by one look-up,
// longer codes by a second one, in a part of the table that the first one names. An entry is 0 where no
// code is, and else holds, from the low bits on:
//
//	bits 0-4    how many bits to consume, those of the code and the extra bits after it
//	bits 8-12   how many of them are the code's
//	bits 14,15  the end of the block: both; another part of the table: 15 alone, with its size in bits 0-3
//	bits 16-30  a literal, a base of lengths or distances, where the part begins
//	bit  31     it is a literal
const (
	literal = 1 << 31
	further = 1 << 15
	end     = 1 << 14

	litRoot, distRoot, codeRoot = 11, 8, 7
	// The most that codes of 15 bits need below such roots (as zlib's enough.c counts), with some room.
	litSize, distSize = 2342 + 512, 402 + 512
)

var (
	lengthBase    = [...]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra   = [...]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distanceBase  = [...]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distanceExtra = [...]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

// The entries of symbols, without their codes' lengths.

func litEntry(symbol int) uint32 {
	switch {
	case symbol < 256:
		return literal | uint32(symbol)<<16
	case symbol == 256:
		return further | end
	case symbol-257 < len(lengthBase):
		return uint32(lengthBase[symbol-257])<<16 | uint32(lengthExtra[symbol-257])
	}
	return 0
}

func distEntry(symbol int) uint32 {
	if symbol < len(distanceBase) {
		return uint32(distanceBase[symbol])<<16 | uint32(distanceExtra[symbol])
	}
	return 0
}

func codeEntry(symbol int) uint32 { return literal | uint32(symbol)<<16 }

// build fills a table for a canonical Huffman code, given the length of each symbol's code, 0 where it has
// none. It tells whether that is a code: one that leaves no bits without a meaning, or that of a single
// symbol with one bit, or none at all.
func build(table []uint32, root int, lengths []uint8, entry func(int) uint32) bool {
	next, whole, ok := firstCodes(lengths)
	if !ok {
		return false
	}
	if !whole {
		clear(table[:1<<root])
	}
	var sizes [1 << litRoot]uint8 // of the further parts, by the root's bits
	parts := next
	for _, n := range lengths {
		if n := int(n); n > root {
			at := reverse(parts[n], n) & (1<<root - 1)
			sizes[at] = max(sizes[at], uint8(n-root))
		}
		parts[n]++
	}
	free := 1 << root
	for symbol, n := range lengths {
		if n == 0 {
			continue
		}
		n := int(n)
		code := reverse(next[n], n)
		next[n]++
		e := entry(symbol)
		if e != 0 {
			e += uint32(n) | uint32(n)<<8
		}
		if n <= root {
			for i := code; i < 1<<root; i += 1 << n {
				table[i] = e
			}
			continue
		}
		at := code & (1<<root - 1)
		if size := sizes[at]; size != 0 { // the first code of this part
			table[at] = further | uint32(free)<<16 | uint32(size)
			if free += 1 << size; free > len(table) {
				return false
			}
			sizes[at] = 0
		}
		part, size := int(table[at]>>16), int(table[at]&15)
		for i := code >> root; i < 1<<size; i += 1 << (n - root) {
			table[part+i] = e
		}
	}
	return true
}

// firstCodes gives the first code of each length, whether codes use up all bits, and whether that is a code.
func firstCodes(lengths []uint8) (next [16]int, whole, ok bool) {
	var count [16]int
	for _, n := range lengths {
		count[n]++
	}
	count[0] = 0
	code, used := 0, 0
	for n := 1; n < 16; n++ {
		code = (code + count[n-1]) << 1
		next[n] = code
		used += count[n] << (15 - n)
	}
	return next, used == 1<<15, used == 1<<15 || used == 0 || used == 1<<14 && count[1] == 1
}

// reverse has the bits in the order in which the stream has them.
func reverse(code, n int) int { return int(bits.Reverse16(uint16(code)) >> (16 - n)) }
