package assets

import _ "embed"

//go:embed latchkey.css
var stylesheet []byte

// Stylesheet is how the portal's pages look: colours and spacing as custom
// properties, light and dark, and the parts that pages share.
var Stylesheet = File{"latchkey.css", stylesheet}
