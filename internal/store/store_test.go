package store

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

func TestCheckKey(t *testing.T) {
	t.Parallel()
	good := []string{
		"flask-3.0-py3-none-any.whl",
		"torch-2.0+cu118-cp311-cp311-linux_x86_64.whl",
		"a/b/c",
		"1!2.0.tar.gz",
		"größe",
		strings.Repeat("x", MaxSegment),
	}
	for _, key := range good {
		if err := CheckKey(key); err != nil {
			t.Errorf("CheckKey(%q) = %v, want nil", key, err)
		}
	}
	bad := []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", ".hidden", "a/.b",
		`a\b`, "c:a", "a\x00b", "a\nb", "a\xff", "a.", "a ", "a\u202eb", "a\u2028",
		strings.Repeat("x", MaxSegment+1),
		strings.Repeat("x/", MaxKey/2) + "x",
	}
	for _, key := range bad {
		if err := CheckKey(key); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("CheckKey(%q) = %v, want fs.ErrInvalid", key, err)
		}
	}
}

func TestIsFull(t *testing.T) {
	t.Parallel()
	if !IsFull(fmt.Errorf("bucket: %w", ErrFull)) {
		t.Error("IsFull(ErrFull) = false")
	}
	if IsFull(&fs.PathError{Op: "write", Path: "x", Err: syscall.EACCES}) || IsFull(nil) {
		t.Error("IsFull of another error = true")
	}
}

func TestIsSHA256(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("0123456789abcdef", 4)
	for s, want := range map[string]bool{
		hash: true, "": false, hash[1:]: false, hash + "0": false, strings.ToUpper(hash): false, hash[:63] + "A": false,
		hash[:63] + "g": false, hash[:63] + "/": false, hash[:63] + ":": false, hash[:63] + "`": false, hash[:62] + "é": false,
	} {
		if got := IsSHA256(s); got != want {
			t.Errorf("IsSHA256(%q) = %v, want %v", s, got, want)
		}
	}
}
