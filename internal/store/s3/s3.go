// Package s3 is a store in a bucket of an S3-compatible object store: a key is the name of an object
// below a prefix.
//
// Every race is decided by the bucket: a file is one PUT of known size with If-None-Match: *, which makes
// a whole object or none, where none is. So no file is larger than [MaxFile], which is what one PUT may bring.
// What goes over the network can end without an answer: then Create looks whether the object that is there is
// the one that it sent, and where even that is not answered its error leaves open whether the file is held.
//
// Nothing waits for the bucket for ever: a request that it does not answer, or whose bytes stop, is cut off; what
// may be repeated is, with pauses, for a while; and while it does not answer, or too many wait, requests are refused at
// once. All that ends in a [store.UnavailableError]. Whatever is neither written nor a file's bytes ends within half a minute.
package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"curdling/internal/store"
)

// MaxFile is the largest file, in bytes: what S3 takes in one PUT.
const MaxFile = 5 << 30

// putMark is the name of the metadata that marks each PUT.
const putMark = "Curdling-Put"

// Store is a bucket, or what lies below a prefix of its names. Make one with [Open].
type Store struct {
	client minio.Core
	bucket string
	prefix string // "" or ends with a slash

	transport *http.Transport
	guard     *guard
}

var (
	_ store.Store   = (*Store)(nil)
	_ store.Swapper = (*Store)(nil)
	_ store.Stater  = (*Store)(nil)
	_ store.Folders = (*Store)(nil)

	_ store.Presigner = (*Store)(nil)
)

// Close closes the connections that nobody uses.
func (s *Store) Close() { s.transport.CloseIdleConnections() }

// String is the URL of the place.
func (s *Store) String() string {
	return "s3://" + strings.TrimSuffix(s.bucket+"/"+s.prefix, "/")
}

// object gives the name of a key's object.
func (s *Store) object(key string) (string, error) {
	return s.prefix + key, store.CheckKey(key)
}

// Open asks for the file at once. Reading goes on where a connection breaks, and ends with an error where
// the object is gone by then. The reader needs ctx as long as it is read.
func (s *Store) Open(ctx context.Context, key string) (io.ReadSeekCloser, store.Info, error) {
	object, err := s.object(key)
	if err != nil {
		return nil, store.Info{}, err
	}
	body, info, err := s.get(ctx, object, "", 0)
	if err != nil {
		return nil, store.Info{}, s.failed("open", key, err)
	}
	r := &reader{size: info.Size, body: body, get: func(offset int64) (io.ReadCloser, error) {
		body, _, err := s.get(ctx, object, info.ETag, offset)
		if err != nil {
			return nil, s.failed("read", key, err)
		}
		return body, nil
	}}
	return r, store.Info{Key: key, Size: info.Size, ModTime: whole(info.LastModified)}, nil
}

// get asks for an object from offset on; it must have that ETag, unless that is "".
func (s *Store) get(ctx context.Context, object, etag string, offset int64) (body io.ReadCloser, info minio.ObjectInfo, err error) {
	var o minio.GetObjectOptions
	if offset > 0 {
		if err := o.SetRange(offset, 0); err != nil {
			return nil, minio.ObjectInfo{}, err
		}
	}
	if etag != "" {
		if err := o.SetMatchETag(etag); err != nil {
			return nil, minio.ObjectInfo{}, err
		}
	}
	err = s.try(ctx, readTime, func(ctx context.Context) (err error) {
		body, info, _, err = s.client.GetObject(ctx, s.bucket, object, o)
		return err
	})
	return body, info, err
}

