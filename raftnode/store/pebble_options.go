package store

import (
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// options tunes Pebble for a log on a small machine: it is written once, in order, read at its end,
// and never searched for keys that are not there.
func (p *Pebble) options(fs vfs.FS, logger *slog.Logger) *pebble.Options {
	return &pebble.Options{
		FS:                 fs,
		FormatMajorVersion: pebble.FormatValueSeparation,
		Logger:             pebbleLogger{logger},
		MemTableSize:       4 << 20,
		CacheSize:          8 << 20,
		MaxOpenFiles:       128,
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { p.fail(logger, "store: pebble failed in the background", err) },
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				p.fail(logger, "store: pebble found damaged files", p.explain(info.Path, info.Details))
			},
		},
	}
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
