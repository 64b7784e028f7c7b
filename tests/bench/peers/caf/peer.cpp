// The workloads of `troupe bench` with CAF 0.17: an actor is an event-based actor, its mailbox unbounded. Prints one
// JSON object, its metrics named as troupe's. Each receiver counts and checks; what it got wrong ends the program with
// status 1. C++ is here only: CAF has no other interface.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <sched.h>
#include <string>
#include <thread>
#include <vector>

#include "caf/all.hpp"

using namespace caf;
using u64 = uint64_t;
using params = std::map<std::string, u64>;
using metrics = std::vector<std::pair<std::string, double>>;
using done_atom = atom_constant<atom("done")>;
using go_atom = atom_constant<atom("go")>;
using sum_atom = atom_constant<atom("sum")>;

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
    std::fprintf(stderr, "caf peer: %s: %llu, not %llu\n", what, (unsigned long long)got,
                 (unsigned long long)due);
    std::_Exit(1);
}

static double each(u64 took, u64 count)
{
    return double(took) / double(count);
}

static double rate(u64 took, u64 count)
{
    return double(count) * 1e3 / double(took);
}

// ---- few in flight ----

static behavior pong(event_based_actor *)
{
    return {[](u64 number) { return number; }};
}

static metrics pingpong(actor_system &system, params p)
{
    u64 rounds = p["messages"], took = 0;
    scoped_actor home{system};
    auto other = system.spawn(pong);
    u64 began = now();
    system.spawn([&, h = actor_cast<actor>(home)](event_based_actor *self) -> behavior {
        self->send(other, u64{0});
        return {[&, self, h, due = u64{0}](u64 number) mutable {
            check(number == due, "a ball", number, due);
            if (++due < rounds) {
                self->send(other, due);
            } else {
                self->send(h, done_atom::value, due);
                self->quit();
            }
        }};
    });
    home->receive([&](done_atom, u64) { took = now() - began; });
    anon_send_exit(other, exit_reason::user_shutdown);
    return {{"round_trip", each(took, rounds)}};
}

static behavior ring_member(event_based_actor *self, actor home, u64 hops)
{
    auto next = std::make_shared<actor>();
    return {[=](const actor &neighbour) { *next = neighbour; },
            [=](u64 hop) {
                if (hop == hops)
                    self->send(home, done_atom::value, hop);
                else
                    self->send(*next, hop + 1);
            },
            [=](done_atom) {
                *next = nullptr; // the ring holds itself up
                self->quit();
            }};
}

static metrics ring(actor_system &system, params p)
{
    u64 hops = p["messages"], took = 0, got = 0;
    scoped_actor home{system};
    std::vector<actor> members;
    for (u64 i = 0; i < p["actors"]; i++)
        members.push_back(system.spawn(ring_member, actor_cast<actor>(home), hops));
    for (size_t i = 0; i < members.size(); i++)
        anon_send(members[i], members[(i + 1) % members.size()]);
    u64 began = now();
    anon_send(members[0], u64{0});
    home->receive([&](done_atom, u64 hop) {
        took = now() - began;
        got = hop;
    });
    check(got == hops, "hops", got, hops);
    for (auto &member : members)
        anon_send(member, done_atom::value);
    return {{"hop", each(took, hops)}};
}

static behavior answerer(event_based_actor *)
{
    return {[](u64 number) { return number + 1; }};
}

static void ask_on(event_based_actor *self, actor server, actor home, u64 number, u64 count)
{
    if (number == count) {
        self->send(home, done_atom::value, number);
        return;
    }
    self->request(server, std::chrono::seconds(10), number).then([=](u64 answer) {
        check(answer == number + 1, "an answer", answer, number + 1);
        ask_on(self, server, home, number + 1, count);
    });
}

static metrics ask(actor_system &system, params p)
{
    u64 count = p["messages"], took = 0;
    scoped_actor home{system};
    auto server = system.spawn(answerer);
    u64 began = now();
    system.spawn(
        [&, h = actor_cast<actor>(home)](event_based_actor *self) { ask_on(self, server, h, 0, count); });
    home->receive([&](done_atom, u64) { took = now() - began; });
    anon_send_exit(server, exit_reason::user_shutdown);
    return {{"round_trip", each(took, count)}};
}

// ---- many at once ----

static behavior gather(event_based_actor *self, actor home, u64 senders, u64 total)
{
    auto due = std::make_shared<std::vector<u64>>(senders);
    return {[=, count = u64{0}](uint32_t from, u64 number) mutable {
        check(number == (*due)[from], "an item", number, (*due)[from]);
        (*due)[from]++;
        if (++count == total) {
            self->send(home, done_atom::value, count);
            self->quit();
        }
    }};
}

