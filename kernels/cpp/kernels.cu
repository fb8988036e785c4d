// The kernels of a step on a GPU: delivery, Poisson input, the history of spikes. The meaning of each is its reference in Python.
#include "call.cuh"
#include "philox.h"

namespace dist_sim {

enum Counter { HEAD = 0, LIVE_MAX = 1, DELIVERED = 2, SCHEDULED = 4, OVERFLOW_FLAG = 6 };
constexpr uint32_t DOWN = 0x80000000u;

template <class W>
struct Synapse { W target, weight; };

struct Sources {
  const uint32_t *present, *rank;
  DEVICE uint32_t row(uint32_t slot) const { return rank[slot >> 5] + ones(present[slot >> 5] & ((1u << (slot & 31)) - 1)); }
};

// ---- delivery: a warp for each due run ----

struct Due {
  const int32_t* step;
  const uint32_t *ring, *marks, *pointers;
  uint32_t capacity, slots;
  int64_t min_delay, num_delays;
};

constexpr int DELIVER_THREADS = 256, DELIVER_WARPS = DELIVER_THREADS / 32;
constexpr int64_t DELIVER_BLOCKS = 528;  // four for each multiprocessor of an H200

// Runs are numbered through by a prefix sum over the delays, as many delays at a time as a block has threads.
template <class W>
__global__ void __launch_bounds__(DELIVER_THREADS) deliver_kernel(const Due at, const Synapse<W>* synapses, W* input, uint32_t* counters) {
  __shared__ uint32_t first[DELIVER_THREADS], second[DELIVER_THREADS];
  __shared__ uint64_t delivered[DELIVER_WARPS];
  const int64_t newest = int64_t(*at.step) - at.min_delay;
  each_thread<DELIVER_THREADS>([&](int t) { if (t < DELIVER_WARPS) delivered[t] = 0; });
  for (int64_t tile = 0; tile < at.num_delays; tile += DELIVER_THREADS) {
    each_thread<DELIVER_THREADS>([&](int t) {
      const int64_t emitted = newest - tile - t;
      first[t] = tile + t < at.num_delays && emitted >= 0 ? at.marks[2 * (uint32_t(emitted) % at.slots) + 1] : 0;
    });
    const uint32_t* ends = scan<DELIVER_THREADS>(first, second);
    each_thread<DELIVER_THREADS>([&](int t) {
      const uint64_t warps = uint64_t(gridDim.x) * DELIVER_WARPS;
      // Consecutive runs go to different blocks, hence to different multiprocessors.
      for (uint64_t k = uint64_t(t / 32) * gridDim.x + blockIdx.x; k < ends[DELIVER_THREADS - 1]; k += warps) {
        int d = 0;
        for (int half = DELIVER_THREADS / 2; half > 0; half /= 2)
          if (ends[d + half - 1] <= k) d += half;
        const uint32_t slot = uint32_t(newest - tile - d) % at.slots;
        uint64_t place = uint64_t(at.marks[2 * slot]) + k - (d ? ends[d - 1] : 0);
        if (place >= at.capacity) place -= at.capacity;
        const uint32_t row = at.ring[place];
        const uint64_t run = uint64_t(row & ~DOWN) * uint64_t(at.num_delays) + uint64_t(tile + d);
        const uint64_t from = at.pointers[run], to = at.pointers[run + 1];
        for (uint64_t i = from + uint64_t(t % 32); i < to; i += 32) {
          const Synapse<W> s = synapses[i];
          add(input + s.target, row & DOWN ? W(-s.weight) : s.weight);
        }
        if (t % 32 == 0) delivered[t / 32] += to - from;
      }
    });
  }
  each_thread<DELIVER_THREADS>([&](int t) {
    if (t != 0) return;
    uint64_t total = 0;
    for (int w = 0; w < DELIVER_WARPS; ++w) total += delivered[w];
    if (total) add(reinterpret_cast<uint64_t*>(counters + DELIVERED), total);
  });
}

// ---- the history: one block, which keeps the order of the rows ----

struct Push {
  const int32_t* step;
  const uint32_t *events, *pointers;
  int64_t num_events, num_delays;
  Sources sources;
  uint32_t *ring, *marks, *counters;
  uint64_t capacity;
  uint32_t slots;
};

constexpr int PUSH_THREADS = 1024;

// Numbers of spikes beside the bits: (first slot, count, first word, binary) per model.
struct Regions {
  const int32_t* rows;
  int64_t count;
  // How often the neuron of a slot sends, and the flags of its row.
  DEVICE uint32_t times(const uint32_t* words, int64_t slot, uint32_t& flags) const {
    flags = 0;
    for (int64_t r = 0; r < count; ++r) {
      const int32_t* region = rows + 4 * r;
      if (slot < region[0] || slot >= region[0] + region[1]) continue;
      const uint32_t number = words[region[2] + slot - region[0]];
      if (!region[3]) return number;
      flags = number == 1 ? DOWN : 0u;
      return 1;
    }
    return 1;
  }
};

// The spikes of a step, item by item: a word of bits. `each` calls f(row with flags, times).
struct Masks {
  const uint32_t* masks;  // (devices, steps, words)
  int64_t devices, steps, words, bits_words;
  Regions regions;
  DEVICE int64_t items() const { return devices * bits_words; }
  DEVICE bool too_many(int64_t, int64_t) const { return false; }
  template <class F>
  DEVICE void each(const Sources& sources, int64_t s, int64_t item, F&& f) const {
    const int64_t device = item / bits_words, w = item % bits_words;
    const uint32_t* mask = masks + (device * steps + s) * words;
    for (uint32_t word = mask[w] & sources.present[item]; word; word &= word - 1) {
      const int64_t bit = lowest(word);
      uint32_t flags;
      const uint32_t times = regions.times(mask, w * 32 + bit, flags);
      f(sources.row(uint32_t(item * 32 + bit)) | flags, times);
    }
  }
};

// ... or a place of a list.
struct Lists {
  const uint32_t *ids, *counts;  // (devices, steps, capacity), (devices, steps)
  int64_t devices, steps, capacity;
  DEVICE int64_t items() const { return devices * capacity; }
  DEVICE bool too_many(int64_t s, int64_t item) const { return item % capacity == 0 && counts[item / capacity * steps + s] > capacity; }
  template <class F>
  DEVICE void each(const Sources& sources, int64_t s, int64_t item, F&& f) const {
    const int64_t device = item / capacity, k = item % capacity;
    if (k >= counts[device * steps + s]) return;
    const uint32_t id = ids[(device * steps + s) * capacity + k], slot = id & ~DOWN;
    if (sources.present[slot >> 5] >> (slot & 31) & 1) f(sources.row(slot) | (id & DOWN), 1u);
  }
};

DEVICE int64_t first_event(const uint32_t* steps, int64_t n, uint64_t step) {
  int64_t low = 0;
  while (n > 0) {
    const int64_t half = n / 2;
    if (steps[low + half] < step) { low += half + 1; n -= half + 1; }
    else n = half;
  }
  return low;
}

template <class Spikes>
__global__ void __launch_bounds__(PUSH_THREADS, 1) push_kernel(const Push at, const Spikes spikes) {
  __shared__ uint32_t first[PUSH_THREADS], second[PUSH_THREADS];
  __shared__ uint64_t scheduled[32], alive[32];
  __shared__ int64_t event_begin, event_end;
  for (int64_t s = 0; s < spikes.steps; ++s) {
    const uint32_t now = uint32_t(*at.step) + uint32_t(s), slot = now % at.slots;
    each_thread<PUSH_THREADS>([&](int t) {
      if (t < 32) {
        scheduled[t] = alive[t] = 0;
        if (t == 0) event_begin = first_event(at.events, at.num_events, now);
        if (t == 1) event_end = first_event(at.events, at.num_events, uint64_t(now) + 1);
      }
    });
    const int64_t items = spikes.items(), all = items + event_end - event_begin, each = (all + PUSH_THREADS - 1) / PUSH_THREADS;
    // A thread has a stretch of the items: rows stay in their order.
    const auto stretch = [&](int t, auto&& f) {
      for (int64_t k = t * each; k < all && k < (t + 1) * each; ++k)
        if (k < items) spikes.each(at.sources, s, k, f);
        else f(at.events[at.num_events + event_begin + k - items], 1u);
    };
    each_thread<PUSH_THREADS>([&](int t) {
      uint32_t count = 0;
      uint64_t reached = 0, live = 0;
      stretch(t, [&](uint32_t flagged, uint32_t times) {
        const uint64_t run = uint64_t(flagged & ~DOWN) * uint64_t(at.num_delays);
        count += times;
        reached += uint64_t(times) * (at.pointers[run + uint64_t(at.num_delays)] - at.pointers[run]);
      });
      for (int64_t k = t * each; k < items && k < (t + 1) * each; ++k)
        if (spikes.too_many(s, k)) at.counters[OVERFLOW_FLAG] = 1;
      for (uint32_t k = uint32_t(t); k < at.slots; k += PUSH_THREADS)
        if (k != slot) live += at.marks[2 * k + 1];
      first[t] = count;
      if (reached) add(scheduled + t % 32, reached);
      if (live) add(alive + t % 32, live);
    });
    const uint32_t* ends = scan<PUSH_THREADS>(first, second);
    const uint32_t head = at.counters[HEAD];
    uint64_t before = 0;
    for (int k = 0; k < 32; ++k) before += alive[k];
    // Never over a live spike: past the capacity nothing is written, and the chunk is run again with more room.
    each_thread<PUSH_THREADS>([&](int t) {
      uint64_t place = t ? ends[t - 1] : 0;
      if (place == ends[t]) return;
      stretch(t, [&](uint32_t flagged, uint32_t times) {
        for (uint32_t k = 0; k < times; ++k, ++place)
          if (before + place < at.capacity) at.ring[(head + place) % at.capacity] = flagged;
      });
    });
    each_thread<PUSH_THREADS>([&](int t) {
      if (t != 0) return;
      const uint64_t count = ends[PUSH_THREADS - 1], live = before + count;
      const uint64_t room = before < at.capacity ? at.capacity - before : 0, written = count < room ? count : room;
      at.marks[2 * slot] = head;
      at.marks[2 * slot + 1] = uint32_t(written);
      at.counters[HEAD] = uint32_t((head + written) % at.capacity);
      if (live > at.counters[LIVE_MAX]) at.counters[LIVE_MAX] = uint32_t(live < 0xFFFFFFFFu ? live : 0xFFFFFFFFu);
      if (live > at.capacity) at.counters[OVERFLOW_FLAG] = 1;
      uint64_t reached = 0;
      for (int k = 0; k < 32; ++k) reached += scheduled[k];
      *reinterpret_cast<uint64_t*>(at.counters + SCHEDULED) += reached;
    });
  }
}

// ---- words to lists: a block for each step ----

__global__ void __launch_bounds__(PUSH_THREADS, 1) compact_kernel(const Masks at, const uint32_t* base, uint32_t* ids, uint32_t* counts, int64_t capacity) {
  __shared__ uint32_t first[PUSH_THREADS], second[PUSH_THREADS];
  const int64_t s = blockIdx.x, each = (at.bits_words + PUSH_THREADS - 1) / PUSH_THREADS;
  const uint32_t* mask = at.masks + s * at.words;
  const auto stretch = [&](int t, auto&& f) {
    for (int64_t w = t * each; w < at.bits_words && w < (t + 1) * each; ++w)
      for (uint32_t word = mask[w]; word; word &= word - 1) {
        const int64_t slot = w * 32 + lowest(word);
        uint32_t flags;
        const uint32_t times = at.regions.times(mask, slot, flags);
        f((*base + uint32_t(slot)) | flags, times);
      }
  };
  each_thread<PUSH_THREADS>([&](int t) {
    uint32_t count = 0;
    stretch(t, [&](uint32_t, uint32_t times) { count += times; });
    first[t] = count;
  });
  const uint32_t* ends = scan<PUSH_THREADS>(first, second);
  each_thread<PUSH_THREADS>([&](int t) {
    int64_t place = t ? ends[t - 1] : 0;
    stretch(t, [&](uint32_t id, uint32_t times) {
      for (uint32_t k = 0; k < times; ++k, ++place)
        if (place < capacity) ids[s * capacity + place] = id;
    });
    const int64_t count = ends[PUSH_THREADS - 1];
    for (int64_t k = count + t; k < capacity; k += PUSH_THREADS) ids[s * capacity + k] = 0;
    if (t == 0) counts[s] = uint32_t(count);
  });
}

// ---- Poisson input: a thread for each neuron ----

template <class W>
struct Poisson {
  const int32_t *step, *window;
  const uint32_t *key, *thresholds, *first;
  const uint8_t* guide;
  const int32_t* table;
  const uint32_t *id, *index;
  const W* weight;
  int64_t n, width;
  uint32_t stream;
};

constexpr int POISSON_THREADS = 128, GUIDE_BITS = 10;

// A neuron has one place in the input vector, which no other thread writes.
template <class W>
__global__ void __launch_bounds__(POISSON_THREADS) poisson_kernel(const Poisson<W> at, W* input) {
  const int64_t emitted = int64_t(*at.step) - at.window[0];
  if (emitted < at.window[1] || emitted >= at.window[2]) return;
  each_thread<POISSON_THREADS>([&](int t) {
    for (int64_t i = int64_t(blockIdx.x) * POISSON_THREADS + t; i < at.n; i += int64_t(gridDim.x) * POISSON_THREADS) {
      const int32_t row = at.table[i];
      if (row < 0) continue;
      const uint32_t id = at.id[i];
      const Words words = philox(at.key[0], at.key[1], id >> 2, uint32_t(emitted), 0, at.stream);
      const uint32_t low = id & 1 ? words.w[1] : words.w[0], high = id & 1 ? words.w[3] : words.w[2], bits = id & 2 ? high : low;
      const uint32_t guessed = at.guide[(int64_t(row) << GUIDE_BITS) + (bits >> (32 - GUIDE_BITS))];
      const uint32_t* thresholds = at.thresholds + int64_t(row) * at.width;
      const uint32_t more = guessed != 255 ? guessed : uint32_t(first_event(thresholds, at.width, bits));
      input[at.index[i]] += at.weight[i] * W(at.first[row] + more);
    }
  });
}

template <class F>
void by_width(const Call& call, int operand, F&& f) {
  if (call.wide(operand)) f(int64_t{});
  else f(int32_t{});
}

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

template <class Spikes>
void push(Call& call, int given, const Spikes& spikes, int events, int sources, int pointers) {
  const int64_t capacity = call.size(given), slots = call.dim(given + 1, 0);
  const Push at{call.in<int32_t>(0), call.in<uint32_t>(events), call.in<uint32_t>(pointers), call.dim(events, 1),
                call.attribute("num_delays"), {call.in<uint32_t>(sources), call.in<uint32_t>(sources + 1)},
                call.in_place<uint32_t>(given, 0), call.in_place<uint32_t>(given + 1, 1), call.in_place<uint32_t>(given + 2, 2),
                uint64_t(capacity), uint32_t(slots)};
  if (!call.problem) LAUNCH(push_kernel<Spikes>, 1, PUSH_THREADS, call.stream, at, spikes);
}

}  // namespace dist_sim

