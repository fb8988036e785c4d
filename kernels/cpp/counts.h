// Splitting a total evenly over bins down a keyed binary tree: the same counts as counts.py.
#pragma once
#include <cmath>
#include <cstdint>

#include "exact.h"
#include "philox.h"

namespace dist_sim {

inline double log_factorial(double n) {
  const double x = n + 17.0, z = 1.0 / (x * x);
  const double series = ((((1.0 / 1188 * z - 1.0 / 1680) * z + 1.0 / 1260) * z - 1.0 / 360) * z + 1.0 / 12) / x;
  const double log_gamma = (x - 0.5) * exact_log(x) - x + 0.9189385332046727 + series;
  double product = 1.0;
  for (int k = 1; k <= 16; ++k) product = product * (x - k);
  return log_gamma - exact_log(product);
}

// Kemp (1986), doi:10.1080/03610928608829159: inversion from the mode outwards.
inline int64_t binomial(double n, double p, double uniform) {
  const double mode = std::floor((n + 1.0) * p), odds = p / (1.0 - p);
  double weight = exact_exp(log_factorial(n) - log_factorial(mode) - log_factorial(n - mode) + mode * exact_log(p) +
                            (n - mode) * exact_log(1.0 - p));
  double left = uniform - weight, high = mode, low = mode, high_weight = weight, low_weight = weight;
  if (left < 0) return int64_t(mode);
  for (;;) {
    const bool can_rise = high < n, can_fall = low > 0;
    if (can_rise) {
      high_weight = high_weight * ((n - high) / (high + 1.0) * odds);
      high += 1.0;
      left -= high_weight;
      if (left < 0) return int64_t(high);
    }
    if (can_fall) {
      low_weight = low_weight * (low / (n - low + 1.0) / odds);
      low -= 1.0;
      left -= low_weight;
      if (left < 0) return int64_t(low);
    }
    if ((!can_rise || high_weight < 1e-20) && (!can_fall || low_weight < 1e-20)) return int64_t(mode);
  }
}

inline void split_evenly(int64_t total, int64_t first, int64_t bins, uint64_t node, uint64_t key, uint32_t stream, int64_t* counts) {
  if (bins == 1) { counts[first] = total; return; }
  const Words w = philox(uint32_t(key), uint32_t(key >> 32), uint32_t(node), uint32_t(node >> 32), 0xFFFFFFFEu, stream);
  const double uniform = (double(w.w[0] >> 5) * 67108864.0 + double(w.w[1] >> 6) + 0.5) * 0x1p-53;
  const int64_t half = bins / 2, left = binomial(double(total), double(half) / double(bins), uniform);
  split_evenly(left, first, half, 2 * node, key, stream, counts);
  split_evenly(total - left, first + half, bins - half, 2 * node + 1, key, stream, counts);
}

}  // namespace dist_sim

extern "C" void dist_sim_split_evenly(int64_t total, int64_t bins, uint64_t key, uint32_t stream, int64_t* counts) {
  dist_sim::split_evenly(total, 0, bins, 1, key, stream, counts);
}
