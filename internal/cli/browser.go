package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// opener opens an address in a browser. What it returns has the error if that turns
// out not to work; to open one may take as long as the browser is open.
type opener func(address string) (failed <-chan error)

// findBrowser finds how a browser is opened here: by one of the commands that BROWSER
// lists, in which %s stands for the address, else as the system does it.
func findBrowser() (opener, error) {
	for command := range strings.SplitSeq(os.Getenv("BROWSER"), string(os.PathListSeparator)) {
		if words := strings.Fields(command); len(words) > 0 {
			if _, err := exec.LookPath(words[0]); err != nil {
				continue
			}
			return open(words), nil
		}
	}
	if os.Getenv("BROWSER") != "" {
		return nil, errors.New("none of the commands that BROWSER names is there")
	}
	if os.Getenv("SSH_CONNECTION") != "" {
		return nil, errors.New("over ssh, yours would not reach this machine")
	}
	words := systemBrowser()
	if words == nil {
		return nil, errors.New("there is no display")
	}
	if _, err := exec.LookPath(words[0]); err != nil {
		return nil, fmt.Errorf("%s, which would do it, is missing", words[0])
	}
	return open(words), nil
}

// systemBrowser is the command by which the system opens an address, or nil where
// there is no display to open it on.
func systemBrowser() []string {
	switch runtime.GOOS {
	case "darwin":
		return []string{"open"}
	case "windows":
		return []string{filepath.Join(os.Getenv("SystemRoot"), "System32", "rundll32.exe"), "url.dll,FileProtocolHandler"}
	}
	if os.Getenv("WSL_DISTRO_NAME") != "" {
		if path, err := exec.LookPath("wslview"); err == nil {
			return []string{path}
		}
	}
	if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
		return nil
	}
	return []string{"xdg-open"}
}

// open opens addresses by a command. The browser outlives this process, and is not
// interrupted with it.
func open(words []string) opener {
	return func(address string) <-chan error {
		failed := make(chan error, 1)
		args, isPlaced := []string{}, false
		for _, word := range words[1:] {
			isPlaced = isPlaced || strings.Contains(word, "%s")
			args = append(args, strings.ReplaceAll(word, "%s", address))
		}
		if !isPlaced {
			args = append(args, address)
		}
		command := exec.Command(words[0], args...) //nolint:gosec // the browser that the user has set
		detach(command)
		if err := command.Start(); err != nil {
			failed <- err
			return failed
		}
		go func() {
			if err := command.Wait(); err != nil {
				failed <- fmt.Errorf("%s: %w", words[0], err)
			}
		}()
		return failed
	}
}
