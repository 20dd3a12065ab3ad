package bucket

import (
	"fmt"
	"io/fs"
	"strings"

	"curdling/internal/dist"
	"curdling/internal/store"
)

// root is the folder of the raw store in which each group has its own.
const root = "wheels/"

// place is where a flat key lies.
type place struct {
	group  string
	key    string
	file   bool   // it is a distribution file's
	sha256 string // of a tarball, by its name
	wheel  string // that a tarball is of
}

// maxEndings is how many endings come after a file's name at the most: .<of>-<sha256>.tar.zst.
const maxEndings = 3

// placeOf reads a flat key.
func placeOf(key string) (place, error) {
	if err := store.CheckKey(key); err != nil {
		return place{}, err
	}
	if f, err := dist.ParseFilename(key, ""); err == nil {
		return place{group: string(f.Name), key: key, file: true}, nil
	}
	if name, ok := strings.CutSuffix(key, ".status"); ok && isGroup(name) {
		return place{group: name, key: key}, nil
	}
	of := key
	for range maxEndings {
		dot := strings.LastIndexByte(of, '.')
		if dot < 0 || strings.Contains(key, "/") {
			break
		}
		of = of[:dot]
		if f, err := dist.ParseFilename(of, ""); err == nil {
			p := place{group: string(f.Name), key: key}
			if own, ok := strings.CutSuffix(key[dot+1:], ".tar.zst"); ok && store.IsSHA256(own[strings.LastIndexByte(own, '-')+1:]) {
				p.sha256, p.wheel = own[strings.LastIndexByte(own, '-')+1:], of
			}
			return p, nil
		}
	}
	return place{}, fmt.Errorf("key %.100q: neither the name of a wheel or source distribution, nor of what lies beside one: %w", key, fs.ErrInvalid)
}

// object is the raw store's key of what lies there as it is, and of a distribution file's claim.
func (p place) object() string { return root + p.group + "/" + p.key }

// isGroup tells whether a name is a project's, normalised.
func isGroup(name string) bool {
	n, err := dist.ParseName(name)
	return err == nil && string(n) == name
}

// isPut tells whether a text may be the name of an attempt. We make such of [rand.Text].
func isPut(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// splitBytes reads SHA256/PUT/FILE.
func splitBytes(rest string) (file string, ok bool) {
	hash, rest, _ := strings.Cut(rest, "/")
	put, file, ok := strings.Cut(rest, "/")
	return file, ok && store.IsSHA256(hash) && isPut(put) && !strings.Contains(file, "/")
}
