//go:build !linux && !windows

package disk

import "os"

// renameNew gives f a name that is not taken: an error that wraps fs.ErrExist where it is.
func renameNew(f *os.File, to string) error { return linkNew(f.Name(), to) }
