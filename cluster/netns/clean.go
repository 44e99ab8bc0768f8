package netns

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"coup/cluster"
)

// Clean removes what runs left behind whose owner is dead, and returns what it removed. That can
// only be directories: processes and networks die with their owner.
func Clean(ctx context.Context) (removed []string, err error) {
	found, err := filepath.Glob(filepath.Join(os.TempDir(), tempPrefix+"*"))
	if err != nil {
		return nil, err
	}
	for _, dir := range found {
		if ctx.Err() != nil {
			return removed, ctx.Err()
		}
		name := strings.TrimPrefix(filepath.Base(dir), tempPrefix)
		end := strings.LastIndexByte(name, '-')
		if end < 0 {
			continue
		}
		o, err := cluster.ParseOwner(name[:end])
		if err != nil || o.Alive() {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return removed, err
		}
		removed = append(removed, dir)
	}
	return removed, nil
}
