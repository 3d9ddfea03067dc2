package story_test

import (
	"os"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/testing/browsertest"
)

func TestMain(m *testing.M) { os.Exit(browsertest.Main(m)) }
