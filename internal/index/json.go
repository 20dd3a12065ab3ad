package index

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"curdling/internal/dist"
	"curdling/internal/version"
)

// readJSON reads PEP 691's form. Pages run to megabytes and every resolve reads
// dozens, so this walks the text once and makes strings of what it keeps, which
// is several times faster than decoding by reflection. A key whose value has
// another type than the specification says counts as missing.
func (r *reader) readJSON(text string) error {
	s := &scanner{text: text}
	r.page.Files = make([]dist.File, 0, len(text)/400) // a file takes 400 bytes and more
	files := false
	err := s.object(func(key string) error {
		switch key {
		case "files":
			files = s.peek() == '['
			return s.array(func() error { return r.readLink(s) })
		case "meta":
			return s.object(func(key string) error { return r.readMeta(s, key) })
		case "project-status":
			return s.object(func(key string) error { return r.readStatus(s, key) })
		case "alternate-locations":
			return s.strings(&r.page.Alternates)
		}
		return s.skip()
	})
	switch {
	case err != nil:
		return err
	case s.peek() != 0 || s.pos < len(s.text):
		return s.wrong("end")
	case !files:
		return errors.New("JSON: no list of files")
	}
	return nil
}

func (r *reader) readMeta(s *scanner, key string) error {
	switch key {
	case "api-version":
		v, err := s.string()
		if err != nil {
			return err
		}
		return checkVersion(v)
	case "tracks":
		return s.strings(&r.page.Tracks)
	}
	return s.skip()
}

func (r *reader) readStatus(s *scanner, key string) (err error) {
	switch key {
	case "status":
		r.page.Status, err = s.string()
	case "reason":
		r.page.StatusReason, err = s.string()
	default:
		err = s.skip()
	}
	return err
}

func (r *reader) readLink(s *scanner) error {
	var l link
	var legacy digest
	err := s.object(func(key string) (err error) {
		switch key {
		case "filename":
			l.filename, err = s.string()
		case "url":
			l.url, err = s.string()
		case "hashes":
			l.sha256, err = s.sha256()
		case "requires-python":
			l.requiresPython, err = s.string()
		case "size":
			l.size, err = s.int()
		case "upload-time":
			l.uploadTime, err = s.string()
		case "yanked":
			l.yanked, l.yankedReason, err = s.yanked()
		case "core-metadata":
			l.metadata, err = s.digest()
		case "dist-info-metadata", "data-dist-info-metadata":
			legacy, err = s.digest()
		case "provenance":
			l.provenance, err = s.string()
		case "_build":
			err = s.object(func(key string) (err error) {
				switch key {
				case "from":
					l.builtFrom, err = s.string()
				case "key":
					l.buildKey, err = s.string()
				default:
					err = s.skip()
				}
				return err
			})
		case "_tar-zst":
			l.tarball, err = s.tarball()
		default:
			err = s.skip()
		}
		return err
	})
	if err != nil {
		return err
	}
	if !l.metadata.told {
		l.metadata = legacy
	}
	return r.add(&l)
}

// yanked reads a boolean, or the reason as a string.
func (s *scanner) yanked() (yanked bool, reason string, err error) {
	if s.peek() == 't' {
		return true, "", s.skip()
	}
	reason, err = s.string()
	return reason != "", reason, err
}

// digest reads a boolean, or an object of hashes; what is neither tells nothing.
func (s *scanner) digest() (digest, error) {
	switch c := s.peek(); c {
	case '{':
		sum, err := s.sha256()
		return digest{told: true, there: true, sha256: sum}, err
	case 't', 'f':
		return digest{told: true, there: c == 't'}, s.skip()
	}
	return digest{}, s.skip()
}

// sha256 picks one hash from an object of them.
func (s *scanner) sha256() (sum string, err error) {
	err = s.object(func(key string) (err error) {
		if key != "sha256" {
			return s.skip()
		}
		sum, err = s.string()
		return err
	})
	return sum, err
}

// tarball reads what is said of a wheel's tarball.
func (s *scanner) tarball() (t dist.Tarball, err error) {
	err = s.object(func(key string) (err error) {
		switch key {
		case "sha256":
			t.SHA256, err = s.string()
		case "size":
			t.Size, err = s.int()
		default:
			err = s.skip()
		}
		return err
	})
	return t, err
}

