// In which round of its loops each lane is: what joins accesses of lanes that some rounds leave out. Read by sources whose traffic is counted.
#pragma once

struct emu_rounds;
extern "C" {
emu_rounds* emu_rounds_begin(emu_rounds* loop);
void emu_rounds_end(emu_rounds* around);
}

struct emu_rounds {
  unsigned long number = 0;
  emu_rounds* around;
  emu_rounds() : around(emu_rounds_begin(this)) {}
  ~emu_rounds() { emu_rounds_end(around); }
  bool goes_on() {
    number++;
    return true;
  }
};
