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

// post NAME PATH FILE
// It sends the file to the HTTP server that the program of that name logs the address of, and prints status and body.
func cmdPost(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "post NAME PATH FILE")
	log, err := os.ReadFile(ts.MkAbs(args[0] + ".log"))
	ts.Check(err)
	url := regexp.MustCompile(`"url": "(http://[^/"]+)`).FindSubmatch(log)
	if url == nil {
		ts.Fatalf("%s has logged no URL", args[0])
	}
	body, err := os.Open(ts.MkAbs(args[2]))
	ts.Check(err)
	defer body.Close()
	client := http.Client{Timeout: patience}
	r, err := client.Post(string(url[1])+args[1], "application/json", body)
	ts.Check(err)
	defer r.Body.Close()
	answer, err := io.ReadAll(r.Body)
	ts.Check(err)
	_, err = ts.Stdout().Write([]byte(r.Status + "\n" + string(answer)))
	ts.Check(err)
}
