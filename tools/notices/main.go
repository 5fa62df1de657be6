// SPDX-License-Identifier: MIT

// Command notices writes THIRD_PARTY_NOTICES.md: the licence texts of the Go standard library and of every module that is linked into
// our programs, each text once. Run it from the repository's root; `make notices` does.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// platforms are all we release for: their union is what we ship.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/arm64", "windows/amd64"}

type module struct {
	Path, Version, Dir string
	Main               bool

	packages map[string]bool // directories of the packages that we link
}

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "notices:", err)
		os.Exit(1)
	}
}

func run(w io.Writer) error {
	modules := map[string]*module{}
	for _, p := range platforms {
		if err := linked(p, modules); err != nil {
			return err
		}
	}
	texts := map[string][]string{} // licence text → modules
	for _, m := range modules {
		text, err := m.licence()
		if err != nil {
			return fmt.Errorf("%s: %w", m.Path, err)
		}
		texts[text] = append(texts[text], m.Path+" "+m.Version)
	}
	text, err := goLicence()
	if err != nil {
		return fmt.Errorf("the Go standard library: %w", err)
	}
	texts[text] = append(texts[text], "Go standard library")
	var sections []string
	for text, users := range texts {
		slices.Sort(users)
		var b strings.Builder
		for _, u := range users {
			fmt.Fprintf(&b, "## %s\n", u)
		}
		fmt.Fprintf(&b, "\n```\n%s\n```\n", text)
		sections = append(sections, b.String())
	}
	slices.Sort(sections)
	fmt.Fprint(w, "# Third-party notices\n\nshardnode's programs contain the Go standard library and the modules below, each under the licence that follows its name. The\n"+
		"embedded model's notices are in models/NOTICE. Made by `make notices`.\n\n")
	_, err = io.WriteString(w, strings.Join(sections, "\n"))
	return err
}

// linked adds the modules that our programs link on a platform.
func linked(platform string, modules map[string]*module) error {
	goos, goarch, _ := strings.Cut(platform, "/")
	cmd := exec.Command("go", "list", "-deps", "-json=Dir,Module", "./cmd/...") //nolint:noctx // a developer's tool
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go list for %s: %w", platform, err)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg struct {
			Dir    string
			Module *module
		}
		if err := d.Decode(&pkg); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if pkg.Module == nil || pkg.Module.Main {
			continue
		}
		m := modules[pkg.Module.Path]
		if m == nil {
			m = pkg.Module
			m.packages = map[string]bool{}
			modules[m.Path] = m
		}
		m.packages[pkg.Dir] = true
	}
}

var licenceName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|copyright)([.-].*)?$`)

// licence joins a module's licence files: those of its root and those beside the packages we link, where code came from elsewhere.
func (m *module) licence() (string, error) {
	dirs := []string{m.Dir}
	for dir := range m.packages {
		for ; len(dir) > len(m.Dir); dir = filepath.Dir(dir) {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	var parts []string
	for _, dir := range slices.Compact(dirs) {
		texts, err := licences(dir)
		if err != nil {
			return "", err
		}
		for _, t := range texts {
			if !slices.Contains(parts, t) {
				parts = append(parts, t)
			}
		}
	}
	if len(parts) == 0 {
		return "", errors.New("no licence file")
	}
	return strings.Join(parts, "\n\n"), nil
}

// licences reads a directory's licence files.
func licences(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var texts []string
	for _, e := range entries {
		if e.IsDir() || !licenceName.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		text := strings.TrimSpace(strings.ReplaceAll(string(raw), "\r\n", "\n"))
		texts = append(texts, strings.ReplaceAll(text, "```", "'''"))
	}
	return texts, nil
}

// goLicence reads the licence of the Go toolchain at hand: its text is the same for all versions in use.
func goLicence() (string, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output() //nolint:noctx // a developer's tool
	if err != nil {
		return "", err
	}
	texts, err := licences(strings.TrimSpace(string(out)))
	if err == nil && len(texts) == 0 {
		err = errors.New("no licence file in GOROOT")
	}
	return strings.Join(texts, "\n\n"), err
}
