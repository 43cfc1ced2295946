// groupattention_*: halfattention.cu's operation for sm_90a where every query sees every key of its sequence, by products of a warpgroup.
// Optional: package cuda takes it where a trial at opening agrees with halfattention.
//
//	Out_i = sum over keys j of softmax_j(scale Q_i . K_j) V_j
//
// Shapes: as attention.cu's, all of the kernel's type, rows and heads aligned to 16 bytes, heads of 64; no prefix, no window, not causal.
//
// Tiling: 64 queries of a sequence and head a warpgroup, 16 a warp; keys in tiles of 64 that all warpgroups of the block share, brought by
// the tensor memory accelerator as far ahead as there is room, which is all of 257. S = Q K^T comes from shared memory, P = softmax(S)
// goes from registers, rounded to the kernel's type, to P V. Where 16 or fewer keys are left, as the class token behind 256 patches,
// the products are that narrow. Such a rest of queries is made by a warp of its own beside two warpgroups, with mma.sync: a
// warpgroup would make 64 for the one, and a block more would read all keys again. The softmax is halfattention's. Warps wait for
// tiles, not for each other, so that one's softmax goes beside another's products.
//
// FLOP: 4 d a pair of query and key. Bytes: Q and Out once; K and V once for 128 queries, from L2 but for the first.
// Shared memory: 1 KiB to align, 8 KiB for 64 queries, 16 KiB a tile of keys and values, barriers.
#include "halfattention.cuh"
#include "hopper.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

struct GroupAttentionArgs {
	TensorMap q, k, v; // [rows, heads * 64] in boxes of 64 rows and columns
	AttentionArgs f;
};

static constexpr int head = 64, tile_elements = tile_rows * head, tile_bytes = 2 * tile_elements, tiles = 5; // of keys and values in shared memory

// thread_anew is thread_index, of which nothing that depends on it is kept: registers are scarce.
DEVICE int thread_anew() {
	int i = thread_index();
	asm volatile("" : "+r"(i));
	return i;
}

// Room is a block's shared memory: queries of the warpgroups and the rest, keys and values, and their barriers: full when a tile has
// come, empty when every warp is done with it. What a block counts is there too, for want of registers.
template <int Boxes>
struct Room {
	uint16_t q[Boxes][tile_elements];
	uint64_t full[tiles], empty[tiles];
	int rows, count; // queries and keys
	uint64_t pad[127 - 2 * tiles];
	uint16_t keys[tiles][2][tile_elements];
};

template <int Type, int Blocks>
DEVICE void group_scores(float (&p)[Blocks][4], uint64_t q, uint64_t k) {
	group_begin();
	UNROLL
	for (int i = 0; i < head / 16; i++) {
		if (Type == BF16) group_mma_bf16(p, q + 2 * i, k + 2 * i, i);
		else group_mma_f16(p, q + 2 * i, k + 2 * i, i);
	}
	group_commit();
	group_wait<0>();
}

// group_accumulate adds P V: 16 rows of V are 2 KiB, which is 128 in a descriptor.
template <int Type, int Columns>
DEVICE void group_accumulate(float (&out)[head / 8][4], const float (&p)[Columns / 8][4], uint64_t v) {
	uint32_t a[Columns / 16][4];
	UNROLL
	for (int i = 0; i < Columns / 16; i++) fragment_of<Type>(a[i], p[2 * i], p[2 * i + 1]), settle(a[i]);
	UNROLL
	for (int i = 0; i < head / 8; i++) settle(out[i]);
	group_begin();
	UNROLL
	for (int i = 0; i < Columns / 16; i++) {
		if (Type == BF16) group_mma_rows_bf16(out, a[i], v + 128 * i);
		else group_mma_rows_f16(out, a[i], v + 128 * i);
	}
	group_commit();
	group_wait<0>();
}

// hide makes scores of keys from `left` on minus infinity.
template <int Columns>
DEVICE void hide(float (&p)[Columns / 8][4], int left) {
	const int t = thread_index() % 4 * 2;
	UNROLL
	for (int j = 0; j < Columns / 8; j++) {
		UNROLL
		for (int i = 0; i < 4; i++) {
			if (8 * j + t + i % 2 >= left) p[j][i] = lowest();
		}
	}
}

// Sums is what a warp keeps of its 16 rows: Out before the division, and of the lane's two rows the highest score and the weights' sum.
struct Sums {
	float out[head / 8][4], top[2], sum[2];
};

