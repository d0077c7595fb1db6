/* The triad of STREAM (McCalpin 1995), written from its description: a[i] = b[i] + s c[i] on all cores, over arrays of a given
   size in all; bytes of every array counted once. Prints the median GB/s of the repeats.
   cc -O3 -march=native -fopenmp stream.c -o stream && ./stream BYTES */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  size_t bytes = argc > 1 ? strtoull(argv[1], 0, 10) : 268435456, n = bytes / 24;
  enum { REPEATS = 21 };
  double *a = malloc(n * 8), *b = malloc(n * 8), *c = malloc(n * 8), times[REPEATS];
  size_t inner = 200000000 / bytes + 1;
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < n; i++) a[i] = 1, b[i] = 2, c[i] = 0.5;
  for (int r = 0; r < REPEATS; r++) {
    double start = omp_get_wtime();
    for (size_t k = 0; k < inner; k++) {
#pragma omp parallel for schedule(static)
      for (size_t i = 0; i < n; i++) a[i] = b[i] + 3.0 * c[i];
      b[k % n] += 1;
    }
    times[r] = (omp_get_wtime() - start) / inner;
  }
  qsort(times, REPEATS, sizeof *times, ascending);
  printf("%.4f %g\n", n * 24 / times[REPEATS / 2] / 1e9, a[n / 2]);
  return 0;
}
