package search

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"isearle/weights/atomicfile"
	"isearle/weights/mmap"
)

// A journal holds rows until a file is complete: a header with the Meta, then blocks of rows. A block is durable once flush
// returns, and what a killed process leaves of an unfinished block is cut off when the journal is opened again.
//
//	header: magic [8], length of the Meta uint32, Meta as JSON, CRC-32C of the Meta uint32
//	block:  rows uint32, bytes of the body uint64, CRC-32C of these twelve bytes and the body uint32, body
//	body:   length of each id uint32, ids, digests, features
//
// Numbers are little-endian.
type journal struct {
	f       *os.File
	path    string
	meta    Meta
	size    int64 // of the durable part
	entries []entry
	byID    map[string]int // the last entry of an id

	pending block
}

// entry is a row of a journal.
type entry struct {
	digest Digest
	at     int64 // of its feature in the file
}

// block is rows that are not yet written.
type block struct {
	rows                            int
	lengths, ids, digests, features []byte
}

const (
	journalMagic = "ISXPART1"
	blockHead    = 16
	// flushBytes bounds the memory of pending rows.
	flushBytes = 4 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openJournal opens or begins the journal at path. With restart, what it holds is dropped.
func openJournal(path string, meta Meta, restart bool) (*journal, error) {
	f, err := atomicfile.OpenLocked(path)
	if err != nil {
		return nil, err
	}
	j := &journal{f: f, path: path, meta: meta, byID: map[string]int{}}
	if !restart {
		err = j.read()
	}
	if err == nil && j.size == 0 {
		err = j.begin()
	}
	if err == nil {
		err = j.cut()
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return j, nil
}

// begin writes the header of a new journal.
func (j *journal) begin() error {
	text, err := json.Marshal(j.meta)
	if err != nil {
		return err
	}
	b := binary.LittleEndian.AppendUint32([]byte(journalMagic), uint32(len(text)))
	b = append(b, text...)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(text, castagnoli))
	return j.append(b)
}

// cut ends the file after its durable part and makes that so.
func (j *journal) cut() error {
	if err := j.f.Truncate(j.size); err != nil {
		return err
	}
	return j.f.Sync()
}

// append writes behind the durable part.
func (j *journal) append(parts ...[]byte) error {
	at := j.size
	for _, p := range parts {
		if _, err := j.f.WriteAt(p, at); err != nil {
			return err
		}
		at += int64(len(p))
	}
	if err := j.f.Sync(); err != nil {
		return err
	}
	j.size = at
	return nil
}

// read takes over what an earlier run has left. Nothing, or less than a header, is as good as no file.
func (j *journal) read() error {
	m, err := mmap.Open(j.path)
	if err != nil {
		return err
	}
	defer m.Close()
	data := m.Bytes()
	have, size, err := journalHeader(data)
	if err != nil || size == 0 {
		if err != nil {
			err = fmt.Errorf("%q: %w", j.path, err)
		}
		return err
	}
	if body, _ := nextBlock(data[size:], have); body == nil {
		return nil // a header that promises nothing
	}
	if !have.Model.matches(j.meta.Model) {
		return &ModelMismatchError{Path: j.path, Have: have.Model, Want: j.meta.Model}
	}
	if d := have.difference(j.meta); d != "" {
		return fmt.Errorf("%q is what an interrupted run has left, and that had %s: go on with the same settings, or restart", j.path, d)
	}
	for j.size = size; ; {
		body, rows := nextBlock(data[j.size:], j.meta)
		if body == nil {
			return nil
		}
		j.index(body, rows, j.size+blockHead)
		j.size += blockHead + int64(len(body))
	}
}

// journalHeader reads a header; size is 0 where it is incomplete.
func journalHeader(data []byte) (meta Meta, size int64, err error) {
	n := min(len(data), len(journalMagic))
	if string(data[:n]) != journalMagic[:n] {
		return meta, 0, errors.New("not the journal of an interrupted run; it stands in the way of a new one")
	}
	if len(data) < n+4 || n < len(journalMagic) {
		return meta, 0, nil
	}
	length := int64(binary.LittleEndian.Uint32(data[n:]))
	if int64(len(data)) < int64(n)+8+length {
		return meta, 0, nil
	}
	text := data[n+4:][:length]
	if crc32.Checksum(text, castagnoli) != binary.LittleEndian.Uint32(data[int64(n)+4+length:]) || json.Unmarshal(text, &meta) != nil {
		return meta, 0, nil
	}
	return meta, int64(n) + 8 + length, nil
}

// nextBlock returns the first block's body, nil if there is none that is whole.
func nextBlock(data []byte, meta Meta) (body []byte, rows int) {
	if len(data) < blockHead {
		return nil, 0
	}
	rows = int(binary.LittleEndian.Uint32(data))
	size := binary.LittleEndian.Uint64(data[4:])
	if size > uint64(len(data)-blockHead) {
		return nil, 0
	}
	body = data[blockHead:][:size]
	sum := crc32.Update(crc32.Checksum(data[:12], castagnoli), castagnoli, body)
	fixed := uint64(rows) * uint64(4+len(Digest{})+meta.Dim*meta.DType.Size())
	if sum != binary.LittleEndian.Uint32(data[12:]) || rows == 0 || fixed > size {
		return nil, 0
	}
	total := uint64(0)
	for i := range rows {
		total += uint64(binary.LittleEndian.Uint32(body[4*i:]))
	}
	if fixed+total != size {
		return nil, 0
	}
	return body, rows
}

// index registers the rows of a block whose body begins at a place in the file.
func (j *journal) index(body []byte, rows int, at int64) {
	features := len(body) - rows*j.rowSize()
	digests := features - rows*len(Digest{})
	ids := body[4*rows : digests]
	for i := range rows {
		n := binary.LittleEndian.Uint32(body[4*i:])
		e := entry{at: at + int64(features+i*j.rowSize())}
		copy(e.digest[:], body[digests+i*len(e.digest):])
		j.byID[string(ids[:n])] = len(j.entries)
		j.entries = append(j.entries, e)
		ids = ids[n:]
	}
}

func (j *journal) rowSize() int { return j.meta.Dim * j.meta.DType.Size() }

// add takes a row, whose place in the file follows from what is pending, and flushes when enough are.
func (j *journal) add(id string, d Digest, feature []byte) error {
	p := &j.pending
	p.rows++
	p.lengths = binary.LittleEndian.AppendUint32(p.lengths, uint32(len(id)))
	p.ids = append(p.ids, id...)
	p.digests = append(p.digests, d[:]...)
	p.features = append(p.features, feature...)
	if len(p.ids)+len(p.features) < flushBytes {
		return nil
	}
	return j.flush()
}

// flush makes pending rows durable. When it fails they stay pending, and the file is as before.
func (j *journal) flush() error {
	p := &j.pending
	if p.rows == 0 {
		return nil
	}
	body := bytes.Join([][]byte{p.lengths, p.ids, p.digests, p.features}, nil)
	head := binary.LittleEndian.AppendUint32(nil, uint32(p.rows))
	head = binary.LittleEndian.AppendUint64(head, uint64(len(body)))
	head = binary.LittleEndian.AppendUint32(head, crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, body))
	at := j.size + blockHead
	if err := j.append(head, body); err != nil {
		return errors.Join(err, j.f.Truncate(j.size))
	}
	j.index(body, p.rows, at)
	*p = block{lengths: p.lengths[:0], ids: p.ids[:0], digests: p.digests[:0], features: p.features[:0]}
	return nil
}

// feature reads the stored bytes of an entry.
func (j *journal) feature(dst []byte, e int) error {
	_, err := j.f.ReadAt(dst, j.entries[e].at)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// close releases the file and leaves it, unless there is nothing in it.
func (j *journal) close() error {
	if len(j.entries) == 0 {
		return j.remove()
	}
	return j.f.Close()
}

// remove deletes the journal.
func (j *journal) remove() error { return errors.Join(os.Remove(j.path), j.f.Close()) }
