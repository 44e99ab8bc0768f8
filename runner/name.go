package runner

import (
	"fmt"
	"os"
	"time"
)

// runName names what a run makes on the machine; it tells runs of the same second apart.
func runName(name string, at time.Time) string {
	return fmt.Sprintf("%s-%s-%d", name, at.UTC().Format("20060102t150405"), os.Getpid())
}
