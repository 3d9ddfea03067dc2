package cli

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/audit"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

// ExitFindings is the exit code of audit --exit-code when there are findings.
const ExitFindings = 2

// ErrFindings is what audit --exit-code ends with when there are findings. They
// have been printed: it needs no words of its own.
var ErrFindings = errors.New("the audit has findings")

// What audit asks when no check is named.
const (
	defaultIdleDays     = 90
	defaultExpiringDays = 14
	// maxDays is as far as a duration reaches, more or less.
	maxDays = math.MaxInt64 / int64(24*time.Hour)
)

// auditOptions are the options of kubectl latchkey audit.
type auditOptions struct {
	genericiooptions.IOStreams
	cluster *cluster

	isEverywhere bool
	output       string
	isExitCode   bool

	idleDays, expiringDays int64
	wideScopes             string
	checks                 audit.Checks
	// isChosen says that the command line names checks.
	isChosen bool
}

func newAuditCommand(streams genericiooptions.IOStreams, cluster *cluster) *cobra.Command {
	o := &auditOptions{IOStreams: streams, cluster: cluster}
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "List ApiTokens with what is wrong with them",
		Long: fmt.Sprintf(`List ApiTokens with what is wrong with them.

Without a check, all ApiTokens are listed and all checks are made, with %d days
for --idle-days and %d for --expiring-within-days, but for --wide-scopes and
--owner-gone: the latter makes sense where owners are the names of members. With
checks, those ApiTokens are listed that fail any of them.

Uses are recorded since a date, and written about hourly: where they are not, a
token counts neither as idle nor as never used. --owner-gone and --violates-policy
compare with the Tenant and its PublicApi, which the platform team may read.

With --exit-code the exit code is %d if there are findings, 0 if there are none; 1
is for errors, as ever.`, defaultIdleDays, defaultExpiringDays, ExitFindings),
		Example: `  kubectl latchkey audit -n tenant-acme
  kubectl latchkey audit --all-tenants -o csv > audit.csv
  kubectl latchkey audit --all-tenants --idle-days 90 --without-owner --exit-code`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              runVerb(o),
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.isEverywhere, "all-tenants", "A", false, "audit all tenants, rather than one namespace")
	flags.StringVarP(&o.output, "output", "o", "", "one of: "+strings.Join(auditOutputs, ", "))
	flags.BoolVar(&o.isExitCode, "exit-code", false, fmt.Sprintf("end with exit code %d if there are findings", ExitFindings))
	flags.Int64Var(&o.idleDays, "idle-days", 0, "live tokens that were not used for more than so many days")
	flags.BoolVar(&o.checks.NeverUsed, "never-used", false, "live tokens that were not used since uses are recorded")
	flags.Int64Var(&o.expiringDays, "expiring-within-days", 0, "live tokens that expire within so many days")
	flags.BoolVar(&o.checks.Expired, "expired", false, "tokens whose time is over")
	flags.BoolVar(&o.checks.WithoutOwner, "without-owner", false, "tokens that nobody answers for")
	flags.BoolVar(&o.checks.OwnerGone, "owner-gone", false, "tokens whose owner is no user among the Tenant's members")
	flags.BoolVar(&o.checks.ViolatesPolicy, "violates-policy", false, "live tokens that today's policy would not permit")
	flags.StringVar(&o.wideScopes, "wide-scopes", "", "live tokens with more scopes than this number, or one like this pattern, such as '*:write'")
	flags.BoolVar(&o.checks.PreviousInUse, "previous-in-use", false, "tokens that were replaced, work still, and were used since")
	registerOutputs(cmd, auditOutputs...)
	return cmd
}

// Complete implements verb.
func (o *auditOptions) Complete(cmd *cobra.Command, args []string) error {
	for _, check := range []string{"idle-days", "never-used", "expiring-within-days", "expired", "without-owner", "owner-gone", "violates-policy", "wide-scopes", "previous-in-use"} {
		o.isChosen = o.isChosen || cmd.Flags().Changed(check)
	}
	for _, days := range []struct {
		name  string
		value int64
	}{{"idle-days", o.idleDays}, {"expiring-within-days", o.expiringDays}} {
		if cmd.Flags().Changed(days.name) && (days.value < 1 || days.value > maxDays) {
			return fmt.Errorf("--%s %d: must be at least 1, and no more than %d", days.name, days.value, maxDays)
		}
	}
	return noArguments(args)
}

