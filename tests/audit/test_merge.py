"""What parts of the same traffic hold together is what one ledger of it holds."""

from __future__ import annotations

from grpc_tracing.audit.facts import Fact, fact
from grpc_tracing.audit.judge import judge
from grpc_tracing.audit.ledger import Ledger
from grpc_tracing.audit.merge import merged
from grpc_tracing.audit.result import Word
from tests.audit.traffic import Traffic

SHOP = (
    Traffic("cart", "cart-1", "v1", cuts=True, passes_id=True),
    Traffic("cart", "cart-2", "v2"),
    Traffic("pay", "pay-1", cuts=True, jobs=2),
    Traffic("feed", "feed-1", sdk=True, behind=True, twin=True),
)


def facts() -> list[Fact]:
    return sorted((fact(span) for one in SHOP for span in one.spans()), key=lambda one: one.start)


def ledger(taken: list[Fact]) -> Ledger:
    one = Ledger()
    one.take_facts(taken)
    one.close()
    return one


def test_what_is_handed_over_in_parts_is_judged_as_the_whole() -> None:
    whole, parts = facts(), []
    flowing = Ledger()
    for number, one in enumerate(whole):
        flowing.take_facts([one])
        if number % 500 == 499:
            parts.append(flowing.handed_over())
    flowing.close()
    parts.append(flowing.handed_over())
    assert len(parts) > 5
    assert judge(merged(parts)).document() == judge(ledger(whole)).document()


def test_parts_by_instance_are_judged_as_the_whole() -> None:
    whole = facts()
    parts = [ledger([one for one in whole if one.instance == name]) for name in sorted({f.instance for f in whole})]
    audit, expected = judge(merged(parts)), judge(ledger(whole))
    counted = [(one.service, one.verdict, one.calls_out, one.cut, one.z) for one in expected.services]
    assert [(one.service, one.verdict, one.calls_out, one.cut, one.z) for one in audit.services] == counted
    assert {one.service: one.verdict for one in audit.services} == {
        "cart": Word.PARTLY,
        "pay": Word.CUTS,
        "feed": Word.CUTS,
    }


def test_parts_stay_as_they_are_and_hold_nothing_twice() -> None:
    flowing = Ledger()
    flowing.take_facts(facts())
    flowing.close()
    first, second = flowing.handed_over(), flowing.handed_over()
    before = judge(first).document()
    assert judge(merged([first, second])).document() == before
    assert (judge(first).document(), second.spans) == (before, 0)


def test_where_calls_in_go_on_is_told_by_the_sets_of_the_whole() -> None:
    stock = [fact(span) for span in Traffic("cart", seconds=5).spans()]
    other = [fact(span) for span in Traffic("feed", seconds=5, seed=2).spans()]
    ledgers = [ledger(stock), ledger([one._replace(target=one.target and "ledger") for one in other])]
    whole = merged(ledgers)
    for place, routes in whole.calls_in.items():
        (entered,) = routes.values()
        assert {whole.onward.sets[number] for number in entered.goes_on} == {
            frozenset({"stock" if place.service == "cart" else "ledger"})
        }