// group_keys takes a warpgroup's queries past a tile of keys, of which `left` are there; a warp without queries takes part in products only.
template <int Type, int Columns>
DEVICE void group_keys(Sums &s, uint64_t q, uint64_t k, uint64_t v, int left, float factor, bool live) {
	float p[Columns / 8][4];
	group_scores<Type>(p, q, k);
	if (live) {
		if (left < Columns) hide<Columns>(p, left);
		soften<head, Columns>(p, s.out, s.top, s.sum, factor);
	}
	group_accumulate<Type, Columns>(s.out, p, v);
}

// warp_keys is group_keys for a warp by itself: 16 keys at a time, for its registers.
template <int Type>
DEVICE void warp_keys(Sums &s, uint16_t *q, uint16_t *k, uint16_t *v, int left, float factor) {
	NO_UNROLL
	for (int at = 0; at < tile_rows && at < left; at += 16) {
		float p[2][4] = {};
		scores<Type, head, 16>(p, q, 0, k + at * head);
		if (left - at < 16) hide<16>(p, left - at);
		soften<head, 16>(p, s.out, s.top, s.sum, factor);
		accumulate<Type, head, 16>(s.out, p, v + at * head);
	}
}

// Share is a block's queries: first row and how many. 16 and fewer behind the warpgroups' are with them where there is a warp for the rest.
struct Share {
	int first, rows;
};

template <int Groups, int Rest>
DEVICE Share share_of(const AttentionArgs &f) {
	const int from = f.q_starts[block_z()], queries = f.q_starts[block_z() + 1] - from, at = block_x() * 64 * Groups;
	if (at > 0 && queries - at <= 16 * Rest) return {from + at, 0};
	return {from + at, queries - at <= 64 * Groups + 16 * Rest ? queries - at : 64 * Groups};
}

// put_tile writes a warp's 16 rows to Out through its rows of the tile of queries, 16 bytes a lane.
template <int Type>
DEVICE void put_tile(const View &v, uint16_t *tile, const Sums &s, const Share &share) {
	const int thread = thread_anew(), lane = thread % 32, row = thread / 32 * 16;
	float inverse[2];
	UNROLL
	for (int i = 0; i < 2; i++) {
		const float all = quad_sum(s.sum[i]);
		inverse[i] = all > 0.0f ? 1.0f / all : 0.0f;
	}
	UNROLL
	for (int j = 0; j < head / 8; j++) {
		UNROLL
		for (int i = 0; i < 2; i++)
			*reinterpret_cast<uint32_t *>(tile_at<head / 8>(tile, row + lane / 4 + 8 * i, j) + lane % 4 * 2) =
			    pack<Type>(s.out[j][2 * i] * inverse[i], s.out[j][2 * i + 1] * inverse[i]);
	}
	warp_barrier();
	for (int i = lane; i < 16 * head / 8; i += 32) {
		const int r = row + i / (head / 8), c = i % (head / 8);
		if (r < share.rows)
			*reinterpret_cast<Chunk *>(static_cast<uint16_t *>(v.data) + (long)(share.first + r) * v.stride + block_y() * head + 8 * c) =
			    *reinterpret_cast<const Chunk *>(tile_at<head / 8>(tile, r, c));
	}
}

// send_keys brings keys and values from one of the sequence's on, and whatever rows follow the sequence's.
template <int Boxes>
DEVICE void send_keys(Room<Boxes> &room, const GroupAttentionArgs &a, int at, int key, int queries) {
	const int row = a.f.starts[block_z()] + key, column = block_y() * head;
	barrier_expect(&room.full[at], (2 + queries) * tile_bytes);
	load_box(room.keys[at][0], &a.k, column, row, &room.full[at]);
	load_box(room.keys[at][1], &a.v, column, row, &room.full[at]);
}

// send_first brings the queries and as many keys as there is room for.
template <int Boxes>
DEVICE void send_first(Room<Boxes> &room, const GroupAttentionArgs &a, int first, int count) {
	if (count > 0) {
		for (int i = 0; i < Boxes; i++) load_box(room.q[i], &a.q, block_y() * head, first + tile_rows * i, &room.full[0]);
	}
	for (int at = 0; at < tiles && at * tile_rows < count; at++) send_keys(room, a, at, at * tile_rows, at ? 0 : Boxes);
}

// send_more brings keys into the place of the tile before t, once all warps are done with that, where there are more than there is room for.
template <int Boxes>
DEVICE void send_more(Room<Boxes> &room, const GroupAttentionArgs &a, int t) {
	const int next = t - 1 + tiles;
	if (t == 0 || next * tile_rows >= room.count) return;
	barrier_wait(&room.empty[(t - 1) % tiles], (t - 1) / tiles & 1);
	send_keys(room, a, next % tiles, next * tile_rows, 0);
}

