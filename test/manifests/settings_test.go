package manifests

import (
	"flag"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/latchkey-dev/latchkey/internal/session"
	"github.com/latchkey-dev/latchkey/internal/signin"
)

// Every flag of sign-in and of sessions is a setting, by its name in capitals, which
// reaches the portal and has the flag's default.
func TestSignInFlagsAreSettings(t *testing.T) {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	(&signin.Config{}).AddFlags(flags)
	(&session.Lifetimes{}).AddFlags(flags)

	portal := deployments(t)["latchkey-portal"].Spec.Template.Spec.Containers[0]
	settings := installedSettings(t)
	flags.VisitAll(func(f *flag.Flag) {
		key := strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if arg := "--" + f.Name + "=$(" + key + ")"; !slices.Contains(portal.Args, arg) {
			t.Errorf("the portal has no argument %s", arg)
		}
		if !slices.ContainsFunc(portal.Env, func(v corev1.EnvVar) bool { return isSetting(v, key) }) {
			t.Errorf("the portal does not get the setting %s", key)
		}
		value, exists := settings[key]
		if !exists {
			t.Errorf("there is no setting %s", key)
			return
		}
		// Set writes a value as the flag's default is written: 30m as 30m0s.
		if err := f.Value.Set(value); err != nil || f.Value.String() != f.DefValue {
			t.Errorf("%s=%s: %v, want the flag's default %s", key, value, err, f.DefValue)
		}
	})
}

func isSetting(v corev1.EnvVar, key string) bool {
	return v.Name == key && v.ValueFrom != nil && v.ValueFrom.ConfigMapKeyRef != nil && v.ValueFrom.ConfigMapKeyRef.Key == key
}

// installedSettings are those of config/default.
func installedSettings(t *testing.T) map[string]string {
	t.Helper()
	for _, object := range build(t, "default") {
		if object.GetKind() == "ConfigMap" && strings.HasPrefix(object.GetName(), "latchkey-settings") {
			data, _, err := unstructured.NestedStringMap(object.Object, "data")
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
	}
	t.Fatal("there is no ConfigMap with the settings")
	return nil
}
