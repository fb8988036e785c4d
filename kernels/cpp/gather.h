// What every device has, gathered on all devices: the devices of a process meet, and the last of them calls MPI for all.
//
// Nothing of MPI is included or linked: the function and the handles come from the library that mpi4py has loaded. A handle is an
// int in MPICH and a pointer in Open MPI; as an intptr_t it is passed in the same register either way (x86-64, aarch64).
#pragma once
#include <atomic>
#include <cassert>
#include <chrono>
#include <climits>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <deque>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "pool.h"

namespace dist_sim {

using Allgather = int (*)(const void*, int, intptr_t, void*, int, intptr_t, intptr_t);

// The devices of one process, which all call `gather` equally often and in the same order.
class Meeting {
 public:
  Meeting(int64_t processes, int64_t devices, Allgather allgather, intptr_t communicator, intptr_t byte)
      : processes_(processes), devices_(devices), allgather_(allgather), communicator_(communicator), byte_(byte),
        given_(devices) {}

  int64_t devices() const { return devices_; }

  // `all` (processes * devices, bytes): what each device has given, in the order of processes and of places in them.
  void gather(int64_t place, const char* mine, size_t bytes, char* all) {
    if (devices_ == 1) {
      check(exchange(mine, bytes, all));
      return;
    }
    const uint64_t round = round_.load(std::memory_order_acquire);
    given_[place] = mine;
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == devices_) {
      // Nobody else is here: the others wait, and have copied what the round before gathered.
      mine_.resize(devices_ * bytes);
      all_.resize(processes_ * devices_ * bytes);
      for (int64_t d = 0; d < devices_; ++d) std::memcpy(mine_.data() + d * bytes, given_[d], bytes);
      code_ = exchange(mine_.data(), devices_ * bytes, all_.data());
      arrived_.store(0, std::memory_order_relaxed);
      { std::lock_guard<std::mutex> guard(sleep_); round_.store(round + 1, std::memory_order_release); }
      if (sleeping_.load() > 0) wake_.notify_all();
    } else {
      await(round);
    }
    check(code_);
    std::memcpy(all, all_.data(), all_.size());
  }

 private:
  int exchange(const char* mine, size_t bytes, char* all) {
    if (allgather_ == nullptr) {
      std::memcpy(all, mine, bytes);
      return 0;
    }
    assert(bytes <= INT_MAX);
    return allgather_(mine, int(bytes), byte_, all, int(bytes), byte_, communicator_);
  }

  static void check(int code) {
    if (code != 0) throw std::runtime_error("MPI_Allgather returned error code " + std::to_string(code) + "; has a process ended?");
  }

  void await(uint64_t round) {
    // Longer than a sleeping thread takes to wake (a tenth of a millisecond in a virtual machine): else each sleeps while the
    // other is being woken, in every round. The yield lets others run where there are more devices than cores.
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(2);
    do {
      for (int spin = 0; spin < 50; ++spin, relax())
        if (round_.load(std::memory_order_acquire) != round) return;
      std::this_thread::yield();
    } while (std::chrono::steady_clock::now() < until);
    std::unique_lock<std::mutex> lock(sleep_);
    sleeping_.fetch_add(1);
    wake_.wait(lock, [&] { return round_.load(std::memory_order_acquire) != round; });
    sleeping_.fetch_sub(1);
  }

  const int64_t processes_, devices_;
  const Allgather allgather_;
  const intptr_t communicator_, byte_;
  std::vector<const char*> given_;
  std::vector<char> mine_, all_;
  int code_ = 0;
  std::atomic<int64_t> arrived_{0};
  std::atomic<uint64_t> round_{0};
  std::atomic<int> sleeping_{0};
  std::mutex sleep_;
  std::condition_variable wake_;
};

// The meetings of this process by number. A compiled program knows the number alone: addresses would be wrong in another process
// that finds the program in a cache.
inline std::deque<Meeting>& meetings() {
  static auto* all = new std::deque<Meeting>;
  return *all;
}

}  // namespace dist_sim

extern "C" int64_t dist_sim_open_meeting(int64_t processes, int64_t devices, dist_sim::Allgather allgather, intptr_t communicator,
                                         intptr_t byte) {
  dist_sim::meetings().emplace_back(processes, devices, allgather, communicator, byte);
  return int64_t(dist_sim::meetings().size()) - 1;
}