using namespace dist_sim;

// step, ring, marks, counters, pointers, synapses -> input, counters
TARGET(deliver, {
  const Due at{call.in<int32_t>(0), call.in<uint32_t>(1), call.in<uint32_t>(2), call.in<uint32_t>(4), uint32_t(call.size(1)),
               uint32_t(call.dim(2, 0)), call.attribute("min_delay"), call.attribute("num_delays")};
  uint32_t* counters = call.in_place<uint32_t>(3, 1);
  if (call.problem) return;
  by_width(call, 5, [&](auto w) {
    using W = decltype(w);
    W* input = call.out<W>(0);
    clear(input, Call::size(call.result(0)) * int64_t(sizeof(W)), call.stream);
    const int64_t blocks = least(DELIVER_BLOCKS, (at.capacity + DELIVER_WARPS - 1) / DELIVER_WARPS);
    LAUNCH(deliver_kernel<W>, blocks, DELIVER_THREADS, call.stream, at, reinterpret_cast<const Synapse<W>*>(call.in<W>(5)), input, counters);
  });
})

// step, masks, events, present, rank, pointers, regions, ring, marks, counters -> ring, marks, counters
TARGET(push_masks, {
  const Masks spikes{call.in<uint32_t>(1), call.dim(1, 0), call.dim(1, 1), call.dim(1, 2), call.attribute("bits_words"),
                     {call.in<int32_t>(6), call.dim(6, 0)}};
  push(call, 7, spikes, 2, 3, 5);
})

