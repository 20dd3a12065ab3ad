package index

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"curdling/internal/process"
)

// MaxBuildMetadata is how long the METADATA of a source may be that is shared, in bytes.
const MaxBuildMetadata = 1 << 20

const (
	maxQuestion = 64 << 10 // bytes of a BuildQuestion
	maxAnswer   = 1 << 20  // bytes of a BuildAnswer
	maxUnfit    = 256      // names in a BuildQuestion

	longPoll      = 25 * time.Second // to let the server wait for news
	answerTime    = 10 * time.Second // for an answer, beyond that
	buildPatience = 20 * time.Second // with a server that answered before, and fails
	firstPatience = 3 * time.Second  // with one that did not yet, and says that it is busy
	leastBetween  = 250 * time.Millisecond
	betweenNoNews = time.Second // of a server that does not wait, as it should
)

// BuildQuestion is what POST /builds/FROM/KEY asks.
type BuildQuestion struct {
	Name  string   `json:"name,omitempty"`  // "foo 1.0": for people, and for whose rights depend on the project
	Wait  float64  `json:"wait,omitempty"`  // seconds that the server may wait for news
	After string   `json:"after,omitempty"` // BuildAnswer.After of the last answer
	Ours  string   `json:"ours,omitempty"`  // the token that the lease is to have: 26 of A-Z and 2-7; asking again gives it again. "": the server makes one
	Unfit []string `json:"unfit,omitempty"` // files that are of no use to the asker
	Look  bool     `json:"look,omitempty"`  // the asker wants no lease: 204 where nobody builds it
}

// ParseBuildQuestion reads a question, which has at most 64 KiB.
func ParseBuildQuestion(b []byte) (q BuildQuestion, err error) {
	if len(b) > maxQuestion {
		return q, fmt.Errorf("longer than %d bytes", maxQuestion)
	}
	if err := json.Unmarshal(b, &q); err != nil {
		return q, err
	}
	switch {
	case len(q.Unfit) > maxUnfit:
		return q, fmt.Errorf("unfit has %d names; %d are too many", len(q.Unfit), maxUnfit+1)
	case len(q.Name) > maxText || len(q.After) > maxText:
		return q, fmt.Errorf("name or after is longer than %d bytes", maxText)
	case q.Wait < 0 || q.Wait > 24*60*60:
		return q, errors.New("wait is a number of seconds, up to a day")
	}
	return q, nil
}

// BuildAnswer is what the server says to that. The status tells which part of it counts.
type BuildAnswer struct {
	// 200: it is there.
	Files    []BuiltFile `json:"files,omitempty"`    // under /p/
	Metadata string      `json:"metadata,omitempty"` // SHA-256 of the METADATA in hex, where that was asked for

	// 201: the asker is to build it.
	Lease string  `json:"lease,omitempty"` // the token
	TTL   float64 `json:"ttl,omitempty"`   // seconds without a heartbeat after which the lease is lost

	// 202: somebody builds it.
	Holder string  `json:"holder,omitempty"` // who
	Since  float64 `json:"since,omitempty"`  // seconds
	Log    string  `json:"log,omitempty"`    // what is new of it, at most 64 KiB
	After  string  `json:"after,omitempty"`  // for the next question

	// 424, with the members of problem details (RFC 9457): it failed lately.
	Title  string        `json:"title,omitempty"`
	Status int           `json:"status,omitempty"`
	Detail string        `json:"detail,omitempty"`
	Failed *BuildFailure `json:"failed,omitempty"`
}

// BuiltFile is a wheel that was built.
type BuiltFile struct {
	Filename string `json:"filename"`
	SHA256   string `json:"sha256"` // in hex
	Size     int64  `json:"size"`   // bytes
}

// BuildFailure is a build that failed elsewhere.
type BuildFailure struct {
	Message string  `json:"message"`
	Holder  string  `json:"holder,omitempty"` // who built it
	Since   float64 `json:"since"`            // seconds
	For     float64 `json:"for"`              // seconds for which it is still remembered
	Log     string  `json:"log,omitempty"`    // its end
}

// ErrBuildWait says that another machine was still building when Build.Wait was over.
var ErrBuildWait = errors.New("it is still being built elsewhere")

// errNoLeases says that a server is not asked, as it did not know what was asked before.
var errNoLeases = errors.New("this server shares no builds under way")

