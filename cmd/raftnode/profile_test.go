package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// Catches routes that contradict each other, which ends a node at its start, and profiles that are not there.
func TestProfilesAreServed(t *testing.T) {
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/allocs", "/debug/pprof/profile?seconds=1"} {
		answer := httptest.NewRecorder()
		profiles().Handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		require.Equal(t, http.StatusOK, answer.Code, path)
		require.NotEmpty(t, answer.Body.Bytes(), path)
	}
}
