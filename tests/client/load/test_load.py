"""The figures of a load: what is added up, how it is summed, and when the requester says that it is the limit."""

import pickle
from array import array
from collections import Counter
from itertools import islice

import pytest

from client import usage
from client.call.rpc import RPCS
from client.load.fleet import Fleet
from client.load.result import Latency, LoadResult, document, latency
from client.load.run import warm_up
from client.load.tally import Tally
from client.load.worker import Phase, numbers
from client.options import LoadOptions, Target
from grpc_tracing.evidence.records import HopRecord


@pytest.mark.parametrize(
    ("ids", "torn"),
    [
        (("a", "a", "a"), {"svc1 > svc2": 0, "svc2 > svc3": 0}),
        (("a", "a", "b"), {"svc1 > svc2": 0, "svc2 > svc3": 1}),
        (("a", "b", "a"), {"svc1 > svc2": 1, "svc2 > svc3": 1}),
        (("a", "", ""), {"svc1 > svc2": 1, "svc2 > svc3": 1}),
        (("", "", ""), {}),
        (("a",), {}),
        ((), {}),
    ],
)
def test_a_link_is_whole_where_both_its_records_name_one_trace(ids: tuple[str, ...], torn: dict[str, int]) -> None:
    hops = [HopRecord(service=f"svc{number}", trace_id=one) for number, one in enumerate(ids, start=1)]
    made = Tally()
    made.read("Talk", hops, 1000)
    assert made.torn == Counter({("Talk", link): count for link, count in torn.items()})
    assert made.judged == Counter({("Talk", link): 1 for link in torn})


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("all", RPCS),
        ("Talk", ("Talk",)),
        ("Talk=3,TalkBidirectional=1", ("Talk", "Talk", "TalkBidirectional", "Talk")),
        ("Talk=2,TalkBidirectional=2", ("Talk", "TalkBidirectional", "Talk", "TalkBidirectional")),
    ],
)
def test_a_mix_is_spread_by_weight(text: str, order: tuple[str, ...]) -> None:
    assert usage.mix(text, RPCS) == order


@pytest.mark.parametrize(("rate", "made"), [(None, [[0, 1, 2, 3], [1, 2, 3, 4]]), (9.0, [[0, 2, 4, 6], [1, 3, 5, 7]])])
def test_two_workers_deal_out_an_open_loop_and_each_go_through_the_mix_of_a_closed_one(
    rate: float | None, made: list[list[int]]
) -> None:
    phases = [Phase(start=0.0, seconds=1.0, index=index, workers=2) for index in range(2)]
    assert [list(islice(numbers(phase, rate), 4)) for phase in phases] == made


@pytest.mark.parametrize("text", ["", "Sing", "Talk=0", "Talk=x", "Talk=100", "Talk,Talk", "all,Talk"])
def test_a_wrong_mix_is_refused(text: str) -> None:
    with pytest.raises(usage.UsageError, match="--rpc"):
        usage.mix(text, RPCS)


@pytest.mark.parametrize("text", ["0", "-1", "fast", "1e3", "٣"])
def test_a_wrong_rate_is_refused(text: str) -> None:
    with pytest.raises(usage.UsageError, match="write calls a second"):
        usage.rate(text)


def test_percentiles_are_those_of_the_values_exactly() -> None:
    found = latency(range(1000, 1_001_000, 1000))
    assert found == Latency((500.0, 900.0, 990.0, 999.0), mean=500.5, highest=1000.0)


def test_percentiles_count_each_value_as_often_as_it_came() -> None:
    assert latency([5000] * 899 + [7000] + [9000] * 100).percentiles == (5.0, 7.0, 9.0, 9.0)


def test_no_values_give_no_latency() -> None:
    assert latency([]) == Latency((0.0, 0.0, 0.0, 0.0), 0.0, 0.0)


PATH = (
    HopRecord(service="svc1", here_us=100, later_us=800),
    HopRecord(service="svc2", here_us=200, later_us=300),
    HopRecord(service="svc3", here_us=250),
)


def test_a_calls_time_is_shared_out_without_rest() -> None:
    made = Tally()
    made.read("Talk", PATH, 1000)
    assert list(made.parts.items()) == [
        ("requester > svc1", 100),
        ("svc1", 100),
        ("svc1 > svc2", 300),
        ("svc2", 200),
        ("svc2 > svc3", 50),
        ("svc3", 250),
    ]
    assert made.parts.total() == 1000


