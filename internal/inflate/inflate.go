// Package inflate unpacks DEFLATE (RFC 1951) from a whole buffer into a whole buffer, for members of zip
// archives, whose sizes are known. That takes half the time of compress/flate and of klauspost's, which read
// and write streams: bits are taken eight bytes at a time, and what came before is the output itself.
//
// Input is hostile: every length and distance is held against the buffers. Fuzzing holds the result against compress/flate.
package inflate

import (
	"encoding/binary"
	"errors"
)

// ErrCorrupt is input that is not DEFLATE, or not of the size that was to come.
var ErrCorrupt = errors.New("is not compressed as it should be (DEFLATE)")

// Decoder has the tables of a block. The zero value is ready; it serves one call at a time.
type Decoder struct {
	lit     [litSize]uint32
	dist    [distSize]uint32
	lengths [320]uint8
	fixed   bool // the tables are those of fixed codes

	// The stream. bits holds n bits of it that were not consumed; above them lie, perhaps, those that come next.
	in   []byte
	pos  int // of the first byte that is not in the n bits; beyond the end where zeros stand for what is missing
	bits uint64
	n    uint
	out  []byte
	done int // bytes of out
}

// Decode fills out with what in unpacks to. All of in must be used, but for bits of its last byte, and all of out be filled.
func (d *Decoder) Decode(out, in []byte) error {
	d.in, d.pos, d.bits, d.n, d.out, d.done = in, 0, 0, 0, out, 0
	defer func() { d.in, d.out = nil, nil }()
	for last := false; !last; {
		d.refill()
		last = d.take(1) == 1
		ok := false
		switch d.take(2) {
		case 0:
			ok = d.stored()
		case 1:
			d.fixedCodes()
			ok = d.block()
		case 2:
			ok = d.dynamicCodes() && d.block()
		}
		if !ok || d.pos-int(d.n>>3) > len(in) {
			return ErrCorrupt
		}
	}
	if d.done != len(out) || d.pos-int(d.n>>3) != len(in) {
		return ErrCorrupt
	}
	return nil
}

// refill has at least 48 bits ready, with zeros after the end.
func (d *Decoder) refill() {
	for d.n < 48 {
		if d.pos < len(d.in) {
			d.bits |= uint64(d.in[d.pos]) << d.n
		}
		d.pos++
		d.n += 8
	}
}

// take gives the next k bits, which must be ready.
func (d *Decoder) take(k uint) uint64 {
	v := d.bits & (1<<k - 1)
	d.bits >>= k
	d.n -= k
	return v
}

// stored copies a block that is not compressed.
func (d *Decoder) stored() bool {
	at := d.pos - int(d.n>>3)
	d.bits, d.n = 0, 0
	if at+4 > len(d.in) {
		return false
	}
	size := int(binary.LittleEndian.Uint16(d.in[at:]))
	d.pos = at + 4 + size
	if size != int(^binary.LittleEndian.Uint16(d.in[at+2:])) || d.pos > len(d.in) || d.done+size > len(d.out) {
		return false
	}
	d.done += copy(d.out[d.done:], d.in[at+4:d.pos])
	return true
}

func (d *Decoder) fixedCodes() {
	if d.fixed {
		return
	}
	for i := range d.lengths {
		switch {
		case i < 144, 280 <= i && i < 288:
			d.lengths[i] = 8
		case i < 256:
			d.lengths[i] = 9
		case i < 280:
			d.lengths[i] = 7
		default:
			d.lengths[i] = 5
		}
	}
	d.fixed = build(d.lit[:], litRoot, d.lengths[:288], litEntry) && build(d.dist[:], distRoot, d.lengths[288:], distEntry)
}

// lengthOrder is that in which the lengths of the codes of lengths come.
var lengthOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamicCodes reads the codes of a block.
func (d *Decoder) dynamicCodes() bool {
	d.fixed = false
	lits, dists, codes := int(d.take(5))+257, int(d.take(5))+1, int(d.take(4))+4
	if lits > 286 || dists > 30 {
		return false
	}
	var ofLengths [19]uint8
	for _, symbol := range lengthOrder[:codes] {
		if d.n < 3 {
			d.refill()
		}
		ofLengths[symbol] = uint8(d.take(3))
	}
	if !build(d.lit[:], codeRoot, ofLengths[:], codeEntry) {
		return false
	}
	lengths := d.lengths[:lits+dists]
	for i := 0; i < len(lengths); {
		d.refill()
		e := d.lit[d.bits&(1<<codeRoot-1)]
		if e == 0 {
			return false
		}
		d.take(uint(e & 31))
		value, times := uint8(e>>16), 1
		switch value {
		case 16:
			if i == 0 {
				return false
			}
			value, times = lengths[i-1], 3+int(d.take(2))
		case 17:
			value, times = 0, 3+int(d.take(3))
		case 18:
			value, times = 0, 11+int(d.take(7))
		}
		if i+times > len(lengths) {
			return false
		}
		for range times {
			lengths[i] = value
			i++
		}
	}
	return build(d.lit[:], litRoot, lengths[:lits], litEntry) && build(d.dist[:], distRoot, lengths[lits:], distEntry)
}

