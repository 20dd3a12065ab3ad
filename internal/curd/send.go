package curd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/record"
)

// Sent is what became of one file that was to be uploaded.
type Sent struct {
	Path    string
	Created bool  // false: the server held the same bytes already, or Err
	Err     error // the server's refusal; nil: it has the file
}

// Distributions gives the wheels and source distributions that paths name, each
// once: files, which must be such, and those that lie in folders.
func Distributions(paths []string) ([]string, error) {
	var found []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			if _, err := dist.ParseFilename(filepath.Base(path), ""); err != nil {
				return nil, err
			}
			found = append(found, filepath.Clean(path))
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, err
		}
		before := len(found)
		for _, e := range entries {
			if _, err := dist.ParseFilename(e.Name(), ""); err == nil && !e.IsDir() {
				found = append(found, filepath.Join(path, e.Name()))
			}
		}
		if len(found) == before {
			return nil, fmt.Errorf("%s: holds no wheel and no source distribution", path)
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// uploads is how many files go up at once.
const uploads = 4

// Upload sends files to the cache server at root, several at once, and tells of
// each what became of it. Where the server does not answer or does not let us in,
// that is the error, and what was not sent by then is left out.
func Upload(ctx context.Context, o Options, root string, paths []string) ([]Sent, error) {
	client, err := o.newClient()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	sent := make([]Sent, len(paths))
	o.notify(Event{Phase: Uploading, Kind: Plan, Count: len(paths)})
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(uploads)
	for i, path := range paths {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			name := filepath.Base(path)
			o.notify(Event{Phase: Uploading, Kind: Begin, Name: name})
			defer o.notify(Event{Phase: Uploading, Kind: End, Name: name})
			with, err := readBeside(path, o.Signer)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			created, err := client.Upload(ctx, root, path, with...)
			var refused *index.StatusError
			switch {
			case errors.Is(err, fs.ErrPermission):
				return fmt.Errorf("cache server %s refuses us (%w); give the user and password in netrc, in CURD_CACHES or in the URL", index.Redact(root), err)
			case err != nil && !errors.As(err, &refused):
				return fmt.Errorf("%s: %w", name, err)
			}
			sent[i] = Sent{path, created, err}
			return nil
		})
	}
	err = group.Wait()
	return slices.DeleteFunc(sent, func(s Sent) bool { return s.Path == "" }), err
}

// readBeside reads what lies beside a wheel that was built: its record and the signature, to which that of signer is
// added, if it is not nil.
func readBeside(path string, signer note.Signer) ([]index.Beside, error) {
	text, err := os.ReadFile(path + record.Suffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	signature, err := os.ReadFile(path + record.SignatureSuffix)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if signer != nil {
		if signature, err = signFile(path, text, signature, signer); err != nil {
			return nil, fmt.Errorf("it cannot be signed: %w", err)
		}
	}
	return beside(text, signature), nil
}

// signFile signs the record of the wheel at path, which must be that of these very bytes.
func signFile(path string, text, held []byte, signer note.Signer) ([]byte, error) {
	r, err := record.Parse(text)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return nil, err
	}
	if err := r.Of(filepath.Base(path), hex.EncodeToString(sum.Sum(nil))); err != nil {
		return nil, err
	}
	return record.Sign(text, held, signer)
}

func (o Options) notify(e Event) {
	if o.Notify != nil {
		o.Notify(e)
	}
}
