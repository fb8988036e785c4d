// The step of all neurons of one model on one device, in place: what a printed model is put into.
//
// A model is a struct with counts (NUMBERS, WHOLES: parameters; STATES, COUNTERS; CHANNELS of input; CURRENTS; UNIFORMS), whether it
// SOLVES anything in a loop, and texts:
//   update(p, q, y, c, x, a, step, u, spikes)           one neuron's step, of laws without a loop; of `Adaptive`, what follows the solve
//   substep(p, q, y, c, a, t, spikes)                   of `Adaptive`: one trial of the solver; t goes to dt
// with p, q the parameters, y the states, c the counters, x what arrived, a the currents, u uniform numbers, each a register of neurons.
#pragma once
#include "lanes.h"
#include "step.h"

namespace dist_sim {

// Rows of parameters: each is one number for all neurons, or one per neuron.
template <class T>
struct Rows {
  static constexpr int64_t WIDEST = 64 / sizeof(T);
  std::vector<const T*> base;
  std::vector<int64_t> stride;
  std::vector<T> spread;

  // `rows`: for each parameter, its row in `own` (rows, n), or -1 - its place in `shared`.
  Rows(const int32_t* rows, int64_t count, const T* shared, const T* own, int64_t n) : base(count), stride(count), spread(count * WIDEST) {
    for (int64_t k = 0; k < count; ++k) {
      std::fill_n(spread.begin() + k * WIDEST, WIDEST, rows[k] < 0 ? shared[-1 - rows[k]] : T(0));
      base[k] = rows[k] < 0 ? spread.data() + k * WIDEST : own + rows[k] * n;
      stride[k] = rows[k] >= 0;
    }
  }
};

template <class T>
struct Memory : Operations<T> {
  using O = Operations<T>;
  using V = typename O::V;
  using I = typename O::I;
  static constexpr int W = O::W;
  typedef int32_t Narrow __attribute__((vector_size(W * 4)));

  static inline V load(const T* from) { V v; std::memcpy(&v, from, sizeof(v)); return v; }
  static inline void store(T* to, V v) { std::memcpy(to, &v, sizeof(v)); }
  static inline I load(const int32_t* from) { Narrow v; std::memcpy(&v, from, sizeof(v)); return __builtin_convertvector(v, I); }
  static inline void store(int32_t* to, I v) { const Narrow w = __builtin_convertvector(v, Narrow); std::memcpy(to, &w, sizeof(w)); }
};

template <class T>
struct Places {  // what a step reads and writes, for the neurons of one device
  const Rows<T>*numbers, *quanta, *currents;
  const Rows<int32_t>* wholes;
  T* states;
  int32_t* counters;
  const uint32_t* ids;
  uint32_t *bits;
  int32_t* counts;  // spikes of each neuron, for models that can send several in a step; else null
  int64_t n;
  int32_t step;
  uint32_t key0, key1, stream;
};

// Uniform numbers of a block of neurons, keyed by (seed, stream, global id, step); four neighbours share a Philox block.
template <class T>
inline void draw_uniforms(const Places<T>& at, int64_t i, int which, T* u) {
  uint32_t quad = ~0u;
  Words words{};
  for (int64_t k = 0; k < BLOCK; ++k) {
    const uint32_t id = at.ids[i + k];
    if (k == 0 || id >> 2 != quad) words = philox(at.key0, at.key1, quad = id >> 2, uint32_t(at.step), uint32_t(which), at.stream);
    const uint32_t word = words.w[id & 3];
    u[k] = sizeof(T) == 8 ? T((double(word) + 0.5) * 0x1p-32) : T((float(word >> 8) + 0.5f) * 0x1p-24f);
  }
}

// Where the registers of LANES neurons of a few rows come from. It is a copy of what `Rows` has, which no store can change.
template <class M, int COUNT, class T>
struct Origins {
  const T* base[COUNT + 1];
  int64_t stride[COUNT + 1];

  explicit Origins(const Rows<T>& rows) {
    for (int s = 0; s < COUNT; ++s) { base[s] = rows.base[s]; stride[s] = rows.stride[s]; }
  }
  bool shared() const { return std::all_of(stride, stride + COUNT, [](int64_t s) { return s == 0; }); }

