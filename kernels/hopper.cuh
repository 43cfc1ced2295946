// What sm_90a adds to ptx.cuh: barriers in shared memory, the tensor memory accelerator, products of a warpgroup. The emulated driver
// has none of it.
#pragma once

#include "ptx.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// TensorMap is a CUtensorMap.
struct alignas(64) TensorMap {
	unsigned char bytes[128];
};

// A barrier completes a phase when so many threads have arrived and the bytes that they expect have come.
DEVICE void barrier_init(uint64_t *b, int arrivals) {
	asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(shared_address(b)), "r"(arrivals) : "memory");
}
// barriers_ready makes inits visible to the accelerator; a barrier of the block follows.
DEVICE void barriers_ready() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
DEVICE void barrier_arrive(uint64_t *b) {
	asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" :: "r"(shared_address(b)) : "memory");
}
DEVICE void barrier_expect(uint64_t *b, int bytes) {
	asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(shared_address(b)), "r"(bytes) : "memory");
}
// barrier_wait waits for the end of the phase of a parity. A kernel that waits in vain, which is a bug, ends with an error: each try
// may suspend the thread for about a microsecond.
DEVICE void barrier_wait(uint64_t *b, int parity) {
	for (int tries = 0;; tries++) {
		uint32_t done;
		asm volatile("{\n\t.reg .pred p;\n\tmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\tselp.u32 %0, 1, 0, p;\n\t}"
		             : "=r"(done) : "r"(shared_address(b)), "r"(parity) : "memory");
		if (done) return;
		if (tries == 1 << 24) asm volatile("trap;");
	}
}

// load_box copies the box at (column, row) of a mapped matrix to shared memory, zeros for what is outside; its bytes arrive at b.
DEVICE void load_box(void *to, const TensorMap *map, int column, int row, uint64_t *b) {
	asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];"
	             :: "r"(shared_address(to)), "l"(map), "r"(column), "r"(row), "r"(shared_address(b)) : "memory");
}

// some_barrier is a barrier of so many of the block's threads, number 1.
template <int Threads>
DEVICE void some_barrier() { asm volatile("bar.sync 1, %0;" :: "n"(Threads) : "memory"); }

// group_tile describes rows of 128 bytes in shared memory, swizzled by 128 bytes, from an address aligned to 1024 bytes: PTX ISA, "Matrix
// Descriptor". 8 rows are 1024 bytes; 16 more columns are 32 bytes on, which is 2 in the descriptor.
DEVICE uint64_t group_tile(const void *p) {
	return (uint64_t)(shared_address(p) >> 4 & 0x3fff) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

// fence_for_groups lets a warpgroup's products see what the thread has stored in shared memory; a barrier follows.
DEVICE void fence_for_groups() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// group_begin stands before a warpgroup's products, group_commit closes a group of them, group_wait<N> waits for all but N groups.
DEVICE void group_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void group_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N>
DEVICE void group_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(N) : "memory"); }

// GROUP_MMA defines mma(d, a, b, add): d = A B + (add ? d : 0) for A [64, 16] and B [16, n] as tiles describe them, whose rows are A's
// rows and B's columns. Warp w of the warpgroup holds rows 16w to 16w+15 of d as mma_bf16's C, blocks of 8 columns one after the
// other.
#define TEN(t) "%" #t "0,%" #t "1,%" #t "2,%" #t "3,%" #t "4,%" #t "5,%" #t "6,%" #t "7,%" #t "8,%" #t "9,"
#define FIRST_TEN "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,"
#define BLOCK(j) "+f"(d[j][0]), "+f"(d[j][1]), "+f"(d[j][2]), "+f"(d[j][3])
#define BLOCKS(j) BLOCK(j), BLOCK(j + 1), BLOCK(j + 2), BLOCK(j + 3), BLOCK(j + 4), BLOCK(j + 5), BLOCK(j + 6), BLOCK(j + 7)
#define GROUP_MMA(n, type, registers, da, db, add_at, ...)                                                              \
	DEVICE void group_mma_##type(float (&d)[n / 8][4], uint64_t a, uint64_t b, int add) {                                 \
		asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.b32 p, " add_at ", 0;\n\twgmma.mma_async.sync.aligned.m64n" #n "k16.f32." #type "." #type \
		             " {" registers "}, " da ", " db ", p, 1, 1, 0, 0;\n\t}"                                                  \
		             : __VA_ARGS__ : "l"(a), "l"(b), "r"(add));                                                               \
	}
#define GROUP_MMAS(type)                                                                                                 \
	GROUP_MMA(16, type, "%0,%1,%2,%3,%4,%5,%6,%7", "%8", "%9", "%10", BLOCK(0), BLOCK(1))                                   \
	GROUP_MMA(32, type, FIRST_TEN "%10,%11,%12,%13,%14,%15", "%16", "%17", "%18", BLOCK(0), BLOCK(1), BLOCK(2), BLOCK(3))   \
	GROUP_MMA(64, type, FIRST_TEN TEN(1) TEN(2) "%30,%31", "%32", "%33", "%34", BLOCKS(0))                                  \
	GROUP_MMA(128, type, FIRST_TEN TEN(1) TEN(2) TEN(3) TEN(4) TEN(5) "%60,%61,%62,%63", "%64", "%65", "%66", BLOCKS(0), BLOCKS(8)) \
	GROUP_MMA(256, type, FIRST_TEN TEN(1) TEN(2) TEN(3) TEN(4) TEN(5) TEN(6) TEN(7) TEN(8) TEN(9) TEN(10) TEN(11)            \
	          "%120,%121,%122,%123,%124,%125,%126,%127", "%128", "%129", "%130", BLOCKS(0), BLOCKS(8), BLOCKS(16), BLOCKS(24))
GROUP_MMAS(bf16)
GROUP_MMAS(f16)

#endif
