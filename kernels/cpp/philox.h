// Philox4x32-10 (Salmon et al. 2011, doi:10.1145/2063384.2063405), one block and LANES blocks at a time.
#pragma once
#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace dist_sim {

struct Words { uint32_t w[4]; };

#if defined(__CUDACC__)
__host__ __device__
#endif
inline Words philox(uint32_t k0, uint32_t k1, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
  for (int r = 0; r < 10; ++r) {
    const uint64_t p0 = uint64_t(0xD2511F53u) * c0, p1 = uint64_t(0xCD9E8D57u) * c2;
    const uint32_t n0 = uint32_t(p1 >> 32) ^ c1 ^ k0, n2 = uint32_t(p0 >> 32) ^ c3 ^ k1;
    c1 = uint32_t(p1); c3 = uint32_t(p0); c0 = n0; c2 = n2;
    k0 += 0x9E3779B9u; k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

#if !defined(__CUDACC__)
// Lanes of 64 bits, of which the low 32 count: the product of two of them is one vector multiplication. One vector is one
// register: wider ones are spilled in pieces, which costs ten times the arithmetic (measured, g++ 12 with AVX2).
#if defined(__AVX512F__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif
typedef uint64_t Lane __attribute__((vector_size(8 * LANES)));

inline Lane multiply(Lane a, uint32_t b) {
#if defined(__AVX512F__)
  return Lane(_mm512_mul_epu32(__m512i(a), _mm512_set1_epi64(b)));
#elif defined(__AVX2__)
  return Lane(_mm256_mul_epu32(__m256i(a), _mm256_set1_epi64x(b)));
#else
  return (a & 0xFFFFFFFFull) * uint64_t(b);
#endif
}

inline Lane counting(uint32_t first) {
  Lane lanes;
  for (int l = 0; l < LANES; ++l) lanes[l] = first + uint32_t(l);
  return lanes;
}

// Two vectors at a time: the rounds of one fill the latencies of the other.
constexpr int WIDE = 2, DRAWN = WIDE * LANES;

struct LaneWords {
  Lane w[4][WIDE];  // only the low 32 bits of a lane count
  uint32_t word(int which, int i) const { return uint32_t(w[which][i / LANES][i % LANES]); }
};

// DRAWN blocks whose counters differ in one of the first two words: (first + i, b, c, d), or (b, first + i, c, d) if `second`.
template <bool second>
__attribute__((always_inline)) inline LaneWords philox_lanes(uint32_t key0, uint32_t key1, uint32_t first, uint32_t b, uint32_t c, uint32_t d) {
  Lane c0[WIDE], c1[WIDE], c2[WIDE], c3[WIDE];
  for (int v = 0; v < WIDE; ++v) {
    const Lane count = counting(first + uint32_t(v * LANES)), other = Lane{} + b;
    c0[v] = second ? other : count;
    c1[v] = second ? count : other;
    c2[v] = Lane{} + c;
    c3[v] = Lane{} + d;
  }
  for (int r = 0; r < 10; ++r) {
    const uint64_t k0 = uint32_t(key0 + 0x9E3779B9u * uint32_t(r)), k1 = uint32_t(key1 + 0xBB67AE85u * uint32_t(r));
    for (int v = 0; v < WIDE; ++v) {
      const Lane p0 = multiply(c0[v], 0xD2511F53u), p1 = multiply(c2[v], 0xCD9E8D57u);
      c0[v] = (p1 >> 32) ^ c1[v] ^ k0;
      c2[v] = (p0 >> 32) ^ c3[v] ^ k1;
      c1[v] = p1;
      c3[v] = p0;
    }
  }
  LaneWords words;
  for (int v = 0; v < WIDE; ++v) { words.w[0][v] = c0[v]; words.w[1][v] = c1[v]; words.w[2][v] = c2[v]; words.w[3][v] = c3[v]; }
  return words;
}

// floor(bits * n / 2^64) for the 64 bits (high, low): an index in [0, n).
inline uint32_t uniform_index(uint32_t high, uint32_t low, uint32_t n) {
  const uint64_t bits = (uint64_t(high) << 32) | low;
  return uint32_t((static_cast<unsigned __int128>(bits) * n) >> 64);
}
#endif

}  // namespace dist_sim
