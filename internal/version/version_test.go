package version

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOrder(t *testing.T) {
	t.Parallel()
	// PEP 440's own examples, and what lies around them.
	sorted := strings.Fields(`0.dev0 0 0.0.1 1.dev0 1.0.dev456 1.0a0.dev1 1.0a1 1.0a2.dev456 1.0a12.dev456 1.0a12
		1.0b1.dev456 1.0b2 1.0b2.post345.dev456 1.0b2.post345 1.0rc1.dev456 1.0rc1 1.0rc2 1.0 1.0+0a 1.0+00b 1.0+abc 1.0+abc.5
		1.0+abc.7 1.0+abcd 1.0+5 1.0+5.a 1.0+10 1.0.post0.dev0 1.0.post456.dev34 1.0.post456 1.0.0.0.0.1.dev1 1.0.1 1.1.dev1
		1.1 1.223 1.224 1.65536 1.18446744073709551615 1.18446744073709551616 1.100000000000000000000 2 1!0.1`)
	slices.SortFunc(sorted[18:20], strings.Compare) // labels of letters compare as text
	var versions []Version
	for _, s := range sorted {
		versions = append(versions, MustParse(s))
	}
	for i, v := range versions {
		for j, w := range versions {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := v.Compare(w); got != want {
				t.Errorf("%v.Compare(%v) = %d, want %d", v, w, got, want)
			}
		}
		if (Version{}).Compare(v) != -1 {
			t.Errorf("the zero version is not below %v", v)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	v := MustParse(" V1!3.011.0_Beta-2-4.DEV+Ubuntu_01.a ")
	if got, want := v.String(), "1!3.11.0b2.post4.dev0+ubuntu.1.a"; got != want {
		t.Errorf("String = %q, want %q", got, want)
	}
	if diff := cmp.Diff([]int{3, 11, 0}, v.Release()); diff != "" {
		t.Error(diff)
	}
	if got := MustParse("1.9223372036854775808").Release()[1]; got != math.MaxInt {
		t.Errorf("a huge number is given as %d", got)
	}
	if got, want := v.Public().String(), "1!3.11.0b2.post4.dev0"; got != want {
		t.Errorf("Public = %q, want %q", got, want)
	}
	if got, want := v.Local(), "ubuntu.1.a"; got != want {
		t.Errorf("Local = %q, want %q", got, want)
	}
	if !v.IsPrerelease() || !v.IsPostrelease() || v.IsZero() {
		t.Error("wrong kind")
	}
	digits := strings.Repeat("1", maxLength-len("a0.post0.dev0"))
	if v, err := Parse(digits + "crdev"); err == nil {
		t.Errorf("no error for a version beyond the limit: %d bytes", len(v.String()))
	}
	if _, err := Parse(digits + "ardev"); err != nil {
		t.Error(err)
	}
}

func TestZeroVersion(t *testing.T) {
	t.Parallel()
	var v Version
	if v.String() != "" || v.Key() != "" || !v.IsZero() || v.Release() != nil || v.Local() != "" || !v.Public().IsZero() ||
		v.IsPrerelease() || v.IsPostrelease() || All().Contains(v) || !Exactly(v).IsEmpty() {
		t.Error("the zero version is something")
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	type both struct {
		V Version
		S Specifiers
	}
	for _, want := range []both{{}, {MustParse("1.0+a"), mustParseSpecifiers(t, ">=1.0,<2")}} {
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got both
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	var v Version
	if err := v.UnmarshalText([]byte("one")); err == nil {
		t.Error("no error for what is no version")
	}
	var s Specifiers
	if err := s.UnmarshalText([]byte("one")); err == nil {
		t.Error("no error for what is no specifier")
	}
}
