package version

import (
	"strings"
	"testing"
)

func TestSpecifiers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in, printed, pinned string
		prerelease          bool
	}{
		{in: " , "},
		{in: ">= 1.2, <2, !=1.5", printed: "!=1.5,<2,>=1.2"},
		{in: "==1.0,==1.0.0,==V1", printed: "==1.0", pinned: "1.0"},
		{in: "~=1.0,~=1.0.0,~=v1.0", printed: "~=1.0,~=1.0.0"},
		{in: "==1.*,==1.0.*,==1.*", printed: "==1.*,==1.0.*"},
		{in: ">=2.0rc1", printed: ">=2.0rc1", prerelease: true},
		{in: "!=2.0rc1", printed: "!=2.0rc1"},
		{in: "===1.0.dev1", printed: "===1.0.dev1", pinned: "1.0.dev1", prerelease: true},
		{in: "=== foo!", printed: "===foo!"},
	} {
		s := mustParseSpecifiers(t, test.in)
		if got := s.String(); got != test.printed {
			t.Errorf("%q prints as %q, want %q", test.in, got, test.printed)
		}
		if got := s.IsEmpty(); got != (test.printed == "") {
			t.Errorf("%q: IsEmpty = %v", test.in, got)
		}
		if got := s.NamesPrerelease(); got != test.prerelease {
			t.Errorf("%q: NamesPrerelease = %v", test.in, got)
		}
		if v, ok := s.Pinned(); v.String() != test.pinned || ok != (test.pinned != "") {
			t.Errorf("%q: Pinned = %q, %v, want %q", test.in, v, ok, test.pinned)
		}
	}
	for _, bad := range []string{"1.0", "=1.0", ">=1.0.*", "~=1", "<1+local", "==1.0a1.*", "===a b", "== 1.0 .*", strings.Repeat(">1,", 1001)} {
		if s, err := ParseSpecifiers(bad); err == nil {
			t.Errorf("ParseSpecifiers(%.20q) = %.20q, want an error", bad, s)
		}
	}
}
