// Package inflate unpacks DEFLATE (RFC 1951), for members of zip archives. That takes half the time of compress/flate
// and of klauspost's: bits are taken eight bytes at a time, and a turn of the loop that does it has room for all that
// it may read and write.
//
// Input is hostile: every length and distance is held against the buffers. Fuzzing holds the result against compress/flate.
package inflate

import (
	"encoding/binary"
	"errors"
	"io"
)

// ErrCorrupt is input that is not DEFLATE, ErrMore what is followed by something else.
var (
	ErrCorrupt = errors.New("is not compressed as it should be (DEFLATE)")
	ErrMore    = errors.New("goes on behind the end of what is compressed (DEFLATE)")
)

const (
	window = 32 << 10 // how far back a distance leads
	inSize = 64 << 10

	maxHeader = 576          // bytes of a block's header, and a few
	reads     = 16           // bytes that a turn of the loop reads at the most
	writes    = 3 + 258 + 16 // the same of what it writes
	outSize   = window + 128<<10
)

// Decoder has the tables of a block, and the buffers. The zero value is ready; it serves one call at a time.
type Decoder struct {
	lit     [litSize]uint32
	dist    [distSize]uint32
	lengths [320]uint8
	fixed   bool // the tables are those of fixed codes

	r   io.Reader
	w   io.Writer
	err error // of r or w

	// The stream. The low n bits of bits are those of it that were not consumed; above them lie, perhaps, some that come next.
	bits uint64
	n    uint
	pos  int  // in in, of the first byte that is not in the n bits
	end  int  // of what was read
	eof  bool // zeros lie behind end
	done int  // bytes of out
	kept int  // bytes of out that were written
	in   [inSize + 3*reads]byte
	out  [outSize + writes]byte
}

// Decode writes to w what all that r has unpacks to, and ends with the first error of r, of w, [ErrCorrupt] or [ErrMore].
func (d *Decoder) Decode(w io.Writer, r io.Reader) error {
	d.r, d.w, d.err = r, w, nil
	d.bits, d.n, d.pos, d.end, d.eof, d.done, d.kept = 0, 0, 0, 0, false, 0, 0
	defer func() { d.r, d.w = nil, nil }()
	for last := false; !last; {
		d.fill()
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
		if d.err != nil {
			return d.err
		}
		if !ok || d.at() > d.end {
			return ErrCorrupt
		}
	}
	if d.pos = d.at(); !d.eof {
		d.n = 0
		d.fill()
	}
	if d.flush(); d.err == nil && d.pos != d.end {
		return ErrMore
	}
	return d.err
}

// at is where the first byte is of which no bit was consumed.
func (d *Decoder) at() int { return d.pos - int(d.n>>3) }

// fill reads on where less is there than a header may have.
func (d *Decoder) fill() {
	if d.eof || d.end-d.pos >= maxHeader {
		return
	}
	rest := copy(d.in[:], d.in[d.at():d.end]) // with the bytes that are in bits
	d.pos -= d.at()
	for d.end = rest; d.end < inSize; {
		n, err := d.r.Read(d.in[d.end:inSize])
		d.end += n
		if err == io.EOF {
			d.eof = true
			clear(d.in[d.end : d.end+3*reads])
			return
		}
		if d.err = err; err != nil {
			return
		}
	}
}

// flush writes what was unpacked.
func (d *Decoder) flush() {
	if d.err == nil && d.done > d.kept {
		_, d.err = d.w.Write(d.out[d.kept:d.done])
	}
	d.kept = d.done
}

// room makes room for more of what is unpacked, if there is too little.
func (d *Decoder) room() {
	if d.done < outSize {
		return
	}
	d.flush()
	d.done = copy(d.out[:], d.out[d.done-window:d.done])
	d.kept = d.done
}

