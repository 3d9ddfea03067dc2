package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/token"
)

const (
	// settingsPath is where the Settings page is, unless the namespace says otherwise.
	settingsPath = "/settings"
	// exchangePath is where, below that, a token is taken for a session.
	exchangePath = "/sign-in/token"
	// exchangeInterval is how often it is looked whether the token was taken.
	exchangeInterval = time.Second
)

// settingsOptions are the options of kubectl latchkey settings.
type settingsOptions struct {
	genericiooptions.IOStreams
	cluster *cluster

	tenant    string
	noBrowser bool
	wait      time.Duration
}

func newSettingsCommand(streams genericiooptions.IOStreams, cluster *cluster) *cobra.Command {
	o := &settingsOptions{IOStreams: streams, cluster: cluster}
	cmd := &cobra.Command{
		Use:   "settings [TENANT]",
		Short: "Sign in to the Settings page of a tenant",
		Long: `Sign in to the Settings page of a tenant, where its API tokens are made and revoked.

For installations without an identity provider, and for those who have a kubeconfig.
An ApiToken is made that signs you in and does nothing else. It works once, for ten
minutes at most, and goes with the sign-in. The browser gets it from this machine, by
a page that is served once, and posts it: it is in no address and in no command line.

The browser is what BROWSER names, or the system's. Over ssh, and where there is
none, the token is printed as with --no-browser: paste it into the page.

TENANT's namespace is tenant-TENANT, or what -n names. Without TENANT it is the
context's.`,
		Example: `  kubectl latchkey settings acme
  kubectl latchkey settings acme --no-browser`,
		ValidArgsFunction: cluster.completeTenants,
		RunE:              runVerb(o),
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.noBrowser, "no-browser", false, "open no browser: print the token that the Settings page asks for, and nothing else, on standard output")
	flags.DurationVar(&o.wait, "wait", 30*time.Second, "how long to wait for the manager to confirm the token")
	return cmd
}

// Complete implements verb.
func (o *settingsOptions) Complete(_ *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
	case 1:
		o.tenant = args[0]
	default:
		return fmt.Errorf("one TENANT is expected, not %d", len(args))
	}
	return nil
}

// Validate implements verb.
func (o *settingsOptions) Validate() error {
	if o.wait <= 0 {
		return fmt.Errorf("--wait %s: must be positive, since a token that is not confirmed signs nobody in", o.wait)
	}
	if o.tenant == "" {
		return nil
	}
	return validateLabel("TENANT", o.tenant)
}

// Run implements verb.
func (o *settingsOptions) Run(ctx context.Context) error {
	s, err := o.prepare(ctx)
	if err != nil {
		return err
	}
	minted, err := s.mint(ctx)
	if err != nil {
		return err
	}
	if o.noBrowser {
		return s.print(minted)
	}
	browser, err := findBrowser()
	if err != nil {
		s.say("No browser is opened: %v.", err)
		return s.print(minted)
	}
	return s.open(ctx, browser, minted)
}

// prepare finds the tenant and its page, and refuses what can't come to anything
// before a token is minted for it.
func (o *settingsOptions) prepare(ctx context.Context) (*signIn, error) {
	session, err := o.cluster.connect()
	if err != nil {
		return nil, err
	}
	if o.tenant != "" && !o.cluster.isNamespaceChosen() {
		session.namespace = v1alpha1.TenantNamespacePrefix + o.tenant
	}
	tenant, err := session.tenant(ctx)
	if err != nil {
		return nil, err
	}
	if o.tenant != "" && tenant.name != o.tenant {
		return nil, fmt.Errorf("namespace %q is that of tenant %q, not of %q: choose the namespace with -n", tenant.namespace, tenant.name, o.tenant)
	}
	page, err := tenant.settings()
	if err != nil {
		return nil, err
	}
	user, err := session.user(ctx)
	if err != nil {
		return nil, fmt.Errorf("nobody can be signed in: %w", err)
	}
	return &signIn{settingsOptions: o, session: session, tenant: tenant, page: page, user: user}, nil
}

// signIn is a run of settings.
type signIn struct {
	*settingsOptions
	*session
	tenant *tenant
	// page is the address of the Settings page.
	page *url.URL
	// user is who is signed in.
	user string
	// object is the ApiToken, once it was made, and ends when its time is over.
	object *v1alpha1.ApiToken
	ends   time.Time
}

func (s *signIn) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.ErrOut, format+"\n", args...)
}

