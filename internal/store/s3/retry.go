package s3

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"curdling/internal/store"
)

const (
	// readTime and writeTime are how long after its beginning something is still tried again. What is written is also while
	// requests are refused.
	readTime  = 10 * time.Second
	writeTime = 30 * time.Second

	shortPause = 50 * time.Millisecond // before the second attempt, and then doubled
	longPause  = 5 * time.Second
)

// The client must not repeat anything by itself, as [Store.try] does, nor wait after its only attempt. It waits for a
// nanosecond, not for none: a timer that is due at once runs in whoever waits for it, and two of these in a bubble of
// synctest break the race detector (go.dev/issue/78156).
func init() { minio.DefaultRetryCap = time.Nanosecond }

// try does what it is given, and again, later and later, where that may help, until the time for it is over. What is
// the network's or the bucket's fault is a [store.UnavailableError] then.
func (s *Store) try(ctx context.Context, patience time.Duration, do func(context.Context) error) error {
	var hint time.Duration
	begun := time.Now()
	ctx = context.WithValue(ctx, hintKey{}, &hint)
	for pause := shortPause; ; pause = min(2*pause, longPause) {
		hint = 0
		err := do(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var refused *store.UnavailableError
		notSent := errors.As(err, &refused)
		if !notSent {
			fault := faultOf(err)
			if fault == noFault {
				return err
			}
			refused = &store.UnavailableError{Err: err, RetryAfter: hint}
			if fault == lastingFault {
				return refused
			}
		}
		if patience < writeTime && (notSent || s.guard.breaker.check() != nil) { // who reads can come again
			return refused
		}
		wait := max(pause/2+rand.N(pause/2), refused.RetryAfter)
		if time.Since(begun)+wait > patience {
			return refused
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// ours marks an error that is none of the network and none of the bucket.
type ours struct{ error }

func (o ours) Unwrap() error { return o.error }

// A fault is one of the network or of the bucket.
type fault int

const (
	noFault      fault = iota
	passingFault       // it may help to ask again
	lastingFault       // somebody has to mend it
)

// faultOf judges an error of the client.
func faultOf(err error) fault {
	var (
		own         ours
		certificate *tls.CertificateVerificationError
		name        *net.DNSError
	)
	switch said := minio.ToErrorResponse(err); {
	case errors.As(err, &own):
		return noFault
	case errors.As(err, &certificate), errors.As(err, &name) && name.IsNotFound:
		return lastingFault
	case said.StatusCode == 0: // of the network
		return passingFault
	case said.Code == "ConditionalRequestConflict", said.Code == "OperationAborted": // two at the same instant
		return passingFault
	case said.StatusCode == http.StatusBadRequest && (said.Code == "BadRequest" || strings.HasPrefix(said.Code, "400 ")):
		return passingFault // versitygw takes for a request what is left of the body of the one before, which it refused early
	case said.StatusCode == http.StatusTooManyRequests, said.StatusCode == http.StatusRequestTimeout,
		said.StatusCode >= 500 && !lasting(said.StatusCode):
		return passingFault
	}
	return noFault
}
