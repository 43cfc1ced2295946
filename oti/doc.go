// Package oti is optimisation-based textual inversion: for an unlabelled image it finds, by gradient steps through CLIP's
// frozen text transformer, a pseudo-word that stands for the image in a prompt (SEARLE, arXiv 2303.15247; iSEARLE, arXiv
// 2405.02951). It owns the optimisation, the association of images with concepts, and the phrases that regularise it.
//
// Many images are optimised side by side. What that shares never shows in the result: a pseudo-word's bits depend on its
// image, its official batch's size and the seed, not on its neighbours or the threads.
package oti
