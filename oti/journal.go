package oti

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"

	"isearle/weights/atomicfile"
)

// Journal keeps results of a run that is not finished beside its output, so that a killed run goes on where it stopped. Each Add is
// on disk when it returns; a record that was cut short is dropped.
type Journal struct {
	f     *os.File
	width int
	done  map[int][]float32
}

// journalMagic begins a journal; the identity of the run follows.
const journalMagic = "isearle-oti-1\n"

// ErrOtherRun is wrapped by the error for a journal of a run with other images, options or another model.
var ErrOtherRun = errors.New("it belongs to a run with other images, options or another model")

// OpenJournal opens or makes the journal of a run over images of pseudo-words of a width. identity tells runs apart.
func OpenJournal(path, identity string, images, width int) (*Journal, error) {
	f, err := atomicfile.OpenLocked(path)
	if err != nil {
		return nil, fmt.Errorf("oti: journal: %w", err)
	}
	j := &Journal{f: f, width: width, done: map[int][]float32{}}
	if err := j.replay(identity, images); err != nil {
		f.Close()
		return nil, fmt.Errorf("oti: journal %q: %w", path, err)
	}
	return j, nil
}

// replay reads whole records and cuts off what follows them.
func (j *Journal) replay(identity string, images int) error {
	head := []byte(journalMagic + identity + "\n")
	have := make([]byte, len(head))
	n, err := io.ReadFull(j.f, have)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if n < len(head) && bytes.HasPrefix(head, have[:n]) { // new, or killed within the first write
		if err := j.f.Truncate(0); err != nil {
			return err
		}
		if _, err := j.f.WriteAt(head, 0); err != nil {
			return err
		}
		_, err := j.f.Seek(int64(len(head)), io.SeekStart)
		return err
	}
	if !bytes.Equal(have, head) {
		return ErrOtherRun
	}
	at, record := int64(len(head)), make([]byte, 8+4*j.width)
	for {
		if _, err := io.ReadFull(j.f, record); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		} else if err != nil {
			return err
		}
		i := int(binary.LittleEndian.Uint32(record))
		body := record[:len(record)-4]
		if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(record[len(body):]) || i >= images {
			break
		}
		token := make([]float32, j.width)
		for k := range token {
			token[k] = math.Float32frombits(binary.LittleEndian.Uint32(record[4+4*k:]))
		}
		j.done[i] = token
		at += int64(len(record))
	}
	if err := j.f.Truncate(at); err != nil {
		return err
	}
	_, err = j.f.Seek(at, io.SeekStart)
	return err
}

// Done reports whether image i's pseudo-word is there.
func (j *Journal) Done(i int) bool { return j.done[i] != nil }

// Len is the number of pseudo-words that are there.
func (j *Journal) Len() int { return len(j.done) }

// Token is image i's pseudo-word; nil if it is not there.
func (j *Journal) Token(i int) []float32 { return j.done[i] }

// Add records results and waits until they are on disk.
func (j *Journal) Add(results ...Result) error {
	var b []byte
	for _, r := range results {
		start := len(b)
		b = binary.LittleEndian.AppendUint32(b, uint32(r.Index))
		for _, v := range r.Token {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b[start:]))
		j.done[r.Index] = r.Token
	}
	if _, err := j.f.Write(b); err != nil {
		return fmt.Errorf("oti: journal: %w", err)
	}
	if err := j.f.Sync(); err != nil {
		return fmt.Errorf("oti: journal: %w", err)
	}
	return nil
}

// Close closes the file; Remove also deletes it, after the output was written.
func (j *Journal) Close() error { return j.f.Close() }

// Remove closes and deletes the journal.
func (j *Journal) Remove() error { return errors.Join(j.f.Close(), os.Remove(j.f.Name())) }
