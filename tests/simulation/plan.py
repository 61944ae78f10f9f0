"""What a night will be like, drawn from its seed: who sells, what goes wrong at which rate, and when."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from decimal import Decimal

from runner.budget import Money, Price
from runner.job import Spec, job_key
from runner.limits import Limits, Rate
from runner.providers import Provider, presets
from runner.simulator import Fault, Settings
from runner.simulator.settings import Latency, RateLimit
from runner.store import Batch

HOST = "sim.example"
PRICE = Decimal("0.35")
FAL = ("fal", "winfull", "quickrouter", "uniapi")
FAL_MODEL = "fal-ai/kling-video/v2.5-turbo/pro/text-to-video"
KLING = {
    "kling": "v1/videos/text2video",
    "kling-gateway": "kling/v1/videos/text2video",
    "quickrouter": "kling/v1/videos/text2video",
}
_REMOTE_ID = (
    "*/" + "[0-9]" * 18
)  # a look-up by our own reference must not be lied to: nobody could notice

# fal documents a typed 5xx of a result as the job's own failure, so it is no lie there: status routes only.
# Faults of the provider: name, argument choices, path.
_LIES: tuple[tuple[str, tuple[float | str | None, ...], str], ...] = (
    ("too-many", (0, 1, 30), "*"),
    ("too-many-once", (None,), "*"),
    ("over-concurrency", (3,), "*"),
    ("server-error-on-submit", (503, 500), "*"),
    ("server-error-on-poll", (503, 500, 504), "*/status"),
    ("server-error-on-poll", (503, 500, 504), "*/v1/*"),
    ("nginx-error", (502, 504), "*"),
    ("content-refused", (None,), "*"),
    ("redirect-302", ("https://elsewhere.example",), "*"),
    ("redirect-307", ("https://elsewhere.example",), "*"),
    *((f"accepted-then-{how}", (None,), "*")
      for how in ("500", "502", "504", "408", "empty", "html", "truncated", "no-id", "hang")),
    ("hang", (20, 3600), "*"),
    ("slow-answer", (5, 50), "*"),
    ("integer-ids", (None,), "*"),
    ("foreign-urls", ("https://elsewhere.example",), "*"),
    ("completed-with-error", (None,), "/fal-ai/*"),
    ("result-refused", (None,), "/fal-ai/*"),
    ("task-failed", (None,), "*/v1/*"),
    ("sweeper-failure", (None,), "/kling/*"),
    ("never-finishes", (None,), "*"),
    ("no-video", (None,), "*"),
    ("always-200", (None,), "*"),
    ("status-route-missing", (404, 405), "*"),
    ("early-result", (400, 500), "*"),
    ("status-regresses", (None,), "*"),
    ("unknown-status", ("REVIEWING", "\x1b[31mdone"), "*"),
    ("task-forgotten", (None,), _REMOTE_ID),
    ("task-forgotten", (None,), "/fal-ai/*"),
    ("minimal-file", (None,), "*"),
    ("truncated-json", (None,), "*"),
    ("empty-answer", (None,), "*"),
    ("html-answer", (None,), "*"),
    ("token-expires", (300,), "*/v1/*"),
    ("result-expires", (0, 600), "*"),
    ("media-no-length", (None,), "*"),
    ("media-wrong-type", (None,), "*"),
    ("media-ignores-range", (None,), "*"),
    ("media-cut", (0.1, 0.9), "*"),
    ("media-empty", (None,), "*"),
    ("media-html", (None,), "*"),
    ("media-disguised", (None,), "*"),
    ("media-redirect", ("https://elsewhere.example",), "*"),
    ("media-403", (None,), "*"),
    ("media-404", (None,), "*"),
    ("media-503", (None,), "*"),
    ("media-slow", (100, 9000), "*"),
    ("media-gzip", (None,), "*"),
)  # fmt: skip

NETWORK = ("unreachable", "lost", "late", "unanswered", "slow", "doubled")
"""Faults of the road; see `network.py`."""
_WINDOWS = ("disk-full", "disk-full", "out-of-money", "bad-key", "too-many", "no-channel", "unreachable", "media-503",
            "server-error-on-submit", "server-error-on-poll")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Window:
    """A time in which one thing is wrong altogether. Times in seconds after dawn."""

    start: float
    end: float
    name: str
    system: str


@dataclass(frozen=True, slots=True)
class Shake:
    """A moment that changes time (`jump`, `suspend`, by so many seconds) or asks the program to stop (`stop`)."""

    at: float
    name: str
    amount: float = 0.0


@dataclass(frozen=True, slots=True)
class Shop:
    """A provider and the batch that is bought from it."""

    provider: Provider
    model: str
    batch: Batch
    rate: RateLimit | None


@dataclass(frozen=True, slots=True)
class Plan:
    """One night. Everything that is not drawn here is drawn by dice that are seeded from here."""

    seed: int
    shops: tuple[Shop, ...]
    others: tuple[Provider, ...]
    jobs: int
    settings: Settings
    faults: tuple[Fault, ...]
    network: dict[str, float]
    windows: tuple[Window, ...]
    shakes: tuple[Shake, ...]
    kills: tuple[int, ...]
    calm_at: float

    @classmethod
    def draw(cls, seed: int) -> Plan:
        """Draw the night of a seed."""
        dice = random.Random(f"night {seed}")
        jobs = dice.choice([10, 40, 100, 150])
        calm_at = dice.uniform(1200, 7200)
        expiry = dice.choice([None, None, 3600.0, 86400.0])
        settings = Settings(
            seed=seed,
            queue=Latency("uniform", 0.5, dice.choice([2.0, 30.0])),
            run=Latency("lognormal", *dice.choice([(60.0, 120.0), (150.0, 600.0), (20.0, 900.0)])),
            concurrency=dice.choice([5, 20, 100]),
            result_ttl=expiry,
            expired_status=dice.choice([403, 404, 410]),
            price=float(PRICE),
            log_limit=0,
        )
        first = _fal_shop(dice, jobs, expiry)
        shops = (first, _kling_shop(dice, jobs, expiry, first.provider.name))
        others = tuple(
            _provider(name, expiry)
            for name in FAL
            if name not in {shop.provider.name for shop in shops}
        )
        return cls(
            seed, shops, others, jobs, settings, _faults(dice), _road(dice),
            _windows(dice, calm_at, shops), _shakes(dice, calm_at),
            tuple(int(10 ** dice.uniform(1.5, 4.5)) for _ in range(dice.choice([0, 1, 2, 3, 5]))), calm_at,
        )  # fmt: skip


def make_spec(model: str, batch: str, index: int) -> Spec:
    """One job of a batch; its prompt names it."""
    body = {"prompt": f"{batch} take {index}", "duration": "5"}
    if "/v1/" in f"/{model}":
        body["model_name"] = "kling-v2-5-turbo"
    key = job_key(batch, model, body, "", 0)
    return Spec(key, batch, key[:8], index, 0, model, body, f"{batch}/{index:04}.${{{{ ext }}}}")


def _provider(name: str, expiry: float | None, limits: Limits | None = None) -> Provider:
    """A system's preset, led to the simulator."""
    preset = presets()[name]
    price = Price(per_job=PRICE)
    return replace(
        preset,
        base_url=f"https://{HOST}/as/{name}",
        prices=dict.fromkeys((FAL_MODEL, *KLING.values()), price),
        limits=limits or Limits(),
        fal=replace(preset.fal, result_lifetime=expiry),
        kling=replace(preset.kling, result_lifetime=expiry),
    )


