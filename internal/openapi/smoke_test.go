package openapi_test

import (
	"os"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/openapi"
	"github.com/latchkey-dev/latchkey/internal/openapi/check"
)

func TestSmoke(t *testing.T) {
	source, _ := os.ReadFile("../examplebackend/openapi.json")
	api, _ := os.ReadFile("../portal/tokenapi/openapi.yaml")
	if err := check.Check(source); err != nil {
		t.Fatal(err)
	}
	d, err := openapi.Load(source)
	if err != nil {
		t.Fatal(err)
	}
	p, f := d.Publish(openapi.Options{BasePath: "/api/v1", TokenAPI: api, ProblemBase: "https://x/#"})
	t.Log(f)
	os.WriteFile("/tmp/w/out-openapi.json", p.JSON("https://acme.example.com").Bytes(), 0o600)
	os.WriteFile("/tmp/w/out-openapi.yaml", p.YAML("https://acme.example.com").Bytes(), 0o600)
	for _, r := range []*openapi.Rendering{p.JSON("https://acme.example.com"), p.YAML("https://acme.example.com")} {
		if err := check.Check(r.Bytes()); err != nil {
			t.Error(err)
		}
	}
}
