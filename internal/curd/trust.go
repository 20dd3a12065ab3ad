package curd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/note"

	"curdling/internal/curds"
	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/record"
)

// Two policies say what a cache server is believed. With Verify its published files are those of the index, or
// they are left out. With Trusted its builds are used if one of those keys signed them, and Verify holds too.

// verifies tells whether the indexes have the last word on the files of cache servers.
func (o *Options) verifies() bool { return o.Verify || len(o.Trusted) > 0 }

// checkPolicy refuses a policy under which nothing of a cache server could be used.
func (s *session) checkPolicy() error {
	if s.Verify && len(s.Trusted) == 0 && len(s.caches) > 0 && len(s.indexes)+len(s.FindLinks) == 0 {
		return errors.New("--verify upstream has no index to hold the files of cache servers against: name one with -i URL, or leave out --no-index")
	}
	return nil
}

// leftOut counts what the policies forbade of cache servers in a run.
type leftOut struct {
	mu     sync.Mutex
	seen   map[string]bool // by name of the server and of the file
	first  string          // and why
	builds map[*place]int
}

// maxLeftOut is how many builds of one cache server a run looks at in vain. The solve is done again for each, and a
// hostile server could list any number.
const maxLeftOut = 16

// leaveOut notes that a file of a cache server is not to be used, and why.
func (s *session) leaveOut(c *place, f dist.File, why string) {
	if lies(c, f) {
		s.unfit.Store(f.URL, why)
	}
	l := &s.left
	l.mu.Lock()
	id := c.shown + " " + f.Filename
	again := l.seen[id]
	if !again {
		if l.seen == nil {
			l.seen, l.builds, l.first = map[string]bool{}, map[*place]int{}, f.Filename+": "+why
		}
		l.seen[id] = true
		if f.BuildKey != "" {
			l.builds[c]++
		}
	}
	l.mu.Unlock()
	if again {
		return
	}
	s.log("trust").Warn("is left out", "file", f.Filename, "server", c.shown, "why", why)
	if s.Explain {
		s.Notify(Event{Phase: Resolving, Kind: Decision, Name: fmt.Sprintf("%s of %s is left out: %s", f.Filename, c.shown, why)})
	}
}

// tooMany tells whether so many of a cache server's builds were left out that no more are looked at.
func (s *session) tooMany(f dist.File) bool {
	s.left.mu.Lock()
	defer s.left.mu.Unlock()
	return s.left.builds != nil && s.left.builds[s.cacheOf(f)] >= maxLeftOut
}

// warnOfLeftOut says in one line what the policies forbade.
func (s *session) warnOfLeftOut() {
	s.left.mu.Lock()
	n, first := len(s.left.seen), s.left.first
	s.left.mu.Unlock()
	switch {
	case n == 1:
		s.warn("a file of a cache server was left out: %s", first)
	case n > 1:
		s.warn("%d files of cache servers were left out (-v names all): %s", n, first)
	}
}

// lies tells whether a file that a cache server lists lies there, and not at another server's.
func lies(c *place, f dist.File) bool { return strings.HasPrefix(f.URL, c.shown+"/") }

// verified gives a cache server's page with what is to be believed of it: of a published file, all that its index
// says, and the server's word on where its bytes are; of builds, those that somebody who is trusted may have signed.
func (s *source) verified(ctx context.Context, c *place, page *index.Project) (*index.Project, error) {
	if !s.verifies() {
		return page, nil
	}
	pages, _, err := s.indexed(ctx, page.Name)
	if err != nil {
		return nil, fmt.Errorf("what cache server %s lists of %s cannot be verified: %w", c.shown, page.Name, err)
	}
	published := map[string][]dist.File{}
	for _, p := range pages {
		for _, f := range p.Files {
			published[f.Filename] = append(published[f.Filename], f)
		}
	}
	checked := *page
	checked.Files = nil
	for _, f := range page.Files {
		_, fits := s.ranks.Best(f.Tags)
		fits = fits || f.Kind == dist.Sdist
		why := ""
		switch {
		case !lies(c, f):
			why = "the server lists it at another server"
		case f.BuildKey == "":
			var g dist.File
			if g, why = upstream(f, published[f.Filename]); why == "" {
				s.published.Store(f.URL, g)
				g.URL = f.URL
				f = g
			}
		case len(s.Trusted) == 0:
			why = unsaid
		case !fits:
			continue // its metadata would do for other machines, if it were to be believed
		}
		if why != "" && fits {
			s.leaveOut(c, f, why)
		}
		if why == "" || fits && lies(c, f) { // leaveOut barred it, so that the solver can say why
			checked.Files = append(checked.Files, f)
		}
	}
	return &checked, nil
}

