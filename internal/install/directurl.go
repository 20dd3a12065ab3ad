package install

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
)

// DirectURL is direct_url.json (PEP 610): where a distribution came from that
// no index gave. Exactly one of Archive, Dir and VCS is set.
type DirectURL struct {
	URL          string       `json:"url"` // without credentials
	Subdirectory string       `json:"subdirectory,omitempty"`
	Archive      *ArchiveInfo `json:"archive_info,omitempty"`
	Dir          *DirInfo     `json:"dir_info,omitempty"`
	VCS          *VCSInfo     `json:"vcs_info,omitempty"`
}

// ArchiveInfo is an archive: hashes in hex by algorithm. UnmarshalJSON takes the
// old key "hash" ("sha256=ab") where there are no "hashes".
type ArchiveInfo struct {
	Hashes map[string]string `json:"hashes,omitempty"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *ArchiveInfo) UnmarshalJSON(b []byte) error {
	var v struct {
		Hash   string
		Hashes map[string]string
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	a.Hashes = nil
	if algorithm, digest, ok := strings.Cut(v.Hash, "="); ok {
		a.Hashes = map[string]string{algorithm: digest}
	}
	if len(v.Hashes) > 0 {
		a.Hashes = v.Hashes
	}
	return nil
}

// DirInfo is a local folder.
type DirInfo struct {
	Editable bool `json:"editable,omitempty"`
}

// VCSInfo is a repository at a commit.
type VCSInfo struct {
	VCS               string `json:"vcs"` // "git", "hg", "bzr", "svn"
	RequestedRevision string `json:"requested_revision,omitempty"`
	CommitID          string `json:"commit_id"`
}

const maxDirectURL = 1 << 20 // bytes of direct_url.json

// ParseDirectURL reads direct_url.json. As for pip, one that does not say
// exactly one of archive, folder and repository is an error; so are controls in its values.
func ParseDirectURL(b []byte) (*DirectURL, error) {
	if len(b) > maxDirectURL {
		return nil, fmt.Errorf("direct_url.json: more than %d bytes", maxDirectURL)
	}
	u := new(DirectURL)
	if err := json.Unmarshal(b, u); err != nil {
		return nil, fmt.Errorf("direct_url.json: %w", err)
	}
	if err := u.check(); err != nil {
		return nil, fmt.Errorf("direct_url.json: %w", err)
	}
	return u, nil
}

func (u *DirectURL) check() error {
	values := []string{u.URL, u.Subdirectory}
	kinds := 0
	if u.Archive != nil {
		kinds++
		for algorithm, digest := range u.Archive.Hashes {
			values = append(values, algorithm, digest)
		}
	}
	if u.Dir != nil {
		kinds++
	}
	if u.VCS != nil {
		kinds++
		values = append(values, u.VCS.VCS, u.VCS.CommitID, u.VCS.RequestedRevision)
		if u.VCS.VCS == "" || u.VCS.CommitID == "" {
			return errors.New("vcs_info lacks vcs or commit_id")
		}
	}
	if u.URL == "" || kinds != 1 {
		return errors.New("needs a url and one of archive_info, dir_info and vcs_info")
	}
	for _, v := range values {
		if strings.ContainsFunc(v, unicode.IsControl) {
			return fmt.Errorf("controls in %q", v)
		}
	}
	return nil
}

// Encode writes the JSON byte for byte as pip does: keys sorted, ASCII only,
// and the old key "hash" beside "hashes".
func (u DirectURL) Encode() []byte {
	object := map[string]any{"url": u.URL}
	if u.Subdirectory != "" {
		object["subdirectory"] = u.Subdirectory
	}
	switch {
	case u.Archive != nil:
		info := map[string]any{}
		if len(u.Archive.Hashes) > 0 {
			hashes := map[string]any{}
			for algorithm, digest := range u.Archive.Hashes {
				hashes[algorithm] = digest
			}
			first := slices.Min(slices.Collect(maps.Keys(u.Archive.Hashes)))
			info["hashes"], info["hash"] = hashes, first+"="+u.Archive.Hashes[first]
		}
		object["archive_info"] = info
	case u.Dir != nil:
		info := map[string]any{}
		if u.Dir.Editable {
			info["editable"] = true
		}
		object["dir_info"] = info
	case u.VCS != nil:
		info := map[string]any{"vcs": u.VCS.VCS, "commit_id": u.VCS.CommitID}
		if u.VCS.RequestedRevision != "" {
			info["requested_revision"] = u.VCS.RequestedRevision
		}
		object["vcs_info"] = info
	}
	return appendJSON(nil, object)
}

// appendJSON writes what Python's json.dumps(v, sort_keys=True) writes.
func appendJSON(b []byte, v any) []byte {
	switch v := v.(type) {
	case bool:
		return fmt.Append(b, v)
	case string:
		return appendJSONString(b, v)
	case map[string]any:
		b = append(b, '{')
		for i, key := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = append(appendJSONString(b, key), ": "...)
			b = appendJSON(b, v[key])
		}
		return append(b, '}')
	}
	panic(fmt.Sprintf("direct_url.json holds no %T", v))
}

var jsonShort = map[rune]byte{'"': '"', '\\': '\\', '\n': 'n', '\r': 'r', '\t': 't', '\b': 'b', '\f': 'f'}

func appendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		if letter, ok := jsonShort[r]; ok {
			b = append(b, '\\', letter)
		} else if r >= ' ' && r <= '~' {
			b = append(b, byte(r))
		} else {
			for _, unit := range utf16.Encode([]rune{r}) {
				b = fmt.Appendf(b, "\\u%04x", unit)
			}
		}
	}
	return append(b, '"')
}