def test_a_call_with_a_shortened_record_is_not_timed() -> None:
    tally = Tally()
    tally.read("Talk", (PATH[0], HopRecord(service="svc2", shortened=True)), 1000)
    tally.read("Talk", (), 1000)
    assert (tally.timed, tally.parts) == (0, Counter())


def tally(*milliseconds: int, late: tuple[int, ...] = (), unstarted: int = 0) -> Tally:
    made = Tally(lateness=array("Q", late), unstarted=unstarted)
    for one in milliseconds:
        made.succeeded("Talk", one * 1000, 1)
    return made


def test_tallies_add_up() -> None:
    whole, other = tally(1, 2), tally(3, late=(7,), unstarted=1)
    other.failed("Talk", "UNAVAILABLE")
    other.read("Talk", PATH, 1000)
    whole.add(pickle.loads(pickle.dumps(other)))  # noqa: S301 - as it travels from a worker
    assert (whole.calls, list(whole.latencies["Talk"]), whole.answers["Talk"]) == (4, [1000, 2000, 3000], 3)
    assert (whole.errors, whole.timed, list(whole.lateness), whole.unstarted) == (
        Counter({("Talk", "UNAVAILABLE"): 1}),
        1,
        [7],
        1,
    )


def result(measured: Tally, *shares: float) -> LoadResult:
    options = LoadOptions(target=Target(address="127.0.0.1:1"), mix=RPCS, rate=50.0, concurrency=9)
    return LoadResult(options, measured, 2.0, shares or (0.1,))


LIMITS = [
    (result(tally(1)), []),
    (result(tally(1), 0.2, 0.97), ["the requester is the limit: 97% of a core in one process; try --processes 3"]),
    (result(tally(1, late=(9000,) * 10)), ["the requester began calls up to 9.0 ms late (p99): the machine is busy"]),
    (result(tally(1, unstarted=5)), ["5 calls were never begun: 9 were in flight; --concurrency moves that"]),
]


@pytest.mark.parametrize(("held", "lines"), LIMITS)
def test_the_requester_says_when_it_is_the_limit(held: LoadResult, lines: list[str]) -> None:
    assert held.limits == lines


def test_the_document_holds_rates_errors_and_percentiles() -> None:
    measured = tally(10, 20, 30, 40)
    measured.failed("TalkBidirectional", "UNAVAILABLE")
    measured.read("Talk", PATH, 1000)
    found = document(result(measured))
    assert (found["calls"], found["calls_per_s"], found["errors"]) == (5, 2.0, {"UNAVAILABLE": 1})
    assert found["rpcs"]["Talk"]["latency_ms"]["p50"] == pytest.approx(20, rel=0.01)
    assert found["rpcs"]["TalkBidirectional"]["errors"] == {"UNAVAILABLE": 1}
    assert sum(part["share"] for part in found["parts"]) == pytest.approx(1)
    assert [part["part"] for part in found["parts"]][:2] == ["requester > svc1", "svc1"]


class BusyFleet(Fleet):
    """A fleet whose workers share so much work, in cores."""

    def __init__(self, work: float) -> None:
        self.sizes: list[int] = []
        self._work = work
        self._size = 1

    def __len__(self) -> int:
        return self._size

    def grow(self, workers: int) -> None:
        self._size = workers

    def run(self, seconds: float, on_tick: object) -> tuple[float, ...]:  # noqa: ARG002 - a fleet's signature
        self.sizes.append(self._size)
        return (min(1.0, self._work / self._size),) * self._size


@pytest.mark.parametrize(
    ("work", "asked", "cores", "sizes"),
    [
        (0.5, None, 8, [1]),
        (0.9, None, 8, [1, 2]),
        (2.5, None, 8, [1, 2, 4]),
        (99.0, None, 6, [1, 2, 4, 6]),
        (99.0, None, 1, [1]),
        (99.0, 1, 8, [1]),
    ],
)
def test_the_warm_up_starts_as_many_processes_as_are_needed(
    monkeypatch: pytest.MonkeyPatch, work: float, asked: int | None, cores: int, sizes: list[int]
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    fleet = BusyFleet(work)
    options = LoadOptions(target=Target(address="127.0.0.1:1"), mix=RPCS, processes=asked, concurrency=64)
    warm_up(fleet, options, lambda _: None)
    assert fleet.sizes == sizes
