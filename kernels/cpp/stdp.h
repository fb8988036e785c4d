// Synapses with pair-based spike-timing dependent plasticity, brought up to date when a presynaptic spike arrives.
//
// The same operations as stdp.py, in the same order for each synapse: a weight depends on the spikes of its own two neurons, and
// neither on the device nor on the moment at which it is brought up to date.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "pool.h"

namespace dist_sim {

// A bound on weights must not swallow what is not finite: it is looked for after each chunk.
template <class T>
inline bool is_finite(T x) { return x - x == T(0); }

// exact.h in either precision.
template <class T>
inline T plain_log(T x) {
  int e;
  T m = std::frexp(x, &e);
  if (m < T(0.7071067811865476)) { m = m * T(2); e -= 1; }
  const T s = (m - T(1)) / (m + T(1)), z = s * s;
  T series = T(1.0 / 21);
  for (int k = 19; k > 0; k -= 2) series = series * z + T(1.0 / k);
  return T(2) * s * series + T(e) * T(0.6931471805599453);
}

template <class T>
inline T plain_exp(T x) {
  const T k = std::floor(x * T(1.4426950408889634) + T(0.5));
  const T r = (x - k * T(0.693359375)) - k * T(-2.12194440054690583e-4);
  T series = T(1);
  for (int n = 13; n > 0; --n) series = series * r * T(1.0 / n) + T(1);
  return std::ldexp(series, int(k));
}

// x to the power of mu, for x of at most about 1.
template <class T>
inline T plain_power(T x, T mu) {
  if (mu == T(1)) return x;
  if (mu == T(0)) return T(1);
  if (x < std::numeric_limits<T>::min()) return T(0);
  const T exponent = mu * plain_log(x);
  return exponent < T(sizeof(T) == 8 ? -707.0 : -86.0) ? T(0) : plain_exp(exponent);
}

template <class T>
struct Decays {  // exp(-k dt / tau) = fine[k mod 2^bits] coarse[k / 2^bits], a row per tau
  const T *fine, *coarse;
  int64_t bits, length;
  T operator()(int32_t tau, int64_t k) const {
    return fine[(int64_t(tau) << bits) + (k & ((int64_t(1) << bits) - 1))] * coarse[tau * length + std::min(k >> bits, length - 1)];
  }
};

template <class T>
struct PostSpikes {  // per target, the last `capacity` (a power of two) spikes: number k lies at k mod capacity
  int32_t* steps;
  T* traces;  // value of the trace just after the spike
  uint32_t* count;
  int64_t capacity;

  // Takes in the spike of `step`. False if the spike that has to go is still needed, by a synapse that was last brought up to
  // date before it, or as the newest one before a presynaptic spike on its way.
  bool append(int64_t target, int64_t step, int32_t tau, const Decays<T>& decay, int64_t longest, int64_t swept) {
    int32_t* s = steps + target * capacity;
    T* trace = traces + target * capacity;
    const int64_t n = count[target], last = (n - 1) & (capacity - 1), here = n & (capacity - 1), next = (n + 1) & (capacity - 1);
    const bool needed = n >= capacity && (s[here] > swept - 2 * longest + 1 || s[next] >= step + 1 - 2 * longest);
    trace[here] = n ? trace[last] * decay(tau, step - s[last]) + T(1) : T(1);
    s[here] = int32_t(step);
    count[target] = uint32_t(n + 1);
    return !needed;
  }
};

template <class T>
struct PlasticTable {
  const uint32_t* pointers;  // first synapse of each run, as in the table of static synapses
  const int32_t* fixed;      // per synapse: target, kind
  T* state;                  // per synapse: weight, Kplus
  int32_t* last;             // per synapse: step of the last presynaptic spike, -1 at first
  const int32_t* targets;    // per target: place of positive and of negative weights in the input vector, row of tau_minus
  const T* scale;            // per target: 1 / quantum
  const T* kinds;            // per kind: Wmax, lambda, alpha, mu_plus, mu_minus
  const int32_t* kind_tau;   // per kind: row of tau_plus
  Decays<T> decay;
  PostSpikes<T> posts;

  // The weight after the target's spikes in (after, until], each arriving `delay` steps later at the synapse.
  T facilitated(int64_t i, int64_t delay, int64_t after, int64_t until) const {
    const int64_t target = fixed[2 * i], kind = fixed[2 * i + 1], mask = posts.capacity - 1, n = posts.count[target];
    const int32_t* steps = posts.steps + target * posts.capacity;
    const T* p = kinds + 5 * kind;
    T w = state[2 * i];
    int64_t k = n;
    for (const int64_t oldest = std::max<int64_t>(0, n - posts.capacity); k > oldest && steps[(k - 1) & mask] > after;) --k;
    for (; k < n && steps[k & mask] <= until; ++k) {
      const T trace = state[2 * i + 1] * decay(kind_tau[kind], steps[k & mask] + delay - last[i]);
      const T x = w / p[0];
      const T grown = x + p[1] * plain_power(T(1) - x, p[3]) * trace;
      w = grown < T(1) || !is_finite(grown) ? grown * p[0] : p[0];
    }
    return w;
  }

