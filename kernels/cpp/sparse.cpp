// Sums over the synapses of a table that is sorted by source, for models that are differentiated. The three sums are the
// derivatives of  sum over synapses of spikes[source] * weight[synapse] * gradient[target]  by one of the three.
//
// `pointers` (sources + 1): where the synapses of a source begin. `synapses` (n, 2): target and place of the weight. An empty
// `weights` stands for ones. Every sum is taken in the order of the table, so it does not depend on how targets are shared out.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "brainevent/common.h"

using BE::Tensor;

namespace {

template <class T>
T* data(const Tensor& t) { return static_cast<T*>(t.data_ptr()); }

struct Synapse { uint32_t target, place; };

struct Table {
  const uint32_t* pointers;
  const Synapse* synapses;
  int64_t sources;

  Table(const Tensor& pointers, const Tensor& synapses)
      : pointers(data<uint32_t>(pointers)), synapses(reinterpret_cast<const Synapse*>(synapses.data_ptr())),
        sources(pointers.numel() - 1) {}

  template <class F>
  void each(int64_t source, F&& f) const {
    for (const Synapse *s = synapses + pointers[source], *end = synapses + pointers[source + 1]; s < end; ++s) f(*s);
  }
};

template <class F>
void by_type(const Tensor& floats, F&& f) {
  if (floats.dtype() == BE::DType::Float64) f(double{});
  else f(float{});
}

// (batch, n) as (n, batch), so that all trials of a neuron lie side by side.
template <class T>
std::vector<T> neurons_first(const T* x, int64_t batch, int64_t n) {
  std::vector<T> turned(batch * n);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t i = 0; i < n; ++i) turned[i * batch + b] = x[b * n + i];
  return turned;
}

}  // namespace

// spikes (batch, sources) -> (batch, targets)
// @BE to_targets
void to_targets(const Tensor spikes, const Tensor weights, const Tensor pointers, const Tensor synapses, Tensor out) {
  const Table table(pointers, synapses);
  by_type(spikes, [&](auto zero) {
    using T = decltype(zero);
    const T* w = weights.numel() ? data<T>(weights) : nullptr;
    const int64_t batch = spikes.shape(0), targets = out.shape(1);
    std::fill(data<T>(out), data<T>(out) + out.numel(), T(0));
    for (int64_t b = 0; b < batch; ++b) {
      const T* spike = data<T>(spikes) + b * table.sources;
      T* input = data<T>(out) + b * targets;
      for (int64_t i = 0; i < table.sources; ++i) {
        const T value = spike[i];
        if (value == T(0)) continue;
        if (w) table.each(i, [&](const Synapse& s) { input[s.target] += value * w[s.place]; });
        else table.each(i, [&](const Synapse& s) { input[s.target] += value; });
      }
    }
  });
}

// gradient (batch, targets) -> (batch, sources)
// @BE to_sources
void to_sources(const Tensor gradient, const Tensor weights, const Tensor pointers, const Tensor synapses, Tensor out) {
  const Table table(pointers, synapses);
  by_type(gradient, [&](auto zero) {
    using T = decltype(zero);
    const T* w = weights.numel() ? data<T>(weights) : nullptr;
    const int64_t batch = gradient.shape(0), targets = gradient.shape(1);
    const std::vector<T> of_target = neurons_first(data<T>(gradient), batch, targets);
    std::vector<T> sum(batch);
    for (int64_t i = 0; i < table.sources; ++i) {
      std::fill(sum.begin(), sum.end(), T(0));
      table.each(i, [&](const Synapse& s) {
        const T weight = w ? w[s.place] : T(1);
        const T* g = of_target.data() + int64_t(s.target) * batch;
        for (int64_t b = 0; b < batch; ++b) sum[b] += weight * g[b];
      });
      for (int64_t b = 0; b < batch; ++b) data<T>(out)[b * table.sources + i] = sum[b];
    }
  });
}

// spikes (batch, sources), gradient (batch, targets) -> weights
// @BE to_weights
void to_weights(const Tensor spikes, const Tensor gradient, const Tensor pointers, const Tensor synapses, Tensor out) {
  const Table table(pointers, synapses);
  by_type(spikes, [&](auto zero) {
    using T = decltype(zero);
    const int64_t batch = spikes.shape(0), targets = gradient.shape(1);
    std::fill(data<T>(out), data<T>(out) + out.numel(), T(0));
    for (int64_t b = 0; b < batch; ++b) {
      const T *spike = data<T>(spikes) + b * table.sources, *g = data<T>(gradient) + b * targets;
      for (int64_t i = 0; i < table.sources; ++i) {
        const T value = spike[i];
        if (value != T(0)) table.each(i, [&](const Synapse& s) { data<T>(out)[s.place] += value * g[s.target]; });
      }
    }
  });
}
