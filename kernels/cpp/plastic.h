// Changing synapses of one model, brought up to date when a presynaptic spike arrives: what a printed model is put into.
//
// The same operations as plastic.py, in the same order for each synapse. A model is a struct with counts (PARAMETERS of a connection,
// VARIABLES of a synapse, DECAYS, TRACES of the target, of which STORED add up, UNIFORMS; whether it LISTENS to the target's spikes)
// and texts of one synapse:
//   on_post(p, s, d, k, h)                           a spike of the target
//   on_pre(p, s, d, k, h, first, u, sent, passes)    a presynaptic one
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "model.h"
#include "philox.h"
#include "posts.h"

#define MEMBER inline __attribute__((always_inline))

namespace dist_sim {

// The arithmetic of printed texts on one number: `Operations` without the lanes.
template <class T>
struct OneLane {
  using V = T;
  using I = typename Lanes<T>::Whole;
  using M = bool;
  using U = typename Lanes<T>::Bits;
  static constexpr T INFINITE = std::numeric_limits<T>::infinity(), NOT_A_NUMBER = std::numeric_limits<T>::quiet_NaN();

  INLINE V constant(T x) { return x; }
  INLINE I whole(long long x) { return I(x); }
  INLINE M mask(bool x) { return x; }
  INLINE M negate(M m) { return !m; }
  INLINE bool any(M m) { return m; }
  template <class X> INLINE X select(M m, X a, X b) { return m ? a : b; }
  INLINE V abs(V x) { return std::fabs(x); }
  INLINE V sqrt(V x) { return std::sqrt(x); }
  INLINE V floor(V x) { return std::floor(x); }
  INLINE V to_float(I x) { return V(x); }
  INLINE V flag_to_float(M x) { return x ? T(1) : T(0); }
  INLINE I to_int(V x) { return I(int32_t(x)); }
  INLINE I flag_to_int(M x) { return x ? 1 : 0; }
  INLINE I bits(V x) { I r; std::memcpy(&r, &x, sizeof(r)); return r; }
  INLINE V number(I x) { V r; std::memcpy(&r, &x, sizeof(r)); return r; }
  INLINE I shift_left(I x, I n) { return I(U(x) << U(n)); }
  INLINE I shift_right_logical(I x, I n) { return I(U(x) >> U(n)); }
  INLINE I shift_right_arithmetic(I x, I n) { return x >> n; }
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

struct DueRun { int64_t run, emitted, delay; uint32_t ordinal; };

// The runs that are due at a step. Several spikes of one source in one step lie side by side, and are numbered.
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
      const int64_t run = int64_t(ring[place] & ~DOWN) * num_delays + d;
      const uint32_t ordinal = !due.empty() && due.back().run == run ? due.back().ordinal + 1 : 0;
      due.push_back({run, emitted, min_delay + d, ordinal});
    }
  }
  return due;
}

template <class Law, class T>
struct Changing {
  const uint32_t* pointers;  // first synapse of each run, as in the table of static synapses
  const int32_t* fixed;      // per synapse: target, kind
  const uint32_t* place;     // per synapse
  T* state;                  // per synapse: its variables, the weight first
  int32_t* last;             // per synapse: step of the last presynaptic spike, -1 at first
  const int32_t* targets;    // per target: place of positive and of negative weights in the input vector, rows of time constants
  const T* scale;            // per target: 1 / quantum
  const T* kinds;            // per kind: its parameters, dt first
  const int32_t* kind_tau;   // per kind: rows of its time constants
  Decays<T> decay;
  Posts<T> posts;
  uint32_t key0, key1, stream;
  static constexpr int TARGET = 2 + Law::TRACES;

  template <int N>
  struct Room { T of[N ? N : 1]; };

  INLINE void fade(const Changing& c, int64_t kind, int64_t since, T* d) {
    for (int k = 0; k < Law::DECAYS; ++k) d[k] = c.decay(c.kind_tau[Law::DECAYS * kind + k], since);
  }

