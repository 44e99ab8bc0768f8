package main

import (
	"net/http"
	"net/http/pprof"
	"time"
)

// profiles serves what Go's profiler tells of this process.
func profiles() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	return &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
}
