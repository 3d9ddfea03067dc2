package controlplane

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// BuildPrograms builds programs of this repository, such as ./cmd/manager, into a folder,
// as they are in the images.
func BuildPrograms(ctx context.Context, dir string, packages ...string) error {
	return build(ctx, append([]string{"-o", dir + string(filepath.Separator)}, packages...))
}

func build(ctx context.Context, args []string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-buildvcs=false"}, args...)...)
	cmd.Dir = Root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}
