// For hack/verify.sh.
module github.com/latchkey-dev/latchkey/hack/tools/typecheck

go 1.26.6

require golang.org/x/tools v0.51.0

require (
	golang.org/x/mod v0.41.0 // indirect
	golang.org/x/sync v0.23.0 // indirect
)