// Build names what is to be built once, for [Client.Claim].
type Build struct {
	From, Key string        // 64 hexadecimal digits each
	Metadata  bool          // the source's METADATA is wanted, and no wheel
	Name      string        // "foo 1.0": shown to those who wait
	Unfit     []string      // names of built wheels that are of no use here
	Wait      time.Duration // for what another machine builds; 0 asks once and does not wait
	Look      bool          // want no lease, as nothing will be uploaded
	// Progress is told while another machine builds. nil: nobody is.
	Progress func(BuildProgress)
}

// BuildProgress is how far another machine is.
type BuildProgress struct {
	Holder string        // who builds
	Since  time.Duration // it began
	Log    string        // what is new of its log; fit for a terminal
}

// Claim is what became of a claim: one of these is set, or none where Build.Look is and there is nothing.
type Claim struct {
	Files    []BuiltFile   // there are builds; not all need fit
	Metadata []byte        // there is the METADATA that was asked for; unchecked
	Lease    *Lease        // build it, and end the lease in any case
	Failed   *BuildFailure // it failed on another machine just now, and would here
}

// Claim asks the cache server whose root is base for a build, or for the right to make
// it, and waits where another machine makes it. An error says why neither can be had: an old
// server, one that fails or is silent, no right to upload, or ErrBuildWait. Then the caller builds
// without a lease. Claim ends when ctx does, or some 30 seconds after b.Wait.
func (c *Client) Claim(ctx context.Context, base string, b Build) (*Claim, error) {
	root, err := c.root(base)
	if err != nil {
		return nil, err
	}
	if _, ok := c.leaseless.Load(root.String()); ok {
		return nil, fmt.Errorf("%s: %w", redact(root), errNoLeases)
	}
	answer, code, err := c.await(ctx, root, b)
	if err != nil {
		return nil, err
	}
	switch {
	case code == http.StatusNoContent:
		return &Claim{}, nil
	case code == http.StatusCreated:
		return &Claim{Lease: c.hold(ctx, b.Name, b.url(root).JoinPath(answer.Lease), answer.TTL)}, nil
	case code == http.StatusFailedDependency:
		return &Claim{Failed: answer.Failed}, nil
	case b.Metadata:
		text, err := c.BuildMetadata(ctx, base, b)
		if err != nil {
			return nil, err
		}
		return &Claim{Metadata: text}, nil
	}
	return &Claim{Files: answer.Files}, nil
}

// await asks until there is an answer other than to wait.
func (c *Client) await(ctx context.Context, root *url.URL, b Build) (*BuildAnswer, int, error) {
	q := BuildQuestion{Name: b.Name, Ours: rand.Text(), Unfit: b.Unfit, Look: b.Look}
	deadline, failing, failures, heard := time.Now().Add(b.Wait), time.Time{}, 0, false
	for {
		began := time.Now()
		answer, code, err := c.askBuild(ctx, b.url(root), q)
		pause := leastBetween
		switch {
		case ctx.Err() != nil:
			return nil, 0, context.Cause(ctx)
		case err == nil && code != http.StatusAccepted:
			return answer, code, nil
		case err == nil:
			heard, failing, failures = true, time.Time{}, 0
			if b.Progress != nil {
				b.Progress(BuildProgress{plainLine(answer.Holder), ofSeconds(answer.Since), process.Plain([]byte(answer.Log))})
			}
			if time.Now().After(deadline) {
				return nil, 0, fmt.Errorf("%s, by %s: %w", b.Name, plainLine(answer.Holder), ErrBuildWait)
			}
			if answer.After == q.After {
				pause = betweenNoNews
			}
			q.After = answer.After
			q.Wait = max(min(longPoll, c.timeout/2, time.Until(deadline)), 0).Seconds()
		default:
			if failing.IsZero() {
				failing = began
			}
			failures++
			if !c.bear(root, err, heard, failures, time.Since(failing)) || heard && time.Now().After(deadline) {
				return nil, 0, err
			}
			pause = betweenNoNews
		}
		select {
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		case <-time.After(pause - time.Since(began)):
		}
	}
}

// bear tells whether a server that failed so often, for some time, is asked again, and
// remembers one that is never to be asked.
func (c *Client) bear(root *url.URL, err error, heard bool, failures int, lasts time.Duration) bool {
	var status *StatusError
	said := errors.As(err, &status)
	switch {
	case heard:
		return passing(err) && lasts < c.patience
	case said && passing(err):
		return lasts < firstPatience
	case !said && passing(err) && !absent(err) && failures == 1: // one of several behind a load balancer has just died
		return true
	case !said, status.Code == http.StatusNotFound, status.Code == http.StatusMethodNotAllowed, status.Code == http.StatusNotImplemented:
		c.leaseless.Store(root.String(), true)
	}
	return false
}

