package lease

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"curdling/internal/store"
)

const (
	format      = 1
	maxDocument = 160 << 10 // bytes
	maxText     = 1 << 10   // bytes of a text in it
	maxPosition = 1 << 50   // in a log
)

// State is how it stands with a name.
type State string

// The states.
const (
	Free    State = "free"    // nobody has the lease
	Held    State = "held"    // somebody else has it
	Granted State = "granted" // it is the asker's
	Failed  State = "failed"  // the work failed lately
	Done    State = "done"    // the work was just done, and will show
)

// document is all that is known of a name, as JSON.
type document struct {
	Format  int       `json:"format"`
	State   State     `json:"state"`             // free, held, failed or done
	Token   string    `json:"token,omitempty"`   // SHA-256 of the holder's, in hex; of the last one where nobody holds it
	Beat    uint64    `json:"beat,omitempty"`    // how many heartbeats came
	By      string    `json:"by,omitempty"`      // who the holder is
	What    string    `json:"what,omitempty"`    // what it is about
	Began   time.Time `json:"began,omitzero"`    // by the clock of the server that granted it; shown, and never relied on
	Ended   time.Time `json:"ended,omitzero"`    // when it failed, likewise
	Message string    `json:"message,omitempty"` // why it failed
	Log     []byte    `json:"log,omitempty"`     // the log's last bytes
	LogEnd  int64     `json:"log_end,omitempty"` // bytes of the log until there
}

// parse reads a document. What a crash left, or nobody of us wrote, is an
// error, and so is ErrNewer.
func parse(b []byte) (d document, err error) {
	if len(b) > maxDocument {
		return document{}, fmt.Errorf("longer than %d bytes", maxDocument)
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return document{}, err
	}
	ok := d.State == Free || d.State == Held || d.State == Failed || d.State == Done
	for _, text := range []string{d.By, d.What, d.Message} {
		ok = ok && len(text) <= maxText
	}
	switch {
	case d.Format > format:
		return document{}, ErrNewer
	case d.Format < 1 || !ok || len(d.Log) > MaxLog || d.LogEnd < int64(len(d.Log)) || !store.IsSHA256(d.Token):
		return document{}, errors.New("no lease looks like that")
	}
	return d, nil
}

func (d document) render() ([]byte, error) {
	d.Format = format
	return json.Marshal(d)
}

// write appends what a log has from byte at on, and keeps the last MaxLog bytes.
func (d *document) write(at int64, log []byte) {
	if at < 0 || at > maxPosition || at+int64(len(log)) <= d.LogEnd {
		return // it came before
	}
	var kept []byte
	if at <= d.LogEnd {
		log = log[d.LogEnd-at:]
		kept = d.Log
	} // else something was left out: what is known goes on after a gap
	all := append(append(make([]byte, 0, len(kept)+len(log)), kept...), log...)
	d.LogEnd = max(at, d.LogEnd) + int64(len(log))
	d.Log = all[max(0, len(all)-MaxLog):]
}

// tail gives the log from byte after on, as far as it is kept, and where it ends: before
// a character of which the rest is still to come.
func (d *document) tail(after int64) (text []byte, end int64) {
	text, end = d.Log, d.LogEnd
	if d.State == Held {
		for i := 1; i < utf8.UTFMax && i <= len(text); i++ {
			if at := len(text) - i; utf8.RuneStart(text[at]) {
				if !utf8.FullRune(text[at:]) {
					text, end = text[:at], end-int64(i)
				}
				break
			}
		}
	}
	start := end - int64(len(text))
	if after > end { // of another log
		after = start
	}
	return text[max(0, after-start):], end
}

// Status is how it stands with a name.
type Status struct {
	State   State
	Token   string        // of a lease that is Granted
	By      string        // who holds it, or failed
	What    string        // what it is about
	Since   time.Duration // since it was granted, or failed; roughly
	Log     []byte        // of Held and Failed: what the asker does not know yet of its last 64 KiB; as it came
	After   string        // stands for what is said here; opaque
	Message string        // why it Failed
	For     time.Duration // how long a failure is still remembered; roughly

	holder string // Held: the token, hashed
}

// HeldBy tells whether the lease is Held by that token, which can have it Granted again. See [Leases.Acquire].
func (s *Status) HeldBy(token string) bool { return s.holder != "" && s.holder == hashed(token) }

// status is what is known, to who knows after. The caller has entered s.
func (l *Leases) status(s *sight, after string) Status {
	d := &s.doc
	status := Status{State: l.state(s), By: d.By, What: d.What, Since: max(l.wall().Sub(d.Began), 0)}
	// Which lease: a log's position means nothing in another's.
	lease, end := d.Token[:min(8, len(d.Token))], int64(0)
	known := int64(0)
	if rest, ok := strings.CutPrefix(after, lease+"."); ok {
		position, _, _ := strings.Cut(rest, ".")
		known, _ = strconv.ParseInt(position, 10, 64)
	}
	switch status.State {
	case Held, Failed:
		status.Log, end = d.tail(max(known, 0))
	}
	switch status.State {
	case Free:
		return Status{State: Free, After: "free"}
	case Held:
		status.holder = d.Token
	case Failed:
		status.Message, status.For = d.Message, max(l.remember-l.age(s), 0)
		status.Since = max(l.wall().Sub(d.Ended), 0)
	}
	status.After = fmt.Sprintf("%s.%d.%s", lease, end, status.State)
	return status
}
