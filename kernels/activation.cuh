// Linear's activations, f(x), and their derivatives.
#pragma once

#include "ptx.cuh"

enum { Identity, QuickGELU, GELU, GELUTanh, ReLU }; // runtime.Activation

DEVICE float activate(int act, float x) {
	switch (act) {
	case QuickGELU: return x / (1.0f + expf(-1.702f * x));
	case GELU: return 0.5f * x * (1.0f + erff(x * 0.70710678f));
	case GELUTanh: return 0.5f * x * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
	case ReLU: return x > 0.0f ? x : 0.0f;
	}
	return x;
}

// quick_gelu_fast is QuickGELU within a few ulp, for factors that had half a type's precision: the special function unit's exponential
// and reciprocal in place of expf and a division, which take most of an epilogue's instructions.
DEVICE float quick_gelu_fast(float x) { return x * reciprocal_fast(1.0f + exp2_fast(-2.4554670f * x)); } // 1.702 log2(e)

DEVICE float derivative(int act, float x) {
	switch (act) {
	case QuickGELU: {
		const float s = 1.0f / (1.0f + expf(-1.702f * x));
		return s + 1.702f * x * s * (1.0f - s);
	}
	case GELU: // Phi(x) + x phi(x); 1/sqrt(2 pi) = 0.39894228
		return 0.5f * (1.0f + erff(x * 0.70710678f)) + x * 0.39894228f * expf(-0.5f * x * x);
	case GELUTanh: {
		const float t = tanhf(0.79788456f * (x + 0.044715f * x * x * x));
		return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * 0.79788456f * (1.0f + 3.0f * 0.044715f * x * x);
	}
	case ReLU: return x > 0.0f ? 1.0f : 0.0f;
	}
	return 1.0f;
}
