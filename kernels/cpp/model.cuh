// The step of all neurons of one model on a GPU, one thread a neuron: the same printed texts as model.h, in the same order.
//
// Under g++ with DIST_SIM_ONE_LANE this file is the kernel's twin.
#pragma once
#include "call.cuh"
#include "lanes.h"
#include "philox.h"

namespace dist_sim {

template <class T>
struct Arguments {
  const typename Lanes<T>::Whole* arriving;  // (threads, size): this model's part (channels, n) begins at `offset`
  const int32_t* rows;                       // per parameter, its row in `own`, or -1 - its place in `shared`
  const T *shared, *own;
  const int32_t *shared_whole, *own_whole;
  const T *quanta, *currents;                // (channels, 1 or n), (ports, 1 or n)
  const uint32_t* ids;
  T* states;
  int32_t* counters;
  uint32_t* bits;
  int32_t* counts;
  int64_t n, size, threads, offset;
  const int32_t* step;
  const uint32_t* key;
  bool one_quantum, one_current;
  uint32_t stream;
};

// Denormal numbers are 0, as on CPUs: float32 arithmetic is told so by nvcc's -ftz, float64 has no such mode.
template <class T>
__device__ __forceinline__ T flushed(T x) {
  const T least = sizeof(T) == 8 ? T(0x1p-1022) : T(0x1p-126);
  return x < least && x > -least ? T(0) : x;
}

// The six stages of a solver beside the numbers of a large model are more than the 255 registers of a thread: those then lie in
// the block's shared memory, which half as many threads share.
template <class Model, class T>
constexpr bool PARKS = Model::SOLVES && sizeof(T) * (Model::NUMBERS + 8 * Model::STATES) > 255 * 4;
template <class Model, class T>
constexpr int THREADS = PARKS<Model, T> ? 64 : 128;

// A thread's numbers in shared memory: volatile, or the compiler would read them all into registers again.
template <class T, int STRIDE>
struct Parked {
  volatile T* at;
  __device__ __forceinline__ volatile T& operator[](int k) const { return at[k * STRIDE]; }
  __device__ __forceinline__ Parked from(const T* numbers, int count) const {
#pragma unroll
    for (int k = 0; k < count; ++k) (*this)[k] = numbers[k];
    return {at + count * STRIDE};
  }
};

template <class Model, class T>
__device__ __forceinline__ int32_t step_neuron(const Arguments<T>& at, int64_t i) {
  using O = Operations<T>;
  typename O::V p[Model::NUMBERS + 1], y[Model::STATES + 1], x[Model::CHANNELS + 1], a[Model::CURRENTS + 1], u[Model::UNIFORMS + 1];
  typename O::I q[Model::WHOLES + 1], c[Model::COUNTERS + 1], spikes = 0;
#pragma unroll
  for (int s = 0; s < Model::NUMBERS; ++s) p[s] = at.rows[s] < 0 ? at.shared[-1 - at.rows[s]] : at.own[at.rows[s] * at.n + i];
#pragma unroll
  for (int s = 0; s < Model::WHOLES; ++s) {
    const int32_t row = at.rows[Model::NUMBERS + s];
    q[s] = row < 0 ? at.shared_whole[-1 - row] : at.own_whole[row * at.n + i];
  }
#pragma unroll
  for (int s = 0; s < Model::STATES; ++s) y[s] = at.states[s * at.n + i];
#pragma unroll
  for (int s = 0; s < Model::COUNTERS; ++s) c[s] = at.counters[s * at.n + i];
#pragma unroll
  for (int s = 0; s < Model::CHANNELS; ++s) {
    typename Lanes<T>::Whole total = 0;
    for (int64_t k = 0; k < at.threads; ++k) total += at.arriving[k * at.size + at.offset + s * at.n + i];
    x[s] = T(total) * (at.one_quantum ? at.quanta[s] : at.quanta[s * at.n + i]);
  }
#pragma unroll
  for (int s = 0; s < Model::CURRENTS; ++s) a[s] = at.one_current ? at.currents[s] : at.currents[s * at.n + i];
#pragma unroll
  for (int s = 0; s < Model::UNIFORMS; ++s) {
    const uint32_t id = at.ids[i];
    const uint32_t word = philox(at.key[0], at.key[1], id >> 2, uint32_t(*at.step), uint32_t(s), at.stream).w[id & 3];
    u[s] = sizeof(T) == 8 ? T((double(word) + 0.5) * 0x1p-32) : T((float(word >> 8) + 0.5f) * 0x1p-24f);
  }
  if constexpr (PARKS<Model, T>) {
    constexpr int BLOCK = THREADS<Model, T>;
    __shared__ T block[(Model::NUMBERS + Model::STATES + Model::CHANNELS + Model::CURRENTS) * BLOCK];
    const Parked<T, BLOCK> p_{block + threadIdx.x};
    const auto y_ = p_.from(p, Model::NUMBERS), x_ = y_.from(y, Model::STATES), a_ = x_.from(x, Model::CHANNELS);
    a_.from(a, Model::CURRENTS);
    Model::run(p_, q, y_, c, x_, a_, *at.step, u, spikes);
#pragma unroll
    for (int s = 0; s < Model::STATES; ++s) y[s] = y_[s];
  } else {
    Model::run(&p[0], q, &y[0], c, &x[0], &a[0], *at.step, u, spikes);
  }
#pragma unroll
  for (int s = 0; s < Model::STATES; ++s) at.states[s * at.n + i] = flushed(y[s]);
#pragma unroll
  for (int s = 0; s < Model::COUNTERS; ++s) at.counters[s * at.n + i] = int32_t(c[s]);
  if (at.counts) at.counts[i] = int32_t(spikes);
  return int32_t(spikes);
}

// Blocks of THREADS threads; n is a multiple of that.
template <class Model, class T>
DEVICE void step_grid(const Arguments<T>& at) {
  const int64_t first = int64_t(blockIdx.x) * THREADS<Model, T>;
#if defined(__CUDACC__)
  const int64_t i = first + threadIdx.x;
  const uint32_t word = __ballot_sync(0xffffffffu, step_neuron<Model, T>(at, i) != 0);
  if (threadIdx.x % 32 == 0) at.bits[i / 32] = word;
#else
  const Flushing flushing;
  for (int64_t begin = first; begin < first + THREADS<Model, T>; begin += 32) {
    uint32_t word = 0;
    for (int64_t k = 0; k < 32; ++k) word |= uint32_t(step_neuron<Model, T>(at, begin + k) != 0) << k;
    at.bits[begin / 32] = word;
  }
#endif
}

// step, arriving, rows, shared, own, shared_whole, own_whole, quanta, currents, ids, key, states, counters
// -> states, counters, bits, counts
template <class T, bool SEVERAL>
Arguments<T> arguments_of(Call& call) {
  Arguments<T> at;
  at.step = call.in<int32_t>(0);
  at.arriving = call.in<typename Lanes<T>::Whole>(1);
  at.rows = call.in<int32_t>(2);
  at.shared = call.in<T>(3);
  at.own = call.in<T>(4);
  at.shared_whole = call.in<int32_t>(5);
  at.own_whole = call.in<int32_t>(6);
  at.quanta = call.in<T>(7);
  at.currents = call.in<T>(8);
  at.ids = call.in<uint32_t>(9);
  at.key = call.in<uint32_t>(10);
  at.states = call.in_place<T>(11, 0);
  at.counters = call.in_place<int32_t>(12, 1);
  at.bits = call.out<uint32_t>(2);
  at.counts = SEVERAL ? call.out<int32_t>(3) : nullptr;
  at.n = call.attribute("n");
  at.threads = call.dim(1, 0);
  at.size = call.dim(1, 1);
  at.offset = call.attribute("offset");
  at.one_quantum = call.dim(7, 1) == 1;
  at.one_current = call.dim(8, 1) == 1;
  at.stream = uint32_t(call.attribute("stream"));
  return at;
}

}  // namespace dist_sim
