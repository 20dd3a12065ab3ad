package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
)

// key is a secret that only this process has.
type key [sha256.Size]byte

// mac stands for two strings where neither may be kept in clear. It never leaves
// the process, so that a hash with the key in front is enough.
type mac [sha256.Size]byte

func newKey() (k key) {
	_, _ = rand.Read(k[:]) // never fails
	return k
}

func (k *key) mac(a, b string) mac { return keyed(k, a, b) }

func keyed[T string | []byte](k *key, a string, b T) mac {
	buffer := make([]byte, 0, 256) // on the stack, as a rule
	buffer = append(buffer, k[:]...)
	buffer = binary.BigEndian.AppendUint64(buffer, uint64(len(a)))
	buffer = append(buffer, a...)
	return sha256.Sum256(append(buffer, b...))
}
