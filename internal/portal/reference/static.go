package reference

import (
	_ "embed"
	"sync"

	"github.com/latchkey-dev/latchkey/internal/portal/assets"
)

// The viewer is swagger-ui-dist of npm, as it is; make docs-assets refreshes it.
var (
	//go:embed swagger-ui/swagger-ui-bundle.js
	viewerScript []byte
	//go:embed swagger-ui/swagger-ui.css
	viewerStyle []byte
	//go:embed reference.js
	pageScript []byte
	//go:embed viewer.css
	pageStyle []byte
)

// The files' own names, as the template knows them.
const (
	nameViewerScript = "swagger-ui-bundle.js"
	nameViewerStyle  = "swagger-ui.css"
	namePageScript   = "reference.js"
	namePageStyle    = "viewer.css"
)

// static is the page's files; they are the same for every document.
var static = sync.OnceValues(func() (*assets.Set, error) {
	return assets.New(
		assets.Stylesheet,
		assets.File{Name: nameViewerScript, Content: viewerScript},
		assets.File{Name: nameViewerStyle, Content: viewerStyle},
		assets.File{Name: namePageScript, Content: pageScript},
		assets.File{Name: namePageStyle, Content: pageStyle},
	)
})
