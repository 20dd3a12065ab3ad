package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// form is an upload as twine sends it, made before the clock runs.
type form struct {
	contentType string
	body        []byte
}

func newForm(name, version string, size int) (form, error) {
	filename, content := newWheel(name, version, size)
	sum := sha256.Sum256(content)
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, field := range [][2]string{
		{":action", "file_upload"}, {"protocol_version", "1"}, {"metadata_version", "2.1"}, {"name", name}, {"version", version},
		{"filetype", "bdist_wheel"}, {"pyversion", "py3"}, {"sha256_digest", hex.EncodeToString(sum[:])},
	} {
		if err := w.WriteField(field[0], field[1]); err != nil {
			return form{}, err
		}
	}
	part, err := w.CreateFormFile("content", filename)
	if err != nil {
		return form{}, err
	}
	_, _ = part.Write(content) // to memory
	err = w.Close()
	return form{w.FormDataContentType(), b.Bytes()}, err
}

// uploads says what became of them; times in seconds.
type uploads struct {
	Count    int     `json:"count"`
	Seconds  float64 `json:"seconds"`
	P99      float64 `json:"p99"`
	Failures int     `json:"failures"`
	Failure  string  `json:"failure,omitempty"` // one of them
}

// upload sends wheels of new projects, for a time or a number.
func upload(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("upload", flag.ContinueOnError)
	url := flags.String("url", "", "where forms are posted to")
	atOnce := flags.Int("at-once", 1, "connections")
	seconds := flags.Float64("seconds", 2, "how long at most")
	most := flags.Int("max", 2000, "how many at most")
	size := flags.Int("size", 20_000, "bytes of each wheel")
	round := flags.String("round", "r", "how the projects' names begin; each run wants its own")
	versions := flags.Int("versions", 10, "of each project")
	user := flags.String("user", "", "")
	password := flags.String("password", "", "")
	if err := parse(flags, args); err != nil {
		return err
	}
	forms := make([]form, *most)
	for i := range forms {
		var err error
		if forms[i], err = newForm(fmt.Sprintf("%s%d", *round, i / *versions), fmt.Sprintf("1.%d", i%*versions), *size); err != nil {
			return err
		}
	}
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: *atOnce}}
	post := func(f form) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, *url, bytes.NewReader(f.body))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", f.contentType)
		if *user != "" {
			r.SetBasicAuth(*user, *password)
		}
		return send(client, r)
	}
	var next atomic.Int64
	var mu sync.Mutex
	var result uploads
	var times []float64
	start := time.Now()
	var clients sync.WaitGroup
	for range *atOnce {
		clients.Go(func() {
			for ctx.Err() == nil && time.Since(start).Seconds() < *seconds {
				i := int(next.Add(1)) - 1
				if i >= len(forms) {
					return
				}
				began := time.Now()
				err := post(forms[i])
				mu.Lock()
				if err != nil {
					result.Failures++
					result.Failure = err.Error()
				} else {
					result.Count++
					times = append(times, time.Since(began).Seconds())
				}
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	result.Seconds = time.Since(start).Seconds()
	if len(times) > 0 {
		slices.Sort(times)
		result.P99 = times[len(times)*99/100]
	}
	return report(result)
}

// send wants success, and reads the answer to its end so that the connection can be used again.
func send(client *http.Client, r *http.Request) error {
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return errors.New(resp.Status + ": " + string(answer[:min(len(answer), 200)]))
	}
	return nil
}
