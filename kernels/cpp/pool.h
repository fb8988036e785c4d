// Threads that wait spinning for a while, because a step hands them work every few tens of microseconds.
//
// One pool serves the process. `run(parts, f)` calls f(0) .. f(parts - 1) and returns when all have ended. Parts are claimed one
// by one, by the caller too: on a busy machine, where a worker may not get its core for milliseconds, nobody waits for it. A
// caller that finds the pool taken (another device of this process is in its kernel) runs all its parts itself. Kernels must
// therefore not depend on who runs a part, nor on parts running at the same time.
#pragma once
#include <atomic>
#include <cassert>
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
    if (Pool* pool = shared()) return *pool;
    static Pool* pool = new Pool;  // never destroyed: its threads may outlive the statics at exit
    return *pool;
  }

  // That of another library of this process, where this one is to use it too.
  static Pool*& shared() {
    static Pool* pool = nullptr;
    return pool;
  }

  template <class F>
  void run(int parts, F&& f) {
    if (parts <= 1) { f(0); return; }
    assert(parts <= MOST);
    std::unique_lock<std::mutex> lock(busy_, std::try_to_lock);
    if (!lock.owns_lock()) {
      for (int p = 0; p < parts; ++p) f(p);
      return;
    }
    grow(parts - 1);
    job_ = [&f](int part) { f(part); };
    left_.store(parts, std::memory_order_relaxed);
    const uint64_t job = (ticket_.load(std::memory_order_relaxed) >> 16) + 1;
    { std::lock_guard<std::mutex> guard(sleep_); ticket_.store(job << 16 | uint64_t(parts)); }
    if (sleeping_.load() > 0) wake_.notify_all();
    help(0, ticket_.load(std::memory_order_relaxed));
    while (left_.load(std::memory_order_acquire) > 0) relax();
  }

 private:
  static constexpr int MOST = 256;

  // Performs what is left of a job, beginning with the thread's own part: the same thread has the same neurons at every step,
  // as long as it is there in time, and finds them in its cache.
  void help(int own, uint64_t ticket) {
    const uint64_t job = ticket >> 16;
    const int parts = int(ticket & 0xFFFF);
    for (int k = 0; k < parts; ++k) {
      const int part = (own + k) % parts;
      // Whoever moves the part's number up to the job's has claimed it. A claimed part holds its job open, so job_ is that job's;
      // a worker that comes late finds numbers that are not smaller and claims nothing.
      uint64_t before = claimed_[part].load(std::memory_order_acquire);
      while (before < job && !claimed_[part].compare_exchange_weak(before, job, std::memory_order_acq_rel)) {}
      if (before >= job) continue;
      job_(part);
      left_.fetch_sub(1, std::memory_order_release);
    }
  }

  void grow(int workers) {
    for (; int(threads_.size()) < workers; threads_.back().detach())
      threads_.emplace_back([this, own = int(threads_.size()) + 1, seen = ticket_.load()] { work(own, seen); });
  }

  void work(int own, uint64_t seen) {
    for (;;) {
      uint64_t ticket = seen;
      for (int spin = 0; spin < 4000 && (ticket = ticket_.load(std::memory_order_acquire)) == seen; ++spin) relax();
      if (ticket == seen) {
        std::unique_lock<std::mutex> lock(sleep_);
        sleeping_.fetch_add(1);
        wake_.wait(lock, [&] { return (ticket = ticket_.load()) != seen; });
        sleeping_.fetch_sub(1);
      }
      seen = ticket;
      help(own, ticket);
    }
  }

  std::mutex busy_, sleep_;
  std::condition_variable wake_;
  std::atomic<uint64_t> ticket_{0};         // number of the job << 16 | its parts
  std::atomic<uint64_t> claimed_[MOST] = {};  // per part, the last job in which it was claimed
  std::atomic<int> left_{0}, sleeping_{0};
  std::function<void(int)> job_;
  std::vector<std::thread> threads_;
};

}  // namespace dist_sim
