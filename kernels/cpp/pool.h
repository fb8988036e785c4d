// Threads that wait spinning for a while, because a step hands them work every few tens of microseconds.
//
// One pool serves the process. `run(parts, f)` calls f(0) .. f(parts - 1) and returns when all have ended. Parts are claimed one
// by one, by the caller too: on a busy machine, where a worker may not get its core for milliseconds, nobody waits for it. A
// caller that finds the pool taken (another device of this process is in its kernel) runs all its parts itself. Kernels must
// therefore not depend on who runs a part, nor on parts running at the same time.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace dist_sim {

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

class Pool {
 public:
  static Pool& instance() {
    static Pool* pool = new Pool;  // never destroyed: its threads may outlive the statics at exit
    return *pool;
  }

  template <class F>
  void run(int parts, F&& f) {
    if (parts <= 1) { f(0); return; }
    std::unique_lock<std::mutex> lock(busy_, std::try_to_lock);
    if (!lock.owns_lock()) {
      for (int p = 0; p < parts; ++p) f(p);
      return;
    }
    grow(parts - 1);
    job_ = [&f](int part) { f(part); };
    left_.store(parts, std::memory_order_relaxed);
    const uint64_t job = (ticket_.load(std::memory_order_relaxed) >> 32) + 1;
    { std::lock_guard<std::mutex> guard(sleep_); ticket_.store(job << 32 | uint64_t(parts) << 16); }
    if (sleeping_.load() > 0) wake_.notify_all();
    for (int part; (part = claim()) >= 0;) perform(part);
    while (left_.load(std::memory_order_acquire) > 0) relax();
  }

 private:
  // The next part of the job, or -1. The job's number, its parts and the next of them are one word: whoever has claimed a part
  // holds that job open, so job_ is that job's.
  int claim() {
    uint64_t ticket = ticket_.load(std::memory_order_acquire);
    while (open(ticket))
      if (ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel)) return int(ticket & 0xFFFF);
    return -1;
  }

  static bool open(uint64_t ticket) { return (ticket & 0xFFFF) < (ticket >> 16 & 0xFFFF); }

  void perform(int part) {
    job_(part);
    left_.fetch_sub(1, std::memory_order_release);
  }

  void grow(int workers) {
    for (; int(threads_.size()) < workers; threads_.back().detach()) threads_.emplace_back([this] { work(); });
  }

  void work() {
    for (;;) {
      for (int spin = 0; spin < 4000 && !open(ticket_.load(std::memory_order_acquire)); ++spin) relax();
      if (!open(ticket_.load(std::memory_order_acquire))) {
        std::unique_lock<std::mutex> lock(sleep_);
        sleeping_.fetch_add(1);
        wake_.wait(lock, [&] { return open(ticket_.load()); });
        sleeping_.fetch_sub(1);
      }
      for (int part; (part = claim()) >= 0;) perform(part);
    }
  }

  std::mutex busy_, sleep_;
  std::condition_variable wake_;
  std::atomic<uint64_t> ticket_{0};  // number of the job << 32 | its parts << 16 | next part
  std::atomic<int> left_{0}, sleeping_{0};
  std::function<void(int)> job_;
  std::vector<std::thread> threads_;
};

}  // namespace dist_sim
