// SPDX-License-Identifier: MIT

package page_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/chromedp"
)

// contrasts finds texts that are too faint on their ground: 4.5 to 1 is what the Web Content Accessibility Guidelines want.
const contrasts = `(() => {
	const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
	const rgba = (color) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
	const over = (top, ground) => { const a = top[3] / 255; return [0, 1, 2].map((i) => top[i] * a + ground[i] * (1 - a)).concat(255); };
	const light = (c) => { const [r, g, b] = c.slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const ground = (el) => el ? over(rgba(getComputedStyle(el).backgroundColor), ground(el.parentElement)) : rgba('Canvas');
	const faint = [];
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walk.nextNode()) {
		const el = walk.currentNode.parentElement, style = getComputedStyle(el);
		if (!walk.currentNode.data.trim() || !el.checkVisibility() || el.closest('.unseen, noscript, option') || style.fontSize === '0px') continue;
		const back = ground(el), front = over(rgba(style.color), back);
		const [a, b] = [light(front), light(back)].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
		if (ratio < 4.5) faint.push(ratio.toFixed(2) + ' ' + el.className + ': ' + walk.currentNode.data.trim().slice(0, 30));
	}
	return faint.join('\n');
})()`

// TestAccess: on a desk and on a phone, by day and by night, in each view: all that can be used has a name, texts can be read, and nothing
// is wider than the screen.
func TestAccess(t *testing.T) {
	t.Parallel()
	_, url, _ := swarm(t, nil)
	for _, s := range []size{desktop, phone} {
		for _, scheme := range []string{"light", "dark"} {
			b := open(t, url, s, scheme)
			b.settle(3)
			b.set("max_tokens", "30")
			b.write("Hi")
			b.press("Enter")
			b.answered(1)
			b.until("the waterfall is drawn", "document.querySelector('.columns')")
			b.eval("document.querySelector('.node button').click(); document.getElementById('settings').open = true")
			for _, view := range []string{"chat", "swarm", "request"} {
				where := fmt.Sprintf("%d pixels, %s, %s", s.width, scheme, view)
				b.show(view)
				if wide, _ := b.eval("document.documentElement.scrollWidth").(float64); int64(wide) > s.width {
					t.Errorf("%s: %v pixels wide", where, wide)
				}
				if faint := b.eval(contrasts); faint != "" {
					t.Errorf("%s: too faint:\n%v", where, faint)
				}
				for _, role := range b.nameless() {
					t.Errorf("%s: a %s has no name", where, role)
				}
			}
		}
	}
}

// nameless lists what can be used and has no name that is read out.
func (b *tab) nameless() (roles []string) {
	b.Helper()
	usable := map[string]bool{"button": true, "link": true, "textbox": true, "combobox": true, "slider": true, "spinbutton": true, "DisclosureTriangle": true, "dialog": true, "log": true, "table": true}
	var nodes []*accessibility.Node
	b.run(chromedp.ActionFunc(func(ctx context.Context) (err error) {
		nodes, err = accessibility.GetFullAXTree().Do(ctx)
		return err
	}))
	seen := 0
	for _, n := range nodes {
		if n.Ignored || n.Role == nil {
			continue
		}
		role := word(n.Role)
		if !usable[role] {
			continue
		}
		seen++
		if n.Name == nil || word(n.Name) == "" {
			roles = append(roles, role)
		}
	}
	if seen < 5 {
		b.Errorf("%d things can be used: the tree was not read", seen)
	}
	return roles
}

// TestFocusOrder: Tab goes from the head to the conversation to what one writes with, and each stop is to be seen.
func TestFocusOrder(t *testing.T) {
	t.Parallel()
	_, url, _ := swarm(t, nil)
	b := open(t, url, phone, "light")
	b.settle(3)
	b.eval("document.getElementById('skip').focus()")
	var order []any
	for i := range 12 {
		if i > 0 {
			b.press("Tab")
		}
		order = append(order, b.eval("document.activeElement.id || document.activeElement.textContent.trim()"))
		if b.eval("document.activeElement.checkVisibility()") != true {
			t.Errorf("stop %d, %v, is not to be seen", len(order), order[len(order)-1])
		}
	}
	want := "[skip shardnode Chat Swarm Request log What is artificial intelligence? What is a peer-to-peer network? What is the capital of Italy? What is a goroutine? prompt Settings]"
	if got := fmt.Sprint(order); got != want {
		t.Errorf("Tab goes to %s\nwant %s", got, want)
	}
}

// word is a value of the accessibility tree.
func word(v *accessibility.Value) string {
	var s string
	_ = json.Unmarshal(v.Value, &s) // what is no text is no name
	return s
}
