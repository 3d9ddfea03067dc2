// Package wiretest is for tests of what goes over connections, byte for byte: a
// backend that takes nothing but requests which every parser reads alike, a corpus of
// requests that parsers read differently, and a client that sends bytes as they are.
package wiretest
