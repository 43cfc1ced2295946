package conform

import "isearle/runtime"

// odd are extents that fill no tile, vector or panel evenly, and the lengths of CLIP's sequences.
var odd = []int{1, 3, 17, 50, 77}

// widths are inner and outer dimensions: below, at and between the panels' widths.
var widths = [][2]int{{1, 1}, {3, 5}, {40, 33}, {64, 96}, {257, 31}, {128, 160}}

// activations lists every activation.
var activations = []runtime.Activation{runtime.Identity, runtime.QuickGELU, runtime.GELU, runtime.GELUTanh, runtime.ReLU}

// Table lists every case.
func Table() []Case {
	var t []Case
	for _, add := range []func() []Case{
		linearCases, layerNormCases, attentionCases, embedCases, copyCases, projectCases, resampleCases,
		linearGradCases, weightGradCases, layerNormGradCases, attentionGradCases, rowCases, lossCases, adamWCases, randomCases, factorCases, tallCases,
	} {
		t = append(t, add()...)
	}
	return t
}
