package settings

import (
	"net/url"
	"time"
)

// View is a page with all that it shows. The types below are the views; all their
// texts are plain, and are escaped where they are shown.
type View interface {
	// name is that of the view's template.
	name() string
	common() Common
}

// Common is what all pages show.
type Common struct {
	// Product is the API's title.
	Product string
	// Host is the tenant's host as the client named it, such as acme.example.com:8443,
	// and Origin is what its URLs begin with, such as https://acme.example.com:8443.
	Host, Origin string
	// SettingsPath is the path of the list, such as /settings; all other paths of the
	// pages are below it. It ends with no slash, nor do the others.
	SettingsPath string
	// DocsPath is where the API is documented. Without it no page links there.
	DocsPath string
	// APIBasePath is what the API's paths begin with, such as /api/v1.
	APIBasePath string
	// Person is the display name of who is signed in. Without it nobody is, and there
	// is no way to sign out.
	Person string
	// CanCreate offers to create a token.
	CanCreate bool
	// Notice is a line that says what has just been done, and Warning one about the
	// account.
	Notice, Warning string
	// Now is the instant that "in 3 days" counts from; the current time if zero.
	Now time.Time
}

func (c Common) common() Common { return c }

// The fields of the forms. All are sent as application/x-www-form-urlencoded.
const (
	// FieldName is a token's name: of the one to create, and typed to confirm that one
	// is to be revoked.
	FieldName = "name"
	// FieldDescription, FieldOwner and FieldScope (once a scope) are the token's.
	FieldDescription = "description"
	FieldOwner       = "owner"
	FieldScope       = "scope"
	// FieldLifetime is the Value of a Choice, or LifetimeCustom, with which
	// FieldExpiresOn counts.
	FieldLifetime = "lifetime"
	// FieldExpiresOn is a day such as 2027-01-31 at whose beginning, in UTC, the token
	// stops working.
	FieldExpiresOn = "expires-on"
	// FieldAddresses are CIDRs, separated by commas or white space.
	FieldAddresses = "addresses"
	// FieldOverlap is the Value of a Choice.
	FieldOverlap = "overlap"
	// FieldCredential is the id of the credential that the page showed when somebody
	// chose to rotate it or to drop it; empty where the token has none yet. If it is
	// another one by now, the form was sent twice, or is an old one: rotating again
	// would end what was revealed a moment ago.
	FieldCredential = "credential"
	// FieldToken is a token to sign in with.
	FieldToken = "token"
	// FieldReturn is the path to go to after the sign-in.
	FieldReturn = "return"
	// FieldResume asks to show the form filled in again, instead of doing what it says.
	FieldResume = "resume"
)

// LifetimeCustom is the value of FieldLifetime for a date of one's own.
const LifetimeCustom = "custom"

// SignIn is the page for who is not signed in, or not recently enough.
type SignIn struct {
	Common
	// OIDC offers the identity provider: a link to S/sign-in/oidc.
	OIDC bool
	// Token offers a field for the token of kubectl latchkey settings: a form for
	// S/sign-in/token.
	Token bool
	// Return is the path to go to afterwards; empty is the list.
	Return string
	// Problem says why the last attempt failed.
	Problem string
	// Again says that the person is signed in, but not recently enough.
	Again bool
}

// ConfirmSignIn asks whether to sign in with a token that another page sent. Its form
// is the same-origin one that exchanges the token.
type ConfirmSignIn struct {
	Common
	// Token is the token, and Name is as whom it signs in.
	Token, Name string
}

// SignedIn is where a sign-in in a second tab ends: the first tab goes on.
type SignedIn struct{ Common }

// SignedOut says that the session has ended.
type SignedOut struct {
	Common
	// Everywhere says that all sessions of the person have.
	Everywhere bool
	// ProviderLogout is where the session at the identity provider can be ended too; a
	// link, since a form may not be redirected there.
	ProviderLogout string
}

// State is a token's state, as people see it.
type State uint8

// The states of a token.
const (
	// Active: it works.
	Active State = iota
	// ExpiringSoon: it works, and expires within the days of notice.
	ExpiringSoon
	// Expired: its time is over.
	Expired
	// Revoked: for good.
	Revoked
	// Waiting: nobody has minted its credential yet.
	Waiting
	// Refused: its author has to mend something first; StateDetail says what.
	Refused
	// Suspended: it does not work while its tenant is suspended.
	Suspended
)

