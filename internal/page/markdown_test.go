// SPDX-License-Identifier: MIT

package page_test

import "testing"

// TestMarkdown: what is drawn of a text. Whatever it contains, the only elements are those that the few marks stand for.
func TestMarkdown(t *testing.T) {
	t.Parallel()
	_, url, _ := swarm(t, nil)
	b := open(t, url, desktop, "light")
	b.until("loaded", "document.readyState === 'complete'")
	b.eval(`import('/page/markdown.js').then((m) => { window.drawn = (text) => { const d = document.createElement('div'); d.append(m.render(text)); return d.innerHTML; }; }); 0`)
	b.until("the module is there", "window.drawn")
	for text, want := range map[string]string{
		"":                                       "",
		"a\nb\n\nc":                              "<p>a\nb</p><p>c</p>",
		"<b>&amp;</b> <script>alert(1)</script>": "<p>&lt;b&gt;&amp;amp;&lt;/b&gt; &lt;script&gt;alert(1)&lt;/script&gt;</p>",
		"[x](javascript:alert(1)) ![y](z)":       "<p>[x](javascript:alert(1)) ![y](z)</p>",
		"# T\ntext":                              "<h3>T</h3><p>text</p>",
		"**b** *i* `c*d*` 2*3*4 **":              "<p><strong>b</strong> <em>i</em> <code>c*d*</code> 2*3*4 **</p>",
		"- a\n- **b**\n\n3. c\n4. d":             "<ul><li>a</li><li><strong>b</strong></li></ul><ol start=\"3\"><li>c</li><li>d</li></ol>",
		"> q\n> r":                               "<blockquote><p>q\nr</p></blockquote>",
		"```go\nx := `a`\n<b>\n```\nend":         `<pre tabindex="0" aria-label="Code, go"><code>x := ` + "`a`" + "\n&lt;b&gt;</code></pre><p>end</p>",
		"```\nstill open":                        `<pre tabindex="0" aria-label="Code"><code>still open</code></pre>`,
		"``` x y\na":                             "<p>``` x y\na</p>",
		"-  \n- x":                               "<p>-  </p><ul><li>x</li></ul>",
		"1) one":                                 `<ol start="1"><li>one</li></ol>`,
	} {
		if got := b.eval("drawn(" + quote(text) + ")"); got != want {
			t.Errorf("%q is drawn as\n%v\nwant\n%s", text, got, want)
		}
	}
	// What costs more than a line's length would freeze the page.
	b.eval(`for (const s of ['*', '**', '\x60', '**a', '**a ', '*a ', '\x60a ', '- ', '> ', '# ', '\x60\x60\x60\n', '_*\x60']) drawn(s.repeat(20000)); 0`)
}
