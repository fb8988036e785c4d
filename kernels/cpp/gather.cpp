// What every device has, gathered on all devices. Those that share memory, of one process or of all processes of a machine, put it
// down there and look at each other's. Across machines the devices of a process meet so, and one of them calls MPI for all.
//
// Nothing of MPI is included or linked: the function and the handles come from the library that mpi4py has loaded. A handle is an
// int in MPICH and a pointer in Open MPI; as an intptr_t it is passed in the same register either way (x86-64, aarch64).
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "brainevent/common.h"
#include "pool.h"

using BE::Tensor;

namespace dist_sim {

using Allgather = int (*)(const void*, int, intptr_t, void*, int, intptr_t, intptr_t);

template <class F>
void wait_until(F&& there) {
  // For some milliseconds without sleep: a step takes less. The yield lets others run where there are more devices than cores.
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(2);
  do {
    for (int spin = 0; spin < 50; ++spin, relax())
      if (there()) return;
    std::this_thread::yield();
  } while (std::chrono::steady_clock::now() < until);
  while (!there()) std::this_thread::sleep_for(std::chrono::microseconds(50));
}

// Booleans travel as bits: what one core wrote costs another the more, the more lines of cache it is.
struct Coding {
  bool bits;
  size_t bytes;  // of an array

  size_t sent() const { return bits ? bytes / 8 : bytes; }

  void put(char* to, const char* from) const {
    if (!bits) return void(std::memcpy(to, from, bytes));
    for (size_t k = 0; k < bytes / 8; ++k) {
      uint64_t eight;
      std::memcpy(&eight, from + 8 * k, 8);
      to[k] = char((eight * 0x0102040810204080u) >> 56);  // byte n is 0 or 1, and becomes bit n
    }
  }

  void take(char* to, const char* from) const {
    if (!bits) return void(std::memcpy(to, from, bytes));
    for (size_t k = 0; k < bytes / 8; ++k) {
      const uint64_t each = uint64_t(uint8_t(from[k])) * 0x0101010101010101u & 0x8040201008040201u;  // bit n, in byte n
      const uint64_t eight = (each + 0x7F7F7F7F7F7F7F7Fu) >> 7 & 0x0101010101010101u;
      std::memcpy(to + 8 * k, &eight, 8);
    }
  }
};

// Devices that share memory, and all call `meet` equally often and in the same order.
//
// What they give is put down in one of two rows of slots, in turns. A device that comes to a meeting has copied what it wanted of
// the one before, so that when all have come, the row of that one is free: they wait for each other once in a meeting.
class Slots {
 public:
  // Of one process, in memory that grows.
  explicit Slots(int64_t devices) : Slots(devices, nullptr, 0) {}

  // In memory that processes share, all of whose bytes are 0: `bytes_of(devices, capacity)`, with room for so many bytes per slot.
  Slots(int64_t devices, char* shared, size_t capacity) : devices_(devices), capacity_(capacity), shared_(shared), rounds_(devices) {
    if (shared != nullptr) return;
    heads_.reset(new Head[2 * devices]());
    own_.resize(2 * devices);
  }

  static size_t bytes_of(int64_t devices, size_t capacity) { return 2 * devices * (sizeof(Head) + capacity); }

  bool holds(size_t bytes) const { return shared_ == nullptr || bytes <= capacity_; }

  // Puts down what a device gives, and hands what each one gave to `take(device, data)`, in order of devices. Returns the number
  // of this meeting, from 1. `turn` is the number of this call in the program: the same on all devices.
  template <class Take>
  uint64_t meet(int64_t device, int32_t turn, const char* mine, Coding coding, Take&& take) {
    const uint64_t round = ++rounds_[device].number;
    const int64_t row = int64_t(round % 2) * devices_;
    Head& own = head(row + device);
    coding.put(data(row + device, coding.sent()), mine);
    own.turn = turn;
    own.bytes = coding.bytes;
    own.round.store(round, std::memory_order_release);
    for (int64_t d = 0; d < devices_; ++d) {
      const Head& other = head(row + d);
      wait_until([&] { return other.round.load(std::memory_order_acquire) >= round; });
      if (other.turn != turn || other.bytes != coding.bytes) throw std::runtime_error("the devices that gather run different programs");
      take(d, data(row + d, 0));
    }
    return round;
  }

 private:
  struct alignas(64) Head { std::atomic<uint64_t> round; uint64_t bytes; int32_t turn; };
  struct alignas(64) Rounds { uint64_t number = 0; };
  static_assert(std::atomic<uint64_t>::is_always_lock_free, "processes share it");

  char* slot(int64_t n) { return shared_ + n * (sizeof(Head) + capacity_); }
  Head& head(int64_t n) { return shared_ == nullptr ? heads_[n] : *reinterpret_cast<Head*>(slot(n)); }

  char* data(int64_t n, size_t bytes) {
    if (shared_ != nullptr) return slot(n) + sizeof(Head);
    if (own_[n].size() < bytes) own_[n].resize(bytes);
    return own_[n].data();
  }

