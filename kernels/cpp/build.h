// Drawing the incoming synapses of one device and laying them out by (source row, delay).
//
// Every draw is keyed by (seed, stream of the connection, global id of the target, slot, attempt), so a device draws its own
// targets alone and no two layouts differ. The draws are made three times (which sources occur, how many synapses per run,
// the synapses themselves) because drawing is cheaper than storing 12 bytes per synapse on the way.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "exact.h"
#include "philox.h"
#include "pool.h"
#include "synapses.h"

namespace dist_sim {

enum SourceKind : int32_t { UNIFORM = 0, DISTINCT = 1, ENUMERATE = 2, LISTED = 3 };
enum DistributionKind : int32_t { CONSTANT = 0, NORMAL = 1, LOGNORMAL = 2, UNIFORM_REAL = 3, ARRAY = 4 };

// The layouts of these structs are repeated in build.py.
struct Distribution {
  int64_t kind;
  double a, b, low, high;  // redrawn until low <= value <= high
  const double* values;    // ARRAY: one value per synapse of this device, in order of (target, slot)
};

struct Connection {
  int64_t kind, stream, autapses, num_pre, num_targets;
  const uint32_t* pre_slot;       // (num_pre,) source slot
  const uint32_t* target_id;      // (num_targets,) global id
  const uint32_t* target_slot;    // (num_targets,) source slot of the target itself, to recognise an autapse
  const uint32_t* target_index;   // (num_targets,) place in the input vector, channel of positive weights
  const int64_t* channel_stride;  // (num_targets,) from there to the channel of negative weights; 0 if there is one channel
  const double* per_quantum;      // (num_targets,) 1 / quantum of the weight
  const int64_t* offsets;         // (num_targets + 1,) synapses of target t: slots 0 .. offsets[t + 1] - offsets[t] - 1
  const uint32_t* self_index;     // ENUMERATE, DISTINCT without autapses: index of the target in pre, or 2^32 - 1
  const uint32_t* source_index;   // LISTED: index in pre of every synapse
  Distribution weight, delay;
};

struct Build {
  int64_t num_connections, min_delay, num_delays, num_rows, threads, wide;
  uint64_t key;
  double dt;
  const Connection* connections;
  uint32_t* present;       // bit per source slot
  const uint32_t* rank;    // rows before each word of `present`
  uint32_t* pointers;      // (num_rows * num_delays + 1,)
  uint32_t* cursors;       // (threads, num_rows * num_delays) zeros
  void* synapses;
};

constexpr uint32_t NO_INDEX = 0xFFFFFFFFu;
constexpr int BATCH = 256;

// Consecutive slots of one target.
struct Batch {
  int64_t target, index;  // position of the target; index of the first synapse of the batch
  uint32_t id, slot;      // global id of the target; first slot
  int n;
  uint32_t source[BATCH], weight_word[BATCH], delay_word[BATCH];
};

// Halves of a step go up, and what floating-point noise has made of a half is one: `units.HALF_UP`.
const double HALF_UP = 0.5 + 1.0 / 1048576.0;

struct Drawing {
  const Build& build;
  const Connection& c;
  const uint32_t k0 = uint32_t(build.key), k1 = uint32_t(build.key >> 32);

  Words words(uint32_t id, uint32_t slot, uint32_t attempt) const { return philox(k0, k1, id, slot, attempt, uint32_t(c.stream)); }

  void values(const Distribution& d, int which, const uint32_t* word, const Batch& b, double* x) const {
    if (d.kind == CONSTANT) { std::fill(x, x + b.n, d.a); return; }
    if (d.kind == ARRAY) { std::copy(d.values + b.index, d.values + b.index + b.n, x); return; }
    if (d.kind == UNIFORM_REAL) for (int i = 0; i < b.n; ++i) x[i] = unit_interval(word[i]);
    else normal_quantiles(word, b.n, x);
    if (d.kind == UNIFORM_REAL) for (int i = 0; i < b.n; ++i) x[i] = d.a + (d.b - d.a) * x[i];
    else for (int i = 0; i < b.n; ++i) x[i] = d.a + d.b * x[i];
    if (d.kind == LOGNORMAL) for (int i = 0; i < b.n; ++i) x[i] = exact_exp(x[i]);
    for (int i = 0; i < b.n; ++i)
      for (uint32_t attempt = 1; !(x[i] >= d.low && x[i] <= d.high); ++attempt) {
        const uint32_t again = words(b.id, b.slot + uint32_t(i), attempt).w[which];
        double z;
        if (d.kind == UNIFORM_REAL) { x[i] = d.a + (d.b - d.a) * unit_interval(again); continue; }
        normal_quantiles(&again, 1, &z);
        x[i] = d.a + d.b * z;
        if (d.kind == LOGNORMAL) x[i] = exact_exp(x[i]);
      }
  }

