// Sums over the synapses of a table that is sorted by source, for models that are differentiated. The three sums are the
// derivatives of  sum over synapses of spikes[source] * weight[synapse] * gradient[place]  by one of the three.
//
// `pointers` (sources + 1): where the synapses of a source begin. `synapses` (n, 2): place among slots and targets, and place of
// the weight. Places are a ring, of which `shift` (1) is the first. One weight is that of all synapses. Every sum is taken in the
// order of the table, so it does not depend on how targets are shared out.
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

struct Synapse { uint32_t place, weight; };

struct Table {
  const uint32_t* pointers;
  const Synapse* synapses;
  int64_t sources;
  uint32_t places, shift;

  // `of`: what has the places along its last axis.
  Table(const Tensor& pointers, const Tensor& synapses, const Tensor& shift, const Tensor& of)
      : pointers(data<uint32_t>(pointers)), synapses(reinterpret_cast<const Synapse*>(synapses.data_ptr())),
        sources(pointers.numel() - 1), places(uint32_t(length(of))), shift(uint32_t(data<int32_t>(shift)[0])) {}

  // Where a synapse leads to in the ring as it lies now.
  uint32_t at(const Synapse& s) const {
    const uint32_t sum = s.place + shift;
    return sum < places ? sum : sum - places;
  }

  template <class F>
  void each(int64_t source, F&& f) const {
    for (const Synapse *s = synapses + pointers[source], *end = synapses + pointers[source + 1]; s < end; ++s) f(*s);
  }

  // For the sources that send something, in order. Their synapses lie anywhere in memory, so they are asked for ahead.
  template <class S, class F>
  void each_sent(const S* spikes, F&& f) const {
    thread_local std::vector<uint32_t> active;
    active.clear();
    for (int64_t first = 0; first < sources; first += 32) {
      const int64_t last = std::min<int64_t>(first + 32, sources);
      bool any = false;
      for (int64_t i = first; i < last; ++i) any |= spikes[i] != S(0);
      if (any)
        for (int64_t i = first; i < last; ++i)
          if (spikes[i] != S(0)) active.push_back(uint32_t(i));
    }
    for (size_t n = 0; n < active.size(); ++n) {
      if (n + 1 < active.size())
        for (uint32_t s = pointers[active[n + 1]], end = std::min(pointers[active[n + 1] + 1], s + 128); s < end; s += 8)
          __builtin_prefetch(synapses + s);
      const S value = spikes[active[n]];
      each(active[n], [&](const Synapse& s) { f(value, s); });
    }
  }
};

template <class F>
void by_type(const Tensor& floats, F&& f) {
  if (floats.dtype() == BE::DType::Float64) f(double{});
  else f(float{});
}

// Spikes are booleans, or of the type of what they are multiplied with.
template <class T, class F>
void by_spikes(const Tensor& spikes, F&& f) {
  if (spikes.dtype() == BE::DType::Bool) f(data<uint8_t>(spikes));
  else f(data<T>(spikes));
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

// onto (batch, places), spikes (batch, sources) -> out, which is onto; or (places,), (sources,)
// @BE to_targets
void to_targets(const Tensor onto, const Tensor spikes, const Tensor weights, const Tensor pointers, const Tensor synapses,
                const Tensor shift, Tensor out) {
  const Table table(pointers, synapses, shift, onto);
  by_type(onto, [&](auto zero) {
    using T = decltype(zero);
    by_spikes<T>(spikes, [&](const auto* spike) {
      const T* w = data<T>(weights);
      const bool one_for_all = weights.numel() == 1;
      T* total = data<T>(out);
      for (int64_t b = 0; b < trials(onto); ++b, spike += table.sources, total += table.places) {
        if (one_for_all)
          table.each_sent(spike, [&, w = w[0]](auto value, const Synapse& s) { total[table.at(s)] += T(value) * w; });
        else
          table.each_sent(spike, [&](auto value, const Synapse& s) { total[table.at(s)] += T(value) * w[s.weight]; });
      }
    });
  });
}

// Trials side by side, as many at a time as the registers hold: each synapse and its weight are fetched once for all of them.
template <class T, int registers>
void trials_to_sources(const Table& table, const Tensor& gradient, const Tensor& weights, Tensor& out) {
  using Side = Trials<T, registers>;
  const T* w = data<T>(weights);
  const bool one_for_all = weights.numel() == 1;
  const int64_t batch = trials(gradient);
  std::vector<Side> of_place(table.places);
  for (int64_t first = 0; first < batch; first += Side::number) {
    const int64_t last = std::min(first + Side::number, batch);
    std::fill(of_place.begin(), of_place.end(), Side{});
    for (int64_t b = first; b < last; ++b)
      for (int64_t j = 0; j < table.places; ++j) of_place[j][b - first] = data<T>(gradient)[b * table.places + j];
    for (int64_t i = 0; i < table.sources; ++i) {
      Side sum;
      table.each(i, [&](const Synapse& s) { sum.add(of_place[table.at(s)], w[one_for_all ? 0 : s.weight]); });
      for (int64_t b = first; b < last; ++b) data<T>(out)[b * table.sources + i] = sum[b - first];
    }
  }
}

// gradient (batch, places) -> (batch, sources), or (places,) -> (sources,)
// @BE to_sources
void to_sources(const Tensor gradient, const Tensor weights, const Tensor pointers, const Tensor synapses, const Tensor shift,
                Tensor out) {
  const Table table(pointers, synapses, shift, gradient);
  by_type(gradient, [&](auto zero) {
    using T = decltype(zero);
    if (trials(gradient) > Trials<T, 1>::number) trials_to_sources<T, 2>(table, gradient, weights, out);
    else trials_to_sources<T, 1>(table, gradient, weights, out);
  });
}

// spikes (batch, sources), gradient (batch, places) -> weights
// @BE to_weights
void to_weights(const Tensor spikes, const Tensor gradient, const Tensor pointers, const Tensor synapses, const Tensor shift,
                Tensor out) {
  const Table table(pointers, synapses, shift, gradient);
  by_type(gradient, [&](auto zero) {
    using T = decltype(zero);
    std::fill(data<T>(out), data<T>(out) + out.numel(), T(0));
    by_spikes<T>(spikes, [&](const auto* spike) {
      const T* g = data<T>(gradient);
      for (int64_t b = 0; b < trials(gradient); ++b, spike += table.sources, g += table.places)
        table.each_sent(spike, [&](auto value, const Synapse& s) { data<T>(out)[s.weight] += T(value) * g[table.at(s)]; });
    });
  });
}
