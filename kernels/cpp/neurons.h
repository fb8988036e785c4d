// One step of the neurons with linear subthreshold dynamics, in place, in one pass over the states.
// The order of operations is that of the reference in neurons.py.
#pragma once
#include <limits>

#include "step.h"

namespace dist_sim {

// An infinite V is no spike: it must not vanish in a reset, but be found after the chunk.
template <class T>
inline bool fires(T V, T V_th) { return (V >= V_th) & (V < std::numeric_limits<T>::infinity()); }

// What the three models share: threshold, reset and refractoriness after V has moved.
template <class T>
inline void fire(const T* V_th, const T* V_reset, const int32_t* refractory_steps, T* V, int32_t* refractory, int32_t* spiking) {
  EACH(k) {
    const bool spike = fires(V[k], V_th[k]);
    spiking[k] = spike;
    V[k] = spike ? V_reset[k] : V[k];
    refractory[k] = spike ? refractory_steps[k] : refractory[k];
  }
}

template <class T>
struct Common {
  Parameter<T> V_th, V_reset, V_min, I_e, current;
  Parameter<int32_t> refractory_steps;
};

// I_syn has one row per channel; the decay and the coupling to V of row c are P11[c], P21[c].
template <class W, class T, int C>
void exp_step(const Input<W, T>& input, const Common<T>& common, const Parameter<T>& P22, const Parameter<T>& P20,
              const Parameter<T> (&P21)[C], const Parameter<T> (&P11)[C], T* V, T* I, int32_t* refractory, uint32_t* bits,
              int64_t n, int64_t threads) {
  each_block(n, threads, [&](int64_t i, int) {
    constexpr int LAST = C - 1;
    const T *p22 = P22.at(i), *p20 = P20.at(i), *I_e = common.I_e.at(i), *current = common.current.at(i);
    const T *V_th = common.V_th.at(i), *V_reset = common.V_reset.at(i);
    const T *p21 = P21[0].at(i), *p11 = P11[0].at(i), *p21_last = P21[LAST].at(i), *p11_last = P11[LAST].at(i);
    const int32_t* refractory_steps = common.refractory_steps.at(i);
    T *v = V + i, *g = I + i, *g_last = I + LAST * n + i, arriving[BLOCK], arriving_last[BLOCK];
    int32_t *r = refractory + i, spiking[BLOCK];
    input.at(0, i, arriving);
    if constexpr (C == 2) input.at(1, i, arriving_last);
    // One pass. Everything is read before it is chosen from: a choice between reads would keep the loop from being vectorised.
    EACH(k) {
      T moved = v[k] * p22[k] + (I_e[k] + current[k]) * p20[k] + g[k] * p21[k];
      g[k] = g[k] * p11[k] + arriving[k];
      if constexpr (C == 2) {
        moved += g_last[k] * p21_last[k];
        g_last[k] = g_last[k] * p11_last[k] + arriving_last[k];
      }
      const T held = v[k], reset = V_reset[k], threshold = V_th[k];
      const int32_t left = r[k], steps = refractory_steps[k];
      const T x = left == 0 ? moved : held;
      const bool spike = fires(x, threshold);
      v[k] = spike ? reset : x;
      r[k] = spike ? steps : left - (left != 0);
      spiking[k] = spike;
    }
    pack(spiking, bits + i / 32);
  });
}

template <class W, class T, int C>
void alpha_step(const Input<W, T>& input, const Common<T>& common, const Parameter<T>& P33, const Parameter<T>& P30,
                const Parameter<T> (&P31)[C], const Parameter<T> (&P32)[C], const Parameter<T> (&P21)[C],
                const Parameter<T> (&P11)[C], const Parameter<T> (&rise)[C], T* V, T* I, T* dI, int32_t* refractory,
                uint32_t* bits, int64_t n, int64_t threads) {
  each_block(n, threads, [&](int64_t i, int) {
    const T *p33 = P33.at(i), *p30 = P30.at(i), *I_e = common.I_e.at(i), *current = common.current.at(i), *V_min = common.V_min.at(i);
    T *v = V + i, moved[BLOCK], arriving[BLOCK];
    EACH(k) moved[k] = v[k] * p33[k] + (I_e[k] + current[k]) * p30[k];
    for (int c = 0; c < C; ++c) {
      const T *p31 = P31[c].at(i), *p32 = P32[c].at(i), *p21 = P21[c].at(i), *p11 = P11[c].at(i), *initial = rise[c].at(i);
      T *g = I + c * n + i, *dg = dI + c * n + i;
      input.at(c, i, arriving);
      EACH(k) {
        moved[k] += dg[k] * p31[k] + g[k] * p32[k];
        g[k] = dg[k] * p21[k] + g[k] * p11[k];
        dg[k] = dg[k] * p11[k] + initial[k] * arriving[k];
      }
    }
    int32_t* r = refractory + i;
    EACH(k) {
      v[k] = r[k] == 0 ? std::max(moved[k], V_min[k]) : v[k];
      r[k] = r[k] == 0 ? 0 : r[k] - 1;
    }
    int32_t spiking[BLOCK];
    fire(common.V_th.at(i), common.V_reset.at(i), common.refractory_steps.at(i), v, r, spiking);
    pack(spiking, bits + i / 32);
  });
}

template <class W, class T>
void delta_step(const Input<W, T>& input, const Common<T>& common, const Parameter<T>& P33, const Parameter<T>& P30,
                T* V, int32_t* refractory, uint32_t* bits, int64_t n, int64_t threads) {
  each_block(n, threads, [&](int64_t i, int) {
    const T *p33 = P33.at(i), *p30 = P30.at(i), *I_e = common.I_e.at(i), *current = common.current.at(i), *V_min = common.V_min.at(i);
    T *v = V + i, arriving[BLOCK];
    int32_t* r = refractory + i;
    input.at(0, i, arriving);
    EACH(k) {
      const T moved = v[k] * p33[k] + (I_e[k] + current[k]) * p30[k] + arriving[k];
      v[k] = r[k] == 0 ? std::max(moved, V_min[k]) : v[k];
      r[k] = r[k] == 0 ? 0 : r[k] - 1;
    }
    int32_t spiking[BLOCK];
    fire(common.V_th.at(i), common.V_reset.at(i), common.refractory_steps.at(i), v, r, spiking);
    pack(spiking, bits + i / 32);
  });
}

}  // namespace dist_sim