// whole cuts a time to seconds, which is all that some answers tell.
func whole(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// Create sends the file, again and again where that may help and r is an [io.Seeker], as long as ctx allows.
func (s *Store) Create(ctx context.Context, key string, r io.Reader, size int64) error {
	object, err := s.object(key)
	if err != nil {
		return err
	}
	if size < 0 || size > MaxFile {
		return fmt.Errorf("%s: %d bytes, a bucket takes up to %d", key, size, int64(MaxFile))
	}
	o := put()
	o.SetMatchETagExcept("*")
	start := int64(0)
	seeker, again := r.(io.Seeker)
	if again {
		if start, err = seeker.Seek(0, io.SeekCurrent); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	patience := writeTime
	if !again {
		patience = 0
	}
	attempt := 0
	err = s.try(ctx, patience, func(ctx context.Context) error {
		if attempt++; attempt > 1 {
			if _, err := seeker.Seek(start, io.SeekStart); err != nil {
				return ours{err}
			}
		}
		body := &exact{ctx: ctx, r: r, left: size}
		if body.begin() != nil {
			return ours{body.err}
		}
		_, err := s.client.Client.PutObject(ctx, s.bucket, object, body, size, o)
		switch {
		case body.err != nil:
			return ours{body.err}
		case isTaken(err) && attempt > 1: // an answer may have been lost
			_, err = s.isMine(ctx, object, o, err)
		}
		return err
	})
	var own ours
	if errors.As(err, &own) {
		return fmt.Errorf("%s: %w", key, own.error)
	}
	return s.failed("create", key, err)
}

// put gives the options of a PUT that can be known again.
func put() minio.PutObjectOptions {
	return minio.PutObjectOptions{DisableMultipart: true, UserMetadata: map[string]string{putMark: rand.Text()}}
}

// isMine gives the object, where it is what a PUT with these options sent, and otherwise the error of that PUT.
func (s *Store) isMine(ctx context.Context, object string, o minio.PutObjectOptions, taken error) (minio.ObjectInfo, error) {
	info, err := s.stat(ctx, object)
	if isUnavailable(err) {
		return info, err
	}
	if err != nil || info.UserMetadata[putMark] != o.UserMetadata[putMark] {
		return info, taken
	}
	return info, nil
}

func isUnavailable(err error) bool {
	var unavailable *store.UnavailableError
	return errors.As(err, &unavailable)
}

func (s *Store) stat(ctx context.Context, object string) (info minio.ObjectInfo, err error) {
	err = s.try(ctx, readTime, func(ctx context.Context) (err error) {
		info, err = s.client.StatObject(ctx, s.bucket, object, minio.StatObjectOptions{})
		return err
	})
	return info, err
}

// Stat asks for an object's headers.
func (s *Store) Stat(ctx context.Context, key string) (store.Info, error) {
	object, err := s.object(key)
	if err != nil {
		return store.Info{}, err
	}
	info, err := s.stat(ctx, object)
	if err != nil {
		return store.Info{}, s.failed("stat", key, err)
	}
	return store.Info{Key: key, Size: info.Size, ModTime: whole(info.LastModified)}, nil
}

// List asks for a thousand names at a time.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		for o, err := range s.list(ctx, prefix, true) {
			if err != nil {
				yield(store.Info{}, err)
				return
			}
			if store.CheckKey(o.Key) != nil { // nothing of ours
				continue
			}
			if !yield(store.Info{Key: o.Key, Size: o.Size, ModTime: whole(o.LastModified)}, nil) {
				return
			}
		}
	}
}

// ListFolders asks for a thousand folders at a time.
func (s *Store) ListFolders(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for o, err := range s.list(ctx, prefix, false) {
			if err != nil {
				yield("", err)
				return
			}
			folder, ok := strings.CutSuffix(strings.TrimPrefix(o.Key, prefix), "/")
			if ok && store.CheckKey(folder) == nil && !yield(folder, nil) {
				return
			}
		}
	}
}

// list gives the objects whose keys start with prefix, which are their Keys; where it is not recursive, what lies in a
// folder below prefix is one of them, whose key ends with a slash. After an error nothing more comes.
func (s *Store) list(ctx context.Context, prefix string, recursive bool) iter.Seq2[minio.ObjectInfo, error] {
	return func(yield func(minio.ObjectInfo, error) bool) {
		if prefix != "" {
			if err := store.CheckKey(strings.TrimSuffix(prefix, "/")); err != nil {
				yield(minio.ObjectInfo{}, err)
				return
			}
		}
		var after, before string
		stopped := false
		pages := func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			seen := after
			for o := range s.client.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: recursive, StartAfter: after}) {
				if o.Err != nil {
					return o.Err
				}
				if o.Key <= seen { // a folder that was told of comes again
					continue
				}
				after = max(after, o.Key) // of one page folders come last
				o.Key = strings.TrimPrefix(o.Key, s.prefix)
				if stopped = !yield(o, nil); stopped {
					return nil
				}
			}
			return ctx.Err()
		}
		err := s.try(ctx, readTime, pages)
		for err != nil && after > before { // it got on, so that it may take its time again
			before = after
			err = s.try(ctx, readTime, pages)
		}
		if err != nil && !stopped {
			yield(minio.ObjectInfo{}, s.failed("list", prefix, err))
		}
	}
}

