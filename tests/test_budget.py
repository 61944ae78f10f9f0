"""Money and prices: exact, and never rounded on the way."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.budget import Money, Price

QUICK = settings(max_examples=150, deadline=None, derandomize=True, database=None)
AMOUNTS = st.decimals(0, 100_000, places=6)


@pytest.mark.parametrize(
    ("text", "micros", "currency"),
    [
        ("25 USD", 25_000_000, "USD"),
        ("25USD", 25_000_000, "USD"),
        ("  25.50 usd ", 25_500_000, "USD"),
        ("USD 25", 25_000_000, "USD"),
        ("0.07 EUR", 70_000, "EUR"),
        ("1,000 USD", 1_000_000_000, "USD"),
        ("1,234,567.89 CNY", 1_234_567_890_000, "CNY"),
        ("1_000 USD", 1_000_000_000, "USD"),
        ("0 USD", 0, "USD"),
        ("0.000001 USD", 1, "USD"),
    ],
)
def test_an_amount_is_read_as_it_is_written(text: str, micros: int, currency: str) -> None:
    """An amount with a currency, either first."""
    assert Money.parse(text) == Money(micros, currency)


@pytest.mark.parametrize(
    "text",
    [
        "", "25", "USD", "25 dollars", "$25", "-5 USD", "1e3 USD", "1.2.3 USD", "25 USD 3", "USD 25 USD", "inf USD",
        "nan USD", "_ USD", ".5 USD", "25,50 USD", "1,00 USD", "1,0000 USD", "1.000,50 EUR", ",5 USD", "1,,000 USD",
        "9" * 40 + " USD", "9" * 100_000, "\u0662\u0665 USD",
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_what_is_not_an_amount_is_refused(text: str) -> None:
    """A budget is never guessed: `25,50` is neither 2,550 nor 25.5. The message says what to write."""
    with pytest.raises(ValueError, match="25 USD"):
        Money.parse(text)


@QUICK
@given(st.lists(AMOUNTS, min_size=1, max_size=30))
def test_a_sum_is_never_rounded(amounts: list[Decimal]) -> None:
    """The sum of amounts is the amount of their sum, to the last millionth."""
    total = Money(0, "USD")
    for amount in amounts:
        total += Money.of(amount, "USD")
    assert total.micros == sum(amounts, Decimal(0)) * 1_000_000


@QUICK
@given(AMOUNTS, st.integers(0, 100_000))
def test_many_of_one_price_are_exact(amount: Decimal, count: int) -> None:
    """A price taken many times over is what adding it so often gives."""
    assert Money.of(amount, "USD").times(count).micros == amount * 1_000_000 * count


def test_a_float_is_read_by_its_text() -> None:
    """0.07 is seven cents, not the binary number beside it, and ten of them are seventy."""
    assert Money.of(0.07, "usd") == Money(70_000, "USD")
    assert sum((Money.of(0.1, "USD") for _ in range(9)), Money.of(0.1, "USD")) == Money.of(1, "USD")


def test_currencies_do_not_mix() -> None:
    """Adding two currencies is an error, not a number."""
    with pytest.raises(ValueError, match="USD and EUR"):
        Money(1, "USD") + Money(1, "EUR")


@pytest.mark.parametrize(
    ("micros", "shown"),
    [
        (0, "0.00 USD"),
        (350_000, "0.35 USD"),
        (42_000, "0.042 USD"),
        (1, "0.000001 USD"),
        (25_000_000, "25.00 USD"),
        (100_500_000, "100.50 USD"),
        (-350_000, "-0.35 USD"),
        (1_234_567_891_234, "1234567.891234 USD"),
    ],
)
def test_an_amount_is_shown_whole(micros: int, shown: str) -> None:
    """Two decimals where they are exact, more where they are not."""
    assert str(Money(micros, "USD")) == shown


@QUICK
@given(st.integers(0, 10**15))
def test_what_is_shown_can_be_read(micros: int) -> None:
    """An amount survives being shown and read."""
    assert Money.parse(str(Money(micros, "USD"))) == Money(micros, "USD")


SECOND = Price(per_second=Decimal("0.07"))
IMAGE = Price(currency="CNY", per_image=Decimal("0.025"))


@pytest.mark.parametrize(
    ("price", "params", "money"),
    [
        (Price(per_job=Decimal("0.35")), {}, Money(350_000, "USD")),
        (Price(per_job=Decimal(0)), {}, Money(0, "USD")),
        (SECOND, {"duration": 5}, Money(350_000, "USD")),
        (SECOND, {"duration": "10"}, Money(700_000, "USD")),
        (SECOND, {"duration": 7.5}, Money(525_000, "USD")),
        (SECOND, {"duration": "auto"}, None),
        (SECOND, {"duration": True}, None),
        (SECOND, {"duration": -5}, None),
        (SECOND, {"duration": "inf"}, None),
        (SECOND, {"duration": [5]}, None),
        (SECOND, {}, None),
        (IMAGE, {}, Money(25_000, "CNY")),
        (IMAGE, {"num_images": 4}, Money(100_000, "CNY")),
        (IMAGE, {"n": "2"}, Money(50_000, "CNY")),
        (Price(), {"duration": 5}, None),
    ],
)
def test_a_job_has_the_price_of_its_params(
    price: Price, params: dict[str, Any], money: Money | None
) -> None:
    """Per job, per second or per image; None where the params don't say how much it will be."""
    assert price.of(params) == money


def test_the_models_own_length_is_the_default() -> None:
    """A job that doesn't say how long it will be has the price of the model's default."""
    assert SECOND.of({}, Decimal(5)) == Money(350_000, "USD")
    assert SECOND.of({"duration": 10}, Decimal(5)) == Money(700_000, "USD")


@QUICK
@given(st.decimals("0.000001", 10, places=6), st.integers(1, 600))
def test_a_price_per_second_is_exact(rate: Decimal, seconds: int) -> None:
    """Nothing is lost between a price list and a reservation."""
    cost = Price(per_second=rate).of({"duration": seconds})
    assert cost is not None
    assert cost.micros == rate * seconds * 1_000_000