// mint makes the ApiToken and waits until it works. One that does not is withdrawn.
func (s *signIn) mint(ctx context.Context) (minted token.Token, err error) {
	s.object = s.apiToken()
	i := &issuance{
		IOStreams:   s.IOStreams,
		mintOptions: &mintOptions{wait: s.wait},
		session:     s.session,
		tenant:      s.tenant,
		object:      s.object,
		issuedAt:    s.tenant.now,
		request:     request{verb: "create", resource: apiTokens, namespace: s.namespace, name: s.object.Name},
		record:      func(ctx context.Context) error { return s.client.Create(ctx, s.object) },
	}
	if minted, err = i.issue(ctx); err != nil {
		return minted, err
	}
	v := i.awaitVerdict(ctx)
	if v.works {
		s.ends = time.Now().Add(v.expiresAt.Sub(s.tenant.now)) // by this machine's clock
		return minted, nil
	}
	reason := v.failure
	switch {
	case ctx.Err() != nil:
		reason = "interrupted"
	case reason == "":
		reason = fmt.Sprintf("the manager has not confirmed the token within %s%s", s.wait, v.pending)
	}
	return minted, errors.Join(fmt.Errorf("you can't be signed in to the Settings of tenant %q: %s", s.tenant.name, reason), s.withdraw(ctx))
}

// apiToken is one that signs its maker in. Its name says what it is, and is nobody
// else's.
func (s *signIn) apiToken() *v1alpha1.ApiToken {
	object := &v1alpha1.ApiToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "settings-" + strings.ToLower(rand.Text()[:12])},
		Spec: v1alpha1.ApiTokenSpec{
			Description: "Signs its maker in on the Settings page, once.",
			Scopes:      []string{v1alpha1.ScopeSettings},
			Lifetime:    &metav1.Duration{Duration: policy.MaxSignInLifetime},
		},
	}
	if isOwner(s.user) {
		object.Spec.Owner = s.user
	}
	claim(object, v1alpha1.AnnotationCreatedBy, s.user)
	claim(object, v1alpha1.AnnotationIssuedBy, s.user)
	claim(object, v1alpha1.AnnotationCreatedVia, v1alpha1.ViaSettings)
	return object
}

// print hands the token to the user. It stays valid after this run.
func (s *signIn) print(minted token.Token) error {
	s.say("To sign in to the Settings of tenant %q as %s:", s.tenant.name, printable(s.user))
	s.say("  1. Open %s", s.page)
	s.say("  2. Paste this token there. It signs you in once, until %s. Give it to nobody.", instant(s.tenant.now.Add(policy.MaxSignInLifetime), s.tenant.now))
	if _, err := fmt.Fprintln(s.Out, minted.Reveal()); err != nil {
		return errors.Join(fmt.Errorf("print the token: %w", err), s.withdraw(context.Background()))
	}
	return nil
}

// open has the browser fetch the token, and waits until it was exchanged.
func (s *signIn) open(ctx context.Context, open opener, minted token.Token) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, s.withdraw(ctx))
		}
	}()
	page, err := newHandover(handoverPage{
		Tenant: s.tenant.name, User: printable(s.user), Host: s.page.Host,
		Action: s.page.JoinPath(exchangePath).String(), Token: minted.Reveal(),
	})
	if err != nil {
		return err
	}
	defer page.close()
	failed := open(page.url)
	s.say("Your browser is opened to sign you in to %s as %s.", s.page, printable(s.user))
	s.say("If nothing happens there, open this address on this machine, which works once:\n  %s", page.url)
	return s.awaitExchange(ctx, page, failed)
}

// awaitExchange waits until the Settings page has taken the token, which deletes
// its ApiToken.
func (s *signIn) awaitExchange(ctx context.Context, page *handover, failed <-chan error) error {
	over := time.NewTimer(time.Until(s.ends))
	defer over.Stop()
	tick := time.NewTicker(exchangeInterval)
	defer tick.Stop()
	fetched := page.fetched
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("interrupted before you were signed in: %w", ctx.Err())
		case <-over.C:
			return errors.New("nobody was signed in before the token's time was over: run the command again")
		case err := <-page.failed:
			return fmt.Errorf("serve the page for the browser: %w", err)
		case err := <-failed:
			s.say("The browser could not be opened: %v. Open the address above yourself.", err)
			failed = nil
		case <-fetched:
			s.say("The browser has the token. Confirm the sign-in there.")
			fetched = nil
		case <-tick.C:
			if isGone, err := s.isGone(ctx); err == nil && isGone {
				s.say("The token was exchanged: go on in the browser, at %s.", s.page)
				return nil
			}
		}
	}
}

// isGone says whether the ApiToken is there no more.
func (s *signIn) isGone(ctx context.Context) (bool, error) {
	err := s.client.Get(ctx, s.key(s.object.Name), &v1alpha1.ApiToken{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	return false, err
}

// withdraw deletes the ApiToken, which ends its token, also after an interrupt.
func (s *signIn) withdraw(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), confirmTimeout)
	defer cancel()
	err := s.client.Delete(ctx, s.object, client.Preconditions{UID: &s.object.UID})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("%s could not be deleted, and signs in until %s: %w",
			describe(s.namespace, s.object.Name), s.tenant.now.Add(policy.MaxSignInLifetime).Format(time.RFC3339), err)
	}
	return nil
}
