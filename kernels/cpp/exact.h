// Elementary functions from IEEE +, -, *, / and sqrt alone: the same bits as exact.py. Compile with -ffp-contract=off.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

namespace dist_sim {

template <int N>
inline double horner(const double (&c)[N], double x) {
  double total = c[0];
  for (int i = 1; i < N; ++i) total = total * x + c[i];
  return total;
}

inline double exact_log(double x) {
  uint64_t bits; std::memcpy(&bits, &x, 8);
  int e = int(bits >> 52) - 1022;  // x = m 2^e, m in [1/2, 1)
  bits = (bits & 0x000FFFFFFFFFFFFFull) | 0x3FE0000000000000ull;
  double m; std::memcpy(&m, &bits, 8);
  if (m < 0.7071067811865476) { m = m * 2.0; e -= 1; }
  const double s = (m - 1.0) / (m + 1.0), z = s * s;
  static constexpr double atanh_series[] = {1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13, 1.0 / 11,
                                            1.0 / 9, 1.0 / 7, 1.0 / 5, 1.0 / 3, 1.0};
  const double series = horner(atanh_series, z);
  return 2.0 * s * series + e * 0.6931471805599453;
}

inline double exact_exp(double x) {
  const double k = std::floor(x * 1.4426950408889634 + 0.5);
  const double r = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10;
  double series = 1.0;
  for (int n = 13; n > 0; --n) series = series * r / n + 1.0;
  return std::ldexp(series, int(k));
}

inline double unit_interval(uint32_t word) { return (double(word) + 0.5) * 2.3283064365386963e-10; }

// Wichura (1988), AS 241, PPND16, doi:10.2307/2347330.
namespace as241 {
constexpr double centre_p[] = {2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
                               13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608};
constexpr double centre_q[] = {5226.495278852545925, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
                               5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0};
constexpr double tail_p[] = {7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
                             3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734};
constexpr double tail_q[] = {1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
                             0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0};
}  // namespace as241

inline double normal_tail(double p) {
  const double t = std::sqrt(-exact_log(p < 0.5 ? p : 1.0 - p)) - 1.6;
  const double tail = horner(as241::tail_p, t) / horner(as241::tail_q, t);
  return p < 0.5 ? -tail : tail;
}

// z[i] = standard normal of words[i]. The centre (85 % of the words) is computed for all in vectors, the tails one by one.
inline void normal_quantiles(const uint32_t* words, int n, double* z) {
  for (int i = 0; i < n; ++i) {
    // The signed detour is exact and, unlike the conversion of an unsigned word, one vector instruction.
    const double q = (double(int32_t(words[i] ^ 0x80000000u)) + 2147483648.5) * 2.3283064365386963e-10 - 0.5;
    const double r = 0.180625 - q * q;
    z[i] = q * (horner(as241::centre_p, r) / horner(as241::centre_q, r));
  }
  for (int i = 0; i < n; ++i) {
    const double p = unit_interval(words[i]);
    if (std::fabs(p - 0.5) > 0.425) z[i] = normal_tail(p);
  }
}

}  // namespace dist_sim
