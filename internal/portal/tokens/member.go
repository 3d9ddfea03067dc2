package tokens

// Member is a user whom an identity provider vouches for, with the names that
// Kubernetes knows: what the user may do is asked of the cluster. No group is added, not
// even system:authenticated: nobody gets a right here that was given to all accounts of
// the cluster.
func Member(name string, groups []string) *User { return &User{Name: name, groups: groups} }

// Maker is the user who made an ApiToken that signs in, as its annotation says. That
// takes the right to create ApiTokens, with which the user could have made one with the
// scope tokens:write: in the tenant, while the session lasts, it stands for the rights
// to see, create, rotate and revoke, and the cluster is not asked again.
func Maker(name string) *User { return &User{Name: name, isMaker: true} }
