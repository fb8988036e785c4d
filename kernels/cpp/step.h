// The compiled kernels of a step: history of spikes, delivery, Poisson input and the exactly solvable neurons.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <vector>

#include "brainevent/common.h"
#include "philox.h"
#include "pool.h"
#include "synapses.h"

namespace dist_sim {

// ---- history: a ring of rows of spiking sources, in order of steps; marks[step mod Q] = (start in the ring, count). ----

// Places in `counters`; each of the 64-bit counts takes two words, low first.
enum Counter { HEAD = 0, LIVE_MAX = 1, DELIVERED = 2, SCHEDULED = 4, OVERFLOW = 6 };

inline void add64(uint32_t* counter, uint64_t n) {
  const uint64_t total = ((uint64_t(counter[1]) << 32) | counter[0]) + n;
  counter[0] = uint32_t(total);
  counter[1] = uint32_t(total >> 32);
}

// In the top bit of a row in the ring: its weights are taken away, for a neuron of two states went down.
constexpr uint32_t DOWN = 0x80000000u;

// Where among a device's words the numbers of spikes of its neurons lie: (first slot, count, first word, binary) per model.
struct Regions {
  const int32_t* rows;
  int64_t count;

  // Calls f(flags of the row) as often as the neuron of a slot spikes, for a set bit.
  template <class F>
  void each(const uint32_t* words, int64_t slot, F&& f) const {
    for (int64_t r = 0; r < count; ++r) {
      const int32_t* region = rows + 4 * r;
      if (slot < region[0] || slot >= region[0] + region[1]) continue;
      const uint32_t number = words[region[2] + slot - region[0]];
      if (region[3]) f(number == 1 ? DOWN : 0u);
      else for (uint32_t k = 0; k < number; ++k) f(0u);
      return;
    }
    f(0u);
  }
};

struct History {
  uint32_t *ring, *marks, *counters;
  int64_t capacity, slots;

  // Opens the slot of `step`, dropping what it held (a whole ring of steps ago: nothing can be due from there any more).
  void open(int64_t step) {
    uint32_t* mark = marks + 2 * (step % slots);
    mark[0] = counters[HEAD];
    mark[1] = 0;
    live = 0;
    for (int64_t s = 0; s < slots; ++s) live += marks[2 * s + 1];
    current = mark;
  }

  // Never writes over a live spike: past the capacity it only counts, and the chunk is run again with more room.
  void append(uint32_t row) {
    ++live;
    if (live > capacity) { counters[OVERFLOW] = 1; return; }
    ring[counters[HEAD]] = row;
    counters[HEAD] = counters[HEAD] + 1 == capacity ? 0 : counters[HEAD] + 1;
    ++current[1];
  }

  void close() { counters[LIVE_MAX] = std::max<uint32_t>(counters[LIVE_MAX], uint32_t(std::min<int64_t>(live, 0xFFFFFFFF))); }

  int64_t live = 0;
  uint32_t* current = nullptr;
};

// ---- delivery ----

template <class W>
struct Delivery {
  const uint32_t *ring, *marks, *pointers;
  const Synapse<W>* synapses;
  int64_t step, capacity, slots, min_delay, num_delays, size;

  static constexpr int RUNS = 32, AHEAD = 512;

  // One thread's share into its own input vector: integer sums, so the shares may fall anyhow.
  uint64_t share(W* input, std::atomic<int64_t>& next, const int64_t* ends) const {
    std::memset(input, 0, size * sizeof(W));
    const int64_t total = ends[num_delays - 1];
    uint64_t delivered = 0;
    const Synapse<W>*from[RUNS], *to[RUNS];
    size_t where[RUNS], where_next[RUNS];
    uint32_t down[RUNS], down_next[RUNS];
    int n = 0, n_next = locate(next, total, ends, where_next, down_next);
    while (n_next > 0) {
      n = n_next;
      std::memcpy(where, where_next, sizeof(where));
      std::memcpy(down, down_next, sizeof(down));
      for (int i = 0; i < n; ++i) { from[i] = synapses + pointers[where[i]]; to[i] = synapses + pointers[where[i] + 1]; }
      n_next = locate(next, total, ends, where_next, down_next);  // its pointers travel while this block is added up
      // Short runs are fetched many ahead, long ones few: what is under way is always about AHEAD synapses.
      for (int i = 0, fetched = 0, under_way = 0; i < n; ++i) {
        for (; fetched < n && (under_way < AHEAD || fetched <= i); ++fetched) {
          fetch(from[fetched], to[fetched]);
          under_way += int(to[fetched] - from[fetched]);
        }
        under_way -= int(to[i] - from[i]);
        if (__builtin_expect(down[i], 0))
          for (const Synapse<W>* s = from[i]; s < to[i]; ++s) input[s->target] -= s->weight;
        else
          for (const Synapse<W>* s = from[i]; s < to[i]; ++s) input[s->target] += s->weight;
        delivered += uint64_t(to[i] - from[i]);
      }
    }
    return delivered;
  }

