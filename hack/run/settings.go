package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// longestBaseDomain leaves room for the longest tenant's name in a host name.
const longestBaseDomain = 253 - 63 - 1

// settings are what can be told to `make run`, by flags or variables.
type settings struct {
	// httpPort and httpsPort are those of the API server; 0 picks a free one.
	httpPort, httpsPort int
	// baseDomain is what the tenants' hosts end with.
	baseDomain string
	// dir is where files are kept, as an absolute path.
	dir string
	// apiServerArgs are further arguments of the API server, separated by spaces, such
	// as those that name an identity provider.
	apiServerArgs string
	// controlPlane is the folder with the control plane's programs if everything is built.
	controlPlane string
}

func parseSettings(args []string) (settings, error) {
	var s settings
	var httpPort, httpsPort string
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	text := func(target *string, name, variable, fallback, usage string) {
		flags.StringVar(target, name, cmp.Or(os.Getenv(variable), fallback), usage+"; or the variable "+variable)
	}
	text(&httpPort, "http-port", "HTTP_PORT", "8080", "port for HTTP on loopback, 0 for a free one")
	text(&httpsPort, "https-port", "HTTPS_PORT", "8443", "port for HTTPS on loopback, 0 for a free one")
	text(&s.baseDomain, "base-domain", "BASE_DOMAIN", "localhost", "what the tenants' hosts end with")
	text(&s.dir, "dir", "RUN_DIR", ".run", "folder for files of the run")
	text(&s.apiServerArgs, "apiserver-args", "APISERVER_ARGS", "", "more arguments for the API server, separated by spaces")
	flags.StringVar(&s.controlPlane, "controlplane", "", "folder with the control plane's programs; everything is built unless it is given")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q; --help lists the flags", flags.Arg(0))
	}
	var err error
	if s.httpPort, err = parsePort("HTTP_PORT", httpPort); err != nil {
		return s, err
	}
	if s.httpsPort, err = parsePort("HTTPS_PORT", httpsPort); err != nil {
		return s, err
	}
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return s, fmt.Errorf("RUN_DIR: %w", err)
	}
	return s, s.validate()
}

func parsePort(variable, text string) (int, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%s=%s: must be a port number from 1 to 65535, or 0 for any free port", variable, text)
	}
	return int(port), nil
}

func (s settings) validate() error {
	if s.httpPort == s.httpsPort && s.httpPort != 0 {
		return fmt.Errorf("HTTP_PORT and HTTPS_PORT are both %d: choose two different ports", s.httpPort)
	}
	if wrong := validation.IsDNS1123Subdomain(s.baseDomain); len(wrong) > 0 || len(s.baseDomain) > longestBaseDomain {
		return fmt.Errorf("BASE_DOMAIN=%s: must be a domain in lower case, such as example.com, of at most %d characters", s.baseDomain, longestBaseDomain)
	}
	if strings.ContainsAny(s.dir, "\n\r") {
		return fmt.Errorf("RUN_DIR=%q: must not contain line breaks", s.dir)
	}
	return nil
}
