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

// A single trial may come without an axis of its own.
int64_t trials(const Tensor& t) { return t.ndim() == 1 ? 1 : t.shape(0); }
int64_t length(const Tensor& t) { return t.shape(t.ndim() - 1); }

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

  // For the sources that send something, in order. Their synapses lie anywhere in memory, so they are asked for ahead.
  template <class T, class F>
  void each_sent(const T* spikes, F&& f) const {
    thread_local std::vector<uint32_t> active;
    active.clear();
    for (int64_t first = 0; first < sources; first += 32) {
      const int64_t last = std::min<int64_t>(first + 32, sources);
      bool any = false;
      for (int64_t i = first; i < last; ++i) any |= spikes[i] != T(0);
      if (any)
        for (int64_t i = first; i < last; ++i)
          if (spikes[i] != T(0)) active.push_back(uint32_t(i));
    }
    for (size_t n = 0; n < active.size(); ++n) {
      if (n + 1 < active.size())
        for (uint32_t s = pointers[active[n + 1]], end = std::min(pointers[active[n + 1] + 1], s + 128); s < end; s += 8)
          __builtin_prefetch(synapses + s);
      const T value = spikes[active[n]];
      each(active[n], [&](const Synapse& s) { f(value, s); });
    }
  }
};

template <class F>
void by_type(const Tensor& floats, F&& f) {
  if (floats.dtype() == BE::DType::Float64) f(double{});
  else f(float{});
}

// As many trials as so many vector registers hold.
template <class T, int registers>
struct Trials {
  typedef T Register __attribute__((vector_size(32)));
  static constexpr int in_one = 32 / sizeof(T), number = registers * in_one;
  Register parts[registers] = {};

  T& operator[](int64_t trial) { return reinterpret_cast<T*>(parts)[trial]; }
  void add(const Trials& other, T weight) {
    for (int n = 0; n < registers; ++n) parts[n] += other.parts[n] * weight;
  }
};

}  // namespace

// spikes (batch, sources) -> (batch, targets), or (sources,) -> (targets,)
// @BE to_targets
void to_targets(const Tensor spikes, const Tensor weights, const Tensor pointers, const Tensor synapses, Tensor out) {
  const Table table(pointers, synapses);
  by_type(spikes, [&](auto zero) {
    using T = decltype(zero);
    const T* w = weights.numel() ? data<T>(weights) : nullptr;
    const int64_t batch = trials(spikes), targets = length(out);
    std::fill(data<T>(out), data<T>(out) + out.numel(), T(0));
    for (int64_t b = 0; b < batch; ++b) {
      const T* spike = data<T>(spikes) + b * table.sources;
      T* input = data<T>(out) + b * targets;
      if (w) table.each_sent(spike, [&](T value, const Synapse& s) { input[s.target] += value * w[s.place]; });
      else table.each_sent(spike, [&](T value, const Synapse& s) { input[s.target] += value; });
    }
  });
}

// Trials side by side, as many at a time as the registers hold: each synapse and its weight are fetched once for all of them.
template <class T, int registers>
void trials_to_sources(const Table& table, const Tensor& gradient, const T* w, Tensor& out) {
  using Side = Trials<T, registers>;
  const int64_t batch = trials(gradient), targets = length(gradient);
  std::vector<Side> of_target(targets);
  for (int64_t first = 0; first < batch; first += Side::number) {
    const int64_t last = std::min(first + Side::number, batch);
    std::fill(of_target.begin(), of_target.end(), Side{});
    for (int64_t b = first; b < last; ++b)
      for (int64_t j = 0; j < targets; ++j) of_target[j][b - first] = data<T>(gradient)[b * targets + j];
    for (int64_t i = 0; i < table.sources; ++i) {
      Side sum;
      table.each(i, [&](const Synapse& s) { sum.add(of_target[s.target], w ? w[s.place] : T(1)); });
      for (int64_t b = first; b < last; ++b) data<T>(out)[b * table.sources + i] = sum[b - first];
    }
  }
}

// gradient (batch, targets) -> (batch, sources), or (targets,) -> (sources,)
// @BE to_sources
void to_sources(const Tensor gradient, const Tensor weights, const Tensor pointers, const Tensor synapses, Tensor out) {
  const Table table(pointers, synapses);
  by_type(gradient, [&](auto zero) {
    using T = decltype(zero);
    const T* w = weights.numel() ? data<T>(weights) : nullptr;
    if (trials(gradient) > Trials<T, 1>::number) trials_to_sources<T, 2>(table, gradient, w, out);
    else trials_to_sources<T, 1>(table, gradient, w, out);
  });
}

// spikes (batch, sources), gradient (batch, targets) -> weights
// @BE to_weights
void to_weights(const Tensor spikes, const Tensor gradient, const Tensor pointers, const Tensor synapses, Tensor out) {
  const Table table(pointers, synapses);
  by_type(spikes, [&](auto zero) {
    using T = decltype(zero);
    const int64_t batch = trials(spikes), targets = length(gradient);
    std::fill(data<T>(out), data<T>(out) + out.numel(), T(0));
    for (int64_t b = 0; b < batch; ++b) {
      const T *spike = data<T>(spikes) + b * table.sources, *g = data<T>(gradient) + b * targets;
      table.each_sent(spike, [&](T value, const Synapse& s) { data<T>(out)[s.place] += value * g[s.target]; });
    }
  });
}
