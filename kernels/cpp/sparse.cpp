// Sums over the synapses of a table that is sorted by source, for models that are differentiated. The three sums are the
// derivatives of  sum over synapses of spikes[source] * weight[synapse] * gradient[place]  by one of the three.
//
// `pointers` (sources + 1): where the synapses of a source begin. `synapses` (n, 2): place among slots and targets, and place of
// the weight; or (n,), places alone, where one weight is that of all synapses. Places are a ring, of which `shift` (1) is the
// first. Every sum is taken in the order of the table, so it does not depend on how targets are shared out.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "brainevent/common.h"

using BE::Tensor;

namespace {

template <class T>
T* data(const Tensor& t) { return static_cast<T*>(t.data_ptr()); }

// A single trial may come without an axis of its own.
int64_t trials(const Tensor& t) { return t.ndim() == 1 ? 1 : t.shape(0); }
int64_t length(const Tensor& t) { return t.shape(t.ndim() - 1); }

constexpr size_t AHEAD = 8;  // rows that are asked for before they are needed

struct Weighted { uint32_t place, weight; };

inline uint32_t place(const Weighted& s) { return s.place; }
inline uint32_t place(uint32_t s) { return s; }

// What a synapse makes of `value`: the one weight of all is in it already.
template <class T>
T weighted(T value, const T* w, const Weighted& s) { return value * w[s.weight]; }
template <class T>
T weighted(T value, const T*, uint32_t) { return value; }

// Whether the 64 bytes here are 0, looked at as eight words.
inline bool all_zero(const void* line) {
  uint64_t words[8], any = 0;
  std::memcpy(words, line, sizeof words);
  for (const uint64_t word : words) any |= word;
  return any == 0;
}

template <class Synapse>
struct Table {
  const uint32_t* pointers;
  const Synapse* synapses;
  int64_t sources;
  uint32_t places, shift;
  static constexpr bool weighted = std::is_same_v<Synapse, Weighted>;

  // `of`: what has the places along its last axis.
  Table(const Tensor& pointers, const Tensor& synapses, const Tensor& shift, const Tensor& of)
      : pointers(data<uint32_t>(pointers)), synapses(static_cast<const Synapse*>(synapses.data_ptr())),
        sources(pointers.numel() - 1), places(uint32_t(length(of))), shift(uint32_t(data<int32_t>(shift)[0])) {}

  // The synapses of a source, and where they lead to in the ring as it lies now.
  template <class F>
  void each(int64_t source, F&& f) const {
    const Synapse *s = synapses + pointers[source], *end = synapses + pointers[source + 1];
    if (shift == 0) {
      for (; s < end; ++s) f(place(*s), *s);
    } else {
      for (; s < end; ++s) f(place(*s) + shift - (place(*s) + shift < places ? 0 : places), *s);
    }
  }

