// What XLA calls: each function is an FFI target of the name given after @BE. Inputs that a kernel writes come back as the
// outputs of the same buffers (input_output_aliases in the Python file of the kernel's name).
#include "build.h"
#include "counts.h"
#include "lanes.h"
#include "posts.h"
#include "step.h"

using namespace dist_sim;
using BE::Tensor;

// For libraries of printed models, which share the threads of this one.
extern "C" void* dist_sim_pool() { return &Pool::instance(); }

namespace {

template <class T>
T* data(const Tensor& t) { return static_cast<T*>(t.data_ptr()); }

int64_t scalar(const Tensor& t) { return *data<const int32_t>(t); }

template <class F>
void by_width(const Tensor& integers, F&& f) {
  if (integers.dtype() == BE::DType::Int64) f(int64_t{}, double{});
  else f(int32_t{}, float{});
}

void same(const Tensor& given, const Tensor& result) {
  if (given.data_ptr() != result.data_ptr()) std::memcpy(result.data_ptr(), given.data_ptr(), given.nbytes());
}

}  // namespace

// @BE deliver
void deliver(const Tensor step, const Tensor ring, const Tensor marks, const Tensor counters_in, const Tensor pointers,
             const Tensor synapses, Tensor input, Tensor counters, int64_t min_delay, int64_t num_delays, int64_t threads) {
  same(counters_in, counters);
  by_width(synapses, [&](auto w, auto) {
    using W = decltype(w);
    const Delivery<W> delivery{data<uint32_t>(ring), data<uint32_t>(marks), data<uint32_t>(pointers),
                               reinterpret_cast<const Synapse<W>*>(synapses.data_ptr()), scalar(step), ring.numel(),
                               marks.numel() / 2, min_delay, num_delays, input.numel() / threads};
    add64(data<uint32_t>(counters) + DELIVERED, deliver_into(delivery, data<W>(input), int(threads)));
  });
}

// What both forms of `push` share: `spikes(step of the interval, append)` gives the rows of one step; `events` (2, n) are the
// (step, row) of the spikes from outside, in order of steps.
template <class F>
void push(const Tensor& step, const Tensor& events, const Tensor& pointers, const Tensor& ring, const Tensor& marks,
          const Tensor& counters, int64_t steps, int64_t num_delays, F&& spikes) {
  History history{data<uint32_t>(ring), data<uint32_t>(marks), data<uint32_t>(counters), ring.numel(), marks.numel() / 2};
  const uint32_t* run = data<uint32_t>(pointers);
  const uint32_t *event_step = data<uint32_t>(events), *event_row = event_step + events.shape(1), *end = event_row;
  uint64_t scheduled = 0;
  const auto append = [&](uint32_t flagged) {
    history.append(flagged);
    const uint64_t row = flagged & ~DOWN;
    scheduled += run[(row + 1) * num_delays] - run[row * num_delays];
  };
  for (int64_t s = 0; s < steps; ++s) {
    const uint32_t now = uint32_t(scalar(step) + s);
    history.open(now);
    spikes(s, append);
    for (const uint32_t* e = std::lower_bound(event_step, end, now); e < end && *e == now; ++e) append(event_row[e - event_step]);
    history.close();
  }
  add64(history.counters + SCHEDULED, scheduled);
}

// `masks` (devices, steps, words): the spikes of the interval that begins at `step`, a bit per source slot.
// @BE push_masks
void push_masks(const Tensor step, const Tensor masks, const Tensor events, const Tensor present, const Tensor rank,
                const Tensor pointers, const Tensor regions, const Tensor ring_in, const Tensor marks_in, const Tensor counters_in,
                Tensor ring, Tensor marks, Tensor counters, int64_t num_delays, int64_t bits_words) {
  same(ring_in, ring); same(marks_in, marks); same(counters_in, counters);
  const Sources sources{data<uint32_t>(present), data<uint32_t>(rank)};
  const int64_t devices = masks.shape(0), steps = masks.shape(1), words = masks.shape(2);
  const Regions several{data<const int32_t>(regions), regions.shape(0)};
  push(step, events, pointers, ring, marks, counters, steps, num_delays, [&](int64_t s, const auto& append) {
    for (int64_t d = 0; d < devices; ++d) {
      const uint32_t* mask = data<uint32_t>(masks) + (d * steps + s) * words;
      for (int64_t w = 0; w < bits_words; ++w)
        // A spike without a synapse on this device goes no further than this test.
        for (uint32_t word = mask[w] & sources.present[d * bits_words + w]; word; word &= word - 1) {
          const int64_t slot = w * 32 + __builtin_ctz(word);
          const uint32_t row = sources.row(uint32_t(d * bits_words * 32 + slot));
          several.each(mask, slot, [&](uint32_t flags) { append(row | flags); });
        }
    }
  });
}

