// Threads that wait spinning for a while, because a step hands them work every few tens of microseconds.
//
// One pool serves the process. `run(parts, f)` calls f(0) .. f(parts - 1) and returns when all have ended. A caller that finds
// the pool taken (another device of this process is in its kernel) runs its parts itself: kernels must not depend on who
// runs a part, nor on parts running at the same time.
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
    left_.store(parts - 1, std::memory_order_relaxed);
    const uint64_t next = ((epoch_.load(std::memory_order_relaxed) >> 16) + 1) << 16 | uint64_t(parts);
    { std::lock_guard<std::mutex> guard(sleep_); epoch_.store(next); }
    if (sleeping_.load() > 0) wake_.notify_all();
    f(0);
    while (left_.load(std::memory_order_acquire) > 0) relax();
  }

 private:
  void grow(int workers) {
    while (int(threads_.size()) < workers) {
      const int part = int(threads_.size()) + 1;
      const uint64_t seen = epoch_.load();
      threads_.emplace_back([this, part, seen] { work(part, seen); });
      threads_.back().detach();
    }
  }

  void work(int part, uint64_t seen) {
    for (;;) {
      for (int spin = 0; spin < 4000 && epoch_.load(std::memory_order_acquire) == seen; ++spin) relax();
      if (epoch_.load(std::memory_order_acquire) == seen) {
        std::unique_lock<std::mutex> lock(sleep_);
        sleeping_.fetch_add(1);
        wake_.wait(lock, [&] { return epoch_.load() != seen; });
        sleeping_.fetch_sub(1);
      }
      seen = epoch_.load(std::memory_order_acquire);
      // The number of parts comes with the job's number in one word: a worker that owes a part of job `seen` holds that job
      // open, so job_ is that job's; one that owes none must not touch job_, which the next job may be replacing.
      if (part < int(seen & 0xFFFF)) {
        job_(part);
        left_.fetch_sub(1, std::memory_order_release);
      }
    }
  }

  std::mutex busy_, sleep_;
  std::condition_variable wake_;
  std::atomic<uint64_t> epoch_{0};  // number of the job << 16 | its parts
  std::atomic<int> left_{0}, sleeping_{0};
  std::function<void(int)> job_;
  std::vector<std::thread> threads_;
};

}  // namespace dist_sim
