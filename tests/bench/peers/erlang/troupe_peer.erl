%% The workloads of `troupe bench` in Erlang: an actor is a process, its mailbox unbounded. Prints one JSON object,
%% its metrics named as troupe's. Each receiver counts and checks; what it got wrong ends the program with status 1.
%%
%%     erl +P 10000000 -noshell -s troupe_peer main -extra WORKLOAD [--parameter value]...
-module(troupe_peer).
-export([main/0]).

now_ns() -> erlang:monotonic_time(nanosecond).

check(true, _, _) -> ok;
check(false, Format, Args) ->
    io:format(standard_error, "erlang peer: " ++ Format ++ "~n", Args),
    erlang:halt(1).

each(Began, Count) -> (now_ns() - Began) / Count.
rate(Began, Count) -> Count * 1.0e3 / (now_ns() - Began).

%% ---- few in flight ----

pingpong(#{messages := Rounds}) ->
    Self = self(),
    Pong = spawn(fun() -> pong(Self) end),
    Began = now_ns(),
    ping(Pong, 0, Rounds),
    Took = each(Began, Rounds),
    Pong ! stop,
    [{round_trip, Took}].

ping(_, Rounds, Rounds) -> ok;
ping(Pong, Number, Rounds) ->
    Pong ! Number,
    receive Got when is_integer(Got) -> check(Got =:= Number, "ball ~p came back as ~p", [Number, Got]) end,
    ping(Pong, Number + 1, Rounds).

pong(Ping) ->
    receive
        stop -> ok;
        Number -> Ping ! Number, pong(Ping)
    end.

ring(#{actors := Actors, messages := Hops}) ->
    Self = self(),
    First = spawn(fun() -> receive {next, Next} -> ring_member(Next, Self, Hops) end end),
    Last = lists:foldl(fun(_, Next) -> spawn(fun() -> ring_member(Next, Self, Hops) end) end, First,
                       lists:seq(2, Actors)),
    First ! {next, Last},
    Began = now_ns(),
    First ! 0,
    receive {done, Hop} -> check(Hop =:= Hops, "~p hops, not ~p", [Hop, Hops]) end,
    [{hop, each(Began, Hops)}].

ring_member(Next, Home, Hops) ->
    receive
        Hops -> Home ! {done, Hops};
        Hop -> Next ! Hop + 1, ring_member(Next, Home, Hops)
    end.

%% What gen_server:call does: a monitor, whose alias takes the answer, and a deadline.
call(To, Question) ->
    Alias = erlang:monitor(process, To, [{alias, reply_demonitor}]),
    To ! {Alias, Question},
    receive
        {Alias, Answer} -> Answer;
        {'DOWN', Alias, _, _, Why} -> check(false, "the callee is gone: ~p", [Why])
    after 10000 -> check(false, "no answer to ~p", [Question])
    end.

ask(#{messages := Count}) ->
    Server = spawn(fun answer/0),
    Began = now_ns(),
    ask(Server, 0, Count),
    Took = each(Began, Count),
    Server ! stop,
    [{round_trip, Took}].

ask(_, Count, Count) -> ok;
ask(Server, Number, Count) ->
    Got = call(Server, Number),
    check(Got =:= Number + 1, "the answer to ~p is ~p", [Number, Got]),
    ask(Server, Number + 1, Count).

answer() ->
    receive
        stop -> ok;
        {From, Number} -> From ! {From, Number + 1}, answer()
    end.

%% ---- many at once ----

fan_in(#{senders := Senders, messages := Messages}) ->
    Self = self(),
    Next = counters:new(Senders, []),
    To = spawn(fun() -> gather(Self, Next, Senders * Messages) end),
    Began = now_ns(),
    [spawn(fun() -> send_items(To, S, 0, Messages) end) || S <- lists:seq(1, Senders)],
    receive done -> ok end,
    [{rate, rate(Began, Senders * Messages)}].

send_items(_, _, Messages, Messages) -> ok;
send_items(To, From, Number, Messages) ->
    To ! {From, Number},
    send_items(To, From, Number + 1, Messages).

gather(Home, _, 0) -> Home ! done;
gather(Home, Next, Left) ->
    receive
        {From, Number} ->
            Due = counters:get(Next, From),
            check(Number =:= Due, "sender ~p: ~p came where ~p was due", [From, Number, Due]),
            counters:put(Next, From, Due + 1),
            gather(Home, Next, Left - 1)
    end.

counting(#{messages := Count}) ->
    Counter = spawn(fun() -> counter(0) end),
    Began = now_ns(),
    increment(Counter, Count),
    Sum = call(Counter, sum),
    Took = rate(Began, Count),
    check(Sum =:= Count, "the sum is ~p, not ~p", [Sum, Count]),
    Counter ! stop,
    [{rate, Took}].

increment(_, 0) -> ok;
increment(Counter, Left) -> Counter ! {increment, 1}, increment(Counter, Left - 1).

counter(Sum) ->
    receive
        {increment, By} -> counter(Sum + By);
        {From, sum} -> From ! {From, Sum}, counter(Sum);
        stop -> ok
    end.

fork_join(#{actors := Actors, messages := Messages}) ->
    Self = self(),
    All = [spawn(fun() -> join(Self, 0, Messages) end) || _ <- lists:seq(1, Actors)],
    Began = now_ns(),
    fork(All, 0, Messages),
    Total = lists:sum([receive {done, Count} -> Count end || _ <- All]),
    Took = rate(Began, Actors * Messages),
    check(Total =:= Actors * Messages, "~p of ~p were handled", [Total, Actors * Messages]),
    [{rate, Took}].

fork(_, Messages, Messages) -> ok;
fork(All, Number, Messages) ->
    [To ! Number || To <- All],
    fork(All, Number + 1, Messages).

join(Home, Messages, Messages) -> Home ! {done, Messages};
join(Home, Count, Messages) ->
    receive Number -> check(Number =:= Count, "~p came where ~p was due", [Number, Count]) end,
    join(Home, Count + 1, Messages).

%% ---- processes made ----

spawn_many(#{actors := Count}) ->
    Self = self(),
    Handled = atomics:new(2, []),
    Began = now_ns(),
    spawn_some(Self, Handled, 0, Count),
    receive done -> ok end,
    Took = each(Began, Count),
    Sum = atomics:get(Handled, 2),
    check(Sum =:= Count * (Count - 1) div 2, "the numbers add up to ~p", [Sum]),
    [{actor, Took}].

spawn_some(_, _, Count, Count) -> ok;
spawn_some(Home, Handled, Number, Count) ->
    spawn(fun() -> one_message(Home, Handled, Count) end) ! Number,
    spawn_some(Home, Handled, Number + 1, Count).

one_message(Home, Handled, Count) ->
    receive Number -> atomics:add(Handled, 2, Number) end,
    case atomics:add_get(Handled, 1, 1) of
        Count -> Home ! done;
        _ -> ok
    end.

resident() ->
    {ok, Text} = file:read_file("/proc/self/statm"),
    list_to_integer(lists:nth(2, string:lexemes(binary_to_list(Text), " "))) * 4096.

memory(#{actors := Count}) ->
    Self = self(),
    Before = resident(),
    All = [spawn_opt(fun() -> receive hello -> Self ! alive end end, []) || _ <- lists:seq(1, Count)],
    After = settled(0, 50),
    [To ! hello || To <- All],
    [receive alive -> ok after 60000 -> check(false, "not all are there", []) end || _ <- All],
    [{actor, (After - Before) / Count}].

%% What is resident once it stops growing: processes start when they are scheduled.
settled(Was, Left) ->
    timer:sleep(20),
    case resident() of
        Is when Is =< Was; Left =:= 0 -> Is;
        Is -> settled(Is, Left - 1)
    end.

fib(#{n := N}) ->
    {Sum, Next} = lists:foldl(fun(_, {A, B}) -> {B, A + B} end, {0, 1}, lists:seq(1, N)),
    Self = self(),
    Began = now_ns(),
    spawn(fun() -> fib_actor(N, Self) end),
    receive {Got, Actors} -> ok end,
    Took = (now_ns() - Began) / 1.0e6,
    check(Got =:= Sum andalso Actors =:= 2 * Next - 1, "fib is ~p by ~p actors", [Got, Actors]),
    [{time, Took}].

fib_actor(N, Parent) when N < 2 -> Parent ! {N, 1};
fib_actor(N, Parent) ->
    Self = self(),
    spawn(fun() -> fib_actor(N - 1, Self) end),
    spawn(fun() -> fib_actor(N - 2, Self) end),
    {A, Left} = receive {_, _} = One -> One end,
    {B, Right} = receive {_, _} = Two -> Two end,
    Parent ! {A + B, Left + Right + 1}.

%% ---- timers ----

timers(#{n := Count}) ->
    Began = now_ns(),
    All = set_timers(0, Count, []),
    Set = each(Began, Count),
    Cancelling = now_ns(),
    Cancelled = cancel_timers(All, 0),
    Cancel = each(Cancelling, Count),
    check(Cancelled =:= Count, "~p of ~p were cancelled", [Cancelled, Count]),
    %% Timers are of whole ms here: all are due in the next one.
    Due = erlang:monotonic_time(millisecond) + 20 + Count div 500,
    [erlang:send_after(Due, self(), Number, [{abs, true}]) || Number <- lists:seq(0, Count - 1)],
    check(erlang:monotonic_time(millisecond) < Due, "setting took until they were due", []),
    Sum = fired(Count, 0),
    Fire = each(Due * 1000000, Count),
    check(Sum =:= Count * (Count - 1) div 2, "the numbers add up to ~p", [Sum]),
    [{set, Set}, {cancel, Cancel}, {fire, Fire}].

set_timers(Count, Count, All) -> All;
set_timers(N, Count, All) ->
    Delay = 1000 + N * 16#9e3779b9 rem 60000,
    set_timers(N + 1, Count, [erlang:send_after(Delay, self(), N) | All]).

cancel_timers([], Cancelled) -> Cancelled;
cancel_timers([Timer | Rest], Cancelled) ->
    case erlang:cancel_timer(Timer) of
        false -> cancel_timers(Rest, Cancelled);
        _ -> cancel_timers(Rest, Cancelled + 1)
    end.

fired(0, Sum) -> Sum;
fired(Left, Sum) -> receive Number -> fired(Left - 1, Sum + Number) end.

%% ---- the command line ----

workload("pingpong") -> fun pingpong/1;
workload("ring") -> fun ring/1;
workload("ask") -> fun ask/1;
workload("fan-in") -> fun fan_in/1;
workload("counting") -> fun counting/1;
workload("fork-join") -> fun fork_join/1;
workload("spawn") -> fun spawn_many/1;
workload("memory") -> fun memory/1;
workload("fib") -> fun fib/1;
workload("timers") -> fun timers/1.

parameters([]) -> [];
parameters(["--" ++ Name, Value | Rest]) ->
    [{list_to_atom(Name), list_to_integer(Value)} | parameters(Rest)].

%% A smaller one first, so that the runtime has grown; memory is what the growth itself costs.
smaller("fib", n, N) -> N - N div 5;
smaller("timers", n, N) -> N; % as troupe does
smaller("spawn", actors, N) -> N div 5 + 1;
smaller(_, Key, N) when Key =:= messages; Key =:= n -> N div 5 + 1;
smaller(_, _, N) -> N.

%% In a process of its own each: what one leaves behind is not the next one's to collect.
in_process(Work, Parameters) ->
    Self = self(),
    {_, Monitor} = spawn_monitor(fun() -> Self ! {result, Work(Parameters)} end),
    receive
        {result, Result} -> receive {'DOWN', Monitor, _, _, _} -> Result end;
        {'DOWN', Monitor, _, _, Why} -> check(false, "~p", [Why])
    end.

main() ->
    [Name | Words] = init:get_plain_arguments(),
    Work = workload(Name),
    Parameters = parameters(Words),
    Name =:= "memory" orelse
        in_process(Work, maps:from_list([{Key, smaller(Name, Key, N)} || {Key, N} <- Parameters])),
    Result = in_process(Work, maps:from_list(Parameters)),
    io:format("{~s}~n", [lists:join(",", [io_lib:format("\"~s\":~p", [Metric, Value]) || {Metric, Value} <- Result])]),
    halt(0).
