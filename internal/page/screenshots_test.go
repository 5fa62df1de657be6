// SPDX-License-Identifier: MIT

package page_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestScreenshots makes the pictures of the documents, of the demo model on six nodes. It needs a folder to put them in: `make
// screenshots` names it.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("SHARDNODE_SCREENSHOTS")
	if dir == "" {
		t.Skip("SHARDNODE_SCREENSHOTS is not set")
	}
	var nodes []*member
	for _, layers := range []string{"0-7", "8-15", "16-23", "24-31", "4-15", "20-31"} {
		nodes = append(nodes, join(t, demo(), layers, nodes[:min(1, len(nodes))], nil))
	}
	url, _ := serve(t, nodes, nil)
	picture := func(b *tab, name string) {
		t.Helper()
		var raw []byte
		if b.eval("document.body.dataset.view") != "chat" {
			b.eval("document.activeElement.blur()") // a ring around the whole view says nothing in a picture
		}
		b.run(chromedp.CaptureScreenshot(&raw))
		if err := os.WriteFile(filepath.Join(dir, name+".png"), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	answer := func(b *tab, question string) {
		b.Helper()
		b.write(question)
		b.press("Enter")
		b.says(".user:nth-last-child(2)", question)
		b.until("the answer is complete", "document.querySelector('.assistant:last-child[aria-busy=false] .facts')")
		b.until("the waterfall is drawn", "document.querySelector('#trace').dataset.request === document.querySelector('.assistant:last-child').dataset.request")
	}
	var b *tab
	for _, view := range []struct {
		name, scheme string
		size         size
	}{{"desktop", "light", desktop}, {"dark", "dark", desktop}, {"phone", "light", phone}} {
		b = open(t, url, view.size, view.scheme)
		b.says("#health", "6 nodes")
		b.until("ready", "document.querySelector('#health').dataset.state === 'ready'")
		answer(b, "What is a peer-to-peer network?")
		answer(b, "What is artificial intelligence?")
		picture(b, view.name)
		if view.name == "dark" {
			continue
		}
		suffix := ""
		if view.name == "phone" {
			suffix = "-phone"
		}
		b.show("request")
		picture(b, "waterfall"+suffix)
		b.show("swarm")
		picture(b, "swarm"+suffix)
	}
	b = open(t, url, desktop, "dark")
	b.says("#health", "ready, 6 nodes")
	nodes[4].stop()
	nodes[1].stop()
	b.says("#health", "missing")
	b.show("swarm")
	picture(b, "swarm-gap")
}