  // The variables after the target's spikes in (after, until], each arriving `delay` steps later.
  MEMBER void after_posts(int64_t i, int64_t delay, int64_t after, int64_t until, T* s) const {
    const int64_t target = fixed[2 * i], kind = fixed[2 * i + 1], mask = posts.capacity - 1, n = posts.count[target];
    const int32_t* steps = posts.steps + target * posts.capacity;
    const T* p = kinds + Law::PARAMETERS * kind;
    int64_t k = n;
    for (const int64_t oldest = std::max<int64_t>(0, n - posts.capacity); k > oldest && steps[(k - 1) & mask] > after;) --k;
    for (; k < n && steps[k & mask] <= until; ++k) {
      Room<Law::DECAYS> d;
      Room<Law::STORED> before;
      const int64_t since = steps[k & mask] + delay - last[i];
      fade(*this, kind, since, d.of);
      for (int m = 0; m < Law::STORED; ++m)
        before.of[m] = posts.traces[(target * posts.capacity + (k & mask)) * Law::STORED + m] - T(1);
      Law::on_post(p, s, d.of, before.of, T(since) * p[0]);
    }
  }

  // The traces of the target's spikes strictly before a step.
  MEMBER void traces_before(int64_t target, int64_t step, T* met) const {
    const int64_t mask = posts.capacity - 1, n = posts.count[target], oldest = std::max<int64_t>(0, n - posts.capacity);
    const int32_t* steps = posts.steps + target * posts.capacity;
    int64_t k = n - 1;
    while (k >= oldest && steps[k & mask] >= step) --k;
    for (int m = 0; m < Law::TRACES; ++m) {
      if (k < oldest) { met[m] = T(0); continue; }
      const T faded = decay(targets[TARGET * target + 2 + m], step - steps[k & mask]);
      met[m] = m < Law::STORED ? posts.traces[(target * posts.capacity + (k & mask)) * Law::STORED + m] * faded : faded;
    }
  }

  MEMBER void draw(uint32_t number, int64_t emitted, uint32_t ordinal, T* u) const {
    constexpr int BLOCKS = (Law::UNIFORMS + 3) / 4;
    for (int b = 0; b < BLOCKS; ++b) {
      const Words words = philox(key0, key1, number, uint32_t(emitted), ordinal * uint32_t(BLOCKS) + uint32_t(b), stream);
      for (int k = 0; k < 4 && 4 * b + k < Law::UNIFORMS; ++k)
        u[4 * b + k] = sizeof(T) == 8 ? T((double(words.w[k]) + 0.5) * 0x1p-32) : T((float(words.w[k] >> 8) + 0.5f) * 0x1p-24f);
    }
  }

  // What the synapse passes on for a presynaptic spike, and whether it does.
  MEMBER bool arrive(int64_t i, const DueRun& due, int64_t swept, T& sent) const {
    const int64_t target = fixed[2 * i], kind = fixed[2 * i + 1], delay = due.delay, emitted = due.emitted;
    T s[Law::VARIABLES];
    for (int k = 0; k < Law::VARIABLES; ++k) s[k] = state[Law::VARIABLES * i + k];
    Room<Law::DECAYS> d;
    Room<Law::TRACES> met;
    Room<Law::UNIFORMS> u;
    if constexpr (Law::LISTENS != 0)
      after_posts(i, delay, std::max<int64_t>(last[i] - delay, swept - 2 * delay + 1), emitted - delay, s);
    if constexpr (Law::TRACES > 0) traces_before(target, emitted - delay, met.of);
    if constexpr (Law::UNIFORMS > 0) draw(place[i], emitted, due.ordinal, u.of);
    const int64_t since = emitted - last[i];
    fade(*this, kind, since, d.of);
    const T* p = kinds + Law::PARAMETERS * kind;
    bool passes;
    Law::on_pre(p, s, d.of, met.of, T(since) * p[0], last[i] < 0, u.of, sent, passes);
    for (int k = 0; k < Law::VARIABLES; ++k) state[Law::VARIABLES * i + k] = s[k];
    last[i] = int32_t(emitted);
    return passes;
  }

  void fetch(int64_t i) const {
    const int64_t target = fixed[2 * i];
    __builtin_prefetch(targets + TARGET * target);
    if constexpr (Law::LISTENS != 0 || Law::TRACES > 0) {
      __builtin_prefetch(posts.count + target);
      __builtin_prefetch(posts.steps + target * posts.capacity);
    }
  }
};

