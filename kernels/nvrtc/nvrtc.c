// nvrtc compiles one kernel source to a cubin or to PTX, with NVRTC as a shared library and no host compiler's headers:
//
//	nvrtc libnvrtc.so.12 source.cu out option...
//
// An option --gpu-architecture=sm_.. gives a cubin, compute_.. PTX. The compiler's log, with -v ptxas's registers and
// spills, goes to the standard output.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct program *Program;

static void *library;

static void *symbol(const char *name) {
	void *f = dlsym(library, name);
	if (!f) fprintf(stderr, "nvrtc: %s\n", dlerror()), exit(1);
	return f;
}

static char *read_file(const char *path) {
	FILE *f = fopen(path, "rb");
	long n = -1;
	if (!f || fseek(f, 0, SEEK_END) || (n = ftell(f)) < 0) perror(path), exit(1);
	rewind(f);
	char *text = calloc(1, (size_t)n + 1);
	if (!text || fread(text, 1, (size_t)n, f) != (size_t)n) perror(path), exit(1);
	fclose(f);
	return text;
}

int main(int argc, char **argv) {
	if (argc < 4) return fprintf(stderr, "usage: nvrtc library source out option...\n"), 2;
	library = dlopen(argv[1], RTLD_NOW);
	if (!library) return fprintf(stderr, "nvrtc: %s\n", dlerror()), 1;
	int (*create)(Program *, const char *, const char *, int, const char *const *, const char *const *) = symbol("nvrtcCreateProgram");
	int (*compile)(Program, int, const char *const *) = symbol("nvrtcCompileProgram");
	int (*log_size)(Program, size_t *) = symbol("nvrtcGetProgramLogSize"), (*log)(Program, char *) = symbol("nvrtcGetProgramLog");

	const char *name = strrchr(argv[2], '/') ? strrchr(argv[2], '/') + 1 : argv[2];
	int cubin = 0;
	for (int i = 4; i < argc; i++) cubin |= strstr(argv[i], "=sm_") != NULL;
	Program p;
	size_t n = 0;
	if (create(&p, read_file(argv[2]), name, 0, NULL, NULL)) return fprintf(stderr, "nvrtc: cannot create a program\n"), 1;
	int failed = compile(p, argc - 4, (const char *const *)argv + 4);
	if (log_size(p, &n) == 0 && n > 1) {
		char *text = calloc(1, n + 1);
		log(p, text);
		fputs(text, failed ? stderr : stdout);
	}
	if (failed) return 1;
	int (*size)(Program, size_t *) = symbol(cubin ? "nvrtcGetCUBINSize" : "nvrtcGetPTXSize");
	int (*get)(Program, char *) = symbol(cubin ? "nvrtcGetCUBIN" : "nvrtcGetPTX");
	if (size(p, &n)) return fprintf(stderr, "nvrtc: no output\n"), 1;
	char *bytes = malloc(n);
	FILE *f = fopen(argv[3], "wb");
	if (!bytes || get(p, bytes) || !f || fwrite(bytes, 1, n, f) != n || fclose(f)) return perror(argv[3]), 1;
	return 0;
}