// unsaid is why no build is used under Verify alone.
const unsaid = "it is a build, and no --trust KEY says whose builds may be used"

// upstream finds a cache server's file among those of its name that the indexes list, or tells why it is none of them.
func upstream(f dist.File, published []dist.File) (dist.File, string) {
	why := "no index names it"
	for _, g := range published {
		switch {
		case g.SHA256 == "":
			why = "its index does not tell its sha256"
		case f.SHA256 == "":
			why = "the server does not tell its sha256"
		case g.SHA256 != f.SHA256:
			why = fmt.Sprintf("its index names the sha256 %.16s… for it, and the server %.16s…", g.SHA256, f.SHA256)
		default:
			return g, ""
		}
	}
	return f, why
}

// mayFetch tells whether a locked file, whose bytes the lock knows, may come from a cache server.
func (s *session) mayFetch(c *place, f dist.File) bool {
	return !s.verifies() || lies(c, f)
}

// metadataOf gives the file whose index is asked for a wheel's metadata: that of the index which vouches for it.
func (s *session) metadataOf(f dist.File) dist.File {
	if g, ok := s.published.Load(f.URL); ok {
		return g.(dist.File)
	}
	return f
}

// trusted tells why a build is not to be used under the policy of Trusted, "" where it is; text is its record r. It
// also gives its signature, nil where it needs none. An error is one of the cache server, or of ctx.
func (s *session) trusted(ctx context.Context, f dist.File, r *record.Record, text []byte) (signature []byte, why string, err error) {
	switch {
	case !s.verifies():
		return nil, "", nil
	case len(s.Trusted) == 0:
		return nil, unsaid, nil
	}
	for _, b := range s.own.Builds(r.From.SHA256, r.Key) {
		if b.Wheel == r.Wheel.SHA256 && b.Filename == r.Wheel.Filename && s.believes(b) {
			return b.Signature, "", nil
		}
	}
	signature, err = s.clientFor(f).ReadBeside(ctx, f, record.SignatureSuffix, record.MaxSignature)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "nobody signed it", nil
	case ctx.Err() != nil:
		return nil, "", ctx.Err()
	case err != nil && lost(err):
		return nil, "", err
	case err != nil:
		return nil, "its signature cannot be read: " + err.Error(), nil
	}
	if _, err := record.Verify(signature, r, text, s.Trusted); err != nil {
		return nil, "its signature: " + err.Error(), nil
	}
	return signature, "", nil
}

// believes tells whether a build of the own cache may be used: this machine made it, or it came with a signature of
// somebody who is trusted today.
func (s *session) believes(b curds.Build) bool {
	if !s.verifies() || b.Server == "" {
		return true
	}
	r, err := record.Parse(b.Record)
	if err != nil || r.Of(b.Filename, b.Wheel) != nil {
		return false
	}
	_, err = record.Verify(b.Signature, r, b.Record, s.Trusted)
	return err == nil
}

// signed gives the signature of a build of the own cache: ours where this machine made it, else that with which it
// came. What others made is not ours to sign.
func (s *session) signed(b curds.Build) ([]byte, error) {
	if b.Server == "" && s.Signer != nil && b.Record != nil {
		return record.Sign(b.Record, nil, s.Signer)
	}
	return b.Signature, nil
}

// ownSignature gives the signature of a build that a cache server lists, as far as this machine knows or can make it.
func (s *session) ownSignature(f dist.File, p *prepared) (signature []byte) {
	if p.record == nil || p.signed != nil {
		return p.signed
	}
	for _, b := range s.own.Builds(f.BuiltFrom, f.BuildKey) {
		if b.Wheel == p.file.sha256 && bytes.Equal(b.Record, p.record) {
			signature, _ = s.signed(b)
			break
		}
	}
	return signature
}

