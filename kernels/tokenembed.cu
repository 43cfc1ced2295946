// tokenembed: Out[i] = (pseudo[inject[i]] if inject[i] >= 0, else table[ids[i]]) + positions[pos[i]]; NaN where an id, a
// pseudo-word or a position is outside its table.
//
// Shapes: table [vocabulary, n] f32, f16 or bf16; pseudo [.., n] and positions [context, n] f32; Out [M, n].
// A warp a row. Moves 2 rows in and one out.
#include "operand.cuh"

struct TokenEmbedArgs {
	View table, pseudo, positions, out;
	Table ids, pos, inject;
	Dim m;
};

KERNEL(tokenembed, TokenEmbedArgs, 128) {
	const int row = block_x() * 4 + thread_index() / 32;
	if (row >= extent(a.m)) return;
	const int word = a.inject ? a.inject[row] : -1, id = a.ids[row], pos = a.pos[row];
	const int at = word >= 0 ? word : id;
	const bool valid = at >= 0 && at < (word >= 0 ? a.pseudo.rows : a.table.rows) && pos >= 0 && pos < a.positions.rows;
	for (int j = thread_index() % 32; j < a.out.cols; j += 32) {
		float v = bits_to_f32(0x7fc00000u);
		if (valid) v = (word >= 0 ? load(a.pseudo, at, j) : load(a.table, at, j)) + load(a.positions, pos, j);
		store(a.out, row, j, v);
	}
}