 private:
  static void fetch(const Synapse<W>* from, const Synapse<W>* to) {
    const char *p = reinterpret_cast<const char*>(from), *end = reinterpret_cast<const char*>(to);
    for (int line = 0; line < 16 && p < end; ++line, p += 64) __builtin_prefetch(p);
  }

  // The runs of the next RUNS due (spike, delay) pairs.
  int locate(std::atomic<int64_t>& next, int64_t total, const int64_t* ends, size_t* where, uint32_t* down) const {
    int64_t k = next.fetch_add(RUNS, std::memory_order_relaxed);
    if (k >= total) return 0;
    const int n = int(std::min<int64_t>(RUNS, total - k));
    int64_t d = std::upper_bound(ends, ends + num_delays, k) - ends;
    for (int i = 0; i < n; ++i, ++k) {
      while (k >= ends[d]) ++d;
      const int64_t begin = d ? ends[d - 1] : 0;
      const int64_t slot = (step - min_delay - d) % slots;
      int64_t place = marks[2 * slot] + (k - begin);
      if (place >= capacity) place -= capacity;
      down[i] = ring[place] & DOWN;
      where[i] = size_t(ring[place] & ~DOWN) * num_delays + size_t(d);
      __builtin_prefetch(pointers + where[i]);
    }
    return n;
  }
};

template <class W>
uint64_t deliver_into(const Delivery<W>& delivery, W* input, int threads) {
  std::vector<int64_t> ends(delivery.num_delays);
  int64_t total = 0;
  for (int64_t d = 0; d < delivery.num_delays; ++d) {
    const int64_t emitted = delivery.step - delivery.min_delay - d;
    if (emitted >= 0) total += delivery.marks[2 * (emitted % delivery.slots) + 1];
    ends[d] = total;
  }
  std::atomic<int64_t> next{0};
  std::vector<uint64_t> delivered(threads, 0);
  // Little work is done by one thread: waking another takes longer. Every thread's input is added up, so the rest is zero.
  const int parts = total > 8 * Delivery<W>::RUNS ? threads : 1;
  std::memset(input + parts * delivery.size, 0, (threads - parts) * delivery.size * sizeof(W));
  Pool::instance().run(parts, [&](int part) { delivered[part] = delivery.share(input + part * delivery.size, next, ends.data()); });
  uint64_t all = 0;
  for (uint64_t n : delivered) all += n;
  return all;
}

// ---- Poisson input: counts by inversion of 32 random bits, keyed by (stream, global id, step) ----

constexpr int64_t BLOCK = DIST_SIM_BLOCK;  // a device's neurons are padded to whole blocks

// A loop over the neurons of a block. Arrays of a block never overlap, which spares each loop a check of all pairs of pointers;
// unrolled whole, as the compiler would, the loops of a model no longer fit the cache of decoded instructions.
#define EACH(k) _Pragma("GCC ivdep") _Pragma("GCC unroll 1") for (int64_t k = 0; k < BLOCK; ++k)
constexpr int GUIDE_BITS = 10;

template <class W>
struct Poisson {
  const uint32_t *thresholds, *first;  // (tables, width), (tables,): count = first + thresholds below the bits
  const uint8_t* guide;                // (tables, 1024): count - first for the top 10 bits, 255 where they do not decide
  const uint8_t* alike;                // per block: 1 consecutive ids; 2 also consecutive places, one table and one weight
  const int32_t* table;                // (n,) row of thresholds, -1: no input
  const uint32_t *id, *index;          // (n,) global id; place in the input vector
  const W* weight;                     // (n,)
  int64_t width;
  uint32_t key0, key1, stream, step;

  W count(int32_t row, uint32_t bits) const {
    const uint32_t g = guide[(int64_t(row) << GUIDE_BITS) + (bits >> (32 - GUIDE_BITS))];
    if (__builtin_expect(g != 255, 1)) return W(first[row] + g);
    const uint32_t* t = thresholds + row * width;
    return W(first[row] + uint32_t(std::lower_bound(t, t + width, bits) - t));
  }