// signature gives what goes with a build's record to others. One that came before anybody asked for its signature may
// have one where it came from.
func (s *session) signature(ctx context.Context, p prepared) ([]byte, error) {
	if p.record == nil {
		return nil, nil
	}
	r, err := record.Parse(p.record)
	if err != nil {
		return nil, err
	}
	for _, b := range s.own.Builds(r.From.SHA256, r.Key) {
		switch {
		case b.Wheel != p.file.sha256 || !bytes.Equal(b.Record, p.record):
			continue
		case b.Server == "" || b.Signature != nil:
			return s.signed(b)
		}
		f := p.choice.File
		if s.cacheOf(f) == nil || f.BuildKey == "" {
			return nil, nil
		}
		text, err := s.clientFor(f).ReadBeside(ctx, f, record.SignatureSuffix, record.MaxSignature)
		if err != nil || record.CheckSignature(text, p.record) != nil {
			return nil, ctx.Err() // it has none that others could use
		}
		return text, nil
	}
	return nil, nil
}

// Limits of files of keys.
const maxKeyFile = 64 << 10 // bytes

// SecretKeyPrefix is how a signing key starts.
const SecretKeyPrefix = "PRIVATE+KEY+"

// ReadTrusted reads verifier keys: each value is one, or a file of them, one a line.
func ReadTrusted(values []string) (all []note.Verifier, err error) {
	for _, value := range values {
		keys := []string{value}
		if !looksLikeKey(value) {
			if keys, err = readKeys(value); err != nil {
				return nil, fmt.Errorf("--trust: %w", err)
			}
		}
		for _, key := range keys {
			if strings.HasPrefix(key, SecretKeyPrefix) {
				return nil, errors.New("--trust: that is a signing key, which must not leave its owner; 'curd key show FILE' prints the public half of it")
			}
			v, err := note.NewVerifier(key)
			if err != nil {
				return nil, fmt.Errorf("--trust: %.200q is no public key of 'curd key new' (NAME+HASH+BASE64): %w", key, err)
			}
			same := func(w note.Verifier) bool { return w.Name() == v.Name() && w.KeyHash() == v.KeyHash() }
			if !slices.ContainsFunc(all, same) { // else note.VerifierList calls it ambiguous
				all = append(all, v)
			}
		}
	}
	return all, nil
}

// looksLikeKey tells a key from a path.
func looksLikeKey(s string) bool {
	parts := strings.SplitN(s, "+", 3)
	return strings.HasPrefix(s, SecretKeyPrefix) || len(parts) == 3 && len(parts[1]) == 8 && strings.Trim(parts[1], "0123456789abcdef") == ""
}

// ReadSigner reads a signing key, or the file that has one. No error shows it.
func ReadSigner(value string) (note.Signer, error) {
	key, where := strings.TrimSpace(value), "it"
	if !strings.HasPrefix(key, SecretKeyPrefix) {
		var err error
		if key, err = ReadSecretKey(value); err != nil {
			return nil, err
		}
		where = value
	}
	signer, err := note.NewSigner(key)
	if err != nil {
		return nil, fmt.Errorf("%s is no signing key of 'curd key new': %w", where, err)
	}
	return signer, nil
}

// ReadSecretKey reads the text of the signing key in a file.
func ReadSecretKey(path string) (string, error) {
	keys, err := readKeys(path)
	switch {
	case err != nil:
		return "", err
	case len(keys) != 1 || !strings.HasPrefix(keys[0], SecretKeyPrefix):
		return "", fmt.Errorf("%s is not the file of one signing key; 'curd key new' makes one", path)
	}
	return keys[0], nil
}

// readKeys reads the keys in a file, one a line; an empty line is none, nor is one that starts with #.
func readKeys(path string) (keys []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxKeyFile {
		return nil, fmt.Errorf("%s has more than %d bytes, and is no file of keys", path, maxKeyFile)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			keys = append(keys, line)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s holds no key", filepath.Clean(path))
	}
	return keys, nil
}