  void delay_slots(const Batch& b, uint32_t* slot) const {
    double x[BATCH];
    values(c.delay, 3, b.delay_word, b, x);
    for (int i = 0; i < b.n; ++i) slot[i] = uint32_t(int32_t(std::floor(x[i] / build.dt + HALF_UP)) - int32_t(build.min_delay));
  }
};

// Calls f(batch) over all synapses of the targets [first, last).
template <class F>
void each_batch(const Drawing& d, int64_t first, int64_t last, F&& f) {
  const Connection& c = d.c;
  std::vector<uint32_t> chosen((size_t(c.num_pre) + 31) / 32), picks;  // DISTINCT: a bit per presynaptic neuron
  uint32_t high[BATCH], low[BATCH];
  Batch b;
  for (int64_t t = first; t < last; ++t) {
    const int64_t begin = c.offsets[t], end = c.offsets[t + 1];
    const uint32_t self = c.self_index ? c.self_index[t] : NO_INDEX;
    const uint32_t pool = uint32_t(c.num_pre) - (self != NO_INDEX), degree = uint32_t(end - begin);
    b.target = t;
    b.id = c.target_id[t];
    picks.clear();
    for (b.index = begin; b.index < end; b.index += b.n) {
      b.n = int(std::min<int64_t>(BATCH, end - b.index));
      b.slot = uint32_t(b.index - begin);
      for (int i = 0; i < b.n; i += DRAWN) {
        const LaneWords w = philox_lanes<true>(d.k0, d.k1, b.slot + uint32_t(i), b.id, 0, uint32_t(c.stream));
        for (int l = 0; l < DRAWN; ++l) {
          high[i + l] = w.word(0, l); low[i + l] = w.word(1, l);
          b.weight_word[i + l] = w.word(2, l); b.delay_word[i + l] = w.word(3, l);
        }
      }
      for (int i = 0; i < b.n; ++i) {
        const uint32_t slot = b.slot + uint32_t(i);
        if (c.kind == UNIFORM) {
          b.source[i] = c.pre_slot[uniform_index(high[i], low[i], uint32_t(c.num_pre))];
          for (uint32_t attempt = 1; !c.autapses && b.source[i] == c.target_slot[t]; ++attempt) {
            const Words again = d.words(b.id, slot, attempt);
            b.source[i] = c.pre_slot[uniform_index(again.w[0], again.w[1], uint32_t(c.num_pre))];
          }
        } else if (c.kind == DISTINCT) {
          // Floyd's sample without replacement (Bentley & Floyd 1987, doi:10.1145/30401.315746) of pre without the target.
          const uint32_t top = pool - degree + slot;
          uint32_t pick = uniform_index(high[i], low[i], top + 1);
          if (chosen[pick >> 5] >> (pick & 31) & 1) pick = top;
          chosen[pick >> 5] |= 1u << (pick & 31);
          picks.push_back(pick);
          b.source[i] = c.pre_slot[pick + (pick >= self)];
        } else if (c.kind == ENUMERATE) {
          b.source[i] = c.pre_slot[slot + (slot >= self)];
        } else {
          b.source[i] = c.pre_slot[c.source_index[b.index + i]];
        }
      }
      f(b);
    }
    for (uint32_t pick : picks) chosen[pick >> 5] = 0;
  }
}

// Calls f(thread, drawing, first target, last target): every thread draws its own stretch of the targets, the same in each
// of the passes, with an equal share of the synapses.
template <class F>
void each_stretch(const Build& b, F&& f) {
  int64_t total = 0;
  for (int64_t i = 0; i < b.num_connections; ++i) total += b.connections[i].offsets[b.connections[i].num_targets];
  Pool::instance().run(int(b.threads), [&](int thread) {
    int64_t before = 0;
    for (int64_t i = 0; i < b.num_connections; ++i) {
      const Connection& c = b.connections[i];
      const auto boundary = [&](int part) {
        const int64_t share = total * part / b.threads - before;
        return part == b.threads ? c.num_targets
            : std::lower_bound(c.offsets, c.offsets + c.num_targets, share) - c.offsets;
      };
      const int64_t first = boundary(thread), last = boundary(thread + 1);
      if (first < last) f(thread, Drawing{b, c}, first, last);
      before += c.offsets[c.num_targets];
    }
  });
}

inline uint32_t row_of(const Build& b, uint32_t source) { return Sources{b.present, b.rank}.row(source); }

inline void mark_sources(const Build& b) {
  each_stretch(b, [&](int, const Drawing& d, int64_t first, int64_t last) {
    each_batch(d, first, last, [&](const Batch& batch) {
      for (int i = 0; i < batch.n; ++i) {
        uint32_t* word = &b.present[batch.source[i] >> 5];
        const uint32_t bit = 1u << (batch.source[i] & 31);
        // Nearly always set already: a read is cheaper than an atomic write.
        if (!(__atomic_load_n(word, __ATOMIC_RELAXED) & bit)) __atomic_fetch_or(word, bit, __ATOMIC_RELAXED);
      }
    });
  });
}

// cursors (threads, runs): each thread counts its own synapses of every run; the prefix over runs, then threads, turns the
// counts into the place where the thread's first synapse of the run goes. No atomics: they would serialise the cache misses.
inline void count_runs(const Build& b) {
  const int64_t runs = b.num_rows * b.num_delays;
  each_stretch(b, [&](int thread, const Drawing& d, int64_t first, int64_t last) {
    uint32_t* count = b.cursors + thread * runs;
    uint32_t slot[BATCH];
    each_batch(d, first, last, [&](const Batch& batch) {
      d.delay_slots(batch, slot);
      for (int i = 0; i < batch.n; ++i) ++count[size_t(row_of(b, batch.source[i])) * b.num_delays + slot[i]];
    });
  });
  uint32_t start = 0;
  for (int64_t run = 0; run < runs; ++run) {
    b.pointers[run] = start;
    for (int64_t thread = 0; thread < b.threads; ++thread) {
      const uint32_t n = b.cursors[thread * runs + run];
      b.cursors[thread * runs + run] = start;
      start += n;
    }
  }
  b.pointers[runs] = start;
}

// Runs are sorted by target and weight in the end: the table is a function of the network, not of the number of threads.
template <class W>
void fill_runs(const Build& b) {
  const int64_t runs = b.num_rows * b.num_delays;
  Synapse<W>* synapses = static_cast<Synapse<W>*>(b.synapses);
  each_stretch(b, [&](int thread, const Drawing& d, int64_t first, int64_t last) {
    const Connection& c = d.c;
    uint32_t* cursor = b.cursors + thread * runs;
    uint32_t slot[BATCH], place[BATCH];
    double weight[BATCH];
    each_batch(d, first, last, [&](const Batch& batch) {
      d.delay_slots(batch, slot);
      // Places are fetched for the whole batch before they are written, because every write misses the cache.
      for (int i = 0; i < batch.n; ++i) {
        place[i] = cursor[size_t(row_of(b, batch.source[i])) * b.num_delays + slot[i]]++;
        __builtin_prefetch(synapses + place[i], 1);
      }
      d.values(c.weight, 2, batch.weight_word, batch, weight);
      for (int i = 0; i < batch.n; ++i) {
        const double w = std::floor(weight[i] * c.per_quantum[batch.target] + 0.5);
        synapses[place[i]] = {W(c.target_index[batch.target] + (w < 0 ? c.channel_stride[batch.target] : 0)), W(w)};
      }
    });
  });
  std::atomic<int64_t> next{0};
  Pool::instance().run(int(b.threads), [&](int) {
    constexpr int64_t PIECE = 4096;
    for (int64_t r; (r = next.fetch_add(PIECE)) < runs;)
      for (int64_t run = r; run < std::min(r + PIECE, runs); ++run)
        std::sort(synapses + b.pointers[run], synapses + b.pointers[run + 1], [](const Synapse<W>& x, const Synapse<W>& y) {
          return x.target != y.target ? x.target < y.target : x.weight < y.weight;
        });
  });
}

// The source slot of every synapse of the first connection, in order of (target, slot).
inline void draw_sources(const Build& b, uint32_t* source) {
  each_stretch(b, [&](int, const Drawing& d, int64_t first, int64_t last) {
    each_batch(d, first, last, [&](const Batch& batch) { std::copy(batch.source, batch.source + batch.n, source + batch.index); });
  });
}

}  // namespace dist_sim

extern "C" {
void dist_sim_mark_sources(const dist_sim::Build* b) { dist_sim::mark_sources(*b); }
void dist_sim_count_runs(const dist_sim::Build* b) { dist_sim::count_runs(*b); }
void dist_sim_draw_sources(const dist_sim::Build* b, uint32_t* source) { dist_sim::draw_sources(*b, source); }
void dist_sim_fill_runs(const dist_sim::Build* b) {
  if (b->wide) dist_sim::fill_runs<int64_t>(*b);
  else dist_sim::fill_runs<int32_t>(*b);
}
}
