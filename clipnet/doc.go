// Package clipnet is CLIP (Radford et al., arXiv 2103.00020) over the operations of package runtime: the vision transformer
// and the text transformer, the latter with pseudo-words in the place of tokens. It owns the recording of the towers; which
// device runs them it does not know.
//
// Features are raw, as CLIP's encoders return them: not normalised.
package clipnet