  template <class Vector>
  inline void load(Vector* to, int64_t j) const {
#pragma GCC unroll 128
    for (int s = 0; s < COUNT; ++s) to[s] = M::load(base[s] + j * stride[s]);
  }
};

// The neurons from `begin` to `end`. SHARED: a parameter is one number for all of them, and loaded before the loop.
template <class Model, bool SHARED, class W, class T>
void step_part(const Places<T>& at, const Input<W, T>& input, int64_t begin, int64_t end) {
  using M = Memory<T>;
  using V = typename M::V;
  using I = typename M::I;
  constexpr int64_t LANES = M::W;
  [[maybe_unused]] const Flushing flushing;
  const Origins<M, Model::NUMBERS, T> numbers(*at.numbers);
  const Origins<M, Model::WHOLES, int32_t> wholes(*at.wholes);
  const Origins<M, Model::CHANNELS, T> quanta(*at.quanta);
  const Origins<M, Model::CURRENTS, T> currents(*at.currents);
  T* const states = at.states;
  int32_t* const counters = at.counters;
  const int64_t n = at.n;
  const I step = M::whole(at.step);
  V p[Model::NUMBERS + 1];
  I q[Model::WHOLES + 1];
  if constexpr (SHARED) {
    numbers.load(p, 0);
    wholes.load(q, 0);
  }
  for (int64_t i = begin; i < end; i += BLOCK) {
    T arrived[Model::CHANNELS ? Model::CHANNELS : 1][BLOCK], uniforms[Model::UNIFORMS ? Model::UNIFORMS : 1][BLOCK];
    int32_t spiking[BLOCK];
    for (int channel = 0; channel < Model::CHANNELS; ++channel) input.at(channel, i, arrived[channel]);
    for (int which = 0; which < Model::UNIFORMS; ++which) draw_uniforms(at, i, which, uniforms[which]);
    for (int64_t k = 0; k < BLOCK; k += LANES) {
      V y[Model::STATES + 1], x[Model::CHANNELS + 1], a[Model::CURRENTS + 1], u[Model::UNIFORMS + 1];
      I c[Model::COUNTERS + 1], spikes = I{};
      const int64_t j = i + k;
      if constexpr (!SHARED) {
        numbers.load(p, j);
        wholes.load(q, j);
      }
      quanta.load(x, j);
      currents.load(a, j);
#pragma GCC unroll 128
      for (int s = 0; s < Model::CHANNELS; ++s) x[s] = M::load(arrived[s] + k) * x[s];
#pragma GCC unroll 128
      for (int s = 0; s < Model::STATES; ++s) y[s] = M::load(states + s * n + j);
#pragma GCC unroll 128
      for (int s = 0; s < Model::COUNTERS; ++s) c[s] = M::load(counters + s * n + j);
#pragma GCC unroll 128
      for (int s = 0; s < Model::UNIFORMS; ++s) u[s] = M::load(uniforms[s] + k);
      Model::run(p, q, y, c, x, a, step, u, spikes);
#pragma GCC unroll 128
      for (int s = 0; s < Model::STATES; ++s) M::store(states + s * n + j, y[s]);
#pragma GCC unroll 128
      for (int s = 0; s < Model::COUNTERS; ++s) M::store(counters + s * n + j, c[s]);
      M::store(spiking + k, spikes);
    }
    if (at.counts) std::memcpy(at.counts + i, spiking, sizeof(spiking));
    for (int64_t k = 0; k < BLOCK; ++k) spiking[k] = spiking[k] != 0;
    pack(spiking, at.bits + i / 32);
  }
}

template <class Model, class W, class T>
void step_model(const Places<T>& at, const Input<W, T>& input, int64_t threads) {
  using M = Memory<T>;
  const bool shared = Origins<M, Model::NUMBERS, T>(*at.numbers).shared() && Origins<M, Model::WHOLES, int32_t>(*at.wholes).shared();
  each_part(at.n, threads, [&](int64_t begin, int64_t end, int) {
    // Beside the trials of a solver loads count for nothing, and the text need not be compiled twice.
    if constexpr (!Model::SOLVES)
      if (shared) return step_part<Model, true>(at, input, begin, end);
    step_part<Model, false>(at, input, begin, end);
  });
}

inline void same(const BE::Tensor& given, const BE::Tensor& result) {
  if (given.data_ptr() != result.data_ptr()) std::memcpy(result.data_ptr(), given.data_ptr(), given.nbytes());
}

template <class T>
Rows<T> rows_of(const BE::Tensor& t) {  // (rows, 1 or n)
  std::vector<int32_t> rows(t.shape(0));
  const bool shared = t.shape(1) == 1;
  for (int32_t k = 0; k < int32_t(rows.size()); ++k) rows[k] = shared ? -1 - k : k;
  const T* values = static_cast<const T*>(t.data_ptr());
  return Rows<T>(rows.data(), int64_t(rows.size()), values, values, t.shape(1));
}

template <class Model, class T, bool SEVERAL>
void call_model(const BE::Tensor& step, const BE::Tensor& arriving, const BE::Tensor& rows, const BE::Tensor& shared,
                const BE::Tensor& own, const BE::Tensor& shared_whole, const BE::Tensor& own_whole, const BE::Tensor& quanta,
                const BE::Tensor& currents, const BE::Tensor& ids, const BE::Tensor& key, const BE::Tensor& states_old, const BE::Tensor& counters_old,
                const BE::Tensor& states, const BE::Tensor& counters, const BE::Tensor& bits, const BE::Tensor& counts, int64_t n,
                int64_t offset, int64_t threads, uint32_t stream) {
  using W = typename Lanes<T>::Whole;
  const auto data = [](const BE::Tensor& t, auto like) { return static_cast<decltype(like)*>(t.data_ptr()); };
  same(states_old, states); same(counters_old, counters);
  const int32_t* row = data(rows, int32_t{});
  const Rows<T> numbers(row, Model::NUMBERS, data(shared, T{}), data(own, T{}), n);
  const Rows<int32_t> wholes(row + Model::NUMBERS, Model::WHOLES, data(shared_whole, int32_t{}), data(own_whole, int32_t{}), n);
  const Rows<T> quantum = rows_of<T>(quanta), current = rows_of<T>(currents);
  const Places<T> at{&numbers, &quantum, &current, &wholes, data(states, T{}), data(counters, int32_t{}), data(ids, uint32_t{}),
                     data(bits, uint32_t{}), SEVERAL ? data(counts, int32_t{}) : nullptr, n, *data(step, int32_t{}), data(key, uint32_t{})[0],
                     data(key, uint32_t{})[1], stream};
  const Input<W, T> input{data(arriving, W{}), threads, arriving.numel() / threads, offset, n};
  step_model<Model>(at, input, threads);
}

}  // namespace dist_sim
