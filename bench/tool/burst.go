package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// clients says what many clients of one file got; times in seconds.
type clients struct {
	Right   int     `json:"right"` // whole, and with the right hash
	Wrong   int     `json:"wrong"` // whole by all that HTTP tells, with another hash
	Failed  int     `json:"failed"`
	Failure string  `json:"failure,omitempty"` // one of them
	First   float64 `json:"first"`             // byte of the first client
	Seconds float64 `json:"seconds"`           // until the last one was done
}

// burst has many clients ask for one file at the same instant, each on a
// connection of its own. Redirects are followed, as pip does.
func burst(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("burst", flag.ContinueOnError)
	url := flags.String("url", "", "of the file")
	n := flags.Int("clients", 50, "how many")
	want := flags.String("sha256", "", "of the file")
	timeout := flags.Duration("timeout", time.Minute, "of each client")
	if err := parse(flags, args); err != nil {
		return err
	}
	client := &http.Client{Timeout: *timeout, Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	var mu sync.Mutex
	var result clients
	start := time.Now()
	var waiting sync.WaitGroup
	for range *n {
		waiting.Go(func() {
			sum, first, err := get(ctx, client, *url)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				result.Failed++
				result.Failure = err.Error()
			case sum == *want:
				result.Right++
			default:
				result.Wrong++
			}
			if seconds := first.Sub(start).Seconds(); err == nil && (result.First == 0 || seconds < result.First) {
				result.First = seconds
			}
		})
	}
	waiting.Wait()
	result.Seconds = time.Since(start).Seconds()
	return report(result)
}

// get gives the SHA-256 of what a URL names, and when its first byte came.
func get(ctx context.Context, client *http.Client, url string) (sum string, first time.Time, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", first, err
	}
	resp, err := client.Do(r)
	if err != nil {
		return "", first, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", first, errors.New(resp.Status)
	}
	hash := sha256.New()
	if _, err := io.CopyN(hash, resp.Body, 1); err != nil {
		return "", first, fmt.Errorf("the first byte: %w", err)
	}
	first = time.Now()
	if _, err := io.Copy(hash, resp.Body); err != nil {
		return "", first, err
	}
	return hex.EncodeToString(hash.Sum(nil)), first, nil
}
