package demo

import _ "embed" // for features

//go:embed features.isx
var features []byte

// Features is the gallery's search file (.isx): the features of all Pictures by the embedded model, made by this project's own
// engine. Shared, not to be modified.
func Features() []byte { return features }
