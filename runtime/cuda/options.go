package cuda

// Options of a device.
type Options struct {
	// Sync waits after every kernel, so that an error names the kernel that made it. It is slow.
	Sync bool
}
