package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"curdling/internal/curd"
	"curdling/internal/dist"
	"curdling/internal/install"
	"curdling/internal/metadata"
)

// installReport is pip's installation report, format 1.
type installReport struct {
	Version     string            `json:"version"`
	PipVersion  string            `json:"pip_version"` // of the program that wrote it
	Install     []installed       `json:"install"`
	Environment map[string]string `json:"environment"`
	Saved       savedReport       `json:"_saved"` // ours, as are all keys that begin so
}

// savedReport is what the caches spared a run, or one distribution of it.
type savedReport struct {
	From    curd.Origin `json:"from,omitempty"` // of a distribution: where it came from
	Builds  int         `json:"builds"`         // not done here
	Seconds float64     `json:"seconds"`        // that these took where they were done
	Bytes   int64       `json:"bytes"`          // not fetched from an index
}

func newSavedReport(from curd.Origin, s curd.Saved) savedReport {
	return savedReport{from, s.Builds, s.Time.Seconds(), s.Bytes}
}

type installed struct {
	Metadata     *metadata.Metadata `json:"metadata"`
	DownloadInfo json.RawMessage    `json:"download_info"` // as direct_url.json
	IsDirect     bool               `json:"is_direct"`
	IsYanked     bool               `json:"is_yanked"`
	Requested    bool               `json:"requested"`
	Extras       []dist.Name        `json:"requested_extras,omitempty"`
	Saved        savedReport        `json:"_saved"`
}

// writeReport writes the report of --report, "-" to stdout.
func writeReport(path string, stdout io.Writer, r *curd.Report) error {
	report := installReport{Version: "1", PipVersion: "curd " + version, Install: []installed{}, Environment: r.Python.Markers, Saved: newSavedReport("", r.Saved)}
	for _, i := range r.Installed {
		from := i.Direct
		if from == nil {
			from = &install.DirectURL{URL: i.File.URL, Archive: &install.ArchiveInfo{}}
			if i.File.SHA256 != "" {
				from.Archive.Hashes = map[string]string{"sha256": i.File.SHA256}
			}
		}
		report.Install = append(report.Install, installed{
			Metadata: i.Metadata, DownloadInfo: from.Encode(), IsDirect: i.Direct != nil,
			IsYanked: i.File.Yanked, Requested: i.Requested, Extras: i.Extras, Saved: newSavedReport(i.Origin, i.Saved),
		})
	}
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if path == "-" {
		_, err = stdout.Write(text)
		return err
	}
	if err := curd.WriteFile(path, bytes.NewReader(text)); err != nil {
		return fmt.Errorf("--report: %w", err)
	}
	return nil
}
