// Package readme makes what a page can show of a project's description.
//
// A description is foreign, and whoever wrote it may be hostile. Markdown becomes
// HTML in two steps that do not trust each other: a parser that lets no HTML
// through, and a filter that writes a page's fragment anew with nothing in it but
// the elements, attributes and links that are listed in filter.go. So a fragment
// loads nothing, runs nothing, names no id or class, and is closed where it ends. Everything
// else, reStructuredText too, is text.
//
// Limits: MaxSource bytes are read, 512 KiB are written. Markdown that is nested more than
// 32 deep, or has more than 4,000 marks in one paragraph (parsers of Markdown take
// quadratic time over those), is given as text.
package readme

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"mime"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/util"
	"golang.org/x/net/html"
)

// MaxSource is how many bytes of a description are read at most.
const MaxSource = 128 << 10

const (
	maxOutput = 512 << 10 // bytes
	maxDepth  = 32        // of what is nested
	maxMarks  = 4000      // of one paragraph
)

// Readme is a description that can be shown. The zero value is an empty one.
type Readme struct {
	HTML template.HTML // safe within any page; "" where it is not Markdown
	Text string        // the description, where HTML is ""
	Cut  bool          // it goes on, but was too long
}

// Render makes a Readme of a description and its Description-Content-Type. Of a
// description over limit bytes, which is MaxSource at most, it takes the lines that fit.
func Render(description, contentType string, limit int) Readme {
	var r Readme
	if limit = min(limit, MaxSource); len(description) > limit {
		description, r.Cut = cut(description, limit), true
	}
	description = Clean(description)
	kind, _, err := mime.ParseMediaType(contentType)
	if err == nil && kind == "text/markdown" && strings.TrimSpace(description) != "" {
		if r.HTML, err = markdown(description); err == nil {
			return r
		}
	}
	r.HTML, r.Text = "", description
	return r
}

// cut gives the whole lines within the first limit bytes of s.
func cut(s string, limit int) string {
	s = s[:limit]
	if end := strings.LastIndexByte(s, '\n'); end > 0 {
		return s[:end]
	}
	for end := len(s); end > len(s)-utf8.UTFMax; end-- {
		if r, size := utf8.DecodeLastRuneInString(s[:end]); r != utf8.RuneError || size > 1 {
			return s[:end]
		}
	}
	return s
}

// Clean gives foreign text without the characters that are not seen but change
// what is: controls but for line ends and tabs, and those that turn the direction
// of writing. Lines end with \n.
func Clean(s string) string {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return r
		case unicode.IsControl(r), '\u202a' <= r && r <= '\u202e', '\u2066' <= r && r <= '\u2069', r == '\u200e', r == '\u200f', r == '\ufeff':
			return -1
		}
		return r
	}, s)
}

var (
	errComplex = errors.New("readme: nested too deeply")
	errTooLong = errors.New("readme: too long as HTML")
)

func markdown(source string) (safe template.HTML, err error) {
	if isComplex(source) {
		return "", errComplex
	}
	defer func() { // foreign text may find what its parser's tests did not
		if p := recover(); p != nil {
			err = fmt.Errorf("readme: %v", p)
		}
	}()
	var b bytes.Buffer
	if err := parser.Convert([]byte(source), &b); err != nil {
		return "", err
	}
	return filter(&b)
}

// isComplex tells whether parsing s could take too long.
func isComplex(s string) bool {
	marks := 0
	for line := range strings.SplitSeq(s, "\n") {
		if strings.TrimSpace(line) == "" {
			marks = 0
			continue
		}
		for i := range len(line) {
			switch line[i] {
			case '[', ']', '(', '*', '_', '~', '`', '<', '!', '&', '|':
				marks++
			}
		}
		if marks > maxMarks || nested(line) > maxDepth {
			return true
		}
	}
	return false
}

// nested counts the quotes and lists that a line may begin or lie within.
func nested(line string) (depth int) {
	for i := range len(line) {
		if i == 2*maxDepth && strings.TrimLeft(line[:i], " \t") == "" {
			depth += maxDepth // as if each two columns were a list's, should one begin here
		}
		switch c := line[i]; {
		case c == '>', c == '-', c == '*', c == '+', c == '.', c == ')':
			next := i + 1
			if c == '>' || next < len(line) && (line[next] == ' ' || line[next] == '\t') {
				depth++
			}
		case c != ' ' && c != '\t' && (c < '0' || '9' < c):
			return depth
		}
	}
	return depth
}

// parser lets no HTML through. It is safe for concurrent use.
var parser = goldmark.New(
	goldmark.WithExtensions(
		extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute)),
		extension.Strikethrough,
		extension.NewLinkify(extension.WithLinkifyAllowedProtocols([]string{"http:", "https:"})),
	),
	goldmark.WithRendererOptions(renderer.WithNodeRenderers(util.Prioritized(plainHTML{}, 100))),
)

// plainHTML renders the HTML that stands in Markdown: of a block its text, of tags within text nothing.
type plainHTML struct{}

func (plainHTML) RegisterFuncs(r renderer.NodeRendererFuncRegisterer) {
	r.Register(ast.KindRawHTML, func(util.BufWriter, []byte, ast.Node, bool) (ast.WalkStatus, error) {
		return ast.WalkSkipChildren, nil
	})
	r.Register(ast.KindHTMLBlock, func(w util.BufWriter, source []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		block := node.(*ast.HTMLBlock)
		raw := block.Lines().Value(source)
		if block.HasClosure() {
			raw = append(bytes.Clone(raw), block.ClosureLine.Value(source)...)
		}
		if text := textOf(raw); text != "" {
			_, _ = w.WriteString("<p>" + html.EscapeString(text) + "</p>\n")
		}
		return ast.WalkContinue, nil
	})
}

// textOf gives what stands between the tags of HTML.
func textOf(raw []byte) string {
	var b strings.Builder
	tokens := html.NewTokenizer(bytes.NewReader(raw))
	for hidden := ""; ; {
		switch tokens.Next() {
		case html.ErrorToken:
			return strings.Join(strings.Fields(b.String()), " ")
		case html.TextToken:
			if hidden == "" {
				b.Write(tokens.Text())
			}
		case html.StartTagToken:
			if name, _ := tokens.TagName(); string(name) == "script" || string(name) == "style" {
				hidden = string(name)
			}
		case html.EndTagToken:
			if name, _ := tokens.TagName(); string(name) == hidden {
				hidden = ""
			}
		}
	}
}
