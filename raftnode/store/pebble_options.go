package store

import (
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// options tunes Pebble for a log and a state on a small machine. What it keeps in memory is bounded, whatever it holds: the
// cache of blocks, three memtables and what is flushed and compacted at a time. The log is written once, in order, and read
// at its end; the state is searched for keys that may not be there, which filters tell without a read.
func (p *Pebble) options(fs vfs.FS, logger *slog.Logger) *pebble.Options {
	o := &pebble.Options{
		FS:                 fs,
		FormatMajorVersion: pebble.FormatValueSeparation,
		Logger:             pebbleLogger{logger},
		MemTableSize:       8 << 20,
		// Where the disk is slow for a moment, memory grows by some memtables, or reads by some tables, before writes wait.
		MemTableStopWritesThreshold: 3,
		L0StopWritesThreshold:       24,
		CacheSize:                   16 << 20,
		MaxOpenFiles:                256,
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { p.fail(logger, "store: pebble failed in the background", err) },
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				p.fail(logger, "store: pebble found damaged files", p.explain(info.Path, info.Details))
			},
		},
	}
	o.Levels[0].FilterPolicy = bloom.FilterPolicy(10) // and so that of all others
	return o
}

func (p *Pebble) fail(logger *slog.Logger, what string, err error) {
	logger.Error(what, "dir", p.dir, "err", err)
	err = fmt.Errorf("%s: %w", what, err)
	p.background.CompareAndSwap(nil, &err)
}

// pebbleLogger is Pebble's logger. Fatalf must not return, and must not end the process in silence.
type pebbleLogger struct{ log *slog.Logger }

func (l pebbleLogger) Infof(format string, args ...any) {
	l.log.Debug("pebble: " + fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.log.Error("pebble: " + fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	l.log.Error("pebble cannot go on: " + message)
	panic("store: pebble cannot go on: " + message)
}