// block unpacks until the end of a block.
func (d *Decoder) block() bool {
	if ended, ok := d.most(); ended || !ok {
		return ok
	}
	for {
		d.refill()
		if d.pos-int(d.n>>3) > len(d.in) {
			return false
		}
		e := d.lit[d.bits&(1<<litRoot-1)]
		if e&(literal|further|end) == further {
			e = d.lit[int(e>>16&0x7fff)+int(d.bits>>litRoot&(1<<(e&15)-1))]
		}
		switch {
		case e == 0:
			return false
		case e&literal != 0:
			d.take(uint(e & 31))
			if d.done >= len(d.out) {
				return false
			}
			d.out[d.done] = byte(e >> 16)
			d.done++
			continue
		case e&end != 0:
			d.take(uint(e & 31))
			return true
		}
		length := d.value(e)
		if e = d.dist[d.bits&(1<<distRoot-1)]; e&further != 0 {
			e = d.dist[int(e>>16&0x7fff)+int(d.bits>>distRoot&(1<<(e&15)-1))]
		}
		if e == 0 {
			return false
		}
		distance := d.value(e)
		if distance > d.done || d.done+length > len(d.out) {
			return false
		}
		for range length {
			d.out[d.done] = d.out[d.done-distance]
			d.done++
		}
	}
}

// value gives an entry's base with its extra bits.
func (d *Decoder) value(e uint32) int {
	return int(e>>16) + int(d.take(uint(e&31))>>(e>>8&31))
}

// most does what block does as long as no end is near: then eight bytes can be read and written
// unseen. The state lives in variables of its own, which the compiler keeps in registers.
func (d *Decoder) most() (ended, ok bool) {
	in, out, lit, dist := d.in, d.out, &d.lit, &d.dist
	pos, bits, n, done := d.pos, d.bits, d.n, d.done
	const reads, writes = 16, 2 + 258 + 8 // at the most, in a turn
	for pos+reads <= len(in) && done+writes <= len(out) {
		bits |= binary.LittleEndian.Uint64(in[pos:]) << (n & 63)
		pos += int(63-n) >> 3
		n |= 56
		e := lit[bits&(1<<litRoot-1)]
		if e&literal != 0 { // three of them are at most 33 bits, and what follows two of them 20
			bits >>= e & 31
			n -= uint(e & 31)
			out[done] = byte(e >> 16)
			done++
			if e = lit[bits&(1<<litRoot-1)]; e&literal != 0 {
				bits >>= e & 31
				n -= uint(e & 31)
				out[done] = byte(e >> 16)
				done++
				if e = lit[bits&(1<<litRoot-1)]; e&literal != 0 {
					bits >>= e & 31
					n -= uint(e & 31)
					out[done] = byte(e >> 16)
					done++
					continue
				}
			}
		}
		if e&(further|end) == further {
			e = lit[int(e>>16&0x7fff)+int(bits>>litRoot&(1<<(e&15)-1))]
			if e&literal != 0 {
				bits >>= e & 31
				n -= uint(e & 31)
				out[done] = byte(e >> 16)
				done++
				continue
			}
		}
		if e&end != 0 {
			bits >>= e & 31
			n -= uint(e & 31)
			ended = true
			break
		}
		if e == 0 {
			return false, false
		}
		length := int(e>>16) + int(bits&(1<<(e&31)-1)>>(e>>8&31))
		bits >>= e & 31
		n -= uint(e & 31)
		bits |= binary.LittleEndian.Uint64(in[pos:]) << (n & 63)
		pos += int(63-n) >> 3
		n |= 56
		if e = dist[bits&(1<<distRoot-1)]; e&further != 0 {
			e = dist[int(e>>16&0x7fff)+int(bits>>distRoot&(1<<(e&15)-1))]
		}
		distance := int(e>>16) + int(bits&(1<<(e&31)-1)>>(e>>8&31))
		bits >>= e & 31
		n -= uint(e & 31)
		if e == 0 || distance > done {
			return false, false
		}
		from, to := done-distance, done
		done += length
		switch {
		case distance >= 8: // what is written too much is written over
			for ; to < done; to, from = to+8, from+8 {
				binary.LittleEndian.PutUint64(out[to:], binary.LittleEndian.Uint64(out[from:]))
			}
		case distance == 1:
			for run := uint64(out[from]) * 0x0101010101010101; to < done; to += 8 {
				binary.LittleEndian.PutUint64(out[to:], run)
			}
		default:
			for ; to < done; to, from = to+1, from+1 {
				out[to] = out[from]
			}
		}
	}
	d.pos, d.bits, d.n, d.done = pos, bits, n, done
	return ended, true
}
