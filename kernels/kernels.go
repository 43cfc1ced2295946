//go:build cuda

package kernels

import (
	"archive/tar"
	"bytes"
	"embed"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

//go:embed bin/*.tar.zst
var archives embed.FS

// Modules returns the compiled modules of the best fit for a compute capability, by source file: cubins where there are
// some that the chip runs, else PTX, which the driver compiles. PTX ends with a zero byte.
func Modules(major, minor int) (arch string, images map[string][]byte, err error) {
	arch = architecture(major, minor)
	if arch == "" {
		return "", nil, fmt.Errorf("kernels: compute capability %d.%d: 8.0 is the oldest that they are compiled for", major, minor)
	}
	images, err = unpack("bin/" + arch + ".tar.zst")
	if err != nil {
		return "", nil, fmt.Errorf("kernels: %s: %w", arch, err)
	}
	return arch, images, nil
}

// architecture is the archive for a compute capability: a cubin runs on its own major version from its minor on, sm_90a on
// 9.0 alone.
func architecture(major, minor int) string {
	switch {
	case major == 8:
		return "sm_80"
	case major == 9 && minor == 0:
		return "sm_90a"
	case major == 10:
		return "sm_100"
	case major == 12:
		return "sm_120"
	case major > 8:
		return "compute_80"
	}
	return ""
}

func unpack(name string) (map[string][]byte, error) {
	f, err := archives.ReadFile(name)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewReader(bytes.NewReader(f))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	images := map[string][]byte{}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err == io.EOF {
			return images, nil
		} else if err != nil {
			return nil, err
		}
		if images[h.Name], err = io.ReadAll(t); err != nil {
			return nil, err
		}
	}
}
