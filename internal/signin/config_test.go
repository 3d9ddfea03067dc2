package signin_test

import (
	"flag"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/signin"
)

func parse(t *testing.T, args ...string) (signin.Config, error) {
	t.Helper()
	var config signin.Config
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	config.AddFlags(flags)
	if err := flags.Parse(args); err != nil {
		return config, err
	}
	return config, config.Validate()
}

func TestFlags(t *testing.T) {
	config, err := parse(t)
	must(t, err)
	want := signin.Config{
		Scopes: []string{"openid", "profile", "email"}, UsernameClaim: "sub", UsernamePrefix: "oidc:", GroupsClaim: "groups", GroupsPrefix: "oidc:",
	}
	if diff := cmp.Diff(want, config); diff != "" {
		t.Error(diff)
	}
	if config.Enabled() {
		t.Error("enabled without an issuer")
	}

	config, err = parse(t,
		"--oidc-issuer-url=https://id.example.com/realms/a", "--oidc-client-id=latchkey", "--oidc-client-secret-file=/run/secret", "--oidc-ca-file=/run/ca.crt",
		"--oidc-scopes=openid,groups", "--oidc-username-claim=email", "--oidc-username-prefix=-", "--oidc-groups-claim=roles", "--oidc-groups-prefix=id:", "--oidc-trust-prompt")
	must(t, err)
	want = signin.Config{
		IssuerURL: "https://id.example.com/realms/a", ClientID: "latchkey", ClientSecretFile: "/run/secret", CAFile: "/run/ca.crt",
		Scopes: []string{"openid", "groups"}, UsernameClaim: "email", UsernamePrefix: "-", GroupsClaim: "roles", GroupsPrefix: "id:", TrustPrompt: true,
	}
	if diff := cmp.Diff(want, config); diff != "" {
		t.Error(diff)
	}
	if !config.Enabled() {
		t.Error("not enabled")
	}
}

func TestFlagsThatAreRefused(t *testing.T) {
	const issuer, id = "--oidc-issuer-url=https://id.example.com", "--oidc-client-id=latchkey"
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{id}, "need --oidc-issuer-url"},
		{[]string{"--oidc-client-secret-file=/x"}, "need --oidc-issuer-url"},
		{[]string{"--oidc-ca-file=/x"}, "need --oidc-issuer-url"},
		{[]string{issuer}, "needs --oidc-client-id"},
		{[]string{"--oidc-issuer-url=http://id.example.com", id}, "must be https"},
		{[]string{"--oidc-issuer-url=http://10.0.0.1", id}, "must be https"},
		{[]string{"--oidc-issuer-url=http://localhost.example.com", id}, "must be https"},
		{[]string{"--oidc-issuer-url=ftp://id.example.com", id}, "must be https"},
		{[]string{"--oidc-issuer-url=id.example.com", id}, "absolute address"},
		{[]string{"--oidc-issuer-url=https:id.example.com", id}, "absolute address"},
		{[]string{"--oidc-issuer-url=https://%zz", id}, "must be an address"},
		{[]string{"--oidc-issuer-url=https://u:p@id.example.com", id}, "no user"},
		{[]string{issuer + "?a=b", id}, "no query"},
		{[]string{issuer + "?", id}, "no query"},
		{[]string{issuer + "#", id}, "no fragment"},
		{[]string{issuer, id, "--oidc-scopes=profile"}, "openid must be among"},
		{[]string{issuer, id, `--oidc-scopes=openid,"a"`}, "is no scope"},
		{[]string{issuer, id, "--oidc-scopes=openid,é"}, "is no scope"},
		{[]string{issuer, id, "--oidc-username-claim=a\x00"}, "--oidc-username-claim"},
		{[]string{issuer, id, "--oidc-groups-claim=a\n"}, "--oidc-groups-claim"},
		{[]string{issuer, id, "--oidc-username-prefix=system:"}, "must not begin with system:"},
		{[]string{issuer, id, "--oidc-groups-prefix=system:masters"}, "must not begin with system:"},
		{[]string{issuer, id, "--oidc-groups-prefix=\u202e"}, "printable"},
		{[]string{issuer, id, "--oidc-username-prefix=" + strings.Repeat("x", 65)}, "at most 64"},
	} {
		_, err := parse(t, c.args...)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: got %v, want it to say %q", c.args, err, c.says)
		}
	}
	for _, loopback := range []string{"http://localhost:5556", "http://127.0.0.1:5556/dex", "http://[::1]:5556", "http://id.localhost", "http://LOCALHOST"} {
		if _, err := parse(t, "--oidc-issuer-url="+loopback, id); err != nil {
			t.Errorf("%s: %v", loopback, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	empty, noCA := filepath.Join(t.TempDir(), "empty"), filepath.Join(t.TempDir(), "no-ca")
	writeFile(t, empty, " \n")
	writeFile(t, noCA, "no certificate")
	huge := filepath.Join(t.TempDir(), "huge")
	writeFile(t, huge, strings.Repeat("x", 1<<20+1))
	good := signin.Config{IssuerURL: "https://id.example.com", ClientID: "latchkey"}
	for name, c := range map[string]struct {
		mutate func(*signin.Config)
		says   string
	}{
		"no issuer":         {func(c *signin.Config) { c.IssuerURL = "" }, "IssuerURL is required"},
		"a wrong flag":      {func(c *signin.Config) { c.ClientID = "" }, "--oidc-client-id"},
		"no secret":         {func(c *signin.Config) { c.ClientSecretFile = "/nonexistent" }, "--oidc-client-secret-file"},
		"an empty secret":   {func(c *signin.Config) { c.ClientSecretFile = empty }, "is empty"},
		"a huge secret":     {func(c *signin.Config) { c.ClientSecretFile = huge }, "is it the right file"},
		"no CA":             {func(c *signin.Config) { c.CAFile = "/nonexistent" }, "--oidc-ca-file"},
		"a CA that is none": {func(c *signin.Config) { c.CAFile = noCA }, "has no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			config := good
			c.mutate(&config)
			if _, err := signin.New(config, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want it to say %q", err, c.says)
			}
		})
	}
	if _, err := signin.New(good, nil); err == nil {
		t.Error("no logger is needed")
	}
}