// Validate implements verb.
func (o *auditOptions) Validate() error {
	if o.output != "" && !slices.Contains(auditOutputs, o.output) {
		return fmt.Errorf("-o %q: must be one of %s", o.output, strings.Join(auditOutputs, ", "))
	}
	var err error
	if o.checks, err = o.checks.AskingWideScopes(o.wideScopes); err != nil {
		return fmt.Errorf("--wide-scopes %w", err)
	}
	const day = 24 * time.Hour
	o.checks.Idle, o.checks.Expiring = time.Duration(o.idleDays)*day, time.Duration(o.expiringDays)*day
	if !o.isChosen {
		o.checks = audit.Checks{
			Idle: defaultIdleDays * day, Expiring: defaultExpiringDays * day,
			NeverUsed: true, Expired: true, WithoutOwner: true, ViolatesPolicy: true, PreviousInUse: true,
		}
	}
	return nil
}

// Run implements verb.
func (o *auditOptions) Run(ctx context.Context) error {
	session, err := o.cluster.connect()
	if err != nil {
		return err
	}
	namespace := session.namespace
	if o.isEverywhere {
		namespace = ""
	}
	ctx, date := withServerDate(ctx)
	list := &v1alpha1.ApiTokenList{}
	if err := session.client.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return request{verb: "list", resource: apiTokens, namespace: namespace}.explain(err)
	}
	now := date.OrNow()
	platform, err := o.platform(ctx, session)
	if err != nil {
		return err
	}
	if len(list.Items) == 0 {
		_, _ = fmt.Fprintf(o.ErrOut, "There are no %s.\n", request{namespace: namespace}.object())
	}
	rows := o.rows(list.Items, platform, now)
	if err := o.print(rows, now); err != nil {
		return fmt.Errorf("print the audit: %w", err)
	}
	if o.isExitCode && slices.ContainsFunc(rows, func(r auditRow) bool { return len(r.Findings) > 0 }) {
		return ErrFindings
	}
	return nil
}

// platform is what the platform team knows of the tenants, by namespace.
type platform struct {
	tenants  map[string]*v1alpha1.Tenant
	policies map[string]*policy.Policy
}

// platform reads Tenants and PublicApis, where a check needs them. Members may
// not: where they named no such check, a note is enough.
func (o *auditOptions) platform(ctx context.Context, session *session) (*platform, error) {
	p := &platform{tenants: map[string]*v1alpha1.Tenant{}, policies: map[string]*policy.Policy{}}
	if !o.checks.OwnerGone && !o.checks.ViolatesPolicy {
		return p, nil
	}
	tenantList, apiList := &v1alpha1.TenantList{}, &v1alpha1.PublicApiList{}
	err := session.client.List(ctx, tenantList)
	if err == nil && o.checks.ViolatesPolicy {
		err = session.client.List(ctx, apiList)
	}
	switch {
	case apierrors.IsForbidden(err) && o.isChosen:
		return nil, fmt.Errorf("--owner-gone and --violates-policy compare with Tenants and PublicApis, which you may not list: leave them out, or ask the platform team: %w", err)
	case apierrors.IsForbidden(err):
		_, _ = fmt.Fprintln(o.ErrOut, "Note: you may not list Tenants and PublicApis, so that tokens against the policy are not found.")
		o.checks.ViolatesPolicy = false
		return p, nil
	case err != nil:
		return nil, fmt.Errorf("list Tenants and PublicApis: %w", err)
	}
	p.add(tenantList, apiList)
	o.noteGroups(tenantList, session.namespace)
	return p, nil
}

func (p *platform) add(tenants *v1alpha1.TenantList, apis *v1alpha1.PublicApiList) {
	policies := map[string]*policy.Policy{}
	for i := range apis.Items {
		policies[apis.Items[i].Name] = new(policy.Of(&apis.Items[i]))
	}
	for i := range tenants.Items {
		t := &tenants.Items[i]
		p.tenants[t.Status.Namespace] = t
		p.policies[t.Status.Namespace] = policies[t.PublicApiName()]
	}
}