// refill has at least 48 bits ready.
func (d *Decoder) refill() {
	d.bits |= binary.LittleEndian.Uint64(d.in[d.pos:]) << d.n
	d.pos += int(63-d.n) >> 3
	d.n |= 56
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
	d.pos = d.at()
	d.bits, d.n = 0, 0
	if d.pos+4 > d.end {
		return false
	}
	size := int(binary.LittleEndian.Uint16(d.in[d.pos:]))
	if size != int(^binary.LittleEndian.Uint16(d.in[d.pos+2:])) {
		return false
	}
	d.pos += 4
	for size > 0 && d.err == nil {
		d.room()
		d.fill()
		n := copy(d.out[d.done:min(d.done+size, outSize)], d.in[d.pos:d.end])
		if n == 0 && d.done < outSize {
			return false
		}
		d.done += n
		d.pos += n
		size -= n
	}
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
	d.fixed = build(d.lit[:], litRoot, d.lengths[:288], litEntries[:]) && build(d.dist[:], distRoot, d.lengths[288:], distEntries[:])
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
	if !build(d.lit[:], codeRoot, ofLengths[:], codeEntries[:]) {
		return false
	}
	lengths := d.lengths[:lits+dists]
	for i := 0; i < len(lengths); {
		if d.at() > d.end {
			return false
		}
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
	return build(d.lit[:], litRoot, lengths[:lits], litEntries[:]) && build(d.dist[:], distRoot, lengths[lits:], distEntries[:])
}

// block unpacks until the end of a block.
func (d *Decoder) block() bool {
	for d.err == nil {
		d.fill()
		d.room()
		if ended, ok := d.some(); ended || !ok {
			return ok
		}
		if d.at() > d.end {
			return false
		}
	}
	return false
}

// some does a part of a block, as long as there is something to read and room. The state lives in variables of its own,
// which the compiler keeps in registers. Of n only the low six bits count here: shifts take no more, and what is above is of entries.
func (d *Decoder) some() (ended, ok bool) {
	in, out, lit, dist := &d.in, &d.out, &d.lit, &d.dist
	pos, bits, n, done := d.pos, d.bits, d.n, d.done
	limit := d.end - reads
	if d.eof {
		limit = d.end + reads/2
	}
	bits |= binary.LittleEndian.Uint64(in[pos:]) << (n & 63)
	pos += int(^n >> 3 & 7)
	n |= 56
	e := lit[bits&(1<<litRoot-1)] // as early as the bits are there
	for pos < limit && done < outSize {
		bits |= binary.LittleEndian.Uint64(in[pos:]) << (n & 63)
		pos += int(^n >> 3 & 7)
		n |= 56
		if int32(e) < 0 { // three literals are at most 33 bits, and what follows two of them 20
			bits >>= e & 63
			n -= uint(e)
			out[done] = byte(e >> 16)
			done++
			if e = lit[bits&(1<<litRoot-1)]; int32(e) < 0 {
				bits >>= e & 63
				n -= uint(e)
				out[done] = byte(e >> 16)
				done++
				if e = lit[bits&(1<<litRoot-1)]; int32(e) < 0 {
					bits >>= e & 63
					n -= uint(e)
					out[done] = byte(e >> 16)
					done++
					e = lit[bits&(1<<litRoot-1)]
					continue
				}
			}
		}
		if e&further != 0 {
			if e&end == 0 {
				e = lit[int(e>>16&0x7fff)+int(bits>>litRoot&(1<<(e&15)-1))]
			}
			if int32(e) < 0 {
				bits >>= e & 63
				n -= uint(e)
				out[done] = byte(e >> 16)
				done++
				e = lit[bits&(1<<litRoot-1)]
				continue
			}
			if e&end != 0 {
				bits >>= e & 63
				n -= uint(e)
				ended = true
				break
			}
		}
		if e == 0 {
			return false, false
		}
		length := int(e>>16) + int(bits&(1<<(e&63)-1)>>(e>>8&63))
		bits >>= e & 63
		n -= uint(e)
		bits |= binary.LittleEndian.Uint64(in[pos:]) << (n & 63)
		pos += int(^n >> 3 & 7)
		n |= 56
		if e = dist[bits&(1<<distRoot-1)]; e&further != 0 {
			e = dist[int(e>>16&0x7fff)+int(bits>>distRoot&(1<<(e&15)-1))]
		}
		distance := int(e>>16) + int(bits&(1<<(e&63)-1)>>(e>>8&63))
		bits >>= e & 63
		n -= uint(e)
		if e == 0 || distance > done {
			return false, false
		}
		e = lit[bits&(1<<litRoot-1)]
		from, to := done-distance, done
		done += length
		switch {
		case distance >= 16: // what is written too much is written over
			for {
				*(*[16]byte)(out[to:]) = *(*[16]byte)(out[from:])
				if to += 16; to >= done {
					break
				}
				from += 16
			}
		case distance >= 8:
			for ; to < done; to, from = to+8, from+8 {
				*(*[8]byte)(out[to:]) = *(*[8]byte)(out[from:])
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
	d.pos, d.bits, d.n, d.done = pos, bits, n&63, done
	return ended, true
}
