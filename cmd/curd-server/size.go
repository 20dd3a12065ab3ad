package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// byteSize is a number of bytes as people write it: 500MB, 2GiB, 1.5g, 1048576.
type byteSize int64

var sizeUnits = map[string]float64{
	"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12,
	"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40,
}

func (b *byteSize) Set(s string) error {
	text := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(s)), "b")
	digits := strings.TrimRight(text, "kmgti")
	unit, known := sizeUnits[text[len(digits):]]
	number, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	size := number * unit
	if err != nil || !known || !(size >= 1 && size < math.MaxInt64) {
		return fmt.Errorf("%q is no size; write one like 500MB or 2GiB", s)
	}
	*b = byteSize(size)
	return nil
}

func (b *byteSize) String() string {
	for _, unit := range []string{"ti", "gi", "mi", "ki"} {
		if n := int64(sizeUnits[unit]); int64(*b) >= n && int64(*b)%n == 0 {
			return fmt.Sprintf("%d%sB", int64(*b)/n, strings.ToUpper(unit[:1])+unit[1:])
		}
	}
	return strconv.FormatInt(int64(*b), 10)
}

func (*byteSize) Type() string { return "size" }

// sizeOrNone is a size, or 0.
type sizeOrNone byteSize

func (s *sizeOrNone) Set(text string) error {
	if strings.TrimSpace(text) == "0" {
		*s = 0
		return nil
	}
	return (*byteSize)(s).Set(text)
}

func (s *sizeOrNone) String() string { return (*byteSize)(s).String() }

func (*sizeOrNone) Type() string { return "size" }
