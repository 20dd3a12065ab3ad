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

// The entries of symbols, without their codes' lengths; 0 where a symbol means nothing.
var (
	litEntries = func() (entries [288]uint32) {
		for i := range 256 {
			entries[i] = literal | uint32(i)<<16
		}
		entries[256] = further | end
		for i, base := range lengthBase {
			entries[257+i] = uint32(base)<<16 | uint32(lengthExtra[i])
		}
		return entries
	}()
	distEntries = func() (entries [32]uint32) {
		for i, base := range distanceBase {
			entries[i] = uint32(base)<<16 | uint32(distanceExtra[i])
		}
		return entries
	}()
	codeEntries = func() (entries [19]uint32) {
		for i := range entries {
			entries[i] = literal | uint32(i)<<16
		}
		return entries
	}()
)

// build fills a table for a canonical Huffman code, given the length of each symbol's code, 0 where it has
// none. It tells whether that is a code: one that leaves no bits without a meaning, or that of a single
// symbol with one bit, or none at all.
func build(table []uint32, root int, lengths []uint8, entries []uint32) bool {
	var count, next [16]int // symbols with codes of each length; where the next of them goes in sorted
	for _, n := range lengths {
		count[n&15]++
	}
	used := 0
	for n := 1; n < 16; n++ {
		next[n] = next[n-1] + count[n-1]
		used += count[n] << (15 - n)
	}
	switch {
	case used == 0, used == 1<<14 && count[1] == 1:
		clear(table[:1<<root])
	case used != 1<<15:
		return false
	}
	var sorted [320]uint16 // as their codes are
	for symbol, n := range lengths {
		sorted[next[n&15]] = uint16(symbol)
		next[n&15]++
	}
	symbols, code, free := sorted[count[0]:], 0, 1<<root
	for n := 1; n < 16; n++ {
		for left := count[n]; left > 0; left-- {
			e := entries[symbols[0]]
			symbols = symbols[1:]
			if e != 0 {
				e += uint32(n) | uint32(n)<<8
			}
			at := reverse(code, n)
			if code++; n <= root {
				table[at] = e // and wherever these are the first bits, below
				continue
			}
			prefix := at & (1<<root - 1)
			part := &table[prefix]
			if at>>root == 0 { // the first code of this part
				size := n - root
				for codes := left; codes < 1<<size; codes = 2*codes + count[root+size] {
					size++
				}
				if free+1<<size > len(table) {
					return false
				}
				*part = further | uint32(free)<<16 | uint32(size)
				free += 1 << size
			}
			for i := at >> root; i < 1<<(*part&15); i += 1 << (n - root) {
				table[int(*part>>16)+i] = e
			}
		}
		if code <<= 1; n < root {
			copy(table[1<<n:2<<n], table[:1<<n])
		}
	}
	return true
}

// reverse has the bits in the order in which the stream has them.
func reverse(code, n int) int { return int(bits.Reverse16(uint16(code)) >> (16 - n)) }