  // What the synapse passes on for a presynaptic spike of step `emitted`.
  T arrive(int64_t i, int64_t emitted, int64_t delay, int64_t swept) const {
    const int64_t target = fixed[2 * i], kind = fixed[2 * i + 1], mask = posts.capacity - 1;
    T w = facilitated(i, delay, std::max<int64_t>(last[i] - delay, swept - 2 * delay + 1), emitted - delay);
    const int32_t* steps = posts.steps + target * posts.capacity;
    const int64_t n = posts.count[target], oldest = std::max<int64_t>(0, n - posts.capacity);
    int64_t k = n - 1;
    while (k >= oldest && steps[k & mask] >= emitted - delay) --k;
    const T trace = k < oldest ? T(0) : posts.traces[target * posts.capacity + (k & mask)] *
                                            decay(targets[3 * target + 2], emitted - delay - steps[k & mask]);
    const T* p = kinds + 5 * kind;
    const T x = w / p[0];
    const T shrunk = x - p[2] * p[1] * plain_power(x, p[4]) * trace;
    w = shrunk > T(0) || !is_finite(shrunk) ? shrunk * p[0] : T(0);
    state[2 * i] = w;
    state[2 * i + 1] = state[2 * i + 1] * decay(kind_tau[kind], emitted - last[i]) + T(1);
    last[i] = int32_t(emitted);
    return w;
  }

  void fetch(int64_t i) const {
    const int64_t target = fixed[2 * i];
    __builtin_prefetch(posts.count + target);
    __builtin_prefetch(posts.steps + target * posts.capacity);
    __builtin_prefetch(targets + 3 * target);
  }
};

// What watched synapses have passed on, in the order in which they did: those of one synapse in order of its spikes.
template <class T>
struct WeightLog {
  const int32_t* watched;  // per kind, whether its synapses are; null: none is, and there is no log
  uint32_t* synapse;
  int32_t* emitted;
  T* weight;
  uint32_t* count;  // goes on where there is no room: what would be needed
  int64_t room;

  void append(int64_t kind, int64_t i, int64_t step, T w) const {
    if (!watched || !watched[kind]) return;
    const int64_t k = __atomic_fetch_add(count, 1u, __ATOMIC_RELAXED);
    if (k >= room) return;
    synapse[k] = uint32_t(i);
    emitted[k] = int32_t(step);
    weight[k] = w;
  }
};

struct DueRun { int64_t run, emitted, delay; };

// The runs that are due at a step. Several spikes of one source in one step lie side by side.
inline std::vector<DueRun> due_runs(const uint32_t* ring, const uint32_t* marks, int64_t capacity, int64_t slots, int64_t step,
                                    int64_t min_delay, int64_t num_delays) {
  std::vector<DueRun> due;
  for (int64_t d = 0; d < num_delays; ++d) {
    const int64_t emitted = step - min_delay - d;
    if (emitted < 0) break;
    const uint32_t* mark = marks + 2 * (emitted % slots);
    for (int64_t k = 0; k < mark[1]; ++k) {
      int64_t place = mark[0] + k;
      if (place >= capacity) place -= capacity;
      due.push_back({int64_t(ring[place] & 0x7FFFFFFFu) * num_delays + d, emitted, min_delay + d});
    }
  }
  return due;
}

template <class W, class T>
uint64_t deliver_plastic(const PlasticTable<T>& table, const std::vector<DueRun>& due, W* input, int64_t size, int64_t swept,
                         int threads, const WeightLog<T>& log) {
  uint64_t total = 0;
  for (const DueRun& r : due) total += table.pointers[r.run + 1] - table.pointers[r.run];
  const int parts = total > 1024 ? threads : 1;
  const int64_t n = int64_t(due.size());
  // A part ends where the source changes: two spikes of one source must pass a synapse one after the other.
  const auto boundary = [&](int part) {
    int64_t k = n * part / parts;
    while (k > 0 && k < n && due[k].run == due[k - 1].run) ++k;
    return k;
  };
  Pool::instance().run(parts, [&](int part) {
    W* mine = input + part * size;
    for (int64_t k = boundary(part), end = boundary(part + 1); k < end; ++k) {
      const int64_t from = table.pointers[due[k].run], to = table.pointers[due[k].run + 1];
      for (int64_t i = from; i < std::min(from + 8, to); ++i) table.fetch(i);
      for (int64_t i = from; i < to; ++i) {
        if (i + 8 < to) table.fetch(i + 8);
        const int64_t target = table.fixed[2 * i], kind = table.fixed[2 * i + 1];
        const T w = table.arrive(i, due[k].emitted, due[k].delay, swept);
        mine[table.targets[3 * target + (table.kinds[5 * kind] < T(0))]] += W(std::floor(w * table.scale[target] + T(0.5)));
        log.append(kind, i, due[k].emitted, w);
      }
    }
  });
  return total;
}

// Takes the spikes of the targets into all weights, as far as no presynaptic spike can still come before them.
template <class T>
void sweep(const PlasticTable<T>& table, int64_t num_runs, int64_t step, int64_t swept, int64_t min_delay, int64_t num_delays,
           int threads) {
  Pool::instance().run(threads, [&](int part) {
    for (int64_t run = num_runs * part / threads; run < num_runs * (part + 1) / threads; ++run) {
      const int64_t delay = min_delay + run % num_delays;
      for (int64_t i = table.pointers[run]; i < table.pointers[run + 1]; ++i)
        table.state[2 * i] = table.facilitated(i, delay, std::max<int64_t>(table.last[i] - delay, swept - 2 * delay + 1),
                                               step - 2 * delay + 1);
    }
  });
}

}  // namespace dist_sim
