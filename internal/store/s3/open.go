package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"curdling/internal/store"
)

// Options say how a bucket is reached. What is not given is taken from where other programs of S3 take it.
type Options struct {
	// Endpoint is the URL of the object store; "" is AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or else Amazon's.
	Endpoint string
	// Region is "" for AWS_REGION, AWS_DEFAULT_REGION, or else us-east-1.
	Region string
	// MayBeAway is that Open succeeds, too, where the bucket does not answer: it may do so later.
	MayBeAway bool
	Log       *slog.Logger // is told when the bucket does not answer, and when it does again; nil is silent
}

// Scheme is what the URL of a bucket begins with.
const Scheme = "s3://"

// Open gives the store at s3://BUCKET/PREFIX. It asks the bucket once, for nothing, so that what is wrong is said at once.
// Credentials are those of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN), of the profile AWS_PROFILE
// in ~/.aws/credentials or AWS_SHARED_CREDENTIALS_FILE, or of the role of the machine.
// The bucket is named in the path where the endpoint is not Amazon's.
func Open(ctx context.Context, place string, o Options) (*Store, error) {
	s, err := connect(place, o)
	if err != nil {
		return nil, err
	}
	asked, cancel := ctx, func() {}
	if o.MayBeAway {
		asked, cancel = context.WithTimeout(ctx, 2*connectTimeout)
	}
	defer cancel()
	for _, err := range s.List(asked, "curdling") {
		away := o.MayBeAway && ctx.Err() == nil && (asked.Err() != nil || errors.As(err, new(*store.UnavailableError)))
		if err != nil && !away {
			return nil, fmt.Errorf("%s cannot be used: %w", s, err)
		}
		break
	}
	return s, nil
}

// connect gives the store without asking for anything.
func connect(place string, o Options) (*Store, error) {
	bucket, prefix, err := parse(place)
	if err != nil {
		return nil, err
	}
	region := cmp.Or(o.Region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"), "us-east-1")
	endpoint := cmp.Or(o.Endpoint, os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"), "https://s3."+region+".amazonaws.com")
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.User != nil {
		return nil, fmt.Errorf("endpoint %q of %s: it must be like https://HOST or http://HOST:PORT, without a path and without a password", mask(endpoint), place)
	}
	lookup := minio.BucketLookupPath
	if strings.HasSuffix(u.Hostname(), ".amazonaws.com") {
		lookup = minio.BucketLookupAuto
	}
	transport, err := minio.DefaultTransport(u.Scheme == "https")
	if err != nil {
		return nil, err
	}
	transport.MaxIdleConnsPerHost = 256
	transport.DialContext = (&net.Dialer{Timeout: connectTimeout}).DialContext
	transport.TLSHandshakeTimeout = connectTimeout
	transport.ResponseHeaderTimeout = 0 // guard knows when
	g := &guard{next: transport, slots: make(chan struct{}, inFlight), metrics: newMetrics()}
	g.breaker.log = o.Log
	client, err := minio.NewCore(u.Host, &minio.Options{
		Creds: credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{Client: &http.Client{Timeout: 5 * time.Second}},
		}),
		Secure: u.Scheme == "https", Region: region, BucketLookup: lookup, Transport: conditional{g}, MaxRetries: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", place, err)
	}
	return &Store{client: *client, bucket: bucket, prefix: prefix, transport: transport, guard: g}, nil
}

// parse splits s3://BUCKET/PREFIX.
func parse(place string) (bucket, prefix string, err error) {
	rest, ok := strings.CutPrefix(place, Scheme)
	bucket, prefix, _ = strings.Cut(rest, "/")
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	if !ok || bucket == "" || strings.Contains(prefix, "//") || strings.ContainsAny(place, "?#@") {
		return "", "", errors.New("a bucket is named like s3://BUCKET or s3://BUCKET/PREFIX, not like " + mask(place))
	}
	return bucket, prefix, nil
}

// mask hides a password that was put where none belongs.
func mask(text string) string {
	if before, after, ok := strings.Cut(text, "@"); ok {
		scheme, _, _ := strings.Cut(before, "://")
		return scheme + "://***@" + after
	}
	return text
}
