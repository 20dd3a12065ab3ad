package wheel

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"curdling/internal/dist"
	"curdling/internal/tag"
)

// Retag writes the wheel with other tags and another build tag, which stand in its name and in WHEEL;
// RECORD follows, and signatures of it are left out. All other members are copied as they are. It gives the file's new name.
func (w *Wheel) Retag(out io.Writer, size int64, build dist.BuildTag, tags []tag.Tag) (filename string, err error) {
	filename = dist.WheelFilename(w.File.Name, w.File.Version, build, tags)
	if err := w.retag(out, size, build, tags); err != nil {
		return "", fmt.Errorf("%s: giving it the name %s: %w", w.File.Filename, filename, err)
	}
	return filename, nil
}

func (w *Wheel) retag(out io.Writer, size int64, build dist.BuildTag, tags []tag.Tag) error {
	in, err := zip.NewReader(w.r, size)
	if err != nil {
		return err
	}
	about, record := w.DistInfo+"/WHEEL", w.DistInfo+"/RECORD"
	z := zip.NewWriter(out)
	texts := make(map[string]string)
	for _, f := range in.File {
		switch f.Name {
		case about, record:
			text, err := fs.ReadFile(in, f.Name)
			if err != nil {
				return err
			}
			texts[f.Name] = string(text)
		case record + ".jws", record + ".p7s":
		default:
			if err := z.Copy(f); err != nil {
				return err
			}
		}
	}
	texts[about] = retagged(texts[about], build, tags)
	if texts[record], err = rerecorded(texts[record], about, texts[about]); err != nil {
		return err
	}
	for _, f := range in.File {
		if text, ok := texts[f.Name]; ok {
			header := zip.FileHeader{Name: f.Name, Method: zip.Deflate, Modified: f.Modified}
			header.SetMode(f.Mode())
			m, err := z.CreateHeader(&header)
			if err != nil {
				return err
			}
			if _, err := io.WriteString(m, text); err != nil {
				return err
			}
		}
	}
	return z.Close()
}

// retagged is WHEEL with other tags (PEP 427).
func retagged(text string, build dist.BuildTag, tags []tag.Tag) string {
	var b strings.Builder
	end := "" // the empty line with which some tools end the headers
	for line := range strings.Lines(text) {
		key, _, _ := strings.Cut(line, ":")
		if strings.TrimSpace(line) == "" {
			end = "\n"
			break
		}
		if !strings.EqualFold(key, "Tag") && !strings.EqualFold(key, "Build") {
			b.WriteString(strings.TrimRight(line, "\r\n") + "\n")
		}
	}
	if build.Set {
		fmt.Fprintf(&b, "Build: %s\n", build)
	}
	for _, t := range slices.SortedFunc(slices.Values(tags), tag.Tag.Compare) {
		fmt.Fprintf(&b, "Tag: %s\n", t)
	}
	return b.String() + end
}

// rerecorded is RECORD with another content of the file at path, and without signatures.
func rerecorded(text, path, content string) (string, error) {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		row, err := splitRow(line)
		if err != nil {
			return "", err
		}
		switch {
		case row[0] == path:
			sum := sha256.Sum256([]byte(content))
			line = fmt.Sprintf("%s,sha256=%s,%d", path, base64.RawURLEncoding.EncodeToString(sum[:]), len(content))
		case strings.HasSuffix(row[0], ".dist-info/RECORD.jws"), strings.HasSuffix(row[0], ".dist-info/RECORD.p7s"):
			continue
		}
		b.WriteString(line + "\n")
	}
	return b.String(), nil
}
