package cli_test

import "testing"

func TestDurations(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	const bad = "must be a duration of whole seconds"
	cases := []struct{ name, flag, value, want, err string }{
		{"go", "--lifetime", "720h", "720h0m0s", ""},
		{"days", "--lifetime", "30d", "720h0m0s", ""},
		{"weeks", "--lifetime", "2w", "336h0m0s", ""},
		{"mixed", "--lifetime", "1w2d3h4m5s", "219h4m5s", ""},
		{"fraction-of-hour", "--lifetime", "1.5h", "1h30m0s", ""},
		{"second", "--lifetime", "1s", "1s", ""},
		{"overlap", "--overlap", "1d", "24h0m0s", ""},
		{"overlap-zero", "--overlap", "0s", "0s", ""},
		{"zero", "--lifetime", "0s", "", "at least 1s"},
		{"empty", "--lifetime", "", "", bad},
		{"no-unit", "--lifetime", "30", "", bad},
		{"unknown-unit", "--lifetime", "3y", "", bad},
		{"fraction-of-day", "--lifetime", "1.5d", "", bad},
		{"days-last", "--lifetime", "3h2d", "", bad},
		{"weeks-after-days", "--lifetime", "2d1w", "", bad},
		{"negative", "--lifetime", "-5h", "", bad},
		{"negative-rest", "--lifetime", "1d-5h", "", bad},
		{"milliseconds", "--lifetime", "1500ms", "", bad},
		{"overflow-days", "--lifetime", "4000000000d", "", bad},
		{"overflow-number", "--lifetime", "99999999999999999999w", "", bad},
		{"beyond-the-policy", "--lifetime", "91d", "", "at most 90d"},
		{"beyond-the-field", "--overlap", "366d", "", "8760h"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := latchkey(t, kubeconfig, "create", c.name, "-n", namespace, c.flag+"="+c.value, "--wait", "0")
			if c.err != "" {
				r.mustFail(t, c.err)
				return
			}
			r.mustSucceed(t)
			spec := getToken(t, namespace, c.name).Spec
			got := spec.Lifetime
			if spec.Rotation != nil {
				got = spec.Rotation.Overlap
			}
			if got == nil || got.Duration.String() != c.want {
				t.Errorf("%s %s became %v, want %s", c.flag, c.value, got, c.want)
			}
		})
	}
}
