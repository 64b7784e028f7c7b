// The workloads of `troupe bench` in Go: an actor is a goroutine and the channel that it receives from, bounded to
// 1,024 messages; where it gets one message in its life, to that. Prints one JSON object, its metrics named as
// troupe's. Each receiver counts and checks; what it got wrong ends the program with status 1.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const bound = 1024

type params map[string]uint64
type metrics map[string]float64

func check(good bool, format string, args ...any) {
	if !good {
		fmt.Fprintf(os.Stderr, "go peer: "+format+"\n", args...)
		os.Exit(1)
	}
}

func each(began time.Time, count uint64) float64 {
	return float64(time.Since(began).Nanoseconds()) / float64(count)
}

func rate(began time.Time, count uint64) float64 {
	return float64(count) * 1e3 / float64(time.Since(began).Nanoseconds())
}

// ---- few in flight ----

func pingpong(p params) metrics {
	rounds := p["messages"]
	ping, pong := make(chan uint64, bound), make(chan uint64, bound)
	go func() {
		for number := range pong {
			ping <- number
		}
	}()
	began := time.Now()
	for i := uint64(0); i < rounds; i++ {
		pong <- i
		got := <-ping
		check(got == i, "ball %d came back as %d", i, got)
	}
	close(pong)
	return metrics{"round_trip": each(began, rounds)}
}

func ring(p params) metrics {
	actors, hops := p["actors"], p["messages"]
	done := make(chan uint64, 1)
	first := make(chan uint64, bound)
	from := first
	for i := uint64(0); i < actors; i++ {
		to := make(chan uint64, bound)
		if i == actors-1 {
			to = first
		}
		go func(from, to chan uint64) {
			for hop := range from {
				if hop == hops {
					done <- hop
				} else {
					to <- hop + 1
				}
			}
		}(from, to)
		from = to
	}
	began := time.Now()
	first <- 0
	got := <-done
	took := each(began, hops)
	check(got == hops, "%d hops, not %d", got, hops)
	return metrics{"hop": took}
}

type question struct {
	number uint64
	answer chan uint64
}

func ask(p params) metrics {
	count := p["messages"]
	server := make(chan question, bound)
	go func() {
		for q := range server {
			q.answer <- q.number + 1
		}
	}()
	answer := make(chan uint64, 1)
	deadline := time.NewTimer(10 * time.Second)
	began := time.Now()
	for i := uint64(0); i < count; i++ {
		deadline.Reset(10 * time.Second)
		server <- question{i, answer}
		select {
		case got := <-answer:
			check(got == i+1, "the answer to %d is %d", i, got)
		case <-deadline.C:
			check(false, "no answer to %d", i)
		}
	}
	took := each(began, count)
	close(server)
	return metrics{"round_trip": took}
}

// ---- many at once ----

type item struct {
	from   uint32
	number uint64
}

func fanIn(p params) metrics {
	senders, messages := p["senders"], p["messages"]
	to := make(chan item, bound)
	began := time.Now()
	for s := uint64(0); s < senders; s++ {
		go func(from uint32) {
			for i := uint64(0); i < messages; i++ {
				to <- item{from, i}
			}
		}(uint32(s))
	}
	next := make([]uint64, senders)
	for i := uint64(0); i < senders*messages; i++ {
		got := <-to
		check(got.number == next[got.from], "sender %d: %d came where %d was due", got.from, got.number, next[got.from])
		next[got.from]++
	}
	return metrics{"rate": rate(began, senders*messages)}
}

type increment struct {
	by     uint64
	answer chan uint64 // not nil: a question for the sum
}

func counting(p params) metrics {
	count := p["messages"]
	counter := make(chan increment, bound)
	go func() {
		sum := uint64(0)
		for got := range counter {
			if got.answer != nil {
				got.answer <- sum
			}
			sum += got.by
		}
	}()
	began := time.Now()
	for i := uint64(0); i < count; i++ {
		counter <- increment{1, nil}
	}
	answer := make(chan uint64, 1)
	counter <- increment{0, answer}
	sum := <-answer
	took := rate(began, count)
	check(sum == count, "the sum is %d, not %d", sum, count)
	close(counter)
	return metrics{"rate": took}
}

func forkJoin(p params) metrics {
	actors, messages := p["actors"], p["messages"]
	done := make(chan uint64, actors)
	to := make([]chan uint64, actors)
	for a := range to {
		to[a] = make(chan uint64, bound)
		go func(from chan uint64) {
			count := uint64(0)
			for count < messages {
				number := <-from
				check(number == count, "%d came where %d was due", number, count)
				count++
			}
			done <- count
		}(to[a])
	}
	began := time.Now()
	// A mailbox full for each in turn: twice as fast as one message for each in turn.
	for i := uint64(0); i < messages; i += bound {
		for a := range to {
			for j := i; j < i+bound && j < messages; j++ {
				to[a] <- j
			}
		}
	}
	total := uint64(0)
	for range to {
		total += <-done
	}
	took := rate(began, actors*messages)
	check(total == actors*messages, "%d of %d were handled", total, actors*messages)
	return metrics{"rate": took}
}

// ---- actors made ----

func spawn(p params) metrics {
	count := p["actors"]
	var handled, sum atomic.Uint64
	done := make(chan bool, 1)
	began := time.Now()
	for i := uint64(0); i < count; i++ {
		mailbox := make(chan uint64, 1)
		go func() {
			sum.Add(<-mailbox)
			if handled.Add(1) == count {
				done <- true
			}
		}()
		mailbox <- i
	}
	<-done
	took := each(began, count)
	check(sum.Load() == count*(count-1)/2, "the numbers add up to %d", sum.Load())
	return metrics{"actor": took}
}