  // One block of neurons. Four neighbours by global id share a Philox block of four words.
  void add(W* input, int64_t begin) const {
    const int how = alike[begin / BLOCK];
    const int32_t row = table[begin];
    if (how == 0) {
      for (int64_t i = begin; i < begin + BLOCK; ++i)
        if (table[i] >= 0) input[index[i]] += weight[i] * count(table[i], philox(key0, key1, id[i] >> 2, step, 0, stream).w[id[i] & 3]);
      return;
    }
    if (how == 2 && row < 0) return;
    constexpr int QUADS = BLOCK / 4 + DRAWN;  // one more is needed where the first id is not the first of a quad
    const int quads = BLOCK / 4 + ((id[begin] & 3) != 0);
    uint64_t pairs[2 * QUADS];
    for (int q = 0; q < quads; q += DRAWN) {
      const LaneWords w = philox_lanes<false>(key0, key1, (id[begin] >> 2) + uint32_t(q), step, 0, stream);
      for (int v = 0; v < WIDE; ++v) {
        const Lane low = (w.w[0][v] & 0xFFFFFFFFull) | w.w[1][v] << 32, high = (w.w[2][v] & 0xFFFFFFFFull) | w.w[3][v] << 32;
        uint64_t* pair = pairs + 2 * (q + v * LANES);
        for (int l = 0; l < LANES; ++l) { pair[2 * l] = low[l]; pair[2 * l + 1] = high[l]; }
      }
    }
    uint32_t bits[4 * QUADS];
    std::memcpy(bits, pairs, sizeof(bits));
    const uint32_t* mine = bits + (id[begin] & 3);
    if (how == 1) {
      for (int64_t i = begin; i < begin + BLOCK; ++i)
        if (table[i] >= 0) input[index[i]] += weight[i] * count(table[i], mine[i - begin]);
      return;
    }
    // One table for all: eight neurons climb its thresholds together, until none is above.
    const uint32_t* threshold = thresholds + row * width;
    int64_t usual = 0;  // thresholds that all eight are held against without asking: above them are less than 1 % of the neurons
    while (usual < width && threshold[usual] < 0xFD70A3D7u) ++usual;
    int32_t counts[BLOCK];
    for (int64_t e = 0; e < BLOCK; e += 8) {
      Eight drawn, n = Eight{} + int32_t(first[row]);
      std::memcpy(&drawn, mine + e, sizeof(drawn));
      drawn ^= INT32_MIN;  // unsigned order as signed order
      int64_t k = 0;
      for (; k < usual; ++k) n -= drawn > int32_t(threshold[k] ^ 0x80000000u);
      for (; k < width; ++k) {
        const Eight above = drawn > int32_t(threshold[k] ^ 0x80000000u);
        if (none(above)) break;
        n -= above;
      }
      std::memcpy(counts + e, &n, sizeof(n));
    }
    W* target = input + index[begin];
    const W w = weight[begin];
    EACH(i) target[i] += w * counts[i];
  }

 private:
  typedef int32_t Eight __attribute__((vector_size(32)));
  static bool none(Eight mask) {
#if defined(__AVX2__)
    return _mm256_testz_si256(__m256i(mask), __m256i(mask));
#else
    int32_t any = 0;
    for (int l = 0; l < 8; ++l) any |= mask[l];
    return any == 0;
#endif
  }
};

// ---- neurons ----

// The input of a block of neurons on one channel, summed over the threads that delivered: whole numbers of quanta.
template <class W, class T>
struct Input {
  const W* input;
  int64_t threads, size, offset, n;
  void at(int64_t channel, int64_t i, T* sum) const {
    const W* first = input + offset + channel * n + i;
    W total[BLOCK];
    std::copy(first, first + BLOCK, total);
    for (int64_t t = 1; t < threads; ++t) {
      const W* more = first + t * size;
      EACH(k) total[k] += more[k];
    }
    EACH(k) sum[k] = T(total[k]);
  }
};

inline void pack(const int32_t* flags, uint32_t* bits) {
  uint8_t spiking[BLOCK];
  EACH(k) spiking[k] = uint8_t(flags[k]);
  uint8_t packed[BLOCK / 8];
  for (int64_t b = 0; b < BLOCK / 8; ++b) {
    // Eight bytes of 0 or 1 to eight bits: byte i reaches bit 56 + i of the product, and no two terms meet.
    uint64_t eight;
    std::memcpy(&eight, spiking + 8 * b, 8);
    packed[b] = uint8_t(eight * 0x0102040810204080ull >> 56);
  }
  std::memcpy(bits, packed, sizeof(packed));
}

// Calls f(begin, end, part) for parts of the neurons, whole blocks each, on as many threads as are worth waking.
template <class F>
void each_part(int64_t n, int64_t threads, F&& f) {
  constexpr int64_t ENOUGH = 16;  // blocks for a thread to be worth waking
  const int64_t blocks = n / BLOCK, parts = std::max<int64_t>(1, std::min(threads, blocks / ENOUGH));
  Pool::instance().run(int(parts), [&](int part) { f(blocks * part / parts * BLOCK, blocks * (part + 1) / parts * BLOCK, part); });
}

template <class F>
void each_block(int64_t n, int64_t threads, F&& f) {
  each_part(n, threads, [&](int64_t begin, int64_t end, int part) {
    for (int64_t i = begin; i < end; i += BLOCK) f(i, part);
  });
}

}  // namespace dist_sim
