package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestSettings(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		environment map[string]string
		args        []string
		want        settings
	}{
		"defaults":        {nil, nil, settings{8080, 8443, "localhost", filepath.Join(here, ".run"), "", ""}},
		"variables":       {map[string]string{"HTTP_PORT": "1", "HTTPS_PORT": "2", "BASE_DOMAIN": "epochapp.com", "RUN_DIR": "/x", "APISERVER_ARGS": "--oidc-client-id=x"}, nil, settings{1, 2, "epochapp.com", "/x", "--oidc-client-id=x", ""}},
		"flags win":       {map[string]string{"HTTP_PORT": "1"}, []string{"-http-port", "3", "-dir", "y"}, settings{3, 8443, "localhost", filepath.Join(here, "y"), "", ""}},
		"built already":   {nil, []string{"-controlplane=/c"}, settings{8080, 8443, "localhost", filepath.Join(here, ".run"), "", "/c"}},
		"any free ports":  {map[string]string{"HTTP_PORT": "0", "HTTPS_PORT": "0"}, nil, settings{0, 0, "localhost", filepath.Join(here, ".run"), "", ""}},
		"empty variables": {map[string]string{"HTTP_PORT": "", "BASE_DOMAIN": ""}, nil, settings{8080, 8443, "localhost", filepath.Join(here, ".run"), "", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			setEnvironment(t, test.environment)
			got, err := parseSettings(test.args)
			if err != nil || got != test.want {
				t.Errorf("got %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
}

func TestSettingsThatCanNotBe(t *testing.T) {
	for name, test := range map[string]struct{ variable, value, want string }{
		"no number":        {"HTTP_PORT", "http", "HTTP_PORT=http: must be a port number"},
		"too large":        {"HTTPS_PORT", "65536", "HTTPS_PORT=65536: must be a port number"},
		"negative":         {"HTTP_PORT", "-1", "HTTP_PORT=-1: must be a port number"},
		"the same twice":   {"HTTP_PORT", "8443", "both 8443"},
		"upper case":       {"BASE_DOMAIN", "Example.com", "BASE_DOMAIN=Example.com: must be a domain"},
		"a URL":            {"BASE_DOMAIN", "https://example.com", "must be a domain"},
		"too long":         {"BASE_DOMAIN", strings.Repeat("a.", 100) + "com", "must be a domain"},
		"a break in a dir": {"RUN_DIR", "a\nb", "must not contain line breaks"},
	} {
		t.Run(name, func(t *testing.T) {
			setEnvironment(t, map[string]string{test.variable: test.value})
			if _, err := parseSettings(nil); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v; want one with %q", err, test.want)
			}
		})
	}
}

// setEnvironment sets the variables that settings are read from, and no other.
func setEnvironment(t *testing.T, environment map[string]string) {
	t.Helper()
	for _, name := range []string{"HTTP_PORT", "HTTPS_PORT", "BASE_DOMAIN", "RUN_DIR", "APISERVER_ARGS"} {
		t.Setenv(name, environment[name])
	}
}
