package tag

import (
	"slices"
	"testing"
)

// FuzzTag: every member of a set that Parse accepts is a tag by itself, and
// the members are sorted and different.
func FuzzTag(f *testing.F) {
	f.Fuzz(func(t *testing.T, s string) {
		tags, err := Parse(s)
		if err != nil {
			return
		}
		if len(tags) == 0 || len(tags) > maxTags {
			t.Errorf("%q: %d tags", s, len(tags))
		}
		for i, tag := range tags {
			again, err := Parse(tag.String())
			if err != nil || !slices.Equal(again, tags[i:i+1]) {
				t.Errorf("%q: member %q gives %v, %v", s, tag, again, err)
			}
			if i > 0 && tags[i-1].Compare(tag) >= 0 {
				t.Errorf("%q: %q stands before %q", s, tags[i-1], tag)
			}
		}
	})
}