// Remove looks for the object first, as S3 deletes what is not there as well. Of several at once more than one may succeed.
func (s *Store) Remove(ctx context.Context, key string) error {
	object, err := s.object(key)
	if err != nil {
		return err
	}
	if _, err := s.stat(ctx, object); err != nil {
		return s.failed("remove", key, err)
	}
	return s.failed("remove", key, s.remove(ctx, object))
}

func (s *Store) remove(ctx context.Context, object string) error {
	return s.try(ctx, readTime, func(ctx context.Context) error {
		return s.client.RemoveObject(ctx, s.bucket, object, minio.RemoveObjectOptions{})
	})
}

// Presign asks nobody, but where credentials are to be had anew. It is signed for the store's own endpoint.
func (s *Store) Presign(ctx context.Context, key string, ttl time.Duration) (string, error) {
	object, err := s.object(key)
	if err != nil {
		return "", err
	}
	u, err := s.client.PresignedGetObject(ctx, s.bucket, object, ttl, nil)
	if err != nil {
		return "", s.failed("presign", key, err)
	}
	return u.String(), nil
}

// Ping asks the bucket once, for what is not there, and tells whether it answers.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.client.StatObject(ctx, s.bucket, s.prefix+"curdling", minio.StatObjectOptions{})
	if faultOf(err) == noFault {
		return nil
	}
	return s.failed("ping", "", err)
}

// Swap sends content on the condition that the object is still the one that was just seen to be old.
func (s *Store) Swap(ctx context.Context, key string, old, content []byte) error {
	held, version, err := s.Get(ctx, key, "")
	switch {
	case err == nil && bytes.Equal(held, old):
		_, err = s.Put(ctx, key, version, content)
	case err == nil, errors.Is(err, fs.ErrNotExist):
		err = s.failed("swap", key, store.ErrChanged)
	}
	return err
}

// replace sends what is small, and gives its ETag.
func (s *Store) replace(ctx context.Context, object string, content []byte, o minio.PutObjectOptions) (etag string, err error) {
	attempt := 0
	err = s.try(ctx, writeTime, func(ctx context.Context) error {
		attempt++
		sent, err := s.client.Client.PutObject(ctx, s.bucket, object, bytes.NewReader(content), int64(len(content)), o)
		if etag = sent.ETag; isTaken(err) && attempt > 1 { // an answer may have been lost
			var info minio.ObjectInfo
			info, err = s.isMine(ctx, object, o, err)
			etag = info.ETag
		}
		if code := minio.ToErrorResponse(err).Code; code == "ConditionalRequestConflict" || code == "OperationAborted" {
			return ours{store.ErrChanged} // another at the same instant
		}
		return err
	})
	return etag, err
}

// failed says what was done with which key, and makes of what the bucket answered an error of fs where there is one.
func (s *Store) failed(op, key string, err error) error {
	said := minio.ToErrorResponse(err)
	switch {
	case err == nil:
		return nil
	case said.Code == "NoSuchBucket", op == "list" && said.StatusCode == http.StatusNotFound: // a prefix is never missing
		err = fmt.Errorf("there is no bucket %s at %s (or these credentials do not show it): make it, or look at its name and the endpoint", s.bucket, s.client.EndpointURL().Host)
	case op == "swap" && (isTaken(err) || said.Code == "NoSuchKey"):
		err = store.ErrChanged
	case said.Code == "NoSuchKey" || said.StatusCode == http.StatusNotFound:
		err = fs.ErrNotExist
	case op == "create" && isTaken(err):
		err = fs.ErrExist
	case said.Code == "InsufficientStorage" || said.StatusCode == http.StatusInsufficientStorage || said.Code == "XMinioStorageFull":
		err = fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	return &fs.PathError{Op: op, Path: s.String() + "/" + key, Err: err}
}

// isTaken tells that an object was there where none had to be.
func isTaken(err error) bool {
	return minio.ToErrorResponse(err).StatusCode == http.StatusPreconditionFailed
}