func (b Build) url(root *url.URL) *url.URL {
	u := root.JoinPath("builds", b.From, b.Key)
	if b.Metadata {
		u = u.JoinPath("metadata")
	}
	return u
}

func ofSeconds(s float64) time.Duration {
	return time.Duration(max(0, min(s, 1e9)) * float64(time.Second))
}

// isToken tells whether a lease's token can stand in a path.
func isToken(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") == ""
}

func plainLine(s string) string { return printable(process.Plain([]byte(s))) }

// askBuild asks once.
func (c *Client) askBuild(ctx context.Context, u *url.URL, q BuildQuestion) (*BuildAnswer, int, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, ofSeconds(q.Wait)+answerTime, errStalled)
	defer cancel()
	var answer BuildAnswer
	text, code, err := c.call(ctx, http.MethodPost, u, body, "application/json", maxAnswer)
	if err != nil {
		return nil, 0, err
	}
	if code == http.StatusNoContent {
		return nil, code, nil
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, 0, failed(http.MethodPost, redact(u), refuse(err))
	}
	known := map[int]bool{
		http.StatusOK:               len(answer.Files) > 0 || answer.Metadata != "",
		http.StatusCreated:          isToken(answer.Lease) && answer.TTL > 0,
		http.StatusAccepted:         true,
		http.StatusFailedDependency: answer.Failed != nil,
	}
	if !known[code] {
		return nil, 0, failed(http.MethodPost, redact(u), refusef("an answer %d that says nothing", code))
	}
	if f := answer.Failed; f != nil {
		f.Message, f.Holder, f.Log = plainLine(f.Message), plainLine(f.Holder), process.Plain([]byte(f.Log))
	}
	return &answer, code, nil
}

// call sends a request that takes none of the slots, as it may take long and costs
// nothing, and gives an answer of 200 to 299 or 424, of at most limit bytes.
func (c *Client) call(ctx context.Context, method string, u *url.URL, body []byte, contentType string, limit int) (text []byte, code int, err error) {
	if c.offline {
		return nil, 0, failed(method, redact(u), refuse(ErrOffline))
	}
	for first := true; ; first = false {
		r := get(u, http.Header{"Accept": {"application/json"}, "Accept-Encoding": {"zstd, gzip"}})
		r.Method = method
		if len(body) > 0 {
			r.Header.Set("Content-Type", contentType)
			r.ContentLength = int64(len(body))
			r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		resp, err := c.transmit(ctx, r, func() {})
		if err != nil {
			return nil, 0, err
		}
		if resp.StatusCode == http.StatusUnauthorized && first && c.relogin(ctx, resp.Request) {
			resp.Body.Close()
			continue
		}
		defer resp.Body.Close()
		if resp.StatusCode/100 != 2 && resp.StatusCode != http.StatusFailedDependency {
			return nil, 0, c.statusError(resp, r)
		}
		text, err := readBody(resp, limit)
		var cut *url.Error
		if err != nil && !errors.As(err, &cut) {
			err = failed(method, redact(u), err)
		}
		return text, resp.StatusCode, err
	}
}

// BuildMetadata gets the METADATA of a source that another machine prepared. Where there is none the error is fs.ErrNotExist.
func (c *Client) BuildMetadata(ctx context.Context, base string, b Build) ([]byte, error) {
	root, err := c.root(base)
	if err != nil {
		return nil, err
	}
	b.Metadata = true
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, errStalled)
	defer cancel()
	text, _, err := c.call(ctx, http.MethodGet, b.url(root), nil, "", maxAnswer)
	return text, err
}

// PutBuildMetadata lets the others have the METADATA of a source. The first that came stays: where that is another, the error is a *StatusError of 409.
func (c *Client) PutBuildMetadata(ctx context.Context, base string, b Build, text []byte) error {
	root, err := c.root(base)
	if err != nil {
		return err
	}
	b.Metadata = true
	ctx, cancel := context.WithTimeoutCause(ctx, 2*c.timeout, errStalled)
	defer cancel()
	_, _, err = c.call(ctx, http.MethodPut, b.url(root), text, "text/plain; charset=utf-8", maxAnswer)
	return err
}
