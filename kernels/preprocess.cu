// preprocess: images of any size, 8-bit R, G, B, to pixels: resized, cropped and normalised, to the integer as Pillow resizes them.
// A sample is the sum of neighbouring samples of a row times coefficients of 22 bits behind the point, rounded and cut to 0..255;
// then the same down the columns of what comes out, or columns first where the image's place says so; then normalised by a table.
//
//	mid[y, x] = clip((2^21 + sum over i < count of w[i] * src[y, first+i]) >> 22)
//
// Shapes: src, mid u8, an image after the other; places i32 [images, 5]: begin, width, height, columns first, begin in mid; taps i32
// [images, 2*size*(2+most)]: first, count, coefficients of each output column, then of each output row; out f32 [images, 3, size, size].
//
// Tiling: y an image, the blocks of x take its pixels in turns, a thread a pixel with its three channels. Neighbouring threads
// read neighbouring pixels when columns are summed, and overlapping runs of a row when rows are: both come from the caches.
// resample_first reads 3*width*height bytes and writes 3*size*height (or 3*size*width) for 6*count operations a pixel;
// resample_second reads those and writes 12*size*size.
#include "operand.cuh"

struct ResampleArgs {
	const uint8_t *src;
	uint8_t *mid;
	Table places, taps;
	View norm, out;
	Dim images;
	int size, most;
};

struct Sample {
	int r, g, b;
};

DEVICE int clip(int sum) {
	sum >>= 22;
	return sum < 0 ? 0 : sum > 255 ? 255 : sum;
}

// summed is a tap sum over pixels step apart.
DEVICE Sample summed(const int *tap, const uint8_t *src, long step) {
	const uint8_t *p = src + 3 * step * tap[0];
	int r = 1 << 21, g = r, b = r;
	for (int i = 0; i < tap[1]; i++, p += 3 * step) {
		const int w = tap[2 + i];
		r += w * p[0], g += w * p[1], b += w * p[2];
	}
	return {clip(r), clip(g), clip(b)};
}

static constexpr int resample_blocks = 64; // the most

KERNEL(resample_first, ResampleArgs, 256) {
	const int image = block_y(), one = 2 + a.most;
	if (image >= extent(a.images)) return;
	const int *place = a.places + 5 * image, *taps = a.taps + (long)image * 2 * a.size * one;
	const int width = place[1], height = place[2];
	const bool columns = place[3] != 0;
	const uint8_t *src = a.src + place[0];
	uint8_t *mid = a.mid + place[4];
	const int line = columns ? width : a.size, pixels = line * (columns ? a.size : height);
	const int blocks = (4 * a.size * a.size + 255) / 256 < resample_blocks ? (4 * a.size * a.size + 255) / 256 : resample_blocks;
	for (int i = block_x() * 256 + thread_index(); i < pixels; i += blocks * 256) {
		const int y = i / line, x = i % line;
		const Sample s = columns ? summed(taps + (a.size + y) * one, src + 3 * (long)x, width) : summed(taps + x * one, src + 3 * (long)y * width, 1);
		mid[3 * (long)i] = uint8_t(s.r);
		mid[3 * (long)i + 1] = uint8_t(s.g);
		mid[3 * (long)i + 2] = uint8_t(s.b);
	}
}

KERNEL(resample_second, ResampleArgs, 256) {
	const int image = block_y(), one = 2 + a.most;
	if (image >= extent(a.images)) return;
	const int *place = a.places + 5 * image, *taps = a.taps + (long)image * 2 * a.size * one;
	const bool columns = place[3] != 0;
	const int line = columns ? place[1] : a.size, plane = a.size * a.size;
	const uint8_t *mid = a.mid + place[4];
	const int blocks = (4 * a.size * a.size + 255) / 256 < resample_blocks ? (4 * a.size * a.size + 255) / 256 : resample_blocks;
	for (int i = block_x() * 256 + thread_index(); i < plane; i += blocks * 256) {
		const int y = i / a.size, x = i % a.size;
		const Sample s = columns ? summed(taps + x * one, mid + 3 * (long)y * line, 1) : summed(taps + (a.size + y) * one, mid + 3 * (long)x, line);
		store(a.out, image, i, load(a.norm, 0, s.r));
		store(a.out, image, plane + i, load(a.norm, 1, s.g));
		store(a.out, image, 2 * plane + i, load(a.norm, 2, s.b));
	}
}