  // The sources that send something, in order, and what. Their synapses lie anywhere in memory, so they are asked for ahead.
  template <class S, class F>
  void each_sent(const S* spikes, F&& f) const {
    thread_local std::vector<uint32_t> active;
    active.clear();
    constexpr int64_t in_line = 64 / sizeof(S);
    for (int64_t first = 0; first < sources; first += in_line) {
      const int64_t last = std::min(first + in_line, sources);
      if (last - first == in_line && all_zero(spikes + first)) continue;
      for (int64_t i = first; i < last; ++i)
        if (spikes[i] != S(0)) active.push_back(uint32_t(i));
    }
    // Not inlined it would count as a function without effects, and be left out.
    const auto ask_for = [&](size_t n) __attribute__((always_inline)) {
      if (n >= active.size()) return;
      const char *s = reinterpret_cast<const char*>(synapses + pointers[active[n]]);
      const char *end = reinterpret_cast<const char*>(synapses + pointers[active[n] + 1]);
      for (end = std::min(end, s + 1024); s < end; s += 64) __builtin_prefetch(s);
    };
    for (size_t n = 0; n < AHEAD; ++n) ask_for(n);
    for (size_t n = 0; n < active.size(); ++n) {
      ask_for(n + AHEAD);
      f(spikes[active[n]], active[n]);
    }
  }
};

// Where every synapse has a weight of its own, the table says which.
template <class F>
void by_table(const Tensor& pointers, const Tensor& synapses, const Tensor& shift, const Tensor& of, F&& f) {
  if (synapses.ndim() == 2) f(Table<Weighted>(pointers, synapses, shift, of));
  else if (synapses.dtype() == BE::DType::UInt16) f(Table<uint16_t>(pointers, synapses, shift, of));
  else f(Table<uint32_t>(pointers, synapses, shift, of));
}

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
  by_table(pointers, synapses, shift, onto, [&](const auto& table) {
    by_type(onto, [&](auto zero) {
      using T = decltype(zero);
      by_spikes<T>(spikes, [&](const auto* spike) {
        const T *w = data<T>(weights), of_all = table.weighted ? T(1) : w[0];
        T* total = data<T>(out);
        for (int64_t b = 0; b < trials(onto); ++b, spike += table.sources, total += table.places)
          table.each_sent(spike, [=](auto spike, int64_t source) {
            const T value = T(spike) * of_all;
            table.each(source, [=](uint32_t place, const auto& s) { total[place] += weighted(value, w, s); });
          });
      });
    });
  });
}

// Trials side by side, as many at a time as the registers hold: each synapse and its weight are fetched once for all of them.
template <class T, int registers, class Synapse>
void trials_to_sources(const Table<Synapse>& table, const Tensor& gradient, const Tensor& weights, Tensor& out) {
  using Side = Trials<T, registers>;
  const T *w = data<T>(weights), of_all = table.weighted ? T(1) : w[0];
  const int64_t batch = trials(gradient);
  std::vector<Side> of_place(table.places);
  for (int64_t first = 0; first < batch; first += Side::number) {
    const int64_t last = std::min(first + Side::number, batch);
    std::fill(of_place.begin(), of_place.end(), Side{});
    for (int64_t b = first; b < last; ++b)
      for (int64_t j = 0; j < table.places; ++j) of_place[j][b - first] = data<T>(gradient)[b * table.places + j];
    for (int64_t i = 0; i < table.sources; ++i) {
      Side sum;
      table.each(i, [&](uint32_t place, const Synapse& s) { sum.add(of_place[place], weighted(of_all, w, s)); });
      for (int64_t b = first; b < last; ++b) data<T>(out)[b * table.sources + i] = sum[b - first];
    }
  }
}

// gradient (batch, places) -> (batch, sources), or (places,) -> (sources,)
// @BE to_sources
void to_sources(const Tensor gradient, const Tensor weights, const Tensor pointers, const Tensor synapses, const Tensor shift,
                Tensor out) {
  by_table(pointers, synapses, shift, gradient, [&](const auto& table) {
    by_type(gradient, [&](auto zero) {
      using T = decltype(zero);
      if (trials(gradient) > Trials<T, 1>::number) trials_to_sources<T, 2>(table, gradient, weights, out);
      else trials_to_sources<T, 1>(table, gradient, weights, out);
    });
  });
}

// spikes (batch, sources), gradient (batch, places) -> weights
// @BE to_weights
void to_weights(const Tensor spikes, const Tensor gradient, const Tensor pointers, const Tensor synapses, const Tensor shift,
                Tensor out) {
  const Table<Weighted> table(pointers, synapses, shift, gradient);
  by_type(gradient, [&](auto zero) {
    using T = decltype(zero);
    std::fill(data<T>(out), data<T>(out) + out.numel(), T(0));
    by_spikes<T>(spikes, [&](const auto* spike) {
      const T* g = data<T>(gradient);
      for (int64_t b = 0; b < trials(gradient); ++b, spike += table.sources, g += table.places)
        table.each_sent(spike, [&](auto spike, int64_t source) {
          table.each(source, [&](uint32_t place, const Weighted& s) { data<T>(out)[s.weight] += T(spike) * g[place]; });
        });
    });
  });
}