// step, ids, counts, events, present, rank, pointers, ring, marks, counters -> ring, marks, counters
TARGET(push_ids, {
  const Lists spikes{call.in<uint32_t>(1), call.in<uint32_t>(2), call.dim(1, 0), call.dim(1, 1), call.dim(1, 2)};
  push(call, 7, spikes, 3, 4, 6);
})

// masks, first, regions -> ids, counts
TARGET(compact, {
  const Masks at{call.in<uint32_t>(0), 1, call.dim(0, 0), call.dim(0, 1), call.attribute("bits_words"), {call.in<int32_t>(2), call.dim(2, 0)}};
  if (call.problem) return;
  LAUNCH(compact_kernel, at.steps, PUSH_THREADS, call.stream, at, call.in<uint32_t>(1), call.out<uint32_t>(0), call.out<uint32_t>(1), call.result(0).dims[1]);
})

// step, key, window, thresholds, first, guide, alike, table, id, index, weight, input -> input
TARGET(poisson, {
  by_width(call, 10, [&](auto w) {
    using W = decltype(w);
    const Poisson<W> at{call.in<int32_t>(0), call.in<int32_t>(2), call.in<uint32_t>(1), call.in<uint32_t>(3), call.in<uint32_t>(4),
                        call.in<uint8_t>(5), call.in<int32_t>(7), call.in<uint32_t>(8), call.in<uint32_t>(9), call.in<W>(10),
                        call.size(7), call.dim(3, 1), uint32_t(call.attribute("stream"))};
    W* input = call.in_place<W>(11, 0);
    if (!call.problem) LAUNCH(poisson_kernel<W>, (at.n + POISSON_THREADS - 1) / POISSON_THREADS, POISSON_THREADS, call.stream, at, input);
  });
})
