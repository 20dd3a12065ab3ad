package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/minio/minio-go/v7"

	"curdling/internal/store"
)

var _ store.Versioned = (*Store)(nil)

// Get is one request. A version is an ETag.
func (s *Store) Get(ctx context.Context, key, known string) (content []byte, version string, err error) {
	object, err := s.object(key)
	if err != nil {
		return nil, "", err
	}
	var o minio.GetObjectOptions
	if known != "" {
		if err := o.SetMatchETagExcept(known); err != nil {
			return nil, "", err
		}
	}
	var (
		body io.ReadCloser
		info minio.ObjectInfo
	)
	err = s.try(ctx, readTime, func(ctx context.Context) (err error) {
		if body, info, _, err = s.client.GetObject(ctx, s.bucket, object, o); err != nil {
			return err
		}
		defer body.Close()
		content, err = io.ReadAll(io.LimitReader(body, store.MaxVersioned+1))
		return err
	})
	if known != "" && minio.ToErrorResponse(err).StatusCode == http.StatusNotModified {
		return nil, known, nil
	}
	if err != nil {
		return nil, "", s.failed("get", key, err)
	}
	if len(content) > store.MaxVersioned {
		err = fmt.Errorf("larger than %d bytes", store.MaxVersioned)
	}
	if err == nil && info.ETag == "" {
		err = errors.New("the bucket tells no ETag")
	}
	if err != nil {
		return nil, "", s.failed("get", key, err)
	}
	return content, info.ETag, nil
}

// Put is one request, and one more where an answer was lost.
func (s *Store) Put(ctx context.Context, key, version string, content []byte) (newVersion string, err error) {
	object, err := s.object(key)
	if err != nil {
		return "", err
	}
	o := put()
	if version == "" {
		o.SetMatchETagExcept("*")
	} else {
		o.SetMatchETag(version)
	}
	newVersion, err = s.replace(ctx, object, content, o)
	if err == nil && newVersion == "" {
		err = errors.New("the bucket tells no ETag")
	}
	return newVersion, s.failed("swap", key, err)
}

// Delete looks first, as not every server heeds the condition that goes with the deletion.
func (s *Store) Delete(ctx context.Context, key, version string) error {
	object, err := s.object(key)
	if err != nil {
		return err
	}
	info, err := s.stat(ctx, object)
	if err == nil && info.ETag != version {
		err = store.ErrChanged
	}
	if err == nil {
		err = s.remove(context.WithValue(ctx, ifMatch{}, `"`+version+`"`), object)
	}
	return s.failed("swap", key, err)
}

// ifMatch is the key of the condition of a request, in its context.
type ifMatch struct{}

// conditional sends the condition that a request's context has, for which the client has no option.
type conditional struct{ http.RoundTripper }

func (c conditional) RoundTrip(r *http.Request) (*http.Response, error) {
	if etag, ok := r.Context().Value(ifMatch{}).(string); ok {
		r = r.Clone(r.Context())
		r.Header.Set("If-Match", etag)
	}
	return c.RoundTripper.RoundTrip(r)
}
