// Package version tells from what a program was built. It imports nothing of the project.
package version

import (
	"debug/buildinfo"
	"runtime/debug"
)

// Self is this program's version: the module's, or the commit that it was built from, or "devel" when
// neither was recorded.
func Self() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return of(info)
}

// File is the version of the Go program at path, "unknown" when it does not say.
func File(path string) string {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	return of(info)
}

func of(info *debug.BuildInfo) string {
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			return setting.Value
		}
	}
	return "devel"
}
