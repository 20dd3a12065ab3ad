package curd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/record"
)

// upload sends to each cache server the wheels that it lacks of those just
// installed, builds with their records. What came from a URL and has no record stays here: it would pass for the
// project's own release. So does what was built without isolation: nobody could tell how.
func (s *session) upload(ctx context.Context, all []prepared) (sent []string, failed []error) {
	var mu sync.Mutex
	readers := map[*place]bool{} // cache servers that take nothing
	var wg sync.WaitGroup
	for _, c := range s.caches {
		for _, r := range all {
			if ours, done := s.sent.Load(sentKey{c, r.name}); done {
				if ours.(bool) {
					mu.Lock()
					sent = append(sent, r.name)
					mu.Unlock()
				}
				continue
			}
			if c.failed() != nil || r.origin == URL && r.record == nil || r.special || s.holds(ctx, c, r) {
				continue
			}
			wg.Go(func() {
				s.Notify(Event{Phase: Uploading, Kind: Begin, Name: r.name})
				defer s.Notify(Event{Phase: Uploading, Kind: End, Name: r.name})
				signature, err := s.signature(ctx, r)
				if err == nil && r.file.path == "" { // it came as a tarball
					r.file, err = s.fetch(ctx, r.choice.File)
				}
				if err == nil {
					_, err = c.client.Upload(ctx, c.root, r.file.path, beside(r.record, signature)...)
				}
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					sent = append(sent, r.name)
				case !takesNone(err):
					failed = append(failed, fmt.Errorf("%s was not uploaded to %s: %w", r.name, c.shown, err))
				case !readers[c]:
					readers[c] = true
					failed = append(failed, fmt.Errorf("cache server %s takes no uploads", c.shown))
				}
			})
		}
	}
	wg.Wait()
	slices.Sort(sent)
	return sent, failed
}

// takesNone tells whether a server refused an upload because it takes none at all.
func takesNone(err error) bool {
	var refused *index.StatusError
	return errors.As(err, &refused) && refused.Code == http.StatusMethodNotAllowed
}

// beside is what goes with a wheel: the record of its build, and the signature of that; nil is left out.
func beside(text, signature []byte) []index.Beside {
	return []index.Beside{{Suffix: record.Suffix, Content: text}, {Suffix: record.SignatureSuffix, Content: signature}}
}

// holds tells whether a cache server lists a wheel of that name.
func (s *session) holds(ctx context.Context, c *place, r prepared) bool {
	page, err := s.page(ctx, c, r.choice.File.Name)
	return err == nil && page != nil && slices.ContainsFunc(page.Files, func(f dist.File) bool { return f.Filename == r.name })
}
