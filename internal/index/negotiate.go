package index

import (
	"strconv"
	"strings"
)

// Negotiate chooses TypeJSON, TypeHTML or "text/html" for an Accept header (RFC 9110, 12.5.1);
// "" where none of them is acceptable. An empty header gets text/html, and so does "*/*".
// Of equally wanted forms the richer one is chosen.
func Negotiate(accept string) string {
	if strings.TrimSpace(accept) == "" {
		return "text/html"
	}
	best, bestQuality, bestRank := "", 0.0, 0
	for _, offer := range []string{TypeBuilds, TypeJSON, TypeHTML, "text/html"} {
		quality, rank := weigh(accept, offer)
		if offer == TypeBuilds && rank < exactType {
			continue
		}
		if rank == anyType && offer == "text/html" {
			rank++
		}
		if quality > bestQuality || quality == bestQuality && quality > 0 && rank > bestRank {
			best, bestQuality, bestRank = offer, quality, rank
		}
	}
	return best
}

// How closely a media range names a type.
const (
	anyType    = iota + 1 // */*
	_                     // */* for text/html
	anySubtype            // application/*
	exactType
)

// weigh gives the quality of the media range that names offer most closely, and how closely.
func weigh(accept, offer string) (quality float64, rank int) {
	for item := range strings.SplitSeq(accept, ",") {
		media, parameters, _ := strings.Cut(item, ";")
		if r := match(strings.ToLower(strings.TrimSpace(media)), offer); r > rank {
			quality, rank = Quality(parameters), r
		}
	}
	return quality, rank
}

func match(media, offer string) int {
	kind, _, _ := strings.Cut(offer, "/")
	switch {
	case media == offer, strings.Replace(media, ".latest+", ".v1+", 1) == offer:
		return exactType
	case media == kind+"/*":
		return anySubtype
	case media == "*/*":
		return anyType
	}
	return 0
}

// Quality reads the weight among a media range's parameters: 1 where there is none, 0 where it is wrong.
func Quality(parameters string) float64 {
	for p := range strings.SplitSeq(parameters, ";") {
		key, value, _ := strings.Cut(p, "=")
		if !strings.EqualFold(strings.TrimSpace(key), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}
