// Package e2e is the test of a whole installation, on the cluster of the current
// kubeconfig, with the programs that people use: kubectl, the plugin, helm, curl.
// `make e2e` makes what it needs and runs it. It has the build tag e2e.
//
// The test is a story told in chapters, each in a file of its own and a line in
// the list of main_test.go. A chapter finds what those before it have left.
package e2e
