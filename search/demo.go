package search

import "isearle/weights/demo"

// DemoGallery opens the embedded gallery; its ids are those of demo.Gallery.
func DemoGallery() (*Gallery, error) { return ParseGallery(demo.Features(), "embedded gallery") }
