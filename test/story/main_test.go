package story_test

import (
	"os"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/browsertest"
)

func TestMain(m *testing.M) { os.Exit(browsertest.Main(m)) }
