/* A library for backend "cblas:" that multiplies rightly, or as one of these does that must be
 * refused: FAKE_WRONG, a wrong value; FAKE_SILENT, sizes that it took for nonsense, as a library
 * with integers of 64 bits may; FAKE_SUFFIX64, the name that such a library has where it is built
 * to be told apart. */
#ifdef FAKE_SUFFIX64
#define SGEMM cblas_sgemm64_
#else
#define SGEMM cblas_sgemm
#endif

__attribute__((visibility("default"))) void SGEMM(int order, int transpose_a, int transpose_b,
                                                  int m, int n, int k, float alpha, const float* a,
                                                  int lda, const float* b, int ldb, float beta,
                                                  float* c, int ldc);

void SGEMM(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
           const float* a, int lda, const float* b, int ldb, float beta, float* c, int ldc) {
  (void)order, (void)transpose_a, (void)transpose_b;
#ifdef FAKE_SILENT
  m = n = 0;
#endif
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < n; ++j) {
      float sum = 0;
      for (int l = 0; l < k; ++l) sum += a[i * lda + l] * b[l * ldb + j];
      /* beta 0 means that C is not read. */
      c[i * ldc + j] = alpha * sum + (beta == 0 ? 0 : beta * c[i * ldc + j]);
    }
  }
#ifdef FAKE_WRONG
  c[(m - 1) * ldc + n - 1] += 1.0f;
#endif
}