def _shop(
    dice: random.Random, name: str, model: str, batch: str, jobs: int, expiry: float | None
) -> Shop:
    rate = dice.choice([None, None, RateLimit(10, 60.0, "sliding"), RateLimit(5, 10.0, "sliding")])
    limits = Limits(
        submits=Rate(rate.count, rate.window) if rate else None,
        in_flight=dice.choice([None, 5, 30]),
        posts=dice.choice([1, 8]),
    )
    share = dice.choice([None, None, 0.3, 0.8])
    budget = (
        None if share is None else Money.of(PRICE * int(jobs * share / 2) + Decimal("0.10"), "USD")
    )
    return Shop(
        _provider(name, expiry, limits),
        model,
        Batch(
            batch, f"{batch}.yaml", "digest", name,
            on_doubt=dice.choice(["hold", "hold", "resubmit"]), timeout=dice.choice([3600.0, 7200.0]), budget=budget,
        ),
        rate,
    )  # fmt: skip


def _fal_shop(dice: random.Random, jobs: int, expiry: float | None) -> Shop:
    return _shop(dice, dice.choice(FAL), FAL_MODEL, "reef", jobs, expiry)


def _kling_shop(dice: random.Random, jobs: int, expiry: float | None, taken: str) -> Shop:
    name = dice.choice([name for name in ("kling", "kling", *KLING) if name != taken])
    return _shop(dice, name, KLING[name], "dune", jobs, expiry)


def _faults(dice: random.Random) -> tuple[Fault, ...]:
    chosen = dice.sample(_LIES, dice.choice([0, 3, 8, 15]))
    return tuple(
        Fault(name, path=path, rate=10 ** dice.uniform(-2.5, -1.0), arg=dice.choice(args))
        for name, args, path in chosen
    )


def _road(dice: random.Random) -> dict[str, float]:
    chosen = dice.sample(NETWORK, dice.choice([0, 2, 4]))
    return {name: 10 ** dice.uniform(-2.5, -1.3) for name in chosen}


def _windows(dice: random.Random, calm_at: float, shops: tuple[Shop, ...]) -> tuple[Window, ...]:
    found = []
    for _ in range(dice.choice([0, 1, 2, 4])):
        start = dice.uniform(0, calm_at)
        end = min(calm_at, start + 10 ** dice.uniform(1.0, 3.3))
        system = dice.choice(["*", *(shop.provider.name for shop in shops)])
        found.append(Window(start, end, dice.choice(_WINDOWS), system))
    return tuple(found)


def _shakes(dice: random.Random, calm_at: float) -> tuple[Shake, ...]:
    found = []
    for _ in range(dice.choice([0, 0, 1, 3])):
        name = dice.choice(["jump", "suspend", "stop"])
        amount = {
            "jump": dice.choice([-86400.0, 86400.0, -3600.0, 5.0]),
            "suspend": 28800.0,
            "stop": 0.0,
        }
        found.append(Shake(dice.uniform(0, calm_at), name, amount[name]))
    return tuple(sorted(found, key=lambda shake: shake.at))
