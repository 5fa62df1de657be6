// SPDX-License-Identifier: MIT

package repo_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	mdLink     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	mdFence    = regexp.MustCompile("(?ms)^```.*?^```")
	makeCall   = regexp.MustCompile("`make ([a-z0-9-]+)[` ]")
	makeTarget = regexp.MustCompile(`(?m)^([a-z0-9-]+):(?:[^=]|$)`)
	testName   = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]*)(…?)`")
	testFunc   = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]*)\(`)
	notInID    = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestDocumentLinks: a link within the repository leads to a file, and its fragment to a heading.
func TestDocumentLinks(t *testing.T) {
	t.Parallel()
	for _, doc := range documents(t) {
		for _, m := range mdLink.FindAllStringSubmatch(mdFence.ReplaceAllString(read(t, doc), ""), -1) {
			target, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			path := doc
			if target != "" {
				path = filepath.Join(filepath.Dir(doc), filepath.FromSlash(target))
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s links to %s, which is not there", doc, m[1])
				continue
			}
			if fragment != "" && strings.HasSuffix(path, ".md") && !slices.Contains(headings(read(t, path)), fragment) {
				t.Errorf("%s links to %s: there is no such heading", doc, m[1])
			}
		}
	}
}

// headings returns the fragments that a document's headings can be linked by.
func headings(text string) []string {
	var ids []string
	for _, line := range strings.Split(mdFence.ReplaceAllString(text, ""), "\n") {
		if title := strings.TrimLeft(line, "#"); title != line && strings.HasPrefix(title, " ") {
			id := notInID.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
			ids = append(ids, strings.ReplaceAll(id, " ", "-"))
		}
	}
	return ids
}

// TestMakeTargets: what the documents tell to run with make can be run.
func TestMakeTargets(t *testing.T) {
	t.Parallel()
	var targets []string
	for _, m := range makeTarget.FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets = append(targets, m[1])
	}
	for _, doc := range documents(t) {
		for _, m := range makeCall.FindAllStringSubmatch(read(t, doc), -1) {
			if !slices.Contains(targets, m[1]) {
				t.Errorf("%s tells to run make %s: the Makefile has no such target", doc, m[1])
			}
		}
	}
}

// TestTestNames: a test that a document calls upon exists. A name that ends in … stands for all that begin so.
func TestTestNames(t *testing.T) {
	t.Parallel()
	var names []string
	for _, path := range files(t, "_test.go") {
		for _, m := range testFunc.FindAllStringSubmatch(read(t, path), -1) {
			names = append(names, m[1])
		}
	}
	for _, doc := range documents(t) {
		for _, m := range testName.FindAllStringSubmatch(read(t, doc), -1) {
			if !slices.ContainsFunc(names, func(n string) bool { return n == m[1] || m[2] != "" && strings.HasPrefix(n, m[1]) }) {
				t.Errorf("%s calls upon %s: there is no such test", doc, m[1])
			}
		}
	}
}

// documents returns our own Markdown files: the licence texts of others are not ours.
func documents(t *testing.T) []string {
	return slices.DeleteFunc(files(t, ".md"), func(path string) bool { return path == "THIRD_PARTY_NOTICES.md" })
}