// Row is a token, as a list shows it.
type Row struct {
	Name string
	// ID is the public id; empty while the token is Waiting.
	ID                 string
	Owner, Description string
	Scopes             []string
	CreatedAt          time.Time
	// ExpiresAt is zero while nothing was issued.
	ExpiresAt time.Time
	// LastUsedAt is nil where no use is known. That is none since UsedSince, or since
	// the token was issued, whichever is later; where UsedSince is nil, uses are not
	// recorded.
	LastUsedAt, UsedSince *time.Time
	// DaysLeft is policy.DaysLeft: a begun day counts whole.
	DaysLeft int
	State    State
	// StateDetail says more of the state in a sentence, such as what was refused. An
	// Active token has one where something else than it was refused.
	StateDetail string
}

// The filters of a list, as the parameter show names them.
const (
	ShowAll          = "all"
	ShowExpiring     = "expiring"
	ShowIdle         = "idle"
	ShowNeverUsed    = "never-used"
	ShowWithoutOwner = "without-owner"
	ShowMine         = "mine"
	ShowInactive     = "inactive"
)

// The orders of a list, as the parameter sort names them. With a "-" before it the
// order is reversed.
const (
	SortName    = "name"
	SortOwner   = "owner"
	SortCreated = "created"
	SortExpires = "expires"
	SortUsed    = "used"
	SortState   = "state"
)

// Shows are the filters in the order in which the list offers them.
func Shows() []string {
	return []string{ShowAll, ShowExpiring, ShowIdle, ShowNeverUsed, ShowWithoutOwner, ShowMine, ShowInactive}
}

// Sorts are the orders, without the reversed ones.
func Sorts() []string {
	return []string{SortName, SortOwner, SortCreated, SortExpires, SortUsed, SortState}
}

// List is a page of the list of tokens. Its parameters are q, show, sort and page.
type List struct {
	Common
	Rows []Row
	// Query, Show, Sort and Page are what was asked for, as it was understood: Show and
	// Sort are of the values above, and pages count from 1.
	Query, Show, Sort string
	Page, Pages       int
	// Total is how many tokens there are, and Matching how many of them are on all the
	// Pages. Without any token the page teaches what one is.
	Total, Matching int
	// Counts are how many of the tokens that the query finds each filter has.
	Counts map[string]int
}

// Form is what was typed into the form that creates a token.
type Form struct {
	Name, Description, Owner string
	// Lifetime is the Value of one of Create's Lifetimes, or LifetimeCustom.
	Lifetime string
	// ExpiresOn counts with LifetimeCustom; see FieldExpiresOn.
	ExpiresOn string
	Addresses string
	Scopes    []string
}

// FormOf reads the form as it was sent. Nothing is trimmed or checked.
func FormOf(fields url.Values) Form {
	return Form{
		Name: fields.Get(FieldName), Description: fields.Get(FieldDescription), Owner: fields.Get(FieldOwner),
		Lifetime: fields.Get(FieldLifetime), ExpiresOn: fields.Get(FieldExpiresOn),
		Addresses: fields.Get(FieldAddresses), Scopes: fields[FieldScope],
	}
}

// ScopeChoice is a scope to choose.
type ScopeChoice struct {
	Name, Description string
}

// LifetimeChoice is a time to choose: a lifetime, or an overlap.
type LifetimeChoice struct {
	// Value is sent, and Label shown, such as "90 days".
	Value, Label string
	// Ends is the resulting instant; not shown if zero.
	Ends time.Time
}

// Create is the form that creates a token.
type Create struct {
	Common
	Form Form
	// Scopes are those of the API. A scope of Form that is not among them is listed
	// too, so that nothing typed is lost.
	Scopes []ScopeChoice
	// Lifetimes are the presets that the policy permits.
	Lifetimes []LifetimeChoice
	// MaxLifetime bounds the date; zero leaves that out.
	MaxLifetime time.Duration
	// Errors say what is wrong, by field: FieldName and so on.
	Errors map[string]string
	// Problem is wrong with no field in particular.
	Problem string
}

// Reveal shows a token, this once.
type Reveal struct {
	Common
	Name, ID  string
	Plaintext string
	ExpiresAt time.Time
	// Curl is a whole line to try the token with, the plaintext in it.
	Curl string
	// Rotated says that the token has replaced another one, which works until
	// PreviousWorksUntil, or no longer.
	Rotated            bool
	PreviousWorksUntil *time.Time
	// Unconfirmed says that the token does not work yet, and will in a moment.
	Unconfirmed bool
}

