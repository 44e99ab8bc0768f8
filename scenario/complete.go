package scenario

import (
	"slices"
	"strings"
)

// Complete tells what the last word of an unfinished line could be, and at which byte that word begins: what begins as it
// does, and fits after what is before it. After a blank that word is empty. A name is completed up to its next dot.
func (s *Session) Complete(line string) (begins int, fit []string) {
	begins = strings.LastIndexAny(line, " \t"+marks) + 1
	before, partial := line[:begins], line[begins:]
	words, err := tokens(before)
	if err != nil || strings.ContainsAny(partial, `"#`) || strings.Contains(before, "#") {
		return begins, nil
	}
	p := &parser{scope: s.scope.clone(), tokens: words, end: len(line) + 1}
	s.offer(p)
	offers := p.offers
	if p.offersName {
		offers = append(offers, s.completeName(partial, isSet(p))...)
	}
	for _, o := range offers {
		// An article says nothing.
		if strings.HasPrefix(o, partial) && o != "a" && !slices.Contains(fit, o) {
			fit = append(fit, o)
		}
	}
	return begins, fit
}

// isSet tells whether a line is about to name what is to be set.
func isSet(p *parser) bool { return len(p.tokens) == 1 && p.tokens[0].text == "set" }

// offer has a parser find out what could come at the end of its line.
func (s *Session) offer(p *parser) {
	switch {
	case len(p.tokens) == 0 && !p.begun:
		p.offer("cluster")
		p.offer(directiveNames()...)
	case len(p.tokens) == 0:
		p.offer(slices.DeleteFunc(verbNames(), func(v string) bool { return v == "cluster" || v == "expect" })...)
		p.offer(directiveNames()...)
	case p.tokens[0].text == "help" && len(p.tokens) == 1:
		p.at = 1
		p.offer(helpTopics()...)
	case (p.tokens[0].text == "ls" || p.tokens[0].text == "get") && len(p.tokens) == 1:
		p.offersName = true
	case findDirective(p.tokens[0]) == nil:
		_, _ = p.statement() // for what it offers: the line is not whole
	}
}

// completeName completes a name up to its next dot.
func (s *Session) completeName(partial string, toSet bool) (names []string) {
	if s.stage.hand == nil {
		return nil
	}
	if !strings.Contains(partial, ".") {
		for _, h := range s.heads() {
			names = append(names, h+".")
		}
	} else {
		above := partial[:strings.LastIndexByte(partial, '.')]
		names, _ = s.children(above)
	}
	if toSet {
		names = slices.DeleteFunc(names, func(n string) bool { return !canSet(n) })
	}
	return names
}

// canSet tells whether a name can be set, or one that begins with it.
func canSet(name string) bool {
	head, rest, _ := strings.Cut(name, ".")
	switch head {
	case "settings":
		return true
	case "cluster", "messages", "client", "lastResponse":
		return false
	}
	return slices.ContainsFunc(nodeFields, func(f field) bool {
		return f.set != nil && (f.name == rest || strings.HasSuffix(name, ".") && strings.HasPrefix(f.name, rest))
	})
}