static metrics fan_in(actor_system &system, params p)
{
    u64 senders = p["senders"], messages = p["messages"], took = 0;
    scoped_actor home{system};
    auto to = system.spawn(gather, actor_cast<actor>(home), senders, senders * messages);
    u64 began = now();
    for (u64 s = 0; s < senders; s++)
        system.spawn([=](event_based_actor *self) {
            for (u64 i = 0; i < messages; i++)
                self->send(to, uint32_t(s), i);
        });
    home->receive([&](done_atom, u64) { took = now() - began; });
    return {{"rate", rate(took, senders * messages)}};
}

static behavior counter(event_based_actor *)
{
    auto sum = std::make_shared<u64>(0);
    return {[=](u64 by) { *sum += by; }, [=](sum_atom) { return *sum; }};
}

static metrics counting(actor_system &system, params p)
{
    u64 count = p["messages"], took = 0, sum = 0;
    scoped_actor home{system};
    auto to = system.spawn(counter);
    u64 began = now();
    system.spawn([=, h = actor_cast<actor>(home)](event_based_actor *self) {
        for (u64 i = 0; i < count; i++)
            self->send(to, u64{1});
        self->request(to, infinite, sum_atom::value).then([=](u64 got) {
            self->send(h, done_atom::value, got);
        });
    });
    home->receive([&](done_atom, u64 got) {
        took = now() - began;
        sum = got;
    });
    check(sum == count, "the sum", sum, count);
    anon_send_exit(to, exit_reason::user_shutdown);
    return {{"rate", rate(took, count)}};
}

static behavior join_actor(event_based_actor *self, actor home, u64 messages)
{
    return {[=, due = u64{0}](u64 number) mutable {
        check(number == due, "a task", number, due);
        if (++due == messages) {
            self->send(home, done_atom::value, due);
            self->quit();
        }
    }};
}

static metrics fork_join(actor_system &system, params p)
{
    u64 actors = p["actors"], messages = p["messages"], took = 0, total = 0;
    scoped_actor home{system};
    std::vector<actor> all;
    for (u64 i = 0; i < actors; i++)
        all.push_back(system.spawn(join_actor, actor_cast<actor>(home), messages));
    u64 began = now();
    system.spawn([&](event_based_actor *self) {
        for (u64 i = 0; i < messages; i++)
            for (auto &to : all)
                self->send(to, i);
    });
    for (u64 i = 0; i < actors; i++)
        home->receive([&](done_atom, u64 count) { total += count; });
    took = now() - began;
    check(total == actors * messages, "handled", total, actors * messages);
    return {{"rate", rate(took, total)}};
}

// ---- actors made ----

static metrics spawn(actor_system &system, params p)
{
    u64 count = p["actors"], took = 0;
    scoped_actor home{system};
    std::atomic<u64> handled{0}, sum{0};
    auto h = actor_cast<actor>(home);
    u64 began = now();
    system.spawn([&](event_based_actor *self) {
        for (u64 i = 0; i < count; i++) {
            auto one = self->spawn([&](event_based_actor *child) -> behavior {
                return {[&, child](u64 number) {
                    sum += number;
                    if (++handled == count)
                        child->send(h, done_atom::value);
                    child->quit();
                }};
            });
            self->send(one, i);
        }
    });
    home->receive([&](done_atom) { took = now() - began; });
    check(sum == count * (count - 1) / 2, "the numbers add up to", sum, count * (count - 1) / 2);
    return {{"actor", each(took, count)}};
}

static u64 resident()
{
    unsigned long long pages = 0;
    FILE *file = std::fopen("/proc/self/statm", "r");
    check(file && std::fscanf(file, "%*s %llu", &pages) == 1, "/proc/self/statm can't be read", 0, 1);
    std::fclose(file);
    return pages * u64(sysconf(_SC_PAGESIZE));
}

static metrics memory(actor_system &system, params p)
{
    u64 count = p["actors"], there = 0;
    scoped_actor home{system};
    auto h = actor_cast<actor>(home);
    std::atomic<u64> alive{0};
    std::vector<actor> all(count);
    u64 before = resident();
    for (auto &one : all)
        one = system.spawn([&](event_based_actor *self) -> behavior {
            alive++;
            return {[&, self](u64 number) {
                self->send(h, number);
                self->quit();
            }};
        });
    while (alive < count)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    u64 after = resident();
    for (auto &one : all)
        anon_send(one, u64{1});
    for (u64 i = 0; i < count; i++)
        home->receive([&](u64 number) { there += number; });
    check(there == count, "actors", there, count);
    return {{"actor", each(after - before, count)}};
}

