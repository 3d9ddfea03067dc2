// Package tokens is what people and programs do to a tenant's ApiTokens: list, show,
// create, change, rotate and revoke them. The API for tokens and the Settings pages are
// two ways to the same functions, which decide what a caller may do, and read and write
// ApiTokens in the tenant's namespace, never elsewhere. Errors are problems that a caller
// can be told.
package tokens

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/fairqueue"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// Config is what a Service needs.
type Config struct {
	// Client reads from and writes to the Kubernetes API server, without a cache.
	Client client.Client
	// Directory says when a token that was made works on this replica.
	Directory *directory.Directory
	// TokenPrefix is what tokens begin with.
	TokenPrefix string
	// ConfirmTimeout is how long the manager may take to confirm a token.
	ConfirmTimeout time.Duration
	// Clock tells the time.
	Clock clock.PassiveClock
	// Logger gets the audit log and faults.
	Logger *slog.Logger
}

// Service does what callers ask for. Its methods may be called from any goroutine.
type Service struct {
	config  Config
	reviews *reviews
	// lists are the lists that are under way, and reads the pieces of them that are read.
	lists, reads *fairqueue.Places
	// secret finds the beginning of a token and what of its secret part has to be kept.
	secret *regexp.Regexp
}

// secretPattern is what follows the prefix of a token: its id and so much of its secret
// part that the rest could be guessed.
var secretPattern = fmt.Sprintf("_([0-9A-Za-z]{%d})_[0-9A-Za-z]{16}", token.IDLength)

// New makes a Service.
func New(config Config) *Service {
	return &Service{
		config: config, reviews: newReviews(config.Client, config.Clock), lists: fairqueue.NewPlaces(maxLists, listsPerTenant), reads: fairqueue.NewPlaces(maxReads, listsPerTenant),
		secret: regexp.MustCompile(regexp.QuoteMeta(config.TokenPrefix) + secretPattern),
	}
}

// HoldsSecret says whether a text holds a token, or most of one. What is written to the
// cluster can be read by others, so that no such text must be.
func (s *Service) HoldsSecret(text string) bool { return s.secret.MatchString(text) }

// IDIn is the public id of the first token that a text holds, or most of it.
func (s *Service) IDIn(text string) (id string, ok bool) {
	found := s.secret.FindStringSubmatch(text)
	if found == nil {
		return "", false
	}
	return found[1], true
}

// Caller is who calls: an API token, or a user of the cluster.
type Caller struct {
	// Token is the calling API token, or nil.
	Token *directory.Token
	// User is a user of the cluster, or nil.
	User *User
}

// Call is who wants something, and of which tenant.
type Call struct {
	// Tenant is whose ApiTokens it is about.
	Tenant *directory.Tenant
	// API is what the ApiTokens are for.
	API *directory.API
	// Caller was authenticated. Without a Token and a User nothing may be called.
	Caller Caller
	// Via is how: v1alpha1.ViaAPI or v1alpha1.ViaSettings.
	Via string
}

// The verbs of Kubernetes that stand for what can be done to ApiTokens.
const (
	VerbGet    = "get"
	VerbList   = "list"
	VerbCreate = "create"
	VerbPatch  = "patch"  // change, and rotate
	VerbDelete = "delete" // revoke
)

// RequestTimeout bounds everything that a request has done in the cluster.
const RequestTimeout = 30 * time.Second

// Authorize says whether the caller may do something to a token, or to all where name
// is empty.
func (s *Service) Authorize(ctx context.Context, c *Call, verb, name string) error {
	// The cluster is asked about no name that is none. Who puts a token in its place
	// must not have it in the audit log.
	if name != "" && !isLabel(name) {
		return tokenNotFound(name)
	}
	if user := c.Caller.User; user != nil && user.isMaker {
		return nil
	} else if user != nil {
		allowed, refused := s.reviews.mayDo(ctx, user, verb, c.Tenant.Namespace, name)
		switch {
		case refused != nil:
			return refused
		case !allowed:
			return forbidden(user.Name, verb, c.Tenant.Namespace)
		}
		return nil
	}
	scope := v1alpha1.ScopeTokensWrite
	if verb == VerbGet || verb == VerbList {
		scope = v1alpha1.ScopeTokensRead
	}
	if !slices.Contains(c.Caller.Token.Scopes, scope) {
		return problem.InsufficientScope(scope)
	}
	return nil
}

// name is how annotations name the caller.
func (c *Caller) name() string {
	if c.User != nil {
		return c.User.Name
	}
	return "apitoken:" + c.Token.Name
}

// log writes a line of the audit log.
func (s *Service) log(c *Call, action, name, credential string) {
	attributes := []any{"action", action, "tenant", c.Tenant.Name, "namespace", c.Tenant.Namespace, "token", name}
	if credential != "" {
		attributes = append(attributes, "credentialID", credential)
	}
	if c.Caller.User != nil {
		attributes = append(attributes, "actorKind", "user", "actor", c.Caller.User.Name)
	} else {
		attributes = append(attributes, "actorKind", "apitoken", "actor", c.Caller.Token.Name, "actorCredentialID", c.Caller.Token.ID)
	}
	s.config.Logger.Info("audit", append(attributes, "via", c.Via)...)
}

// detached is a context that goes on when the caller's request ends.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), RequestTimeout)
}
