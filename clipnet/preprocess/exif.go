package preprocess

import "encoding/binary"

// tagOrientation is the tag of TIFF 6.0 and EXIF for how an image is to be turned.
const tagOrientation = 274

// orientation returns the orientation, 1 to 8, in an EXIF block, a TIFF structure; 0 where there is none.
func orientation(exif []byte) int {
	if len(exif) >= 6 && string(exif[:6]) == "Exif\x00\x00" { // some PNG and WebP writers keep JPEG's prefix
		exif = exif[6:]
	}
	if len(exif) < 8 {
		return 0
	}
	var order binary.ByteOrder = binary.LittleEndian
	if string(exif[:2]) == "MM" {
		order = binary.BigEndian
	} else if string(exif[:2]) != "II" {
		return 0
	}
	at := int(order.Uint32(exif[4:]))
	if at > len(exif)-2 {
		return 0
	}
	entries := exif[at+2:]
	for range order.Uint16(exif[at:]) {
		if len(entries) < 12 {
			return 0
		}
		// A SHORT, left-aligned in the four value bytes.
		if order.Uint16(entries) == tagOrientation && order.Uint16(entries[2:]) == 3 {
			if v := int(order.Uint16(entries[8:])); v >= 1 && v <= 8 {
				return v
			}
			return 0
		}
		entries = entries[12:]
	}
	return 0
}
