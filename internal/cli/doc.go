// Package cli is the kubectl plugin, kubectl latchkey: a file a verb, each verb
// an options struct that is completed, validated and run.
//
// It mints tokens on the user's machine, so that only their digests ever reach
// the cluster, and works with the rights of a tenant's members: ApiTokens of
// their namespace, and that one Namespace.
package cli
