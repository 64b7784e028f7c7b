// Between two processes on loopback: this program, and the same as `peer sink`, which prints its port. At both ends an
// actor is a goroutine with a bounded channel; between channel and socket stand a goroutine that encodes into a
// bufio.Writer, flushed when the channel is empty, and one that decodes from a bufio.Reader. One way the window is what
// the two channels and the socket hold: TCP pushes back.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sort"
	"strings"
	"time"
)

const (
	plain = iota // one way
	asked        // to be answered
	answer
	begin // number: how many are to come
	done  // number: how many came
)

type parcel struct {
	kind   byte
	number uint64
	data   []byte
}

const bufferSize = 64 << 10

func encode(to net.Conn, from chan parcel) {
	out := bufio.NewWriterSize(to, bufferSize)
	var head [13]byte
	for p := range from {
		binary.LittleEndian.PutUint32(head[0:], uint32(len(p.data)))
		head[4] = p.kind
		binary.LittleEndian.PutUint64(head[5:], p.number)
		out.Write(head[:])
		out.Write(p.data)
		if len(from) == 0 && out.Flush() != nil {
			return
		}
	}
}

func decode(from net.Conn, to chan parcel) {
	in := bufio.NewReaderSize(from, bufferSize)
	var head [13]byte
	for {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			close(to)
			return
		}
		p := parcel{kind: head[4], number: binary.LittleEndian.Uint64(head[5:])}
		p.data = make([]byte, binary.LittleEndian.Uint32(head[0:]))
		if _, err := io.ReadFull(in, p.data); err != nil {
			close(to)
			return
		}
		to <- p
	}
}

func connect(conn net.Conn) (in, out chan parcel) {
	in, out = make(chan parcel, bound), make(chan parcel, bound)
	go encode(conn, out)
	go decode(conn, in)
	return in, out
}

// The other process: answers, counts and checks.
func sink() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err == nil, "listen: %v", err)
	fmt.Println(listener.Addr().String())
	conn, err := listener.Accept()
	check(err == nil, "accept: %v", err)
	in, out := connect(conn)
	var due, count uint64
	for p := range in {
		switch p.kind {
		case asked:
			out <- parcel{answer, p.number, p.data}
		case begin:
			due, count = p.number, 0
		default:
			check(p.number == count, "%d came where %d was due", p.number, count)
			count++
			if count == due {
				out <- parcel{done, count, nil}
			}
		}
	}
}

// Starts it; what is returned ends it.
func withSink(work func(in, out chan parcel) metrics) metrics {
	other := exec.Command(os.Args[0], "sink")
	pipe, _ := other.StdoutPipe()
	check(other.Start() == nil, "the other process doesn't start")
	defer other.Wait()
	defer other.Process.Kill()
	address, err := bufio.NewReader(pipe).ReadString('\n')
	check(err == nil, "the other process says nothing")
	conn, err := net.Dial("tcp", strings.TrimSpace(address))
	check(err == nil, "dial: %v", err)
	in, out := connect(conn)
	return work(in, out)
}

func remoteRtt(p params) metrics {
	return withSink(func(in, out chan parcel) metrics {
		times := make([]float64, p["messages"])
		data := make([]byte, p["size"])
		for i := range times {
			began := time.Now()
			out <- parcel{asked, uint64(i), data}
			got := <-in
			check(got.kind == answer && got.number == uint64(i), "the answer to %d is %d", i, got.number)
			times[i] = float64(time.Since(began).Nanoseconds()) / 1e3
		}
		sort.Float64s(times)
		return metrics{"p50": times[len(times)/2], "p99": times[len(times)*99/100]}
	})
}

func oneWay(p params) float64 {
	var seconds float64
	withSink(func(in, out chan parcel) metrics {
		data := make([]byte, p["size"])
		began := time.Now()
		out <- parcel{begin, p["messages"], nil}
		for i := uint64(0); i < p["messages"]; i++ {
			out <- parcel{plain, i, data}
		}
		got, open := <-in
		check(open && got.number == p["messages"], "%d of %d came", got.number, p["messages"])
		seconds = time.Since(began).Seconds()
		return nil
	})
	return seconds
}

func remoteFlood(p params) metrics {
	return metrics{"rate": float64(p["messages"]) / oneWay(p) / 1e6}
}

func remoteBulk(p params) metrics {
	return metrics{"rate": float64(p["messages"]) * float64(p["size"]) / oneWay(p) / 1e6}
}

// One goroutine asks, another takes the answers: in order, for that is how they come.
func remoteAsks(p params) metrics {
	return withSink(func(in, out chan parcel) metrics {
		credit := make(chan bool, p["outstanding"])
		data := make([]byte, p["size"])
		began := time.Now()
		go func() {
			for i := uint64(0); i < p["messages"]; i++ {
				credit <- true
				out <- parcel{asked, i, data}
			}
		}()
		for i := uint64(0); i < p["messages"]; i++ {
			got := <-in
			check(got.kind == answer && got.number == i, "the answer to %d is %d", i, got.number)
			<-credit
		}
		return metrics{"rate": float64(p["messages"]) / time.Since(began).Seconds()}
	})
}

// The same, and how long each took.
func remoteLoad(p params) metrics {
	return withSink(func(in, out chan parcel) metrics {
		credit, begun := make(chan bool, p["outstanding"]), make(chan time.Time, p["outstanding"])
		data := make([]byte, p["size"])
		times := make([]float64, p["messages"])
		began := time.Now()
		go func() {
			for i := uint64(0); i < p["messages"]; i++ {
				credit <- true
				begun <- time.Now()
				out <- parcel{asked, i, data}
			}
		}()
		for i := range times {
			got := <-in
			check(got.kind == answer && got.number == uint64(i), "the answer to %d is %d", i, got.number)
			times[i] = float64(time.Since(<-begun).Nanoseconds()) / 1e3
			<-credit
		}
		rate := float64(p["messages"]) / time.Since(began).Seconds()
		sort.Float64s(times)
		return metrics{"p50": times[len(times)/2], "p99": times[len(times)*99/100], "rate": rate}
	})
}

func init() {
	workloads["remote-load"] = remoteLoad
	workloads["remote-rtt"], workloads["remote-flood"] = remoteRtt, remoteFlood
	workloads["remote-asks"], workloads["remote-bulk"] = remoteAsks, remoteBulk
}
