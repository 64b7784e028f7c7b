%% The workloads of `troupe bench` between two processes, by Erlang's distribution over loopback: an actor is a process of
%% either node. It starts the other node itself. A known port takes the place of epmd, so nothing is left running. One way the
%% window is what the distribution's buffer (1 MB) and the socket hold: it suspends the sender; mailboxes are unbounded.
%%
%%     erl -noshell -sname NAME@localhost -setcookie C -start_epmd false -erl_epmd_port P -dist_listen false
%%         -s troupe_remote main -extra WORKLOAD [--parameter value]...
-module(troupe_remote).
-export([main/0, sink/0]).

now_ns() -> erlang:monotonic_time(nanosecond).

check(true, _, _) -> ok;
check(false, Format, Args) ->
    io:format(standard_error, "erlang peer: " ++ Format ++ "~n", Args),
    erlang:halt(1).

%% ---- the other node ----

%% Ends with the one that it works for.
sink() ->
    [Home] = init:get_plain_arguments(),
    register(sink, self()),
    await(list_to_atom(Home), 500),
    erlang:monitor_node(list_to_atom(Home), true),
    serve(none, 0, 0).

await(_, 0) -> erlang:halt(1);
await(Node, Left) ->
    case lists:member(Node, nodes(connected)) of
        true -> ok;
        false -> timer:sleep(20), await(Node, Left - 1)
    end.

serve(From, Due, Count) ->
    receive
        {ask, Asker, Number, Data} ->
            Asker ! {answer, Number, Data},
            serve(From, Due, Count);
        {item, Number, _Data} ->
            check(Number =:= Count, "~p came where ~p was due", [Number, Count]),
            Count + 1 =:= Due andalso (From ! {done, Due}),
            serve(From, Due, Count + 1);
        {'begin', Sender, Total} -> serve(Sender, Total, 0);
        {nodedown, _} -> erlang:halt(0)
    end.

start_sink(Port) ->
    Name = "sink" ++ integer_to_list(Port) ++ "@localhost",
    Folder = filename:dirname(code:which(?MODULE)),
    Args = ["-noshell", "-sname", Name, "-setcookie", atom_to_list(erlang:get_cookie()), "-start_epmd", "false",
            "-erl_epmd_port", integer_to_list(Port), "-pa", Folder, "-s", "troupe_remote", "sink", "-extra",
            atom_to_list(node())],
    open_port({spawn_executable, os:find_executable("erl")}, [{args, Args}, exit_status]),
    Sink = list_to_atom(Name),
    reach(Sink, 200),
    {sink, Sink}.

reach(Node, 0) -> check(false, "~p doesn't come up", [Node]);
reach(Node, Left) ->
    Up = net_adm:ping(Node) =:= pong andalso is_pid(rpc:call(Node, erlang, whereis, [sink])),
    Up orelse begin timer:sleep(50), reach(Node, Left - 1) end.

%% ---- the workloads ----

data(#{size := Size}) -> binary:copy(<<7>>, Size).

rtt(Sink, #{messages := Count} = P) ->
    Times = lists:sort(round_trips(Sink, 0, Count, data(P), [])),
    [{p50, lists:nth(Count div 2 + 1, Times) / 1000}, {p99, lists:nth(Count * 99 div 100 + 1, Times) / 1000}].

round_trips(_, Count, Count, _, Times) -> Times;
round_trips(Sink, Number, Count, Data, Times) ->
    Began = now_ns(),
    Sink ! {ask, self(), Number, Data},
    receive {answer, Got, _} -> check(Got =:= Number, "the answer to ~p is ~p", [Number, Got]) end,
    round_trips(Sink, Number + 1, Count, Data, [now_ns() - Began | Times]).

one_way(Sink, #{messages := Count} = P) ->
    Began = now_ns(),
    Sink ! {'begin', self(), Count},
    send_items(Sink, 0, Count, data(P)),
    receive {done, Got} -> check(Got =:= Count, "~p of ~p came", [Got, Count]) end,
    (now_ns() - Began) / 1.0e9.

send_items(_, Count, Count, _) -> ok;
send_items(Sink, Number, Count, Data) ->
    Sink ! {item, Number, Data},
    send_items(Sink, Number + 1, Count, Data).

flood(Sink, #{messages := Count} = P) -> [{rate, Count / one_way(Sink, P) / 1.0e6}].
bulk(Sink, #{messages := Count, size := Size} = P) -> [{rate, Count * Size / one_way(Sink, P) / 1.0e6}].

asks(Sink, #{messages := Count, outstanding := Outstanding} = P) ->
    Data = data(P),
    First = min(Count, Outstanding),
    Began = now_ns(),
    [Sink ! {ask, self(), Number, Data} || Number <- lists:seq(0, First - 1)],
    answers(Sink, 0, First, Count, Data),
    [{rate, Count * 1.0e9 / (now_ns() - Began)}].

answers(_, Count, _, Count, _) -> ok;
answers(Sink, Due, Next, Count, Data) ->
    receive {answer, Got, _} -> check(Got =:= Due, "the answer to ~p is ~p", [Due, Got]) end,
    Next < Count andalso (Sink ! {ask, self(), Next, Data}),
    answers(Sink, Due + 1, min(Next + 1, Count), Count, Data).

%% The same, and how long each took.
load(Sink, #{messages := Count, outstanding := Outstanding} = P) ->
    Data = data(P),
    First = min(Count, Outstanding),
    Began = now_ns(),
    Begun = [begin At = now_ns(), Sink ! {ask, self(), Number, Data}, At end || Number <- lists:seq(0, First - 1)],
    Took = timed(Sink, 0, First, Count, Data, queue:from_list(Begun), []),
    Rate = Count * 1.0e9 / (now_ns() - Began),
    Times = lists:sort(Took),
    [{p50, lists:nth(Count div 2 + 1, Times) / 1000}, {p99, lists:nth(Count * 99 div 100 + 1, Times) / 1000},
     {rate, Rate}].

timed(_, Count, _, Count, _, _, Times) -> Times;
timed(Sink, Due, Next, Count, Data, Begun, Times) ->
    receive {answer, Got, _} -> check(Got =:= Due, "the answer to ~p is ~p", [Due, Got]) end,
    {{value, At}, Left} = queue:out(Begun),
    Took = now_ns() - At,
    More = case Next < Count of
        true -> Now = now_ns(), Sink ! {ask, self(), Next, Data}, queue:in(Now, Left);
        false -> Left
    end,
    timed(Sink, Due + 1, min(Next + 1, Count), Count, Data, More, [Took | Times]).

workload("remote-rtt") -> fun rtt/2;
workload("remote-flood") -> fun flood/2;
workload("remote-asks") -> fun asks/2;
workload("remote-load") -> fun load/2;
workload("remote-bulk") -> fun bulk/2.

parameters([]) -> [];
parameters(["--" ++ Name, Value | Rest]) ->
    [{list_to_atom(Name), list_to_integer(Value)} | parameters(Rest)].

%% A smaller one first, so that the runtime has grown.
main() ->
    [Name | Words] = init:get_plain_arguments(),
    {ok, [[Port]]} = init:get_argument(erl_epmd_port),
    Sink = start_sink(list_to_integer(Port)),
    Work = workload(Name),
    #{messages := Count} = P = maps:from_list(parameters(Words)),
    Work(Sink, P#{messages := Count div 5 + 1}),
    Result = Work(Sink, P),
    io:format("{~s}~n", [lists:join(",", [io_lib:format("\"~s\":~p", [Metric, Value]) || {Metric, Value} <- Result])]),
    halt(0).