static behavior fib_actor(event_based_actor *self, u64 n, actor parent)
{
    if (n < 2) {
        self->send(parent, n, u64{1});
        return {};
    }
    self->spawn(fib_actor, n - 1, actor_cast<actor>(self));
    self->spawn(fib_actor, n - 2, actor_cast<actor>(self));
    return {[=, sum = u64{0}, actors = u64{1}, waiting = 2](u64 part, u64 made) mutable {
        sum += part;
        actors += made;
        if (--waiting == 0) {
            self->send(parent, sum, actors);
            self->quit();
        }
    }};
}

static metrics fib(actor_system &system, params p)
{
    u64 due = 0, next = 1, took = 0, sum = 0, made = 0;
    for (u64 i = 0; i < p["n"]; i++) {
        u64 after = due + next;
        due = next;
        next = after;
    }
    scoped_actor home{system};
    u64 began = now();
    system.spawn(fib_actor, p["n"], actor_cast<actor>(home));
    home->receive([&](u64 got, u64 actors) {
        took = now() - began;
        sum = got;
        made = actors;
    });
    check(sum == due, "fib", sum, due);
    check(made == 2 * next - 1, "its actors", made, 2 * next - 1);
    return {{"time", double(took) / 1e6}};
}

// ---- timers: delayed messages, a few (setting is linear in those that are set); they can't be cancelled by the sender

static metrics timers(actor_system &system, params p)
{
    u64 count = p["n"], set = 0, sum = 0, fire = 0;
    scoped_actor home{system};
    system.spawn([&, h = actor_cast<actor>(home)](event_based_actor *self) -> behavior {
        u64 began = now();
        for (u64 i = 0; i < count; i++)
            self->delayed_send(
                self, std::chrono::nanoseconds(3600000000000ull + i * 0x9e3779b9u % 60000000000ull), i);
        set = now() - began;
        u64 due = now() + 20000000 + count * 40000;
        for (u64 i = 0; i < count; i++) {
            u64 at = due + i * 0x9e3779b9u % 1000000u, is = now();
            self->delayed_send(self, std::chrono::nanoseconds(at > is ? at - is : 0), i);
        }
        check(now() < due, "setting took until they were due", now(), due);
        return {[&, self, h, due, handled = u64{0}](u64 number) mutable {
            sum += number;
            if (++handled == count) {
                fire = now() - due;
                self->send(h, done_atom::value);
                self->quit();
            }
        }};
    });
    home->receive([](done_atom) {});
    check(sum == count * (count - 1) / 2, "the numbers add up to", sum, count * (count - 1) / 2);
    return {{"set", each(set, count)}, {"fire", each(fire, count)}};
}

// ---- the command line ----

static const std::map<std::string, metrics (*)(actor_system &, params)> workloads = {
    {"pingpong", pingpong}, {"ring", ring},           {"ask", ask},     {"fan-in", fan_in},
    {"counting", counting}, {"fork-join", fork_join}, {"spawn", spawn}, {"memory", memory},
    {"fib", fib},           {"timers", timers},
};

// A smaller one first, so that the runtime has grown; memory is what the growth itself costs.
static params smaller(const std::string &name, params p)
{
    for (auto &[key, value] : p) {
        if (name == "fib")
            value -= value / 5;
        else if (key == "messages" || key == "n" || name == "spawn")
            value = value / 5 + 1;
    }
    return p;
}

int main(int argc, char **argv)
{
    std::string name = argc > 1 ? argv[1] : "";
    if (!workloads.count(name)) {
        std::fprintf(stderr, "usage: peer WORKLOAD [--parameter value]...\n");
        return 2;
    }
    params p;
    for (int i = 2; i + 1 < argc; i += 2)
        p[argv[i] + 2] = std::strtoull(argv[i + 1], nullptr, 10);
    cpu_set_t cores;
    sched_getaffinity(0, sizeof(cores), &cores);
    actor_system_config config;
    config.set("scheduler.max-threads",
               static_cast<size_t>(CPU_COUNT(&cores))); // of itself it takes four at least
    actor_system system{config};
    auto work = workloads.at(name);
    if (name != "memory" && name != "timers")
        work(system, smaller(name, p));
    const char *separator = "{";
    for (auto &[metric, value] : work(system, p)) {
        std::printf("%s\"%s\":%g", separator, metric.c_str(), value);
        separator = ",";
    }
    std::printf("}\n");
    std::fflush(stdout);
    std::_Exit(0); // timers that are set for an hour would keep the system up
}