template <class Law, class W, class T>
uint64_t deliver_runs(const Changing<Law, T>& table, const std::vector<DueRun>& due, W* input, int64_t size, int64_t swept, int threads,
                      const WeightLog<T>& log) {
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
    [[maybe_unused]] const Flushing flushing;
    W* mine = input + part * size;
    for (int64_t k = boundary(part), end = boundary(part + 1); k < end; ++k) {
      const DueRun spike = due[k];
      const int64_t from = table.pointers[spike.run], to = table.pointers[spike.run + 1];
      for (int64_t i = from; i < std::min(from + 8, to); ++i) table.fetch(i);
      for (int64_t i = from; i < to; ++i) {
        if (i + 8 < to) table.fetch(i + 8);
        const int64_t target = table.fixed[2 * i];
        T w;
        if (!table.arrive(i, spike, swept, w)) continue;
        mine[table.targets[table.TARGET * target + (w < T(0))]] += W(std::floor(w * table.scale[target] + T(0.5)));
        log.append(table.fixed[2 * i + 1], i, spike.emitted, w);
      }
    }
  });
  return total;
}

// Takes the spikes of the targets into all synapses, as far as no presynaptic spike can still come before them.
template <class Law, class T>
void sweep(const Changing<Law, T>& table, int64_t num_runs, int64_t step, int64_t swept, int64_t min_delay, int64_t num_delays,
           int threads) {
  Pool::instance().run(threads, [&](int part) {
    [[maybe_unused]] const Flushing flushing;
    for (int64_t run = num_runs * part / threads; run < num_runs * (part + 1) / threads; ++run) {
      const int64_t delay = min_delay + run % num_delays;
      for (int64_t i = table.pointers[run]; i < table.pointers[run + 1]; ++i)
        table.after_posts(i, delay, std::max<int64_t>(table.last[i] - delay, swept - 2 * delay + 1), step - 2 * delay + 1,
                          table.state + Law::VARIABLES * i);
    }
  });
}

template <class X>
X* data(const BE::Tensor& t) { return static_cast<X*>(t.data_ptr()); }

template <class Law, class T>
void deliver_changing(const BE::Tensor& step, const BE::Tensor& key, const BE::Tensor& ring, const BE::Tensor& marks,
                      const BE::Tensor& pointers, const BE::Tensor& fixed, const BE::Tensor& place, const BE::Tensor& targets, const BE::Tensor& scale,
                      const BE::Tensor& kinds, const BE::Tensor& kind_tau, const BE::Tensor& fine, const BE::Tensor& coarse,
                      const BE::Tensor& post_steps, const BE::Tensor& post_traces, const BE::Tensor& post_count,
                      const BE::Tensor& counters, const BE::Tensor& state, const BE::Tensor& last, const BE::Tensor& input,
                      int64_t min_delay, int64_t num_delays, int64_t threads, int64_t period, int64_t bits, uint32_t stream,
                      const WeightLog<T>& log) {
  using W = typename Lanes<T>::Whole;
  const int64_t now = *data<const int32_t>(step), swept = now / period * period - 1;
  const Changing<Law, T> table{data<uint32_t>(pointers), data<int32_t>(fixed), data<uint32_t>(place), data<T>(state),
                               data<int32_t>(last), data<int32_t>(targets), data<T>(scale), data<T>(kinds), data<int32_t>(kind_tau),
                               {data<T>(fine), data<T>(coarse), bits, coarse.shape(1)},
                               {data<int32_t>(post_steps), data<T>(post_traces), data<uint32_t>(post_count), post_steps.shape(1)},
                               data<uint32_t>(key)[0], data<uint32_t>(key)[1], stream};
  const auto due = due_runs(data<uint32_t>(ring), data<uint32_t>(marks), ring.numel(), marks.numel() / 2, now, min_delay, num_delays);
  const int64_t size = input.numel() / threads;
  add64(data<uint32_t>(counters) + DELIVERED, deliver_runs(table, due, data<W>(input), size, swept, int(threads), log));
  if (Law::LISTENS != 0 && (now + 1) % period == 0)
    sweep(table, pointers.numel() - 1, now, swept, min_delay, num_delays, int(threads));
}

}  // namespace dist_sim
