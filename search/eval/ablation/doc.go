// Package ablation tests the claims of iSEARLE (arXiv 2405.02951) and of SEARLE (arXiv 2303.15247) on a world of images and composed
// queries: what noise, phrases, phi's distillation and its size are worth, and whether the failures that the papers warn of show.
//
// A [Study] runs sections by name. All of them share pseudo-words and trained networks, kept in a folder under exact keys, so that a
// run that was killed goes on, and a second run computes only what changed.
package ablation