// The form in which pages are written, keys in the order of the specification.
type (
	jsonMeta struct {
		APIVersion string   `json:"api-version"`
		Tracks     []string `json:"tracks,omitempty"`
	}
	jsonStatus struct {
		Status string `json:"status"`
		Reason string `json:"reason,omitempty"`
	}
	jsonHashes struct {
		SHA256 string `json:"sha256,omitempty"`
	}
	jsonFile struct {
		Filename         string     `json:"filename"`
		URL              string     `json:"url"`
		Hashes           jsonHashes `json:"hashes"`
		RequiresPython   string     `json:"requires-python,omitempty"`
		Size             int64      `json:"size,omitempty"`
		UploadTime       string     `json:"upload-time,omitempty"`
		Yanked           any        `json:"yanked,omitempty"`
		CoreMetadata     any        `json:"core-metadata,omitempty"`
		DistInfoMetadata any        `json:"data-dist-info-metadata,omitempty"`
		Provenance       string     `json:"provenance,omitempty"`
		Build            *jsonBuild `json:"_build,omitempty"`
		Tarball          *jsonTar   `json:"_tar-zst,omitempty"`
	}
	jsonTar struct {
		SHA256 string `json:"sha256"`
		Size   int64  `json:"size"`
	}
	jsonBuild struct {
		From string `json:"from"`
		Key  string `json:"key"`
	}
	jsonProject struct {
		Meta       jsonMeta    `json:"meta"`
		Name       dist.Name   `json:"name"`
		Status     *jsonStatus `json:"project-status,omitempty"`
		Alternates []string    `json:"alternate-locations,omitempty"`
		Versions   []string    `json:"versions"`
		Files      []jsonFile  `json:"files"`
	}
	jsonName struct {
		Name dist.Name `json:"name"`
	}
	jsonProjects struct {
		Meta     jsonMeta   `json:"meta"`
		Projects []jsonName `json:"projects"`
	}
)

// timeLayout is PEP 700's.
const timeLayout = "2006-01-02T15:04:05.000000Z"

func renderProjectJSON(p *Project) ([]byte, error) {
	page := jsonProject{
		Meta:       jsonMeta{APIVersion: apiVersion, Tracks: p.Tracks},
		Name:       p.Name,
		Alternates: p.Alternates,
		Versions:   versions(p.Files),
		Files:      make([]jsonFile, len(p.Files)),
	}
	if p.Status != "" {
		page.Status = &jsonStatus{p.Status, p.StatusReason}
	}
	for i := range p.Files {
		page.Files[i] = fileJSON(&p.Files[i])
	}
	return marshal(page)
}

func fileJSON(f *dist.File) jsonFile {
	j := jsonFile{
		Filename:       f.Filename,
		URL:            f.URL,
		Hashes:         jsonHashes{f.SHA256},
		RequiresPython: f.RequiresPython.String(),
		Size:           f.Size,
		Provenance:     f.Provenance,
	}
	if !f.UploadTime.IsZero() {
		j.UploadTime = f.UploadTime.UTC().Format(timeLayout)
	}
	if f.BuildKey != "" {
		j.Build = &jsonBuild{f.BuiltFrom, f.BuildKey}
	}
	if f.Tarball.SHA256 != "" {
		j.Tarball = &jsonTar{f.Tarball.SHA256, f.Tarball.Size}
	}
	switch {
	case f.Yanked && f.YankedReason != "":
		j.Yanked = f.YankedReason
	case f.Yanked:
		j.Yanked = true
	}
	switch {
	case f.HasMetadata && f.MetadataSHA256 != "":
		j.CoreMetadata = jsonHashes{f.MetadataSHA256}
	case f.HasMetadata:
		j.CoreMetadata = true
	}
	// Under the key's old name, dist-info-metadata, a pip from before 23.1 fails (PEP 714); the default index has this one.
	j.DistInfoMetadata = j.CoreMetadata
	return j
}

// versions lists the versions of files, ascending, each once.
func versions(files []dist.File) []string {
	byName := map[string]version.Version{}
	for i := range files {
		byName[files[i].Version.String()] = files[i].Version
	}
	names := slices.AppendSeq(make([]string, 0, len(byName)), maps.Keys(byName))
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(byName[a].Compare(byName[b]), strings.Compare(a, b))
	})
	return names
}

func renderProjectsJSON(names []dist.Name) ([]byte, error) {
	list := jsonProjects{Meta: jsonMeta{APIVersion: apiVersion}, Projects: make([]jsonName, len(names))}
	for i, name := range names {
		list.Projects[i].Name = name
	}
	return marshal(list)
}

// marshal writes JSON with <, > and & as they are: it is not read as HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
