// The last spikes of the targets of changing synapses, with the traces that they leave.
#pragma once
#include <algorithm>
#include <cstdint>

namespace dist_sim {

template <class T>
struct Decays {  // exp(-k dt / tau) = fine[k mod 2^bits] coarse[k / 2^bits], a row per tau
  const T *fine, *coarse;
  int64_t bits, length;
  T operator()(int32_t tau, int64_t k) const {
    return fine[(int64_t(tau) << bits) + (k & ((int64_t(1) << bits) - 1))] * coarse[tau * length + std::min(k >> bits, length - 1)];
  }
};

template <class T>
struct Posts {  // per target, the last `capacity` (a power of two) spikes: number k lies at k mod capacity
  int32_t* steps;
  T* traces;  // of each spike, the values of the traces just after it
  uint32_t* count;
  int64_t capacity;

  // Takes in the spike of `step`; `taus`: rows of the time constants of the `stored` traces. False if the spike that has to go is
  // still needed, by a synapse that was last brought up to date before it, or as the newest one before a presynaptic spike on its way.
  bool append(int64_t target, int64_t step, const int32_t* taus, int64_t stored, const Decays<T>& decay, int64_t longest, int64_t swept) {
    int32_t* s = steps + target * capacity;
    T* trace = traces + target * capacity * stored;
    const int64_t n = count[target], last = (n - 1) & (capacity - 1), here = n & (capacity - 1), next = (n + 1) & (capacity - 1);
    const bool needed = n >= capacity && (s[here] > swept - 2 * longest + 1 || s[next] >= step + 1 - 2 * longest);
    for (int64_t m = 0; m < stored; ++m)
      trace[here * stored + m] = n ? trace[last * stored + m] * decay(taus[m], step - s[last]) + T(1) : T(1);
    s[here] = int32_t(step);
    count[target] = uint32_t(n + 1);
    return !needed;
  }
};

}  // namespace dist_sim