// clear makes rows of values from `left` up to `to` zeros, by so many threads: behind the sequence they may be anything, infinite too, and
// weights of zero would not hide them.
template <int Threads>
DEVICE void clear(uint16_t *v, int left, int to) {
	for (int i = left * head / chunk_elements + thread_anew() % Threads; i < to * head / chunk_elements; i += Threads) reinterpret_cast<Chunk *>(v)[i] = {};
}

// group_course takes a warpgroup past all keys, one_course a warp by itself.
template <int Type, int Boxes>
DEVICE void group_course(Sums &s, Room<Boxes> &room, const GroupAttentionArgs &a) {
	for (int t = 0; t * tile_rows < room.count; t++) {
		if (thread_anew() == 0) send_more(room, a, t);
		warp_barrier();
		barrier_wait(&room.full[t % tiles], t / tiles & 1);
		uint16_t *const k = room.keys[t % tiles][0], *const v = room.keys[t % tiles][1];
		const int warp = thread_anew() / 32, left = room.count - t * tile_rows, rows = room.rows;
		if (warp / 4 * 64 < rows) {
			if (left < tile_rows) {
				clear<128>(v, left, tile_rows);
				fence_for_groups();
				group_barrier(warp / 4);
			}
			const uint64_t q = group_tile(room.q[warp / 4]);
			if (left > 16) group_keys<Type, tile_rows>(s, q, group_tile(k), group_tile(v), left, a.f.scale * log2e, 16 * warp < rows);
			else group_keys<Type, 16>(s, q, group_tile(k), group_tile(v), left, a.f.scale * log2e, 16 * warp < rows);
		}
		if (thread_anew() % 32 == 0) barrier_arrive(&room.empty[t % tiles]);
	}
	group_barrier(thread_index() / 128); // nobody reads the warpgroup's queries any more
}

template <int Type, int Boxes>
DEVICE void one_course(Sums &s, Room<Boxes> &room, const GroupAttentionArgs &a) {
	for (int t = 0; t * tile_rows < room.count; t++) {
		barrier_wait(&room.full[t % tiles], t / tiles & 1);
		const int left = room.count - t * tile_rows;
		if (thread_index() / 32 * 16 < room.rows) {
			uint16_t *const v = room.keys[t % tiles][1];
			if (left < tile_rows) clear<32>(v, left, (left + 15) / 16 * 16);
			warp_barrier();
			warp_keys<Type>(s, room.q[Boxes - 1], room.keys[t % tiles][0], v, left, a.f.scale * log2e);
		}
		if (thread_index() % 32 == 0) barrier_arrive(&room.empty[t % tiles]);
	}
}

template <int Type, int Groups, int Rest>
DEVICE void group_attention(const GroupAttentionArgs &a) {
	static constexpr int warps = 4 * Groups + Rest, boxes = Groups + Rest;
	SHARED(unsigned char, shared);
	auto &room = *reinterpret_cast<Room<boxes> *>(shared + (1024 - shared_address(shared) % 1024) % 1024);
	if (block_z() >= extent(a.f.seqs)) return;
	Share share = share_of<Groups, Rest>(a.f);
	if (share.rows <= 0) return;
	if (thread_index() == 0) {
		room.rows = share.rows, room.count = a.f.starts[block_z() + 1] - a.f.starts[block_z()];
		for (int i = 0; i < tiles; i++) barrier_init(&room.full[i], 1), barrier_init(&room.empty[i], warps);
		barriers_ready();
		send_first(room, a, share.first, room.count);
	}
	barrier();
	Sums sums = {{}, {lowest(), lowest()}, {0.0f, 0.0f}};
	if (!Rest || thread_index() < 128 * Groups) group_course<Type>(sums, room, a);
	else one_course<Type>(sums, room, a);
	share = share_of<Groups, Rest>(a.f); // again, for want of registers to keep it in
	if (thread_index() / 32 * 16 < share.rows) put_tile<Type>(a.f.out, room.q[0], sums, share);
}

KERNEL_FOR(5, groupattention_bf16_1, GroupAttentionArgs, 128) { group_attention<BF16, 1, 0>(a); }
KERNEL_FOR(2, groupattention_bf16_2, GroupAttentionArgs, 288) { group_attention<BF16, 2, 1>(a); }
KERNEL_FOR(5, groupattention_f16_1, GroupAttentionArgs, 128) { group_attention<F16, 1, 0>(a); }
KERNEL_FOR(2, groupattention_f16_2, GroupAttentionArgs, 288) { group_attention<F16, 2, 1>(a); }

#endif
