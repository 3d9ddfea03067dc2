package settings

import "time"

// The texts that depend on a value. All others are in the templates.

// stateText is what people read of a state.
type stateText struct {
	label string
	// tone is good, warn, bad, calm or off, as the style sheet has them.
	tone string
	// verb is what there is to do about the credential.
	verb string
	// title and text explain the state; empty where it explains itself.
	title, text string
}

const (
	verbRotate     = "Rotate"
	verbRegenerate = "Regenerate"
	verbIssue      = "Issue"
)

var stateTexts = map[State]stateText{
	Active: {"Active", "good", verbRotate, "", ""},
	ExpiringSoon: {"Expires soon", "warn", verbRotate,
		"It expires soon.", "Rotate it in good time, and change over before it ends: from then on every call with it is refused."},
	Expired: {"Expired", "bad", verbRegenerate,
		"It has expired.", "Calls with it are refused. Regenerate it to get a new token with the same name, owner and scopes."},
	Revoked: {"Revoked", "off", "",
		"It is revoked, for good.", "Calls with it are refused. If its work goes on, create another token."},
	Waiting: {"Not issued yet", "calm", verbIssue,
		"Nobody has this token yet.", "It was asked for, and waits to be issued. Whoever issues it sees it, once."},
	Refused: {"Refused", "bad", verbIssue,
		"It was refused.", "Mend that where it was asked for, or create another token."},
	Suspended: {"Suspended", "warn", verbRotate,
		"It does not work for now.", "Your account is suspended. Once it no longer is, the token works again."},
}

func label(s State) string { return stateTexts[s].label }

func tone(s State) string { return stateTexts[s].tone }

func verb(s State) string { return stateTexts[s].verb }

// soon says of what state the time that is left is a warning.
func soon(s State) bool { return s == ExpiringSoon }

// explanation is what a state means for the reader.
type explanation struct{ Title, Text string }

// advice explains a token's state; nil where there is nothing to say.
func advice(r Row) *explanation {
	text := stateTexts[r.State]
	switch {
	case text.title != "":
		return &explanation{text.title, text.text}
	case r.StateDetail != "":
		return &explanation{"Something is to be mended.", "The token works meanwhile."}
	}
	return nil
}

// changeable says for what states there are buttons. What may be done is for the caller
// to say.
func changeable(s State) bool { return s != Revoked }

// filter is what a filter is called.
func filter(show string) string {
	return map[string]string{
		ShowAll: "All", ShowExpiring: "Expiring soon", ShowIdle: "Idle for 90 days", ShowNeverUsed: "Never used",
		ShowWithoutOwner: "Without owner", ShowMine: "Mine", ShowInactive: "Inactive",
	}[show]
}

// nothing says that a filter has no token.
func nothing(show string) string {
	return map[string]string{
		ShowExpiring: "No token expires soon.", ShowIdle: "Every token that works was used in the last 90 days.",
		ShowNeverUsed: "Every token that works was used.", ShowWithoutOwner: "Every token has an owner.",
		ShowMine: "You own no token.", ShowInactive: "Every token works.",
	}[show]
}

// sorting is an order with its name.
type sorting struct{ Value, Label string }

// sortings are the orders to choose from where there are no columns.
func sortings() []sorting {
	return []sorting{
		{SortName, "Name, A to Z"}, {"-" + SortName, "Name, Z to A"}, {SortExpires, "First to expire"}, {"-" + SortExpires, "Last to expire"},
		{"-" + SortUsed, "Used last"}, {SortUsed, "Longest unused"}, {"-" + SortCreated, "Newest"}, {SortCreated, "Oldest"},
		{SortOwner, "Owner, A to Z"}, {"-" + SortOwner, "Owner, Z to A"}, {SortState, "Working first"}, {"-" + SortState, "Working last"},
	}
}

// happened says what an event was, or will be.
func happened(now time.Time, e Event) string {
	ahead := after(e.At, now)
	switch {
	case e.What == EventExpires && ahead:
		return "Expires"
	case e.What == EventPreviousEnds && ahead:
		return "Previous token stops working"
	}
	return map[Occurrence]string{
		EventCreated: "Created", EventIssued: "Issued", EventRotated: "Rotated", EventNoticed: "Notice that it expires soon",
		EventUsed: "Last used", EventPreviousUsed: "Previous token last used", EventPreviousEnds: "Previous token stopped working",
		EventExpires: "Expired", EventRevoked: "Revoked", EventRefused: "Refused",
	}[e.What]
}

// unused says of a token without a known use what that means.
func unused(r Row) string {
	if r.UsedSince == nil {
		return "Not recorded"
	}
	return "Never"
}
