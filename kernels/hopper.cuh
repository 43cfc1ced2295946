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

// A pair is two neighbouring blocks of a grid, a cluster, that reach each other's shared memory.
#define KERNEL_PAIR(name, Args, threads) \
	extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(threads, 1) name(const __grid_constant__ Args a)

DEVICE int grid_x() { return gridDim.x; }
// pair_barrier waits for the pair's threads and orders their accesses to shared memory.
DEVICE void pair_barrier() {
	asm volatile("barrier.cluster.arrive.release;\n\tbarrier.cluster.wait.acquire;" ::: "memory");
}
// pair_arrive arrives at the barrier in the same place of the shared memory of the pair's block `rank`.
DEVICE void pair_arrive(uint64_t *b, int rank) {
	asm volatile("{\n\t.reg .b32 there;\n\tmapa.shared::cluster.u32 there, %0, %1;\n\tmbarrier.arrive.shared::cluster.b64 _, [there];\n\t}"
	             :: "r"(shared_address(b)), "r"(rank) : "memory");
}
// load_box_pair is load_box to the same place in both blocks; its bytes arrive at b in each.
DEVICE void load_box_pair(void *to, const TensorMap *map, int column, int row, uint64_t *b) {
	asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;"
	             :: "r"(shared_address(to)), "l"(map), "r"(column), "r"(row), "r"(shared_address(b)), "h"((short)3) : "memory");
}

// more_registers and fewer_registers set what the threads of a warpgroup have, whose branch this is the beginning of.
template <int N>
DEVICE void more_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" :: "n"(N)); }
template <int N>
DEVICE void fewer_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" :: "n"(N)); }

// some_barrier is a barrier of so many of the block's threads, number 1.
template <int Threads>
DEVICE void some_barrier() { asm volatile("bar.sync 1, %0;" :: "n"(Threads) : "memory"); }

// group_barrier is a barrier of a warpgroup of the block, number 1 and on.
DEVICE void group_barrier(int group) { asm volatile("bar.sync %0, 128;" :: "r"(1 + group) : "memory"); }

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

// GROUP_MMA_ROWS defines mma(d, a, b): d += A B with A in registers, warp w's fragment as mma_bf16's A, and rows of 64 columns that are B's
// own, 8 of them 1024 bytes in shared memory.
#define GROUP_MMA_ROWS(type)                                                                                              \
	DEVICE void group_mma_rows_##type(float (&d)[8][4], const uint32_t (&a)[4], uint64_t b) {                               \
		asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %37, 0;\n\twgmma.mma_async.sync.aligned.m64n64k16.f32." #type "." #type    \
		             " {" FIRST_TEN TEN(1) TEN(2) "%30,%31}, {%32,%33,%34,%35}, %36, p, 1, 1, 1;\n\t}"                           \
		             : BLOCKS(0) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));                                \
	}
GROUP_MMA_ROWS(bf16)
GROUP_MMA_ROWS(f16)

// settle keeps what is computed in registers in front of it: a warpgroup's products take registers as group_begin finds them.
DEVICE void settle(float (&x)[4]) { asm volatile("" : "+f"(x[0]), "+f"(x[1]), "+f"(x[2]), "+f"(x[3])::"memory"); }
DEVICE void settle(uint32_t (&x)[4]) { asm volatile("" : "+r"(x[0]), "+r"(x[1]), "+r"(x[2]), "+r"(x[3])::"memory"); }

#endif
