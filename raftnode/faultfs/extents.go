package faultfs

import "slices"

// extent is some bytes at an offset of a file.
type extent struct {
	offset int64
	data   []byte
}

func (e extent) end() int64 { return e.offset + int64(len(e.data)) }

// extents are in order and do not overlap.
type extents []extent

// end is the offset after the last byte; 0 when there is none.
func (x extents) end() int64 {
	if len(x) == 0 {
		return 0
	}
	return x[len(x)-1].end()
}

// write puts p at offset, over what was there. It copies p.
func (x extents) write(p []byte, offset int64) extents {
	if len(p) == 0 {
		return x
	}
	// Nearly all writes go on where the last one ended.
	if len(x) > 0 && x.end() == offset {
		last := &x[len(x)-1]
		last.data = append(last.data, p...)
		return x
	}
	before, after := x.around(offset, offset+int64(len(p)))
	return slices.Concat(before, extents{{offset, slices.Clone(p)}}, after)
}

// around is what is before an offset, and from another on.
func (x extents) around(offset, end int64) (before, after extents) {
	for _, e := range x {
		if e.offset < offset {
			before = append(before, extent{e.offset, e.data[:min(e.end(), offset)-e.offset]})
		}
		if e.end() > end {
			from := max(e.offset, end)
			after = append(after, extent{from, e.data[from-e.offset:]})
		}
	}
	return before, after
}

// overlay copies into p, which stands for what is at offset, all bytes that x has of it.
func (x extents) overlay(p []byte, offset int64) {
	for _, e := range x {
		from, to := max(e.offset, offset), min(e.end(), offset+int64(len(p)))
		if from < to {
			copy(p[from-offset:], e.data[from-e.offset:to-e.offset])
		}
	}
}
