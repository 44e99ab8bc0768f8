// Package seams lets tests break a node's disk and clock while it runs. It is in the way of a node only where a start
// option has put it there: a node that was started without has neither the code in its path nor the endpoint.
//
//	GET /faults        what is wrong with disk and clock, and what came of it: a Report
//	PUT /faults/disk   faultfs.Faults, in place of what was wrong with the disk; {} makes it whole again
//	PUT /faults/clock  ClockFaults, in place of what was wrong with the clock; {} has it go right from now on
//
// A PUT is answered by the Report after it. The answers do not wait for the node's loop, which a hanging disk keeps.
package seams

import (
	"encoding/json"
	"fmt"
	"net/http"

	"coup/raftnode/faultfs"
)

// Report is how disk and clock stand.
type Report struct {
	Disk  DiskReport  `json:"disk"`
	Clock ClockReport `json:"clock"`
}

// DiskReport is how a disk stands.
type DiskReport struct {
	Faults faultfs.Faults `json:"faults"`
	Counts faultfs.Counts `json:"counts"`
}

// maxBody bounds a request, in bytes.
const maxBody = 4 << 10

// Handler serves the paths of Prefix.
func Handler(disk *faultfs.Disk, clock *Clock) http.Handler {
	report := func(w http.ResponseWriter) {
		var r Report
		r.Disk.Faults, r.Disk.Counts = disk.Report()
		r.Clock = clock.Report()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(r)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Prefix, func(w http.ResponseWriter, _ *http.Request) { report(w) })
	mux.HandleFunc("PUT "+Prefix+"/disk", func(w http.ResponseWriter, r *http.Request) {
		var f faultfs.Faults
		if decode(w, r, &f) {
			disk.Break(f)
			report(w)
		}
	})
	mux.HandleFunc("PUT "+Prefix+"/clock", func(w http.ResponseWriter, r *http.Request) {
		var f ClockFaults
		if !decode(w, r, &f) {
			return
		}
		if err := clock.Set(f); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		report(w)
	})
	return mux
}

// Prefix is that of all paths.
const Prefix = "/faults"

// decode reads a request whole, or refuses it: a fault that is misspelt must not pass for none.
func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil && d.More() {
		err = fmt.Errorf("there is more than one value")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
	return err == nil
}
