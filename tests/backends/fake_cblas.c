/* A library for backend "cblas:" that multiplies rightly, or as one of these does that must be
 * refused: FAKE_WRONG, a wrong value; FAKE_SILENT, sizes that it took for nonsense; FAKE_ILP64,
 * integers of 64 bits under the usual names; FAKE_SUFFIX64, the same under the names that tell it
 * apart; FAKE_ALONE, a product and nothing else. */
#ifdef FAKE_SUFFIX64
#define SGEMM cblas_sgemm64_
#define SCOPY cblas_scopy64_
#else
#define SGEMM cblas_sgemm
#define SCOPY cblas_scopy
#endif
#if defined(FAKE_ILP64) || defined(FAKE_SUFFIX64)
typedef long long Integer;
#else
typedef int Integer;
#endif
#define EXPORTED __attribute__((visibility("default")))

EXPORTED void SGEMM(int order, int transpose_a, int transpose_b, Integer m, Integer n, Integer k,
                    float alpha, const float* a, Integer lda, const float* b, Integer ldb,
                    float beta, float* c, Integer ldc);
EXPORTED void SCOPY(Integer n, const float* x, Integer incx, float* y, Integer incy);

void SGEMM(int order, int transpose_a, int transpose_b, Integer m, Integer n, Integer k,
           float alpha, const float* a, Integer lda, const float* b, Integer ldb, float beta,
           float* c, Integer ldc) {
  (void)order, (void)transpose_a, (void)transpose_b;
#ifdef FAKE_SILENT
  m = n = 0;
#endif
  for (Integer i = 0; i < m; ++i) {
    for (Integer j = 0; j < n; ++j) {
      float sum = 0;
      for (Integer l = 0; l < k; ++l) sum += a[i * lda + l] * b[l * ldb + j];
      /* beta 0 means that C is not read. */
      c[i * ldc + j] = alpha * sum + (beta == 0 ? 0 : beta * c[i * ldc + j]);
    }
  }
#ifdef FAKE_WRONG
  c[(m - 1) * ldc + n - 1] += 1.0f;
#endif
}

#ifndef FAKE_ALONE
void SCOPY(Integer n, const float* x, Integer incx, float* y, Integer incy) {
  for (Integer i = 0; i < n; ++i) y[i * incy] = x[i * incx];
}
#endif