// noteGroups says where an owner may be a member without being named.
func (o *auditOptions) noteGroups(tenants *v1alpha1.TenantList, namespace string) {
	for i := range tenants.Items {
		t := &tenants.Items[i]
		isGroup := func(m v1alpha1.Member) bool { return m.Kind == v1alpha1.MemberGroup }
		if o.checks.OwnerGone && (o.isEverywhere || t.Status.Namespace == namespace) && slices.ContainsFunc(t.Spec.Members, isGroup) {
			_, _ = fmt.Fprintf(o.ErrOut, "Note: Tenant %s has groups among its members, of which nobody here knows who is in them: owners who are show as %s.\n", t.Name, audit.CheckOwnerGone)
		}
	}
}

// auditRow is an ApiToken of an audit. Its JSON is what -o json prints.
type auditRow struct {
	Namespace        string          `json:"namespace"`
	Name             string          `json:"name"`
	Active           string          `json:"active"`
	Reason           string          `json:"reason,omitempty"`
	ID               string          `json:"id,omitempty"`
	Owner            string          `json:"owner,omitempty"`
	Description      string          `json:"description,omitempty"`
	Scopes           []string        `json:"scopes,omitempty"`
	AllowedCIDRs     []string        `json:"allowedCIDRs,omitempty"`
	CreatedAt        metav1.Time     `json:"createdAt"`
	IssuedAt         *metav1.Time    `json:"issuedAt,omitempty"`
	ExpiresAt        *metav1.Time    `json:"expiresAt,omitempty"`
	LastUsedAt       *metav1.Time    `json:"lastUsedAt,omitempty"`
	UseRecordedSince *metav1.Time    `json:"useRecordedSince,omitempty"`
	PreviousID       string          `json:"previousID,omitempty"`
	PreviousEndsAt   *metav1.Time    `json:"previousEndsAt,omitempty"`
	CreatedBy        string          `json:"claimedCreatedBy,omitempty"`
	IssuedBy         string          `json:"claimedIssuedBy,omitempty"`
	RevokedBy        string          `json:"claimedRevokedBy,omitempty"`
	Findings         []audit.Finding `json:"findings"`
}

func (o *auditOptions) rows(tokens []v1alpha1.ApiToken, p *platform, now time.Time) []auditRow {
	rows := []auditRow{}
	for i := range tokens {
		t := &tokens[i]
		facts := audit.Facts{Now: now, Policy: p.policies[t.Namespace]}
		if tenant := p.tenants[t.Namespace]; tenant != nil {
			facts.Tenant, facts.Users = tenant.Name, audit.Users(tenant)
		}
		found := o.checks.Findings(t, facts)
		if len(found) > 0 || !o.isChosen {
			rows = append(rows, auditRowOf(t, found))
		}
	}
	return rows
}

func auditRowOf(t *v1alpha1.ApiToken, found []audit.Finding) auditRow {
	active, reason := activity(t)
	row := auditRow{
		Namespace: t.Namespace, Name: t.Name, Active: active, Reason: reason,
		Owner: t.Spec.Owner, Description: t.Spec.Description, Scopes: t.Spec.Scopes, AllowedCIDRs: t.Spec.AllowedCIDRs,
		CreatedAt: t.CreationTimestamp, IssuedAt: audit.IssuedAt(t), LastUsedAt: audit.LastUse(t), UseRecordedSince: t.Status.UseRecordedSince,
		CreatedBy: t.Annotations[v1alpha1.AnnotationCreatedBy],
		IssuedBy:  t.Annotations[v1alpha1.AnnotationIssuedBy],
		RevokedBy: t.Annotations[v1alpha1.AnnotationRevokedBy],
		Findings:  append([]audit.Finding{}, found...),
	}
	if c := t.Status.Credential; c != nil {
		row.ID, row.ExpiresAt = c.ID, &c.ExpiresAt
	}
	if c := t.Status.PreviousCredential; c != nil {
		row.PreviousID, row.PreviousEndsAt = c.ID, &c.ExpiresAt
	}
	return row
}

