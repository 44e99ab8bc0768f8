package results

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"coup/checker"
)

// The elements of a JUnit report, as CI systems read them.
type junitSuite struct {
	XMLName   xml.Name    `xml:"testsuite"`
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Errors    int         `xml:"errors,attr"`
	Skipped   int         `xml:"skipped,attr"`
	Time      string      `xml:"time,attr"`
	Timestamp string      `xml:"timestamp,attr"`
	Cases     []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Failure *junitMessage `xml:"failure,omitempty"`
	Error   *junitMessage `xml:"error,omitempty"`
}

type junitMessage struct {
	Type    string `xml:"type,attr"`
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// writeJUnit writes one case for each checker and one for each kind of fault. What is wrong with the
// system under test is a failure; what is wrong with the run itself, or was not proven, is an error:
// neither is green.
func writeJUnit(w io.Writer, info Info, report checker.Report) error {
	suite := junitSuite{
		Name: "coup." + info.Name + "." + info.Environment, Timestamp: info.Started.UTC().Format("2006-01-02T15:04:05"),
		Time: fmt.Sprintf("%.3f", info.Timeline.End.Seconds()),
	}
	for _, result := range report.Checkers {
		var texts []string
		for _, reason := range report.Reasons {
			if reason.Checker == result.Name {
				texts = append(append(texts, reason.Text), reason.Details...)
			}
		}
		suite.add("checker", result.Name, result.Verdict, result.Summary, texts)
	}
	for _, fault := range report.Faults {
		message := fmt.Sprintf("%d of %d installed, %d healed", fault.Installed, fault.Planned, fault.Healed)
		suite.add("fault", fault.Fault, fault.Verdict, message, fault.Reasons)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (s *junitSuite) add(class, name string, verdict checker.Verdict, message string, texts []string) {
	c := junitCase{Class: s.Name + "." + class, Name: name}
	told := &junitMessage{Type: string(verdict), Message: message, Text: strings.Join(texts, "\n")}
	switch verdict {
	case checker.Pass:
	case checker.Violation, checker.Unavailable:
		c.Failure = told
		s.Failures++
	default:
		c.Error = told
		s.Errors++
	}
	s.Tests++
	s.Cases = append(s.Cases, c)
}

// inSeconds is a time of the run for people.
func inSeconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
