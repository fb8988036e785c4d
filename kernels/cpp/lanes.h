// The arithmetic of printed texts on one vector register: V numbers, I whole numbers as wide, M masks (lanes of 0 or -1).
// With DIST_SIM_ONE_LANE, and so under nvcc, a register is one number: the same operations, one thread a neuron.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#if !defined(__CUDACC__) && defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__CUDACC__)
#define DIST_SIM_ONE_LANE
#define INLINE static __device__ __forceinline__
#else
#define INLINE static inline __attribute__((always_inline))
#endif

namespace dist_sim {

template <class T>
struct Lanes {
  using Whole = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;
  using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
#if defined(DIST_SIM_ONE_LANE)
  static constexpr int W = 1;
  using V = T;
  using I = Whole;
  using M = bool;
  using U = Bits;
#else
#if defined(__AVX512F__)
  static constexpr int BYTES = 64;
#elif defined(__AVX2__)
  static constexpr int BYTES = 32;
#else
  static constexpr int BYTES = 16;
#endif
  static constexpr int W = BYTES / sizeof(T);
  typedef T V __attribute__((vector_size(BYTES)));
  typedef Whole I __attribute__((vector_size(BYTES)));
  typedef Bits U __attribute__((vector_size(BYTES)));
  using M = I;
#endif
};

// Denormal numbers are 0 in every thread that computes states: a decaying current ends, and no result depends on who computes it.
#if !defined(__CUDACC__) && defined(__SSE2__)
class Flushing {
 public:
  Flushing() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~Flushing() { _mm_setcsr(before_); }
 private:
  unsigned before_;
};
#elif !defined(__CUDACC__) && defined(__aarch64__)
class Flushing {
 public:
  Flushing() { asm volatile("mrs %0, fpcr" : "=r"(before_)); asm volatile("msr fpcr, %0" ::"r"(before_ | (1ull << 24))); }
  ~Flushing() { asm volatile("msr fpcr, %0" ::"r"(before_)); }
 private:
  uint64_t before_;
};
#else
class Flushing {};
#endif

// What a printed text is made of, for numbers of type T. Texts stand in structs that derive from it.
template <class T>
struct Operations {
  using V = typename Lanes<T>::V;
  using I = typename Lanes<T>::I;
  using M = typename Lanes<T>::M;
  using U = typename Lanes<T>::U;
  using Whole = typename Lanes<T>::Whole;
  static constexpr int W = Lanes<T>::W;
  static constexpr T INFINITE = std::numeric_limits<T>::infinity(), NOT_A_NUMBER = std::numeric_limits<T>::quiet_NaN();

#if defined(DIST_SIM_ONE_LANE)
  INLINE V constant(T x) { return x; }
  INLINE I whole(long long x) { return I(x); }
  INLINE M mask(bool x) { return x; }
  INLINE M negate(M m) { return !m; }
  INLINE bool any(M m) { return m; }
  template <class X> INLINE X select(M m, X a, X b) { return m ? a : b; }
  INLINE V abs(V x) { return ::fabs(x); }
  INLINE V sqrt(V x) { return ::sqrt(x); }
  INLINE V floor(V x) { return ::floor(x); }
  INLINE V to_float(I x) { return V(x); }
  INLINE V flag_to_float(M x) { return x ? T(1) : T(0); }
  INLINE I to_int(V x) { return I(int32_t(x)); }
  INLINE I flag_to_int(M x) { return x ? 1 : 0; }
  INLINE I bits(V x) { I r; memcpy(&r, &x, sizeof(r)); return r; }
  INLINE V number(I x) { V r; memcpy(&r, &x, sizeof(r)); return r; }
#else
  INLINE V constant(T x) { V r; for (int l = 0; l < W; ++l) r[l] = x; return r; }
  INLINE I whole(long long x) { return I{} + Whole(x); }
  INLINE M mask(bool x) { return M{} - Whole(x); }
  INLINE M negate(M m) { return ~m; }
  INLINE bool any(M m) {
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask(__m512i(m), __m512i(m)) != 0;
#elif defined(__AVX2__)
    return !_mm256_testz_si256(__m256i(m), __m256i(m));
#else
    Whole all = 0;
    for (int l = 0; l < W; ++l) all |= m[l];
    return all != 0;
#endif
  }
  INLINE V select(M m, V a, V b) { return m ? a : b; }
  INLINE I select(M m, I a, I b) { return m ? a : b; }
  INLINE V abs(V x) { return V(I(x) & I(U{} + (~typename Lanes<T>::Bits(0) >> 1))); }
  INLINE V sqrt(V x) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 8) return V(_mm512_sqrt_pd(__m512d(x)));
    else return V(_mm512_sqrt_ps(__m512(x)));
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 8) return V(_mm256_sqrt_pd(__m256d(x)));
    else return V(_mm256_sqrt_ps(__m256(x)));
#else
    for (int l = 0; l < W; ++l) x[l] = std::sqrt(x[l]);
    return x;
#endif
  }
  INLINE V floor(V x) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 8) return V(_mm512_roundscale_pd(__m512d(x), 9));
    else return V(_mm512_roundscale_ps(__m512(x), 9));
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 8) return V(_mm256_floor_pd(__m256d(x)));
    else return V(_mm256_floor_ps(__m256(x)));
#else
    for (int l = 0; l < W; ++l) x[l] = std::floor(x[l]);
    return x;
#endif
  }
  INLINE V to_float(I x) { return __builtin_convertvector(x, V); }
  INLINE I to_int(V x) { return __builtin_convertvector(x, I); }
  INLINE V flag_to_float(M x) { return x ? constant(T(1)) : constant(T(0)); }
  INLINE I flag_to_int(M x) { return x & 1; }
  INLINE I bits(V x) { return I(x); }
  INLINE V number(I x) { return V(x); }
#endif
  INLINE I shift_left(I x, I n) { return I(U(x) << U(n)); }
  INLINE I shift_right_logical(I x, I n) { return I(U(x) >> U(n)); }
  INLINE I shift_right_arithmetic(I x, I n) { return x >> n; }
};

}  // namespace dist_sim
