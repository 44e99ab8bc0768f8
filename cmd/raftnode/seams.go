package main

import (
	"net/http"
	"os"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"coup/raftnode/faultfs"
	"coup/raftnode/seams"
	"coup/raftnode/server"
)

// breakage is by what a node under test is broken from outside.
type breakage struct {
	handler http.Handler                         // nil for none
	ticks   func() (t server.Ticks, stop func()) // from the call on
}

// seamsOf is the disk that the settings ask for, and by what it and the clock can be broken.
func seamsOf(s settings) (vfs.FS, breakage) {
	none := breakage{ticks: func() (server.Ticks, func()) { return server.Every(s.tick) }}
	switch {
	case s.faultSeams:
		s.log.Warn("UNSAFE: whoever reaches the HTTP API can break the disk and the clock, and un-synced writes are lost when this process is killed")
		fs, disk := faultfs.NewBreakable(vfs.Default, func(torn string) {
			s.log.Error("node ends as by SIGKILL", "error", torn)
			_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
			os.Exit(128 + int(syscall.SIGKILL)) // the first process of a container cannot kill itself
		})
		clock := seams.NewClock(s.tick)
		return fs, breakage{seams.Handler(disk, clock), clock.Ticks}
	case s.loseUnsynced:
		s.log.Warn("UNSAFE: un-synced writes stay in this process and are lost when it is killed")
		return faultfs.New(vfs.Default), none
	}
	return vfs.Default, none
}
