// Package story holds the test that does what the README tells a newcomer to do,
// with the programs that he would use: make run's own driver, kubectl, the
// plugin, curl.
package story