  const int64_t devices_;
  const size_t capacity_;
  char* const shared_;
  std::unique_ptr<Head[]> heads_;
  std::vector<std::vector<char>> own_;
  std::vector<Rounds> rounds_;  // of the devices of this process
};

// The devices of all processes.
class Meeting {
 public:
  Meeting(int64_t processes, int64_t devices, char* shared, size_t capacity, Allgather allgather, intptr_t communicator, intptr_t byte)
      : processes_(processes), devices_(devices), allgather_(allgather), communicator_(communicator), byte_(byte), near_(devices) {
    if (shared != nullptr) all_.reset(new Slots(processes * devices, shared, capacity));
  }

  // `all` (processes * devices, bytes): what each device has given, in the order of processes and of places in them; `place` is the
  // device's among them.
  void meet(int64_t place, int32_t turn, const char* mine, Coding coding, char* all) {
    const auto take = [&](int64_t d, const char* data) { coding.take(all + d * coding.bytes, data); };
    if (processes_ == 1) {
      near_.meet(place, turn, mine, coding, take);
    } else if (all_ != nullptr && all_->holds(coding.sent())) {
      all_->meet(place, turn, mine, coding, take);
    } else {
      by_mpi(place % devices_, turn, mine, coding);
      for (int64_t d = 0; d < processes_ * devices_; ++d) take(d, gathered_.data() + d * coding.sent());
    }
  }

 private:
  void by_mpi(int64_t device, int32_t turn, const char* mine, Coding coding) {
    const size_t each = coding.sent();
    if (device > 0) {
      const uint64_t round = near_.meet(device, turn, mine, coding, [](int64_t, const char*) {});
      wait_until([&] { return called_.load(std::memory_order_acquire) >= round; });
    } else {
      mine_.resize(devices_ * each);
      const uint64_t round =
          near_.meet(device, turn, mine, coding, [&](int64_t d, const char* data) { std::memcpy(&mine_[d * each], data, each); });
      gathered_.resize(processes_ * mine_.size());
      const int size = int(mine_.size());
      const int code = allgather_(mine_.data(), size, byte_, gathered_.data(), size, byte_, communicator_);
      if (code != 0) failure_ = "MPI_Allgather returned error code " + std::to_string(code) + "; has a process ended?";
      called_.store(round, std::memory_order_release);
    }
    if (!failure_.empty()) throw std::runtime_error(failure_);
  }

  const int64_t processes_, devices_;
  const Allgather allgather_;
  const intptr_t communicator_, byte_;
  Slots near_;                  // of the devices of this process
  std::unique_ptr<Slots> all_;  // of the devices of all processes, where they share memory
  // Of the first device, which calls MPI. Nobody still reads it at its next call: all have come to that meeting.
  std::vector<char> mine_, gathered_;
  std::string failure_;
  std::atomic<uint64_t> called_{0};
};

// The meetings of this process by number, which a compiled program is given as an operand: other networks run it as well.
inline std::deque<Meeting>& meetings() {
  static auto* all = new std::deque<Meeting>;
  return *all;
}

}  // namespace dist_sim

// Bytes of the memory that all devices share, with room for so many bytes of each.
extern "C" int64_t dist_sim_meeting_bytes(int64_t devices, int64_t capacity) {
  return int64_t(dist_sim::Slots::bytes_of(devices, size_t(capacity)));
}

// `shared`: null where the processes share no memory.
extern "C" int64_t dist_sim_open_meeting(int64_t processes, int64_t devices, char* shared, int64_t capacity,
                                         dist_sim::Allgather allgather, intptr_t communicator, intptr_t byte) {
  dist_sim::meetings().emplace_back(processes, devices, shared, size_t(capacity), allgather, communicator, byte);
  return int64_t(dist_sim::meetings().size()) - 1;
}

// `place` of the device in the mesh; `meeting` by number; `all`: `mine` of all devices of all processes; `turn` orders the
// calls of a program.
// @BE gather
void gather(const Tensor place, const Tensor meeting, const Tensor mine, const Tensor turn, Tensor all, Tensor next) {
  dist_sim::Meeting& here = dist_sim::meetings().at(*static_cast<const int32_t*>(meeting.data_ptr()));
  const int32_t number = *static_cast<const int32_t*>(turn.data_ptr());
  const dist_sim::Coding coding{mine.dtype() == BE::DType::Bool && mine.nbytes() % 8 == 0, mine.nbytes()};
  here.meet(*static_cast<const int32_t*>(place.data_ptr()), number, static_cast<const char*>(mine.data_ptr()), coding,
            static_cast<char*>(all.data_ptr()));
  *static_cast<int32_t*>(next.data_ptr()) = number + 1;
}

// `given`, once `first` is there.
// @BE after
void after(const Tensor given, const Tensor first, Tensor out) {
  if (given.data_ptr() != out.data_ptr()) std::memcpy(out.data_ptr(), given.data_ptr(), given.nbytes());
}
