// Package attacks tests the API server, as it is built for a release and fed from a
// real kube-apiserver, with what an attacker would send: see docs/attacks.md.
package attacks
