"""What `./dev bench` measures: the workloads with their parameters, who takes part, and what is to be reached. Data
only; the work is in measure.py, what is written of it in report.py and charts.py."""
from dataclasses import dataclass, field


@dataclass
class Metric:
    name: str  # as troupe bench prints it
    unit: str
    target: str = ""  # "4x": of the best peer; "flow": 1.5 of Go's and 6 of the others'; "at most N"
    label: str = ""  # where the workload has several

    @property
    def more_is_better(self):
        return self.unit == "M/s"


@dataclass
class Workload:
    key: str
    bench: str  # its name in troupe bench and in the peers
    params: dict
    metrics: list
    work: str  # one line for the reader
    fewer: dict = field(default_factory=dict)  # by peer: parameters that are smaller there
    absent: dict = field(default_factory=dict)  # by peer: why it has no part
    needs_gb: dict = field(default_factory=dict)  # by peer: memory that must be free
    one_at_a_time: bool = False  # one message in flight: troupe has one loop, more would wake threads by turns


MILLION = 1_000_000

WORKLOADS = [
    Workload("pingpong", "pingpong", {"messages": MILLION}, [Metric("round_trip", "ns", "4x")],
             "two actors, 1,000,000 round trips, one message in flight", {"asyncio": {"messages": MILLION // 10}},
             one_at_a_time=True),
    Workload("ring", "ring", {"actors": 100, "messages": MILLION}, [Metric("hop", "ns", "4x")],
             "100 actors, one token, 1,000,000 hops", {"asyncio": {"messages": MILLION // 10}}, one_at_a_time=True),
    Workload("ask", "ask", {"messages": MILLION}, [Metric("round_trip", "ns", "4x")],
             "1,000,000 questions one after the other, each with a deadline, each awaited",
             {"asyncio": {"messages": MILLION // 10}}, one_at_a_time=True),
    Workload("spawn", "spawn", {"actors": MILLION}, [Metric("actor", "ns", "4x")],
             "1,000,000 actors made, each handles one message and ends", {"asyncio": {"actors": MILLION // 10}}),
    Workload("timers", "timers", {"n": MILLION},
             [Metric("set", "ns", "4x", "timer set"), Metric("cancel", "ns", "at most 20", "timer cancel"),
              Metric("fire", "ns", "4x", "timer fire")],
             "1,000,000 one-shot timers: set, cancelled; others, all due within a millisecond, until the last has fired",
             {"asyncio": {"n": MILLION // 10}, "caf": {"n": 10_000}}),
    Workload("fan-in 20", "fan-in", {"senders": 20, "messages": 200_000}, [Metric("rate", "M/s", "flow")],
             "20 senders, 200,000 messages each, to one receiver", {"asyncio": {"messages": 20_000}}),
    Workload("fan-in 100", "fan-in", {"senders": 100, "messages": 200_000}, [Metric("rate", "M/s", "flow")],
             "100 senders, 200,000 messages each, to one receiver",
             {"asyncio": {"messages": 10_000}}),
    Workload("counting", "counting", {"messages": 5 * MILLION}, [Metric("rate", "M/s", "flow")],
             "one producer, 5,000,000 increments to one counter, which is then asked for the sum",
             {"asyncio": {"messages": MILLION // 2}}),
    Workload("fork-join", "fork-join", {"actors": 60, "messages": 100_000}, [Metric("rate", "M/s", "flow")],
             "60 actors, 100,000 messages each from one source", {"asyncio": {"messages": 10_000}}),
    Workload("fib(25)", "fib", {"n": 25}, [Metric("time", "ms")],
             "Fibonacci's number by 242,785 actors, each of which spawns two"),
    Workload("fib(32)", "fib", {"n": 32}, [Metric("time", "ms", "4x")],
             "Fibonacci's number by 7,049,155 actors, each of which spawns two",
             absent={"asyncio": "minutes and tens of GB"}, needs_gb={"erlang": 12}),
    Workload("memory", "memory", {"actors": MILLION}, [Metric("actor", "bytes", "at most 256")],
             "1,000,000 idle actors alive: growth of the process for each", {"asyncio": {"actors": MILLION // 10}}),
]

# A metric that a peer can't give.
LACKS = {("caf", "timers", "cancel"): "a delayed message can't be taken back by who sent it"}

PEERS = {  # in the order of the charts
    "troupe": "troupe",
    "go": "Go",
    "erlang": "Erlang/OTP",
    "caf": "CAF",
    "asyncio": "asyncio",
}

# Troupe alone, at one loop and at more: the ratio that is to be reached.
SCALING = [
    Workload("fib(32)", "fib", {"n": 32}, [Metric("time", "ms", "1.5")], "fib(32), the larger half stays, the smaller is "
             "spread over the loops down to the eighth level"),
    Workload("fan-in, 200 ns of work", "fan-in", {"senders": 20, "messages": 100_000, "work": 200},
             [Metric("rate", "M/s", "1.4")], "20 senders, each works 200 ns before each of 100,000 messages"),
]


# ---- between two processes ----

REMOTE_PEERS = {  # in the order of the charts; those of nng are the layer below, without actors
    "troupe": "troupe",
    "troupe-key": "with a key",
    "go": "Go",
    "erlang": "Erlang/OTP",
    "caf": "CAF",
    "asyncio": "asyncio",
    "nng-stream": "nng stream",
    "nng-push": "nng PUSH",
    "nng-batch": "nng PUSH, batched",
}

WINDOWS = {  # what may be under way one way
    "troupe": "16,000 messages that the receiver grants by halves, at most as many as its mailbox has places; 1 MiB of bytes",
    "go": "1,024 in each of the two channels, 64 KiB in each of two buffers, and the socket's",
    "erlang": "the distribution's buffer, 1 MB, and the socket's; the mailbox is unbounded",
    "caf": "nothing bounds it",
    "asyncio": "64 KiB of the writer's buffer, and the socket's",
    "nng-stream": "a frame of 64 KB, and the socket's",
    "nng-push": "what nng and the socket take",
    "nng-batch": "what nng and the socket take",
}


@dataclass
class Remote:
    key: str
    bench: str
    params: dict
    metric: str
    unit: str
    work: str
    targets: dict = field(default_factory=dict)  # by peer: so many times it, at least; of times: its time, at most
    at_least: float = 0
    at_most: float = 0
    share_of: str = ""  # the key of another: this is a part of that one's value, in the same mode
    one_loop: bool = False  # troupe with one loop only, so that several metrics are of the same runs
    fewer: dict = field(default_factory=dict)  # by peer: parameters that are smaller there
    absent: tuple = ()

    @property
    def more_is_better(self):
        return self.unit != "us"


NO_ASKS = ("nng-stream", "nng-push", "nng-batch")
NO_RTT = ("nng-push", "nng-batch")
NO_MIXED = tuple(peer for peer in REMOTE_PEERS if not peer.startswith("troupe"))

REMOTE = [
    Remote("round trip, 64 B", "remote-rtt", {"messages": 20_000, "size": 64}, "p50", "us",
           "a question and its answer, one outstanding", {"nng-stream": 1.2}, absent=NO_RTT),
    Remote("round trip, 64 B, p99", "remote-rtt", {"messages": 20_000, "size": 64}, "p99", "us",
           "the same", absent=NO_RTT),
    Remote("flood, 64 B", "remote-flood", {"messages": 2 * MILLION, "size": 64}, "rate", "M/s",
           "2,000,000 messages of 64 bytes one way, until the last is handled", {"go": 2, "erlang": 20},
           fewer={"erlang": {"messages": 500_000}, "caf": {"messages": 200_000}, "asyncio": {"messages": 300_000},
                  "nng-push": {"messages": 100_000}}),
    Remote("flood, 1 KiB", "remote-flood", {"messages": 500_000, "size": 1024}, "rate", "M/s",
           "500,000 messages of 1 KiB one way", {"go": 1, "erlang": 4},
           fewer={"caf": {"messages": 50_000}, "asyncio": {"messages": 200_000}, "nng-push": {"messages": 50_000}}),
    Remote("asks", "remote-asks", {"messages": 500_000, "outstanding": 1000, "size": 64}, "rate", "round trips/s",
           "500,000 questions of 64 bytes, 1,000 outstanding, each answered", at_least=MILLION, absent=NO_ASKS,
           fewer={"erlang": {"messages": 200_000}, "caf": {"messages": 100_000}, "asyncio": {"messages": 200_000}}),
    Remote("bulk, 1 MiB", "remote-bulk", {"messages": 1000, "size": 1 << 20}, "rate", "MB/s",
           "1,000 payloads of 1 MiB one way", {"nng-stream": 0.8}, absent=("nng-batch",),
           fewer={"caf": {"messages": 100}}),
    Remote("asks beside bulk", "remote-mixed", {"messages": 1000, "size": 1 << 20}, "p50", "us",
           "questions of 64 bytes, one outstanding, while 1,000 payloads of 1 MiB cross the same connection one way; "
           "troupe with one loop", one_loop=True, absent=NO_MIXED),
    Remote("asks beside bulk, p99", "remote-mixed", {"messages": 1000, "size": 1 << 20}, "p99", "us",
           "the same", at_most=2000, one_loop=True, absent=NO_MIXED),
    Remote("bulk beside asks", "remote-mixed", {"messages": 1000, "size": 1 << 20}, "rate", "% of bulk alone",
           "the same", at_least=60, share_of="bulk, 1 MiB", one_loop=True, absent=NO_MIXED),
]

REMOTE_SIZES = [16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1 << 20]
REMOTE_SIZES_OF = ("troupe", "go", "erlang", "asyncio", "caf", "nng-stream")

REMOTE_LOADS = [1, 4, 16, 64, 256, 1024]  # asks outstanding
REMOTE_LOADS_OF = ("troupe", "troupe-key", "go", "erlang", "asyncio", "caf")


def of_size(size, peer):
    """How many messages of that size make a run of about a second."""
    most = {"troupe": 2 * MILLION, "go": 2 * MILLION, "nng-stream": 2 * MILLION, "caf": 60_000}.get(peer, 200_000)
    mib = {"caf": 64, "asyncio": 256}.get(peer, 512)
    return max(50, min(most, (mib << 20) // size))


def of_load(outstanding, peer):
    """How many asks make a run of about a second."""
    most = {"caf": 50_000, "erlang": 200_000, "asyncio": 100_000}.get(peer, MILLION // 2)
    return min(most, 20_000 * outstanding)


# ---- transactions ----

@dataclass
class Tx:
    key: str
    bench: str
    params: dict
    work: str  # one line for the reader


TX = [
    Tx("log, 1 a force", "tx-force", {"outstanding": 1, "n": 500},
       "records of 200 bytes, one a force: straight to the disk, and by the log alone"),
    Tx("log, 8 a force", "tx-force", {"outstanding": 8, "n": 500}, "by the log alone, 8 records a force"),
    Tx("log, 64 a force", "tx-force", {"outstanding": 64, "n": 500}, "by the log alone, 64 records a force"),
    Tx("two nodes, 1 caller", "tx-two", {"callers": 1, "messages": 2000},
       "two processes; a transaction writes one participant on each; one after the other"),
    Tx("two nodes, 64 callers", "tx-two", {"callers": 64, "messages": 10_000},
       "the same by 64 callers with participants of their own"),
    Tx("one node, 1 caller", "tx-one", {"callers": 1, "messages": 4000},
       "a transaction writes two participants of its caller's node; one after the other"),
    Tx("one node, 8 callers", "tx-one", {"callers": 8, "messages": 10_000}, "the same by 8 callers"),
    Tx("one node, 64 callers", "tx-one", {"callers": 64, "messages": 20_000}, "the same by 64 callers"),
    Tx("reads, 64 callers", "tx-read", {"callers": 64, "messages": 20_000},
       "two processes; a transaction reads one participant on each; 64 callers"),
]

TX_LOADS = [1, 2, 5, 10]  # times what a hot participant can carry
TX_HOT = {"n": 1200}
TX_CLIENTS = [1, 10, 100, 1000]
TX_ENTRIES = 10_000  # of all clients together
TX_ENTRIES_EACH = 2000  # at most


@dataclass
class TxTarget:
    key: str
    workload: str  # of TX, or "hot" and "clients N"
    metric: str
    unit: str
    at_least: float = None
    at_most: float = None
    of: str = ""  # another metric of the same run, of which it is a part


TX_TARGETS = [
    TxTarget("two nodes, 64 callers", "two nodes, 64 callers", "rate", "commits a force",
             at_least=3 / 8, of="disk"),  # 3,000 a second where one process forces 8,000
    TxTarget("two nodes, 64 callers, a second", "two nodes, 64 callers", "rate", "commits/s", at_least=3000),
    TxTarget("two nodes, forces, 1 caller", "two nodes, 1 caller", "forces", "a transaction", at_most=2.2),
    TxTarget("two nodes, forces, 64 callers", "two nodes, 64 callers", "forces", "a transaction", at_most=1.1),
    TxTarget("one node, 1 caller", "one node, 1 caller", "share", "% of the log alone, same group size", at_least=50),
    TxTarget("one node, 8 callers", "one node, 8 callers", "share", "% of the log alone, same group size", at_least=50),
    TxTarget("one node, 64 callers", "one node, 64 callers", "share", "% of the log alone, same group size", at_least=50),
    TxTarget("reads, forces", "reads, 64 callers", "forces", "a transaction", at_most=0),
    TxTarget("hot, 10 times its load", "hot", "rate", "% of the peak", at_least=70),
    TxTarget("10 clients", "clients 10", "agree", "journals agree", at_least=10),
    TxTarget("1,000 clients", "clients 1000", "agree", "journals agree", at_least=1000),
    TxTarget("1,000 clients, all connected", "clients 1000", "connect", "s", at_most=10),
]


def made_smaller(workload, params):
    """The same in a twentieth of the time, to try the command out."""
    small = dict(params)
    if workload.bench == "fib":
        small["n"] = max(10, small["n"] - 8)
    else:
        key = "messages" if "messages" in small else "n" if "n" in small else "actors"
        small[key] = max(100, small[key] // 50)
    return small
