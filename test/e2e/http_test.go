// SPDX-License-Identifier: MIT

//go:build unix

package e2e

import (
	"io"
	"net/http"
	"os"
	"regexp"

	"github.com/rogpeppe/go-internal/testscript"
)

// logged returns the URL that the program of that name logs.
func logged(ts *testscript.TestScript, name string) string {
	log, err := os.ReadFile(ts.MkAbs(name + ".log"))
	ts.Check(err)
	url := regexp.MustCompile(`"url": "(http://[^/"]+)`).FindSubmatch(log)
	if url == nil {
		ts.Fatalf("%s has logged no URL", name)
	}
	return string(url[1])
}

// fetch NAME PATH
// It asks the HTTP server that the program of that name logs the address of, and prints status and body.
func cmdFetch(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "fetch NAME PATH")
	client := http.Client{Timeout: patience}
	r, err := client.Get(logged(ts, args[0]) + args[1])
	ts.Check(err)
	show(ts, r)
}

// show prints an answer's status and body.
func show(ts *testscript.TestScript, r *http.Response) {
	defer r.Body.Close()
	answer, err := io.ReadAll(r.Body)
	ts.Check(err)
	_, err = ts.Stdout().Write([]byte(r.Status + "\n" + string(answer)))
	ts.Check(err)
}

// post NAME PATH FILE
// It sends the file to the HTTP server that the program of that name logs the address of, and prints status and body.
func cmdPost(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "post NAME PATH FILE")
	body, err := os.Open(ts.MkAbs(args[2]))
	ts.Check(err)
	defer body.Close()
	client := http.Client{Timeout: patience}
	r, err := client.Post(logged(ts, args[0])+args[1], "application/json", body)
	ts.Check(err)
	show(ts, r)
}
