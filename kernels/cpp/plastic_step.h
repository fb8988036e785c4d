// Changing synapses of one model at the spikes of one step, in rows of their targets: what a printed model is put into.
//
// The same operations as plastic_step.py, in the same order. What a model is stands in plastic.h. First the targets that spike meet
// their synapses, then the sources theirs, then the spikes of the targets enter their traces.
#pragma once
#include <algorithm>
#include <cstdint>

#include "plastic.h"

namespace dist_sim {

template <class Law, class T>
struct SynapseRows {
  const uint32_t* pointers;  // (sources + 1): first synapse of each source
  const uint32_t* synapses;  // per synapse, in order of sources: target, place in the rows
  const int32_t* sources;    // (targets, width): source of each synapse of a target, -1 behind the last
  int64_t num_sources, num_targets, width;
  const T* p;  // parameters, dt first
  Decays<T> decay;  // a row per time constant of the model, then one per trace
  T* onto;
  int32_t *last, *last_post;  // per source, per target: step of the last spike, -1 at first
  T* traces;  // (targets, STORED): just after the last spike
  T* variables[Law::VARIABLES];  // (targets, width) each

  static constexpr int64_t AHEAD = 16;

  template <int N>
  using Room = typename Changing<Law, T>::template Room<N>;

  MEMBER void fade(int64_t since, T* d) const {
    for (int k = 0; k < Law::DECAYS; ++k) d[k] = decay(k, since);
  }
  MEMBER void load(int64_t i, T* s) const {
    for (int k = 0; k < Law::VARIABLES; ++k) s[k] = variables[k][i];
  }
  MEMBER void store(int64_t i, const T* s) const {
    for (int k = 0; k < Law::VARIABLES; ++k) variables[k][i] = s[k];
  }

  // Rows lie anywhere in memory: what a synapse needs is asked for ahead.
  void fetch(int64_t n) const {
    const int64_t target = synapses[2 * n], i = synapses[2 * n + 1];
    for (int k = 0; k < Law::VARIABLES; ++k) __builtin_prefetch(variables[k] + i, 1);
    if constexpr (Law::TRACES > 0) __builtin_prefetch(last_post + target);
  }

  // A trace of the target's spikes before this step, faded to it.
  MEMBER T trace(int64_t target, int m, int64_t now) const {
    if (last_post[target] < 0) return T(0);
    const T faded = decay(Law::DECAYS + m, now - last_post[target]);
    return m < Law::STORED ? traces[target * Law::STORED + m] * faded : faded;
  }

  void posts(const uint8_t* spikes, int64_t now) const {
    if constexpr (Law::LISTENS != 0)
      for (int64_t target = 0; target < num_targets; ++target) {
        if (!spikes[target]) continue;
        Room<Law::STORED> before;
        for (int m = 0; m < Law::STORED; ++m) before.of[m] = trace(target, m, now);
        for (int64_t i = target * width, end = i + width; i < end && sources[i] >= 0; ++i) {
          const int64_t since = now - last[sources[i]];
          Room<Law::DECAYS> d;
          T s[Law::VARIABLES];
          fade(since, d.of);
          load(i, s);
          Law::on_post(p, s, d.of, before.of, T(since) * p[0]);
          store(i, s);
        }
      }
  }

  template <class S>
  void sources_spiking(const S* spikes, int64_t now) const {
    for (int64_t source = 0; source < num_sources; ++source) {
      if (spikes[source] == S(0)) continue;
      const int64_t since = now - last[source];
      Room<Law::DECAYS> d;
      fade(since, d.of);
      const int64_t begin = pointers[source], end = pointers[source + 1];
      for (int64_t n = begin; n < std::min(begin + AHEAD, end); ++n) fetch(n);
      for (int64_t n = begin; n < end; ++n) {
        if (n + AHEAD < end) fetch(n + AHEAD);
        const int64_t target = synapses[2 * n], i = synapses[2 * n + 1];
        Room<Law::TRACES> met;
        Room<0> none;
        T s[Law::VARIABLES], sent;
        bool passes;
        for (int m = 0; m < Law::TRACES; ++m) met.of[m] = trace(target, m, now);
        load(i, s);
        Law::on_pre(p, s, d.of, met.of, T(since) * p[0], last[source] < 0, none.of, sent, passes);
        store(i, s);
        if (passes) onto[target] += sent * T(spikes[source]);
      }
      last[source] = int32_t(now);
    }
  }

  void enter(const uint8_t* spikes, int64_t now) const {
    for (int64_t target = 0; target < num_targets; ++target) {
      if (!spikes[target]) continue;
      for (int m = 0; m < Law::STORED; ++m) traces[target * Law::STORED + m] = trace(target, m, now) + T(1);
      last_post[target] = int32_t(now);
    }
  }
};

template <class Law, class T>
void step_changing(const BE::Tensor& now, const BE::Tensor& spikes, const BE::Tensor& posts, const SynapseRows<Law, T>& rows) {
  const int64_t step = *data<const int32_t>(now);
  rows.posts(data<uint8_t>(posts), step);
  if (spikes.dtype() == BE::DType::Bool) rows.sources_spiking(data<uint8_t>(spikes), step);
  else rows.sources_spiking(data<T>(spikes), step);
  rows.enter(data<uint8_t>(posts), step);
}

}  // namespace dist_sim