// `ids` (devices, steps, capacity) source slots, `counts` (devices, steps): a count above the capacity sets the overflow.
// @BE push_ids
void push_ids(const Tensor step, const Tensor ids, const Tensor counts, const Tensor events, const Tensor present,
              const Tensor rank, const Tensor pointers, const Tensor ring_in, const Tensor marks_in, const Tensor counters_in,
              Tensor ring, Tensor marks, Tensor counters, int64_t num_delays) {
  same(ring_in, ring); same(marks_in, marks); same(counters_in, counters);
  const Sources sources{data<uint32_t>(present), data<uint32_t>(rank)};
  const int64_t devices = ids.shape(0), steps = ids.shape(1), capacity = ids.shape(2);
  push(step, events, pointers, ring, marks, counters, steps, num_delays, [&](int64_t s, const auto& append) {
    for (int64_t d = 0; d < devices; ++d) {
      const int64_t count = data<uint32_t>(counts)[d * steps + s];
      if (count > capacity) data<uint32_t>(counters)[OVERFLOW] = 1;
      const uint32_t* id = data<uint32_t>(ids) + (d * steps + s) * capacity;
      for (int64_t k = 0; k < std::min(count, capacity); ++k)
        if (sources.known(id[k] & ~DOWN)) append(sources.row(id[k] & ~DOWN) | (id[k] & DOWN));
    }
  });
}

// @BE compact
void compact(const Tensor masks, const Tensor first, const Tensor regions, Tensor ids, Tensor counts, int64_t bits_words) {
  const int64_t steps = masks.shape(0), words = masks.shape(1), capacity = ids.shape(1);
  const uint32_t base = *data<uint32_t>(first);
  const Regions several{data<const int32_t>(regions), regions.shape(0)};
  for (int64_t s = 0; s < steps; ++s) {
    uint32_t *list = data<uint32_t>(ids) + s * capacity, count = 0;
    const uint32_t* mask = data<uint32_t>(masks) + s * words;
    for (int64_t w = 0; w < bits_words; ++w)
      for (uint32_t word = mask[w]; word; word &= word - 1) {
        const int64_t slot = w * 32 + __builtin_ctz(word);
        several.each(mask, slot, [&](uint32_t flags) {
          if (count < capacity) list[count] = (base + uint32_t(slot)) | flags;
          ++count;
        });
      }
    std::fill(list + std::min<int64_t>(count, capacity), list + capacity, 0u);
    data<uint32_t>(counts)[s] = count;
  }
}

// @BE poisson
void poisson(const Tensor step, const Tensor key, const Tensor window, const Tensor thresholds, const Tensor first, const Tensor guide,
             const Tensor alike, const Tensor table, const Tensor id, const Tensor index, const Tensor weight, const Tensor input_in,
             Tensor input, uint32_t stream, int64_t threads) {
  same(input_in, input);
  const int32_t* delay_start_stop = data<int32_t>(window);
  const int64_t emitted = scalar(step) - delay_start_stop[0];
  if (emitted < delay_start_stop[1] || emitted >= delay_start_stop[2]) return;
  const uint32_t* keys = data<uint32_t>(key);
  by_width(weight, [&](auto w, auto) {
    using W = decltype(w);
    const Poisson<W> source{data<uint32_t>(thresholds), data<uint32_t>(first), data<uint8_t>(guide), data<uint8_t>(alike),
                            data<int32_t>(table), data<uint32_t>(id), data<uint32_t>(index), data<W>(weight),
                            thresholds.shape(1), keys[0], keys[1], stream, uint32_t(emitted)};
    // Into the thread's own input: the others' lie in other caches.
    const int64_t size = input.numel() / threads;
    each_block(table.numel(), threads, [&](int64_t i, int part) { source.add(data<W>(input) + part * size, i); });
  });
}

// The spikes of the targets of changing synapses: `words` a bit per neuron of the device, `index` its number among the targets or -1.
// @BE plastic_record
void plastic_record(const Tensor step, const Tensor words, const Tensor index, const Tensor targets, const Tensor fine,
                    const Tensor coarse, const Tensor steps_in, const Tensor traces_in, const Tensor count_in, const Tensor full_in,
                    Tensor steps, Tensor traces, Tensor count, Tensor full, int64_t stored, int64_t longest, int64_t period,
                    int64_t bits) {
  same(steps_in, steps); same(traces_in, traces); same(count_in, count); same(full_in, full);
  const int64_t now = scalar(step), swept = (now + 1) / period * period - 1, columns = targets.shape(1);
  const auto run = [&](auto t) {
    using T = decltype(t);
    [[maybe_unused]] const Flushing flushing;
    Posts<T> posts{data<int32_t>(steps), data<T>(traces), data<uint32_t>(count), steps.shape(1)};
    const Decays<T> decay{data<T>(fine), data<T>(coarse), bits, coarse.shape(1)};
    for (int64_t w = 0; w < words.numel(); ++w)
      for (uint32_t word = data<uint32_t>(words)[w]; word; word &= word - 1) {
        const int64_t target = data<int32_t>(index)[w * 32 + __builtin_ctz(word)];
        if (target < 0) continue;
        const int32_t* taus = data<int32_t>(targets) + columns * target + 2;
        if (!posts.append(target, now, taus, stored, decay, longest, swept)) data<uint32_t>(full)[0] = 1;
      }
  };
  if (fine.dtype() == BE::DType::Float64) run(double{});
  else run(float{});
}
