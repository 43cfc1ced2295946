// Package preprocess turns image files into the pixels that CLIP's vision tower takes, to the bit as the references do
// with Pillow and torchvision: decode, pad, resize with antialiasing in Pillow's fixed-point arithmetic, centre crop,
// convert to RGB, normalise.
//
// Two conventions exist for when the conversion to RGB happens, and the pixels differ for everything that is not plain
// RGB or gray: see [Order]. SEARLE pads elongated images to a ratio of 1.25 before it resizes: see [Pad].
//
// JPEG, PNG, GIF (first frame), BMP, TIFF (first page) and WebP (first frame) are decoded. An image is decoded whole
// or refused with an [Error]; nothing is allocated for pixels before the size has passed the limit.
package preprocess

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// An Order says when an image is converted to RGB.
type Order uint8

const (
	// RGBFirst converts right after decoding, as Hugging Face's processors do. 16-bit gray keeps its high byte.
	RGBFirst Order = iota
	// OpenAI converts last, as OpenAI's and SEARLE's transforms do with Pillow: palette and bilevel images are then
	// resized by nearest neighbour, alpha images premultiplied, CMYK images are padded with white, and 16-bit gray is
	// clipped at 255.
	OpenAI
)

// ParseOrder reads the name of an order: "rgb" or "openai".
func ParseOrder(s string) (Order, error) {
	switch s {
	case "rgb":
		return RGBFirst, nil
	case "openai":
		return OpenAI, nil
	}
	return 0, fmt.Errorf("preprocess: order %q: want rgb or openai", s)
}

// String returns the name that ParseOrder reads.
func (o Order) String() string {
	if o == OpenAI {
		return "openai"
	}
	return "rgb"
}

// Pad is the target ratio of SEARLE's padding (Baldrati et al., "Zero-shot composed image retrieval with textual
// inversion", ICCV 2023, after CLIP4Cir): an image whose longer side is at least Pad times the shorter one gets zeros
// on both sides of the shorter one, up to longer/Pad. Zero means no padding.
type Pad float64

const (
	// PadNone leaves the image as it is.
	PadNone Pad = 0
	// TargetPad is the ratio SEARLE uses.
	TargetPad Pad = 1.25
)

// ParsePad reads "none", "targetpad" or "targetpad:RATIO" with a ratio of at least 1.
func ParsePad(s string) (Pad, error) {
	name, ratio, given := strings.Cut(s, ":")
	switch {
	case s == "none":
		return PadNone, nil
	case s == "targetpad":
		return TargetPad, nil
	case name == "targetpad" && given:
		if r, err := strconv.ParseFloat(ratio, 64); err == nil && r >= 1 && !math.IsInf(r, 0) {
			return Pad(r), nil
		}
	}
	return 0, fmt.Errorf("preprocess: pad %q: want none, targetpad or targetpad:RATIO with a ratio of at least 1", s)
}

// String returns the name that ParsePad reads.
func (p Pad) String() string {
	switch p {
	case PadNone:
		return "none"
	case TargetPad:
		return "targetpad"
	}
	return "targetpad:" + strconv.FormatFloat(float64(p), 'g', -1, 64)
}

// A Filter is the resampling filter of the resize.
type Filter uint8

const (
	// Bicubic is Keys's cubic with a = -0.5 (Keys 1981), widened when shrinking: CLIP's filter.
	Bicubic Filter = iota
	// Bilinear is the triangle filter, widened when shrinking.
	Bilinear
)

// FilterFromPIL maps the "resample" number of a Hugging Face preprocessor_config.json, which is Pillow's.
func FilterFromPIL(resample int) (Filter, error) {
	switch resample {
	case 2:
		return Bilinear, nil
	case 3:
		return Bicubic, nil
	}
	return 0, fmt.Errorf("preprocess: resample %d: only 2 (bilinear) and 3 (bicubic) are supported", resample)
}

// DefaultMaxPixels is the limit at which Pillow refuses an image as a decompression bomb.
const DefaultMaxPixels = 2 * 89_478_485

// Options say how an image becomes pixels.
type Options struct {
	Size            int        // D: the output is D x D, the model's image size
	Pad             Pad        // padding before the resize
	Order           Order      // when the image is converted to RGB
	Filter          Filter     // of the resize
	Mean, Std       [3]float32 // of the normalisation, in units of 1 = white
	ExifOrientation bool       // turn the image as its EXIF orientation says; the references ignore it
	MaxPixels       int        // larger images are refused; 0 means DefaultMaxPixels
}

// CLIP returns the options of METHOD: targetpad 1.25, RGB first, bicubic, CLIP's mean and standard deviation.
func CLIP(size int) Options {
	return Options{
		Size: size,
		Pad:  TargetPad,
		Mean: [3]float32{.48145466, .4578275, .40821073},
		Std:  [3]float32{.26862954, .26130258, .27577711},
	}
}

// maxSize bounds Options.Size: no published CLIP takes a tenth of it.
const maxSize = 8192

// check returns what is wrong with the options.
func (o *Options) check() error {
	if o.Size < 1 || o.Size > maxSize {
		return fmt.Errorf("preprocess: image size %d: want 1 to %d", o.Size, maxSize)
	}
	if o.Pad != PadNone && !(o.Pad >= 1 && o.Pad <= math.MaxFloat32) {
		return fmt.Errorf("preprocess: pad ratio %g: want at least 1", float64(o.Pad))
	}
	if o.Order > OpenAI || o.Filter > Bilinear {
		return fmt.Errorf("preprocess: unknown order %d or filter %d", o.Order, o.Filter)
	}
	if o.MaxPixels < 0 {
		return fmt.Errorf("preprocess: pixel limit %d is negative", o.MaxPixels)
	}
	for c := range 3 {
		m, s := float64(o.Mean[c]), float64(o.Std[c])
		if math.IsNaN(m) || math.IsInf(m, 0) || !(s > 0) || math.IsInf(s, 0) {
			return fmt.Errorf("preprocess: channel %d: mean %g and standard deviation %g", c, m, s)
		}
	}
	return nil
}

// The kinds of Error.
var (
	// ErrNotImage: the data begins like none of the formats.
	ErrNotImage = errors.New("not an image in a known format")
	// ErrTooLarge: the image has more pixels than the limit allows.
	ErrTooLarge = errors.New("too large")
	// ErrTruncated: the data ends before the image does.
	ErrTruncated = errors.New("truncated")
	// ErrCorrupt: the data breaks the rules of its format.
	ErrCorrupt = errors.New("corrupt")
	// ErrUnsupported: the data uses a valid feature that is left out.
	ErrUnsupported = errors.New("unsupported")
)

// Error says which image could not be decoded, why, and where in the file.
type Error struct {
	Name   string // the file's name, or what the caller called the data
	Format string // "JPEG", "PNG", ...; empty where the format is not known
	Kind   error  // one of the kinds above, for errors.Is
	Offset int64  // byte offset where it was found, -1 where there is none
	Reason string // what was found
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "image %q: ", e.Name)
	if e.Format != "" {
		b.WriteString(e.Format + ": ")
	}
	b.WriteString(e.Kind.Error())
	if e.Reason != "" {
		b.WriteString(": " + e.Reason)
	}
	if e.Offset >= 0 {
		fmt.Fprintf(&b, " at offset %d", e.Offset)
	}
	return b.String()
}

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return e.Kind }
