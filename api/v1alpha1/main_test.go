package v1alpha1_test

import (
	"os"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

var env func() *testenv.Environment

func TestMain(m *testing.M) {
	os.Exit(testenv.Run(m, &env, controlplane.Options{}))
}

// What the API server says by itself of a value that the schema does not permit.
const (
	accepted = ""

	badPattern  = "should match '"
	badType     = "must be of type"
	duplicate   = "Duplicate value"
	required    = "Required value"
	tooLong     = "Too long: may not be more than"
	tooMany     = "Too many: "
	tooFew      = "should have at least"
	tooShort    = "should be at least"
	tooSmall    = "should be greater than or equal to"
	tooBig      = "should be less than or equal to"
	unsupported = "Unsupported value"
)

// kind is one of the kinds under test.
type kind struct {
	name, plural, namespace string
	newObject               func() client.Object
	newList                 func() client.ObjectList
	spec                    func(client.Object) any
}

var (
	apiTokens = kind{
		name: "ApiToken", plural: "apitokens", namespace: "default",
		newObject: func() client.Object { return &v1alpha1.ApiToken{} },
		newList:   func() client.ObjectList { return &v1alpha1.ApiTokenList{} },
		spec:      func(o client.Object) any { return o.(*v1alpha1.ApiToken).Spec },
	}
	tenants = kind{
		name: "Tenant", plural: "tenants",
		newObject: func() client.Object { return &v1alpha1.Tenant{} },
		newList:   func() client.ObjectList { return &v1alpha1.TenantList{} },
		spec:      func(o client.Object) any { return o.(*v1alpha1.Tenant).Spec },
	}
	publicApis = kind{
		name: "PublicApi", plural: "publicapis",
		newObject: func() client.Object { return &v1alpha1.PublicApi{} },
		newList:   func() client.ObjectList { return &v1alpha1.PublicApiList{} },
		spec:      func(o client.Object) any { return o.(*v1alpha1.PublicApi).Spec },
	}
	kinds = []kind{apiTokens, tenants, publicApis}
)

// minimal is a spec that each kind accepts.
var minimal = map[string]string{
	"ApiToken":  `description: minimal`,
	"Tenant":    `displayName: minimal`,
	"PublicApi": `backend: {url: "http://a"}`,
}

// expect fails the test unless the API server accepted what it should, and
// refused the rest as invalid with the advice in its message.
func expect(t testing.TB, err error, advice string) {
	t.Helper()
	switch {
	case advice == accepted && err != nil:
		t.Fatalf("refused: %v", err)
	case advice == accepted:
	case err == nil:
		t.Fatalf("accepted; should be refused with: %s", advice)
	case !apierrors.IsInvalid(err):
		t.Fatalf("refused, but not for being invalid: %v", err)
	case !strings.Contains(err.Error(), advice):
		t.Fatalf("refused with:\n  %v\nwithout the advice:\n  %s", err, advice)
	}
}

func restClient(t testing.TB) *rest.RESTClient {
	t.Helper()
	config := rest.CopyConfig(env().Config)
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	c, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
