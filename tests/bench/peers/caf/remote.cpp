// The workloads of `troupe bench` between two processes with CAF 0.17's io module over loopback: an actor of either process,
// whose mailbox is unbounded; one way nothing but memory bounds what is under way, so the window is all of it. Prints one JSON
// object, its metrics named as troupe's; the receiver counts and checks.
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "caf/all.hpp"
#include "caf/io/all.hpp"

using namespace caf;
using u64 = uint64_t;
using bytes = std::vector<char>;
using ask_atom = atom_constant<atom("ask")>;
using item_atom = atom_constant<atom("item")>;
using begin_atom = atom_constant<atom("begin")>;
using done_atom = atom_constant<atom("done")>;

static u64 messages, size = 64, outstanding = 1000;

static u64 now()
{
    return static_cast<u64>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                std::chrono::steady_clock::now().time_since_epoch())
                                .count());
}

static void check(bool good, const char *what, u64 got, u64 due)
{
    if (good)
        return;
    std::fprintf(stderr, "caf peer: %s: %llu, not %llu\n", what, (unsigned long long)got, (unsigned long long)due);
    std::_Exit(1);
}

// ---- the other process ----

static behavior sink(event_based_actor *self)
{
    auto due = std::make_shared<u64>(0), count = std::make_shared<u64>(0);
    auto from = std::make_shared<actor>();
    return {
        [](ask_atom, u64 number, bytes data) { return make_message(number, std::move(data)); },
        [=](begin_atom, u64 total) {
            *from = actor_cast<actor>(self->current_sender());
            *due = total;
            *count = 0;
        },
        [=](item_atom, u64 number, const bytes &) {
            check(number == *count, "a message out of its order", number, *count);
            if (++*count == *due)
                self->send(*from, done_atom::value, *count);
        },
    };
}

static int serve(actor_system &system)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    auto port = system.middleman().publish(system.spawn(sink), 0, "127.0.0.1");
    check(bool(port), "no port", 0, 1);
    std::printf("%u\n", unsigned(*port));
    std::fflush(stdout);
    pause();
    return 0;
}

// ---- this side ----

static double one_way(scoped_actor &self, const actor &to)
{
    bytes data(size, 7);
    u64 began = now();
    self->send(to, begin_atom::value, messages);
    for (u64 i = 0; i < messages; i++)
        self->send(to, item_atom::value, i, data);
    self->receive([](done_atom, u64 count) { check(count == messages, "came", count, messages); });
    return double(now() - began) / 1e9;
}

static void round_trips(scoped_actor &self, const actor &to)
{
    bytes data(size, 7);
    std::vector<double> times;
    for (u64 i = 0; i < messages; i++) {
        u64 began = now();
        self->request(to, infinite, ask_atom::value, i, data)
            .receive([&](u64 number, const bytes &) { check(number == i, "the answer's number", number, i); },
                     [](error &) { check(false, "no answer", 0, 1); });
        times.push_back(double(now() - began) / 1e3);
    }
    std::sort(times.begin(), times.end());
    std::printf("{\"p50\":%g,\"p99\":%g}\n", times[messages / 2], times[messages * 99 / 100]);
}

struct asking {
    actor to;
    bytes data;
    std::vector<double> *times = nullptr; // NULL: how long each took isn't asked for
    u64 asked = 0, answered = 0;
};

static void ask_next(event_based_actor *self, std::shared_ptr<asking> a, actor home)
{
    u64 number = a->asked++, began = a->times ? now() : 0;
    self->request(a->to, infinite, ask_atom::value, number, a->data).then([=](u64 got, const bytes &) {
        check(got == number, "the answer's number", got, number);
        if (a->times)
            a->times->push_back(double(now() - began) / 1e3);
        if (++a->answered == messages)
            self->send(home, done_atom::value, a->answered);
        else if (a->asked < messages)
            ask_next(self, a, home);
    });
}

static double asks(actor_system &system, scoped_actor &home, const actor &to, std::vector<double> *times)
{
    u64 began = now();
    system.spawn([=, h = actor_cast<actor>(home)](event_based_actor *self) {
        auto a = std::make_shared<asking>(asking{to, bytes(size, 7), times});
        for (u64 i = 0; i < outstanding && a->asked < messages; i++)
            ask_next(self, a, h);
    });
    home->receive([](done_atom, u64) {});
    return double(now() - began) / 1e9;
}

static void load(actor_system &system, scoped_actor &home, const actor &to)
{
    std::vector<double> times;
    double seconds = asks(system, home, to, &times);
    std::sort(times.begin(), times.end());
    std::printf("{\"p50\":%g,\"p99\":%g,\"rate\":%g}\n", times[messages / 2], times[messages * 99 / 100],
                double(messages) / seconds);
}

static int run(actor_system &system, const std::string &name, char **argv)
{
    int out[2];
    if (pipe(out) != 0 || fork() == 0) {
        dup2(out[1], STDOUT_FILENO);
        execl("/proc/self/exe", argv[0], "sink", nullptr);
        _exit(127);
    }
    unsigned port = 0;
    check(std::fscanf(fdopen(out[0], "r"), "%u", &port) == 1, "the other process says nothing", 0, 1);
    auto to = system.middleman().remote_actor("127.0.0.1", static_cast<uint16_t>(port));
    check(bool(to), "no connection", 0, 1);
    scoped_actor self{system};
    if (name == "remote-rtt")
        round_trips(self, *to);
    else if (name == "remote-asks")
        std::printf("{\"rate\":%g}\n", double(messages) / asks(system, self, *to, nullptr));
    else if (name == "remote-load")
        load(system, self, *to);
    else if (name == "remote-flood")
        std::printf("{\"rate\":%g}\n", double(messages) / one_way(self, *to) / 1e6);
    else
        std::printf("{\"rate\":%g}\n", double(messages) * double(size) / one_way(self, *to) / 1e6);
    std::fflush(stdout);
    std::_Exit(0);
}

int main(int argc, char **argv)
{
    std::string name = argc > 1 ? argv[1] : "";
    for (int i = 2; i + 1 < argc; i += 2) {
        std::string word = argv[i];
        u64 value = std::strtoull(argv[i + 1], nullptr, 10);
        (word == "--messages" ? messages : word == "--size" ? size : outstanding) = value;
    }
    actor_system_config config;
    config.load<io::middleman>();
    actor_system system{config};
    return name == "sink" ? serve(system) : run(system, name, argv);
}
