// What every device has, gathered on all devices: the devices of a process meet, and the last of them calls MPI for all.
//
// Nothing of MPI is included or linked: the function and the handles come from the library that mpi4py has loaded. A handle is an
// int in MPICH and a pointer in Open MPI; as an intptr_t it is passed in the same register either way (x86-64, aarch64).
#include <atomic>
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

#include "brainevent/common.h"
#include "pool.h"

using BE::Tensor;

namespace dist_sim {

using Allgather = int (*)(const void*, int, intptr_t, void*, int, intptr_t, intptr_t);

// Where so many threads wait for each other.
class Barrier {
 public:
  explicit Barrier(int64_t threads) : threads_(threads) {}

  // Returns when all have come. The last of them first does `last`, while nobody else is here.
  template <class F>
  void wait(F&& last) {
    const uint64_t round = round_.load(std::memory_order_acquire);
    if (come_.fetch_add(1, std::memory_order_acq_rel) + 1 < threads_) return sleep(round);
    last();
    come_.store(0, std::memory_order_relaxed);
    { std::lock_guard<std::mutex> guard(lock_); round_.store(round + 1, std::memory_order_release); }
    if (sleeping_.load() > 0) wake_.notify_all();
  }

 private:
  void sleep(uint64_t round) {
    // Longer than a sleeping thread takes to wake (a tenth of a millisecond in a virtual machine): else each sleeps while the
    // other is being woken, in every round. The yield lets others run where there are more devices than cores.
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(2);
    do {
      for (int spin = 0; spin < 50; ++spin, relax())
        if (round_.load(std::memory_order_acquire) != round) return;
      std::this_thread::yield();
    } while (std::chrono::steady_clock::now() < until);
    std::unique_lock<std::mutex> lock(lock_);
    sleeping_.fetch_add(1);
    wake_.wait(lock, [&] { return round_.load(std::memory_order_acquire) != round; });
    sleeping_.fetch_sub(1);
  }

  const int64_t threads_;
  std::atomic<int64_t> come_{0};
  std::atomic<uint64_t> round_{0};
  std::atomic<int> sleeping_{0};
  std::mutex lock_;
  std::condition_variable wake_;
};

// The devices of one process, which all call `meet` equally often and in the same order.
//
// What they give is put down in one of two tables, in turns. A device that comes to a meeting has copied what it wanted of the one
// before, so that when all have come, the table of that one is free: they wait for each other once in a meeting.
class Meeting {
 public:
  Meeting(int64_t processes, int64_t devices, Allgather allgather, intptr_t communicator, intptr_t byte)
      : processes_(processes), devices_(devices), allgather_(allgather), communicator_(communicator), byte_(byte), rounds_(devices),
        tables_{Table(devices), Table(devices)}, all_come_(devices) {}

  int64_t devices() const { return devices_; }

  // `all` (processes * devices, bytes): what each device has given, in the order of processes and of places in them. `turn` is the
  // number of this call in the program: the same on all devices.
  void meet(int64_t place, int32_t turn, const char* mine, size_t bytes, char* all) {
    Table& table = tables_[rounds_[place].number++ % 2];
    Given& given = table.given[place];
    given.data.assign(mine, mine + bytes);
    given.turn = turn;
    all_come_.wait([&] { table.failure = taken(table); });
    if (!table.failure.empty()) throw std::runtime_error(table.failure);
    if (allgather_ == nullptr)
      for (int64_t d = 0; d < devices_; ++d) std::memcpy(all + d * bytes, table.given[d].data.data(), bytes);
    else
      std::memcpy(all, table.gathered.data(), processes_ * devices_ * bytes);
  }

 private:
  struct alignas(64) Given { std::vector<char> data; int32_t turn; };
  struct alignas(64) Rounds { uint64_t number = 0; };
  struct Table {
    explicit Table(int64_t devices) : given(devices) {}
    std::vector<Given> given;
    std::vector<char> gathered;  // of all processes
    std::string failure;
  };

  // What the last of the devices does for all: it looks whether they give the same, and calls MPI. Returns what is wrong.
  std::string taken(Table& table) {
    const Given& first = table.given[0];
    for (const Given& one : table.given)
      if (one.data.size() != first.data.size() || one.turn != first.turn) return "the devices that gather run different programs";
    if (allgather_ == nullptr) return "";
    const size_t bytes = first.data.size();
    mine_.clear();
    for (const Given& one : table.given) mine_.insert(mine_.end(), one.data.begin(), one.data.end());
    table.gathered.resize(processes_ * mine_.size());
    const int size = int(devices_ * bytes), code = allgather_(mine_.data(), size, byte_, table.gathered.data(), size, byte_, communicator_);
    return code == 0 ? "" : "MPI_Allgather returned error code " + std::to_string(code) + "; has a process ended?";
  }

  const int64_t processes_, devices_;
  const Allgather allgather_;
  const intptr_t communicator_, byte_;
  std::vector<Rounds> rounds_;  // of each device
  Table tables_[2];
  Barrier all_come_;
  std::vector<char> mine_;  // of all devices, for MPI
};

// The meetings of this process by number, which a compiled program is given as an operand: other networks run it as well.
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

// `place` of the device in the mesh; `meeting` by number; `all`: `mine` of all devices of all processes; `turn` orders the
// calls of a program.
// @BE gather
void gather(const Tensor place, const Tensor meeting, const Tensor mine, const Tensor turn, Tensor all, Tensor next) {
  dist_sim::Meeting& here = dist_sim::meetings().at(*static_cast<const int32_t*>(meeting.data_ptr()));
  const int32_t number = *static_cast<const int32_t*>(turn.data_ptr());
  const int64_t own = *static_cast<const int32_t*>(place.data_ptr()) % here.devices();
  here.meet(own, number, static_cast<const char*>(mine.data_ptr()), mine.nbytes(), static_cast<char*>(all.data_ptr()));
  *static_cast<int32_t*>(next.data_ptr()) = number + 1;
}

// `given`, once `first` is there.
// @BE after
void after(const Tensor given, const Tensor first, Tensor out) {
  if (given.data_ptr() != out.data_ptr()) std::memcpy(out.data_ptr(), given.data_ptr(), given.nbytes());
}