func (o *auditOptions) print(rows []auditRow, now time.Time) error {
	switch o.output {
	case outputJSON:
		encoder := json.NewEncoder(o.Out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(struct {
			AuditedAt string     `json:"auditedAt"`
			Items     []auditRow `json:"items"`
		}{now.UTC().Format(time.RFC3339), rows})
	case outputCSV:
		return o.printCSV(rows)
	default:
		if len(rows) == 0 {
			_, err := fmt.Fprintln(o.ErrOut, "There are no findings.")
			return err
		}
		return printTable(o.Out, o.columns(now), rows)
	}
}

func (o *auditOptions) columns(now time.Time) []column[auditRow] {
	columns := []column[auditRow]{
		{"NAME", func(r *auditRow) string { return r.Name }},
		{"ACTIVE", func(r *auditRow) string { return r.Active }},
		{"EXPIRES", func(r *auditRow) string { return orDash(instantOf(r.ExpiresAt, now)) }},
		{"LAST USED", func(r *auditRow) string { return r.lastUse(now) }},
		{"OWNER", func(r *auditRow) string { return orDash(r.Owner) }},
		{"FINDINGS", func(r *auditRow) string { return orDash(r.findings()) }},
	}
	if o.isEverywhere {
		columns = append([]column[auditRow]{{"NAMESPACE", func(r *auditRow) string { return r.Namespace }}}, columns...)
	}
	if o.output == outputWide {
		columns = append(columns,
			column[auditRow]{"ID", func(r *auditRow) string { return orDash(r.ID) }},
			column[auditRow]{"SCOPES", func(r *auditRow) string { return orDash(strings.Join(r.Scopes, ",")) }},
			column[auditRow]{"ADDRESSES", func(r *auditRow) string { return orDash(strings.Join(r.AllowedCIDRs, ",")) }},
			column[auditRow]{"CREATED BY (CLAIMED)", func(r *auditRow) string { return orDash(r.CreatedBy) }},
			column[auditRow]{"ISSUED BY (CLAIMED)", func(r *auditRow) string { return orDash(r.IssuedBy) }},
			column[auditRow]{"DETAILS", func(r *auditRow) string { return orDash(r.details()) }},
		)
	}
	return columns
}

func instantOf(t *metav1.Time, now time.Time) string {
	if t == nil {
		return ""
	}
	return instant(t.Time, now)
}

// lastUse is when the token was used, or since when it is known not to be.
func (r *auditRow) lastUse(now time.Time) string {
	since := r.UseRecordedSince
	if since != nil && r.IssuedAt != nil && since.Before(r.IssuedAt) {
		since = r.IssuedAt
	}
	switch {
	case r.LastUsedAt != nil:
		return duration.HumanDuration(now.Sub(r.LastUsedAt.Time)) + " ago"
	case r.ID == "" || since == nil:
		return "-"
	default:
		return "never since " + since.UTC().Format(time.DateOnly)
	}
}

func (r *auditRow) findings() string {
	names := make([]string, 0, len(r.Findings))
	for _, f := range r.Findings {
		names = append(names, string(f.Check))
	}
	return strings.Join(names, ",")
}

func (r *auditRow) details() string {
	details := make([]string, 0, len(r.Findings))
	for _, f := range r.Findings {
		details = append(details, f.Detail)
	}
	return strings.Join(details, "; ")
}

// printCSV prints RFC 4180 with a header line.
func (o *auditOptions) printCSV(rows []auditRow) error {
	writer := csv.NewWriter(o.Out)
	_ = writer.Write([]string{"namespace", "name", "active", "reason", "id", "owner", "description", "scopes", "allowed_cidrs", "created_at", "issued_at",
		"expires_at", "last_used_at", "use_recorded_since", "previous_id", "previous_ends_at", "claimed_created_by", "claimed_issued_by", "claimed_revoked_by", "findings", "details"})
	for i := range rows {
		r := &rows[i]
		record := []string{r.Namespace, r.Name, r.Active, r.Reason, r.ID, r.Owner, r.Description, strings.Join(r.Scopes, " "), strings.Join(r.AllowedCIDRs, " "),
			stampOf(&r.CreatedAt), stampOf(r.IssuedAt), stampOf(r.ExpiresAt), stampOf(r.LastUsedAt), stampOf(r.UseRecordedSince), r.PreviousID, stampOf(r.PreviousEndsAt),
			r.CreatedBy, r.IssuedBy, r.RevokedBy, r.findings(), r.details()}
		for j := range record {
			record[j] = inert(printable(record[j]))
		}
		_ = writer.Write(record) // kept by the writer: Error has it
	}
	writer.Flush()
	return writer.Error()
}

// inert keeps a spreadsheet from taking a text that others wrote for a formula.
func inert(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) && s != "-" {
		return "'" + s
	}
	return s
}

func stampOf(t *metav1.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