// Credential is the one that a rotated token had before.
type Credential struct {
	ID         string
	ExpiresAt  time.Time
	LastUsedAt *time.Time
	// UsedSinceRotation says that something has used it since then, and UsedLately that
	// something still does.
	UsedSinceRotation, UsedLately bool
}

// Occurrence is what happened to a token.
type Occurrence string

// What can happen to a token.
const (
	// EventCreated: it was made, and EventIssued: its first credential was.
	EventCreated Occurrence = "created"
	EventIssued  Occurrence = "issued"
	// EventRotated: its credential was replaced.
	EventRotated Occurrence = "rotated"
	// EventNoticed: it was said that it expires soon.
	EventNoticed Occurrence = "noticed"
	// EventUsed: it was last used, and EventPreviousUsed: the one before was.
	EventUsed         Occurrence = "used"
	EventPreviousUsed Occurrence = "previous-used"
	// EventPreviousEnds: the replaced credential stops working, at an instant that may
	// lie ahead; EventExpires: the present one does.
	EventPreviousEnds Occurrence = "previous-ends"
	EventExpires      Occurrence = "expires"
	// EventRevoked: somebody revoked it.
	EventRevoked Occurrence = "revoked"
	// EventRefused: what was asked for was not issued.
	EventRefused Occurrence = "refused"
)

// Event is something that happened to a token, or is known to lie ahead.
type Event struct {
	At   time.Time
	What Occurrence
	// Who did it; empty where nobody did, or nobody knows.
	Who string
	// Detail says more, in a sentence.
	Detail string
}

// Token is the page of a token.
type Token struct {
	Common
	Row
	// AllowedCIDRs are the addresses that it works from; none means from anywhere.
	AllowedCIDRs []string
	// Overlap is how long a replaced credential goes on working unless something else
	// is chosen, in words; empty for not at all.
	Overlap string
	// Previous is the replaced credential while it works.
	Previous *Credential
	// Activity is shown in the order given: the latest first.
	Activity []Event
	// CanRotate and CanRevoke offer to. An Expired token is offered to be regenerated,
	// and one that is Waiting to be issued.
	CanRotate, CanRevoke bool
	// Command is the line that issues one that is Waiting in a terminal.
	Command string
}

// Rotate is the form that replaces a token's credential, or issues its first.
type Rotate struct {
	Common
	Row
	// Overlaps are how long the replaced credential may go on working. Without any the
	// form does not ask.
	Overlaps []LifetimeChoice
	// Chosen is the Value of one of them.
	Chosen string
	// Previous is an older credential that still works, and stops at once.
	Previous *Credential
	// Ends is when the new credential expires; not shown if zero.
	Ends    time.Time
	Problem string
	// Issue says that there is no credential yet.
	Issue bool
}

// Revoke is the form that revokes a token.
type Revoke struct {
	Common
	Row
	// Typed is what was typed as the name.
	Typed   string
	Problem string
}

// Resume keeps what was typed while somebody signs in again: nothing of it is stored
// but in the page itself.
type Resume struct {
	Common
	// Action is the path that the form was sent to, and Fields are what it said.
	Action string
	Fields url.Values
	// What says what is to go on, such as "create the token ci".
	What string
	// SignInPath is opened in another tab.
	SignInPath string
}

// Failure says what is wrong, and what to do.
type Failure struct {
	Common
	// Status is that of the answer; it is shown.
	Status int
	// Title and Detail say what is wrong; Advice what to do.
	Title, Detail, Advice string
	// BackPath is where to go on; empty is the list. BackText is what the link says;
	// "Go back" if empty.
	BackPath, BackText string
}

func (SignIn) name() string        { return "sign-in" }
func (ConfirmSignIn) name() string { return "confirm-sign-in" }
func (SignedIn) name() string      { return "signed-in" }
func (SignedOut) name() string     { return "signed-out" }
func (List) name() string          { return "list" }
func (Create) name() string        { return "create" }
func (Reveal) name() string        { return "reveal" }
func (Token) name() string         { return "token" }
func (Rotate) name() string        { return "rotate" }
func (Revoke) name() string        { return "revoke" }
func (Resume) name() string        { return "resume" }
func (Failure) name() string       { return "failure" }