func resident() uint64 {
	text, err := os.ReadFile("/proc/self/statm")
	check(err == nil, "%v", err)
	pages, err := strconv.ParseUint(strings.Fields(string(text))[1], 10, 64)
	check(err == nil, "%v", err)
	return pages * uint64(os.Getpagesize())
}

func memory(p params) metrics {
	count := p["actors"]
	var alive, handled atomic.Uint64
	mailboxes := make([]chan uint64, count)
	for i := range mailboxes {
		mailboxes[i] = nil // so that the table itself is there before
	}
	before := resident()
	for i := range mailboxes {
		mailboxes[i] = make(chan uint64, 1)
		go func(mailbox chan uint64) {
			alive.Add(1)
			handled.Add(<-mailbox)
		}(mailboxes[i])
	}
	for alive.Load() < count {
		time.Sleep(time.Millisecond)
	}
	after := resident()
	for _, mailbox := range mailboxes { // all are still there
		mailbox <- 1
	}
	for until := time.Now().Add(time.Minute); handled.Load() < count; time.Sleep(time.Millisecond) {
		check(time.Now().Before(until), "%d of %d are there", handled.Load(), count)
	}
	return metrics{"actor": float64(after-before) / float64(count)}
}

type partial struct{ sum, actors uint64 }

func fibActor(n uint64, parent chan<- partial) {
	if n < 2 {
		parent <- partial{n, 1}
		return
	}
	mailbox := make(chan partial, 2)
	go fibActor(n-1, mailbox)
	go fibActor(n-2, mailbox)
	a, b := <-mailbox, <-mailbox
	parent <- partial{a.sum + b.sum, a.actors + b.actors + 1}
}

func fib(p params) metrics {
	sum, next := uint64(0), uint64(1)
	for i := uint64(0); i < p["n"]; i++ {
		sum, next = next, sum+next
	}
	mailbox := make(chan partial, 1)
	began := time.Now()
	go fibActor(p["n"], mailbox)
	got := <-mailbox
	took := float64(time.Since(began).Nanoseconds()) / 1e6
	check(got.sum == sum && got.actors == 2*next-1, "fib is %d by %d actors", got.sum, got.actors)
	return metrics{"time": took}
}

// ---- timers ----

func someDelay(n uint64) time.Duration {
	return time.Second + time.Duration(n*0x9e3779b97f4a7c15%uint64(time.Minute))
}

func timers(p params) metrics {
	count := p["n"]
	var fired, sum atomic.Uint64
	all := make([]*time.Timer, count)
	began := time.Now()
	for i := range all {
		all[i] = time.AfterFunc(someDelay(uint64(i)), func() { fired.Add(1) })
	}
	set := each(began, count)
	began = time.Now()
	stopped := uint64(0)
	for _, timer := range all {
		if timer.Stop() {
			stopped++
		}
	}
	cancel := each(began, count)
	check(stopped == count && fired.Load() == 0, "%d of %d were cancelled", stopped, count)

	done := make(chan bool, 1)
	due := time.Now().Add(20*time.Millisecond + time.Duration(count*1000))
	for i := uint64(0); i < count; i++ {
		number, at := i, due.Add(time.Duration(i*0x9e3779b97f4a7c15%uint64(time.Millisecond)))
		time.AfterFunc(time.Until(at), func() {
			sum.Add(number)
			if fired.Add(1) == count {
				done <- true
			}
		})
	}
	check(time.Now().Before(due), "setting took until they were due")
	<-done
	fire := each(due, count)
	check(sum.Load() == count*(count-1)/2, "the numbers add up to %d", sum.Load())
	return metrics{"set": set, "cancel": cancel, "fire": fire}
}

var workloads = map[string]func(params) metrics{
	"pingpong": pingpong, "ring": ring, "ask": ask, "fan-in": fanIn, "counting": counting, "fork-join": forkJoin,
	"spawn": spawn, "memory": memory, "fib": fib, "timers": timers,
}

// A smaller one first, so that the runtime has grown; memory is what the growth itself costs.
func warmUp(name string, p params) {
	small := params{}
	for key, value := range p {
		small[key] = value
		if key == "n" && name == "fib" {
			small[key] = value - value/5
		} else if name == "timers" {
			continue // all of them, as troupe does
		} else if key == "messages" || key == "n" || key == "actors" && name == "spawn" {
			small[key] = value/5 + 1
		}
	}
	if name != "memory" {
		workloads[name](small)
	}
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "sink" {
		sink()
		return
	}
	check(len(os.Args) > 1 && workloads[os.Args[1]] != nil, "usage: peer WORKLOAD [--parameter value]...")
	p := params{}
	for i := 2; i+1 < len(os.Args); i += 2 {
		value, err := strconv.ParseUint(os.Args[i+1], 10, 64)
		check(err == nil, "%s %s is no number", os.Args[i], os.Args[i+1])
		p[strings.TrimPrefix(os.Args[i], "--")] = value
	}
	warmUp(os.Args[1], p)
	separator := "{"
	for name, value := range workloads[os.Args[1]](p) {
		fmt.Printf("%s\"%s\":%g", separator, name, value)
		separator = ","
	}
	fmt.Println("}")
}
