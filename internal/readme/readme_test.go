package readme

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/net/html"
)

func TestMarkdown(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"# One\n### Two\n## Three\n#### Four":                  "<h3>One</h3>\n<h4>Two</h4>\n<h4>Three</h4>\n<h5>Four</h5>\n",
		"#\n\n# \n\n### Three":                                 "\n\n<h3>Three</h3>\n",
		"*a* **b** ~~c~~ `d`":                                  "<p><em>a</em> <strong>b</strong> <del>c</del> <code>d</code></p>\n",
		"```python\nx < 1\n```":                                "<pre tabindex=\"0\"><code>x &lt; 1\n</code></pre>\n",
		"7. a\n8. b":                                           "<ol start=\"7\">\n<li>a</li>\n<li>b</li>\n</ol>\n",
		"a  \nb\n***":                                          "<p>a<br>\nb</p>\n<hr>\n",
		"[a](https://example.com/?a=1&b=2)":                    `<p><a href="https://example.com/?a=1&amp;b=2" rel="nofollow noopener">a</a></p>` + "\n",
		"see https://example.com/x.":                           `<p>see <a href="https://example.com/x" rel="nofollow noopener">https://example.com/x</a>.</p>` + "\n",
		"<me@example.com>":                                     `<p><a href="mailto:me@example.com" rel="nofollow noopener">me@example.com</a></p>` + "\n",
		"[](https://example.com)":                              `<p><a href="https://example.com" rel="nofollow noopener">https://example.com</a></p>` + "\n",
		"![logo](https://example.com/a.png)":                   `<p><a href="https://example.com/a.png" rel="nofollow noopener">logo</a></p>` + "\n",
		"![](docs/logo.png)":                                   "<p>image</p>\n",
		"[![CI](https://a.example/b.svg)](https://c.example/)": `<p><a href="https://c.example/" rel="nofollow noopener">CI</a></p>` + "\n",
		"[a](docs/a.md) [b](#b) [c](//x.example)":              "<p>a b c</p>\n",
		"[a](https://user:password@example.com)":               "<p>a</p>\n",
		"[a](javascript:alert(1)) [b](DATA:text/html,x)":       "<p>a b</p>\n",
		"[a](java&#x0a;script:alert(1))":                       "<p>a</p>\n",
		"[a](https:evil) [b](https:///evil) [c](ftp://x/y)":    "<p>a b c</p>\n",
		"| a | |\n|:-:|--|\n| 1 | 2 |": "<div tabindex=\"0\"><table>\n<thead>\n<tr>\n<th align=\"center\">a</th>\n<td></td>\n</tr>\n</thead>\n" +
			"<tbody>\n<tr>\n<td align=\"center\">1</td>\n<td>2</td>\n</tr>\n</tbody>\n</table></div>\n",
		"<p align=center><b>A &amp; B</b></p>\n":                      "<p>A &amp; B</p>\n",
		"<script>\nalert(1)\n</script>\n\nx":                          "<p>x</p>\n",
		"a <b onclick=x>b</b> <!-- c --> <img src=x onerror=y>":       "<p>a b  </p>\n",
		"<style>*{display:none}</style>":                              "",
		"<div id=main class=x style='position:fixed'>\n*a*\n</div>\n": "<p>*a*</p>\n",
	} {
		r := Render(source, "text/markdown; charset=UTF-8; variant=GFM", MaxSource)
		if string(r.HTML) != want || r.Text != "" && want != "" {
			t.Errorf("%q:\n got %q\nwant %q", source, r.HTML, want)
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for _, contentType := range []string{"", "text/x-rst", "text/plain", "text/markdown2", "text/html", "nonsense;;", "\x00"} {
		r := Render("*a*\r\n<b>\x00\u202eb", contentType, MaxSource)
		if r.HTML != "" || r.Text != "*a*\n<b>b" || r.Cut {
			t.Errorf("%q: %+v", contentType, r)
		}
	}
	if r := Render(" \n", "text/markdown", MaxSource); r.HTML != "" {
		t.Errorf("nothing: %+v", r)
	}
	long := strings.Repeat(strings.Repeat("ä", 499)+"\n", 200)
	if r := Render(long, "text/plain", MaxSource); !r.Cut || len(r.Text) > MaxSource || !strings.HasSuffix(r.Text, "ä") || !utf8.ValidString(r.Text) {
		t.Errorf("cut to %d bytes, %v", len(r.Text), r.Cut)
	}
	if r := Render("one\ntwo\nthree", "text/plain", 10); !r.Cut || r.Text != "one\ntwo" {
		t.Errorf("cut to 10: %+v", r)
	}
	if r := Render("x"+strings.Repeat("ä", MaxSource), "text/plain", MaxSource); !r.Cut || !strings.HasSuffix(r.Text, "ää") {
		t.Errorf("cut within a character: %q", r.Text[len(r.Text)-4:])
	}
}

// bombs are small, and make parsers of Markdown work for minutes or fill the memory.
func bombs() map[string]string {
	repeat := func(s string) string { return strings.Repeat(s, MaxSource/len(s)) }
	var steps strings.Builder
	for i := 0; steps.Len() < MaxSource; i++ {
		steps.WriteString(strings.Repeat("  ", i) + "- a\n")
	}
	all := map[string]string{
		"steps": steps.String(), "lazy": strings.Repeat("> ", 10000) + "\n" + repeat("a\n"),
		"wide table": repeat("a|") + "\n" + repeat("-|") + "\n" + repeat("|\n"),
		"tall table": "a|b\n-|-\n" + repeat("a|b\n"), "parentheses": "[a](" + repeat("("),
		"table of rows without cells": strings.Repeat("a|", 1000) + "\n" + strings.Repeat("-|", 1000) + "\n" + repeat("|\n"),
	}
	for _, s := range []string{
		"> ", ">", "* ", "1. ", "> - ", "[", "[a](", "![", "[](", "[a](<b", "*a_", "**a*", "`a``", "&", "&amp;", "<a ", "<!--", "<?", "<!A", "<![CDATA[", "~~a", "http://a.",
		"www.", "a@", "[a]: b\n", "[a]: b \"\n", "- a\n  ", "a\n", "_", "a_", "*", "# a\n", "\\", "<", "~", "```\n", "\x00", "a\n=", "<div>\n", "\u202e", "|", "\n|", "!\\[", "***a** ", "a**b",
	} {
		all[s] = repeat(s)
	}
	return all
}

func TestBombs(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	t.Parallel()
	for name, source := range bombs() {
		start := time.Now()
		r := Render(source, "text/markdown", MaxSource)
		if took := time.Since(start); took > time.Minute { // some 0.1 s on an idle machine without the race detector
			t.Errorf("%q takes %v", name, took)
		}
		if err := judge(r); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// judge tells what is wrong with a Readme: it reads the HTML as another program would.
func judge(r Readme) error {
	if len(r.HTML) > maxOutput+maxOutput/8 || len(r.Text) > MaxSource || r.HTML != "" && r.Text != "" {
		return fmt.Errorf("%d bytes of HTML, %d of text", len(r.HTML), len(r.Text))
	}
	if strings.ContainsAny(string(r.HTML)+r.Text, "\x00\r\u202e\u2066") {
		return fmt.Errorf("characters that are not seen")
	}
	allowed := map[string][]string{"a": {"href", "rel"}, "ol": {"start"}, "th": {"align"}, "td": {"align"}, "pre": {"tabindex"}, "div": {"tabindex"}}
	for _, name := range strings.Fields("p blockquote code em strong del ul li table thead tbody tr br hr h3 h4 h5 h6") {
		allowed[name] = nil
	}
	var open []string
	for tokens := html.NewTokenizer(strings.NewReader(string(r.HTML))); ; {
		switch tokens.Next() {
		case html.ErrorToken:
			if tokens.Err() != io.EOF || len(open) > 0 {
				return fmt.Errorf("ends with %v open, %v", open, tokens.Err())
			}
			return nil
		case html.CommentToken, html.DoctypeToken:
			return fmt.Errorf("a comment: %s", tokens.Raw())
		case html.StartTagToken, html.SelfClosingTagToken:
			t := tokens.Token()
			attributes, ok := allowed[t.Data]
			if !ok {
				return fmt.Errorf("<%s>", t.Data)
			}
			if t.Data == "a" && slices.Contains(open, "a") {
				return fmt.Errorf("a link within a link")
			}
			for _, a := range t.Attr {
				if !slices.Contains(attributes, a.Key) {
					return fmt.Errorf("<%s %s>", t.Data, a.Key)
				}
				if a.Key == "href" && !strings.HasPrefix(a.Val, "https://") && !strings.HasPrefix(a.Val, "http://") && !strings.HasPrefix(a.Val, "mailto:") {
					return fmt.Errorf("a link to %q", a.Val)
				}
			}
			if t.Data != "br" && t.Data != "hr" {
				open = append(open, t.Data)
			}
		case html.EndTagToken:
			t := tokens.Token()
			if len(open) == 0 || open[len(open)-1] != t.Data {
				return fmt.Errorf("</%s> in %v", t.Data, open)
			}
			open = open[:len(open)-1]
		}
	}
}

// FuzzRender: whatever a description is, what is made of it is safe and bounded.
func FuzzRender(f *testing.F) {
	f.Fuzz(func(t *testing.T, s string) {
		if err := judge(Render(s, "text/markdown", MaxSource)); err != nil {
			t.Errorf("%q: %v", s, err)
		}
		// The filter alone must hold, too.
		fragment, err := filter(strings.NewReader(s))
		if err != nil {
			return
		}
		if err := judge(Readme{HTML: fragment}); err != nil && !strings.Contains(err.Error(), "characters") {
			t.Errorf("filter of %q: %q: %v", s, fragment, err)
		}
	})
}
