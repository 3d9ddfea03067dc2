package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/audit"
)

// showOptions are the options of kubectl latchkey show.
type showOptions struct {
	genericiooptions.IOStreams
	cluster *cluster

	name string
}

func newShowCommand(streams genericiooptions.IOStreams, cluster *cluster) *cobra.Command {
	o := &showOptions{IOStreams: streams, cluster: cluster}
	return &cobra.Command{
		Use:   "show NAME",
		Short: "Show all there is to know of an ApiToken and its tokens",
		Long: `Show all there is to know of an ApiToken and its tokens: until when they work,
when they were last used, and whether a replaced one is still in use.

Times of use are up to an hour old. Who did what is what the ApiToken's annotations
claim; what really happened, the cluster's audit log knows.`,
		Example: `  kubectl latchkey show ci -n tenant-acme`,
		ValidArgsFunction: cluster.completeNames(1, func(*v1alpha1.ApiToken) bool {
			return true
		}),
		RunE: runVerb(o),
	}
}

// Complete implements verb.
func (o *showOptions) Complete(_ *cobra.Command, args []string) (err error) {
	o.name, err = oneName(args)
	return err
}

// Validate implements verb.
func (o *showOptions) Validate() error { return validateName(o.name) }

// Run implements verb.
func (o *showOptions) Run(ctx context.Context) error {
	session, err := o.cluster.connect()
	if err != nil {
		return err
	}
	ctx, date := withServerDate(ctx)
	object := &v1alpha1.ApiToken{}
	if err := session.client.Get(ctx, session.key(o.name), object); err != nil {
		return request{verb: "get", resource: apiTokens, namespace: session.namespace, name: o.name}.explain(err)
	}
	return printSheet(o.Out, object, date.OrNow())
}

// sheet is what show prints: a line a fact.
type sheet struct {
	io.Writer
	token *v1alpha1.ApiToken
	now   time.Time
}

func printSheet(out io.Writer, object *v1alpha1.ApiToken, now time.Time) error {
	writer := printers.GetNewTabWriter(out)
	s := &sheet{writer, object, now}
	s.about()
	s.credential("Current", object.Status.Credential, audit.IssuedAt(object))
	s.previous()
	s.people()
	s.conditions()
	return writer.Flush()
}

// line prints a fact, unless there is none.
func (s *sheet) line(name, value string) {
	if value != "" {
		_, _ = fmt.Fprintf(s, "%s:\t%s\n", name, printable(value)) // buffered: Flush has the error
	}
}

func (s *sheet) about() {
	spec := &s.token.Spec
	s.line("Name", s.token.Name)
	s.line("Namespace", s.token.Namespace)
	s.line("Description", spec.Description)
	s.line("Owner", orNone(spec.Owner))
	s.line("Scopes", orNone(strings.Join(spec.Scopes, ", ")))
	addresses := strings.Join(spec.AllowedCIDRs, ", ")
	if addresses == "" {
		addresses = "from anywhere"
	}
	s.line("Addresses", addresses)
	if spec.Revoked {
		s.line("Revoked", "yes, for good")
	}
	if pending := spec.Credential; pending != nil && (s.token.Status.Credential == nil || s.token.Status.Credential.ID != pending.ID) {
		s.line("Not issued", fmt.Sprintf("id %s, minted %s", pending.ID, s.instant(&pending.IssuedAt)))
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (s *sheet) credential(title string, c *v1alpha1.IssuedCredential, issuedAt *metav1.Time) {
	if c == nil {
		s.line(title+" token", "none")
		return
	}
	s.line(title+" token", "id "+c.ID)
	s.line("  Issued", s.instant(issuedAt))
	s.line("  Expires", s.expiry(c))
	s.line("  Last used", s.lastUse(c, issuedAt))
}

// expiry tells the days that are left, in which people count.
func (s *sheet) expiry(c *v1alpha1.IssuedCredential) string {
	text := instant(c.ExpiresAt.Time, s.now)
	if days := int(c.ExpiresAt.Sub(s.now).Hours() / 24); days >= 1 {
		text = fmt.Sprintf("%s, %d days left", c.ExpiresAt.UTC().Format(time.RFC3339), days)
	}
	return text
}

func (s *sheet) lastUse(c *v1alpha1.IssuedCredential, issuedAt *metav1.Time) string {
	if c.LastUsedAt != nil {
		return s.instant(c.LastUsedAt)
	}
	since := audit.UnusedSince(s.token, issuedAt)
	if since == nil {
		return "unknown: uses are not recorded"
	}
	return "never used since " + s.instant(since)
}

// previous tells whether the replaced token can go.
func (s *sheet) previous() {
	c := s.token.Status.PreviousCredential
	if c == nil {
		return
	}
	s.credential("Previous", c, c.IssuedAt)
	switch {
	case livePrevious(s.token, s.now) == nil:
		s.line("  Since the rotation", "it works no more")
	case audit.PreviousUse(s.token, s.now) != "":
		s.line("  Since the rotation", s.usedSince(s.now.Sub(c.LastUsedAt.Time)))
	case s.token.Status.UseRecordedSince == nil:
		s.line("  Since the rotation", "unknown: uses are not recorded")
	default:
		s.line("  Since the rotation", "not used: it is safe to drop, with --drop-previous of rotate")
	}
}

// usedSince tells whether a replaced token that was used since the rotation still is.
func (s *sheet) usedSince(ago time.Duration) string {
	text := "used since the rotation, last " + duration.HumanDuration(ago) + " ago"
	if ago <= audit.FreshUse {
		return text + ": do not drop it yet"
	}
	return text + ": it is safe to drop, with --drop-previous of rotate, unless somebody calls less often than that"
}

// people prints who did what, which the annotations only claim.
func (s *sheet) people() {
	for _, p := range []struct{ name, annotation string }{
		{"Created by", v1alpha1.AnnotationCreatedBy},
		{"Issued by", v1alpha1.AnnotationIssuedBy},
		{"Revoked by", v1alpha1.AnnotationRevokedBy},
	} {
		if who := s.token.Annotations[p.annotation]; who != "" {
			s.line(p.name, who+" (claimed)")
		}
	}
	s.line("Created via", s.token.Annotations[v1alpha1.AnnotationCreatedVia])
	s.line("Created", s.instant(&s.token.CreationTimestamp))
	if s.token.Status.RevokedAt != nil {
		s.line("Revocation seen", s.instant(s.token.Status.RevokedAt))
	}
}

func (s *sheet) conditions() {
	for _, c := range s.token.Status.Conditions {
		s.line(c.Type, fmt.Sprintf("%s (%s): %s", c.Status, c.Reason, c.Message))
	}
}

func (s *sheet) instant(t *metav1.Time) string {
	if t == nil {
		return "unknown"
	}
	return instant(t.Time, s.now)
}
